import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from fastrec.artefacts import IMAGES, SPLITS
from fastrec.evaluate import baselines


def sides(run):
    table = run.read(SPLITS)
    return table[table["split"] == "train"], table[table["split"] == "test"]


def test_both_baselines_are_judged_on_the_test_images(run):
    found = baselines.baselines(run, n_boot=100)
    train, test = sides(run)
    often = train["label"].value_counts().index[0]
    assert found["majority"].accuracy.value == pytest.approx((test["label"] == often).mean())
    assert found["majority"].macro_f1.value < found["majority"].accuracy.value
    pixels = np.asarray(run.read(IMAGES), float).reshape(-1, 16 * 16 * 3)
    nearest = KNeighborsClassifier(1).fit(pixels[train["row"]], train["label"])
    expected = (nearest.predict(pixels[test["row"]]) == test["label"]).mean()
    assert found["nearest_neighbour"].accuracy.value == pytest.approx(expected)
    assert "90 train images, by pixels at 16 x 16" in found["nearest_neighbour"].what


def test_a_capped_neighbour_says_so_and_takes_the_first_by_hash(run, monkeypatch):
    whole = baselines.baselines(run, n_boot=100)["nearest_neighbour"]
    monkeypatch.setattr(baselines, "MOST", 2)
    capped = baselines.baselines(run, n_boot=100)["nearest_neighbour"]
    assert "2 of 90 train images" in capped.what
    assert capped.accuracy.value != whole.accuracy.value


def test_reading_the_test_images_in_small_chunks_changes_nothing(run, monkeypatch):
    whole = baselines.baselines(run, n_boot=100)
    monkeypatch.setattr(baselines, "CHUNK", 7)
    assert baselines.baselines(run, n_boot=100) == whole


def test_larger_pictures_are_shrunk_for_the_neighbour():
    pixels = np.zeros((3, 40, 40, 3), np.uint8)
    assert baselines._thumbnails(pixels, np.array([2, 0])).shape == (2, 16 * 16 * 3)
