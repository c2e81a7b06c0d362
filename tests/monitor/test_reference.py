import json
import shutil

import numpy as np
import pytest

from fastrec.artefacts import BUNDLE, PACKAGE, PREDICTIONS
from fastrec.evaluate import predict
from fastrec.files import FastrecError
from fastrec.monitor.reference import served_answers

FASTNET, BEST = "03_train/fastnet", "04_tune/best"


@pytest.fixture
def evaluated(run):
    run.write(PREDICTIONS, predict.predictions(run, FASTNET))
    return run


def serve(run, label):
    with run.writing(PACKAGE) as folder:
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps({"label": label}))


def test_without_a_promotion_the_reference_is_what_evaluate_wrote(evaluated):
    written = evaluated.read(PREDICTIONS)
    assert served_answers(evaluated).equals(written)
    serve(evaluated, FASTNET)
    assert served_answers(evaluated).equals(written)


def test_a_promoted_bundle_is_held_against_its_own_answers(evaluated):
    serve(evaluated, BEST)
    written, found = evaluated.read(PREDICTIONS), served_answers(evaluated)
    assert set(found["bundle"]) == {BEST}
    assert list(found["image_id"]) == list(written["image_id"])
    assert not np.allclose(found["score"], written["score"])
    assert np.allclose(found["brightness"], written["brightness"])


def test_the_open_stage_is_stale_after_the_next_promotion(evaluated):
    serve(evaluated, FASTNET)
    evaluated.start("monitor", {})
    served_answers(evaluated)
    evaluated.finish()
    assert PACKAGE.file in evaluated.record("monitor").inputs


def test_a_promoted_bundle_that_is_gone_names_both_and_the_way_back(evaluated):
    serve(evaluated, BEST)
    shutil.rmtree(evaluated.path(BUNDLE, "best", "tune"))
    with pytest.raises(FastrecError, match=f"serves {BEST}, evaluate chose {FASTNET}.*`fastrec rollback toy`"):
        served_answers(evaluated)
