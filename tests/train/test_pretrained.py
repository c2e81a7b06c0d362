"""Weights from elsewhere: taken where they fit, refused in one sentence where they do not."""

import pytest
import torch
from safetensors.torch import save_file

from fastrec.files import FastrecError
from fastrec.train import architectures, learner
from fastrec.train.pretrained import start_from
from fastrec.train.recipe import Recipe
from fastrec.train.training import fit


def net(classes=2, width=4):
    return architectures.build("fastnet", classes, width=width)


def test_a_bundle_of_another_run_gives_its_body_and_keeps_a_fresh_head_for_other_classes(run):
    learn = fit(run, Recipe(options={"width": 4}, epochs=1, batch_size=8))
    learner.save(run, learn, "fastnet", "train")
    three = net(classes=3)
    head = three.head.weight.clone()
    said = start_from(three, "fastnet", f"{run.name}/03_train/fastnet")
    torch.testing.assert_close(three.stem[0].weight, learn.model.stem[0].weight.cpu())
    assert torch.equal(three.head.weight, head)
    assert "head.weight" in said


def test_a_safetensors_file_below_the_home_folder_is_read(home):
    other = net()
    save_file(other.state_dict(), home / "w.safetensors")
    mine = net()
    start_from(mine, "fastnet", "w.safetensors")
    assert all(torch.equal(mine.state_dict()[name], value) for name, value in other.state_dict().items())


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
