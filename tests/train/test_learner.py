"""Training: it learns, repeats itself, stops at NaN, and leaves a bundle that gives equal answers."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from fastai.callback.core import Callback

from fastrec import bundle
from fastrec.artefacts import BUNDLE, HISTORY, SPLITS
from fastrec.files import FastrecError, checksum
from fastrec.train import architectures, history, learner
from fastrec.train.recipe import Recipe
from fastrec.train.training import fit, prepare

QUICK = Recipe(options={"width": 4}, epochs=4, batch_size=8, learning_rate=0.02)


def test_it_learns_and_the_bundle_gives_the_same_answers(run):
    learn = fit(run, QUICK)
    record = learner.save(run, learn, "fastnet", "train")
    assert record.valid["accuracy"] > 0.8
    assert record.data_sha256 == checksum(run.path(SPLITS))
    network = architectures.restore(bundle.load(run.path(BUNDLE, "fastnet", "train")))
    x = learn.dls.valid.one_batch()[0]
    with torch.inference_mode():
        torch.testing.assert_close(network(torch.Tensor(x)), torch.Tensor(learn.model.eval()(x)), atol=1e-5, rtol=1e-5)


def test_history_has_one_row_per_epoch_and_fits_its_schema(run):
    learn = fit(run, QUICK)
    learner.validate(learn)
    table = learn.history.table()
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    run.write(HISTORY, table)
    assert run.read(HISTORY).notna().all().all()


def test_the_same_seed_gives_the_same_weights(run):
    one, two = (fit(run, QUICK).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_finder_leaves_the_history_alone_and_suggests_a_rate(run):
    learn = prepare(run, QUICK)
    with learn.no_bar():
        assert 1e-7 < learner.suggest_rate(learn) < 10
    assert learn.history.rows == []


def weights(learn):
    return {name: value.clone() for name, value in learn.model.state_dict().items()}


def test_nan_stops_at_its_step_with_one_sentence_and_names_the_pictures(run):
    learn = prepare(run, QUICK)
    with torch.no_grad():
        learn.model.head.weight.fill_(float("nan"))
    with pytest.raises(
        FastrecError, match=r"^the loss became nan at epoch 0, step 0, learning rate .*smaller"
    ) as caught:
        learn.fit(1)
    assert "\n" not in str(caught.value)
    listed = (run.folder / "03_train/bad_batch.txt").read_text().split()
    assert len(listed) == QUICK.batch_size
    assert set(listed) <= set(run.read(SPLITS).query("split == 'train'")["image_id"])


def test_an_infinite_gradient_does_not_reach_the_weights(run):
    learn = prepare(run, QUICK)

    class Explode(Callback):
        def after_backward(self):
            if self.iter == 2:
                self.kept = {name: value.clone() for name, value in self.learn.model.named_parameters()}
                next(self.learn.model.parameters()).grad[0] = float("inf")

    explode = Explode()
    with pytest.raises(FastrecError, match=r"gradient became infinite at epoch 0, step 2"):
        learn.fit(1, cbs=explode)
    assert all(torch.equal(explode.kept[name], value) for name, value in learn.model.named_parameters())


def test_memory_that_runs_out_is_told_with_a_batch_size_to_try(run):
    learn = prepare(run, QUICK)

    class Full(Callback):
        def after_pred(self):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(FastrecError, match="memory ran out with batch_size 8: take 4"):
        learn.fit(1, cbs=Full())


def test_an_interrupted_stage_goes_on_and_its_checkpoints_end_with_the_bundle(run, capsys):
    def begin(batch_size=8):
        run.start("train", {"run_name": run.name, "batch_size": batch_size, "seed": 0})
        learn = prepare(run, QUICK)
        learner.keep_checkpoints(run, learn, 2)
        return learn

    def fit_until(learn, stop):
        class Stop(Callback):
            def after_batch(self):
                if self.training and self.learn.train_iter == stop:
                    raise KeyboardInterrupt

        with learn.no_bar(), learn.no_logging(), suppress(KeyboardInterrupt):
            learn.fit_one_cycle(2, 0.02, cbs=Stop())

    fit_until(begin(), 6)
    assert (run.folder / "03_train/checkpoints").is_dir()
    fit_until(begin(batch_size=16), 2)
    assert "batch_size was 8, is 16" in capsys.readouterr().out
    learn = begin()
    fit_until(learn, None)
    assert "goes on after step" in capsys.readouterr().out
    learner.save(run, learn, "fastnet", "train")
    assert not (run.folder / "03_train/checkpoints").exists()
    run.finish()


def test_a_network_that_was_given_to_the_finder_trains_all_its_epochs(run):
    learn = prepare(run, QUICK)
    with learn.no_bar(), learn.no_logging():
        learner.suggest_rate(learn)
        learn.fit_one_cycle(3, 0.01)
    assert len(learn.history.rows) == 3


def test_pretrained_weights_of_another_bundle_are_where_training_begins(run):
    first = fit(run, QUICK)
    learner.save(run, first, "fastnet", "train")
    again = replace(QUICK, seed=9, pretrained=f"{run.name}/03_train/fastnet")
    second = learner.create(first.dls, again)
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())
    assert "numbers from" in second.start


@pytest.mark.parametrize(
    ("train", "valid", "losses", "word"),
    [
        (1.0, 0.8, [0.5, 0.3, 0.9], "Overfitting"),
        (0.99, 0.9, [0.5, 0.4, 0.4], "Some overfitting"),
        (0.6, 0.6, [1.5, 1.2, 0.9], "Still learning"),
        (0.95, 0.95, [0.5, 0.31, 0.3], "Well balanced"),
    ],
)
def test_the_verdict_is_in_plain_words(train, valid, losses, word):
    import pandas as pd

    table = pd.DataFrame({"valid_loss": losses, "train_accuracy": train, "valid_accuracy": valid})
    assert history.verdict(table).startswith(word)
