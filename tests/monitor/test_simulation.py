import numpy as np
import pytest

from fastrec.artefacts import IMAGES, LOG_FILE
from fastrec.evaluate import predict
from fastrec.images import statistics
from fastrec.monitor import simulation


@pytest.fixture
def noticed(run):
    return simulation.would_notice(run, predict.predictions(run, "03_train/fastnet"))


def test_untouched_images_raise_no_more_alarms_than_chance_does(run, monkeypatch):
    monkeypatch.setattr(simulation, "ALTERATIONS", {})
    table = predict.predictions(run, "03_train/fastnet")
    states = [simulation.would_notice(run, table, seed=seed)["state"].item() for seed in range(20)]
    assert set(states) <= {"ok", "drift"}
    assert states.count("drift") <= 4  # at 5 % each, more than four of twenty come in 0.3 %


def test_strong_changes_raise_alarms(noticed):
    assert (noticed["images"] == 60).all()
    assert "brightness" in noticed.loc[("darker", 0.5), "checks"]
    assert "sharpness" in noticed.loc[("blurred", 0.5), "checks"]
    assert len(noticed) == 7


def test_a_simulation_leaves_no_trace(run, noticed):
    assert not run.path(LOG_FILE).exists()
    assert not (run.folder / "07_monitor").exists()


def test_the_untouched_half_is_answered_as_before(run):
    table = predict.predictions(run, "03_train/fastnet")
    noticed = simulation.would_notice(run, table, seed=3)
    half = table.sample(frac=1.0, random_state=3).iloc[:60]
    right = (half["label"] == half["predicted"]).mean()
    assert noticed.loc[("untouched", 0.0), "accuracy"] == pytest.approx(right)


def test_too_few_test_images_say_so_instead_of_ok(run):
    table = predict.predictions(run, "03_train/fastnet").head(80)
    assert (simulation.would_notice(run, table)["state"] == "insufficient_data").all()


@pytest.mark.parametrize("name", list(simulation.ALTERATIONS))
def test_alterations_grow_with_strength_and_leave_the_original_alone(run, name):
    pixels = np.asarray(run.read(IMAGES)[:8])
    before = pixels.copy()
    measured = {"darker": "brightness", "blurred": "sharpness"}[name]
    values = [statistics(simulation.altered(pixels, name, strength))[measured].mean() for strength in (0.0, 0.1, 0.5)]
    assert values[0] > values[1] > values[2]
    assert (pixels == before).all()
