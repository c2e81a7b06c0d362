"""The table for choosing: what is counted is exact, what is measured is there, what does not fit says why."""

import pandas as pd
import pytest
import timm
import torch

from fastrec.files import FastrecError
from fastrec.train import architectures, choosing

NAMES = ["fastnet, width 16", "rownet", "test_resnet", "inception_v3"]


@pytest.fixture(scope="module")
def found():
    return choosing.table(32, 5, names=NAMES)


def test_sizes_are_those_of_the_networks(found):
    assert list(found.index) == NAMES
    counted = architectures.parameter_count(architectures.build("fastnet", 5, width=16))
    assert found.loc["fastnet, width 16", "parameters"] == counted
    assert found.loc["fastnet, width 16", "megabytes"] == pytest.approx(counted * 4e-6, abs=0.05)


def test_what_fits_is_measured_and_what_does_not_says_why(found):
    fits = found.drop("inception_v3")
    assert (fits[["one_ms", "training_ms"]] > 0).all().all()
    assert (fits["note"] == "").all()
    assert found.loc["inception_v3", ["parameters", "one_ms"]].isna().all()
    assert "cannot take pictures of 32 pixels" in found.loc["inception_v3", "note"]


def test_only_the_measured_columns_change_and_no_random_number_is_taken(found):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = choosing.table(32, 5, names=NAMES)
    assert torch.equal(torch.get_rng_state(), before)
    fixed = ["parameters", "megabytes", "imagenet", "note"]
    pd.testing.assert_frame_equal(again[fixed], found[fixed])


def test_grey_pictures_are_compared_as_such():
    one, three = (choosing.table(32, 5, channels, ["alexnet"])["parameters"].item() for channels in (1, 3))
    assert one < three


def test_accuracies_are_those_of_the_weights_that_the_hub_gives():
    known = [timm.get_pretrained_cfg(name) for name, _ in choosing.SHORT.values()]
    tagged = {f"{cfg.architecture}.{cfg.tag}" for cfg in known if cfg is not None}
    assert set(choosing.IMAGENET) == tagged
    assert choosing.table(32, names=["resnet18"])["imagenet"].item() == 0.73158


def test_large_ones_are_listed_unmeasured_unless_asked_for(monkeypatch):
    monkeypatch.setattr(choosing, "SHORT", {"small": ("fastnet", {"width": 4}), "large": ("fastnet", {"width": 32})})
    monkeypatch.setattr(choosing, "LARGEST", 100_000)
    found = choosing.table(32)
    assert found["one_ms"].isna().tolist() == [False, True]
    assert "ask for it by name" in found.loc["large", "note"]
    assert choosing.table(32, names=["large"])["one_ms"].notna().all()


def test_an_unknown_name_is_refused_before_anything_is_measured():
    with pytest.raises(FastrecError, match="'resnt18' is unknown: did you mean resnet18"):
        choosing.table(32, names=["fastnet", "resnt18"])


def test_on_a_busy_machine_the_list_ends_in_time(monkeypatch):
    monkeypatch.setattr(choosing, "SHORT", {"small": ("fastnet", {"width": 4})})
    monkeypatch.setattr(choosing, "SECONDS", 0)
    assert "time was up" in choosing.table(32)["note"].item()
    assert choosing.table(32, names=["small"])["note"].item() == ""


def test_people_read_texts_the_fastest_first(found):
    texts = choosing.readable(found)
    assert texts["architecture"].tolist()[-1] == "inception_v3"
    assert texts["note"].tolist()[-1] == "cannot take pictures of 32 pixels"
    assert found["training_ms"].dropna().sort_values().index.tolist() == texts["architecture"].tolist()[:-1]
    assert not texts.isin(["nan", "<NA>"]).any().any()
