"""Training: it learns, repeats itself, stops at NaN, and leaves a bundle that gives equal answers."""

import pytest
import torch

from fastrec import bundle
from fastrec.artefacts import BUNDLE, HISTORY, SPLITS
from fastrec.files import FastrecError, checksum
from fastrec.train import architectures, history, learner
from fastrec.train.recipe import Recipe, fit, prepare

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


def test_nan_stops_at_its_step_with_one_sentence(run):
    learn = prepare(run, QUICK)
    with torch.no_grad():
        learn.model.head.weight.fill_(float("nan"))
    with pytest.raises(
        FastrecError, match=r"^the loss became nan at epoch 0, step 0, learning rate .*smaller"
    ) as caught:
        learn.fit(1)
    assert "\n" not in str(caught.value)


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
