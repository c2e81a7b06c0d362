"""Weights from elsewhere: taken where they fit, refused in one sentence where they do not."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from fastrec.files import FastrecError
from fastrec.train import architectures, learner
from fastrec.train.pretrained import start_from
from fastrec.train.recipe import Recipe
from fastrec.train.training import fit, prepare


def net(classes=2, width=4):
    return architectures.build("fastnet", classes, width=width)


def equal(one, other, head):
    """Say whether two networks have the same numbers, in the head or in all the rest."""
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name].cpu()) for name in mine if name.startswith("head.") == head)


@pytest.mark.parametrize(
    ("classes", "kept"),
    [(["cat", "dog"], True), (["dog", "cat"], False), (["cat", "owl"], False), (["a", "b", "c"], False), ([], False)],
)
def test_a_bundle_of_another_run_gives_its_body_and_its_head_for_the_very_same_classes_only(run, classes, kept):
    learn = fit(run, Recipe(options={"width": 4}, epochs=1, batch_size=8))
    learner.save(run, learn, "fastnet", "train")
    mine = net(len(classes) or 2)
    fresh = copy.deepcopy(mine)
    said = start_from(mine, "fastnet", f"{run.name}/03_train/fastnet", classes)
    assert equal(mine, learn.model, head=False)
    assert equal(mine, learn.model if kept else fresh, head=True)
    assert ("head.weight" in said) is not kept


def test_a_training_starts_from_a_bundle_by_name(run):
    first = fit(run, Recipe(options={"width": 4}, epochs=4, batch_size=8))
    learner.save(run, first, "first", "train")
    recipe = Recipe(options={"width": 4}, pretrained=f"{run.name}/03_train/first")
    again = prepare(run, recipe)
    assert again.start.endswith("fresh: none")
    assert equal(again.model, first.model, head=False)
    assert equal(again.model, first.model, head=True)


def test_a_safetensors_file_below_the_home_folder_gives_its_body(home):
    other = net()
    save_file(other.state_dict(), home / "w.safetensors")
    mine = net()
    fresh = copy.deepcopy(mine)
    start_from(mine, "fastnet", "w.safetensors", ["cat", "dog"])
    assert equal(mine, other, head=False)
    assert equal(mine, fresh, head=True)  # whose classes the file's head tells apart, nobody knows


def test_the_hub_is_asked_for_weights_that_fit_size_and_channels(monkeypatch):
    import timm

    asked, made = {}, timm.create_model

    def create(name, pretrained, **options):
        asked.update(options)
        return made(name, num_classes=2, **options)

    options = {"img_size": 32, "in_chans": 1}
    mine = architectures.build("test_vit", 2, **options)
    monkeypatch.setattr(timm, "create_model", create)
    start_from(mine, "test_vit", "hub", ["cat", "dog"], options)
    assert asked == options


def test_fresh_weights_stay_as_they_are():
    mine = net()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    assert start_from(mine, "fastnet", "none") == "fresh weights"
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("absent.safetensors", "are not there"),
        ("broken.safetensors", "are damaged"),
        ("other.safetensors", "of its .* numbers only"),
        ("nonsense", "write none, hub"),
        ("t/03_train/absent", "missing"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence(home, source, sentence):
    (home / "broken.safetensors").write_bytes(b"no")
    save_file(net(width=8).state_dict(), home / "other.safetensors")
    with pytest.raises(FastrecError, match=sentence) as caught:
        start_from(net(), "fastnet", source)
    assert "\n" not in str(caught.value)


def test_the_hub_without_a_network_is_one_sentence(monkeypatch):
    import timm

    def offline(*_args, **_options):
        raise OSError("no route to host\nmore")

    mine = net()
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FastrecError, match="connect to the internet, or give a local file") as caught:
        start_from(mine, "resnet18", "hub")
    assert "\n" not in str(caught.value)
