from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastrec import files, images
from fastrec.artefacts import PREDICTIONS, STATISTICS
from fastrec.deploy.predictor import Predictor, refusal
from fastrec.files import FastrecError
from fastrec.refusals import ImageError


@pytest.fixture(scope="module")
def predictor(package_folder):
    return Predictor(package_folder)


@pytest.fixture
def copy(package_folder, tmp_path):
    return shutil.copytree(package_folder, tmp_path / "package")


def seal(folder):
    """Write the checksums again, as one does who exchanges a file on purpose."""
    names = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{files.checksum(folder / name)}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_answers_equal_evaluates_predictions(run, predictor):
    table = run.read(PREDICTIONS)
    for row in table.to_dict("records"):
        answer = predictor.predict(run.locate(row["path"]).read_bytes())
        assert answer.label == row["predicted"]
        assert np.abs(np.array(list(answer.scores.values())) - row["scores"]).max() < 1e-5
        assert answer.image_id == row["image_id"]
        for name in STATISTICS:
            assert answer.statistics[name] == pytest.approx(row[name], abs=1e-5)


def test_answer_says_all_there_is(predictor, photo, encode, classes):
    data = encode(photo(40, 30))
    answer = predictor.predict(data)
    assert list(answer.scores) == classes
    assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)
    assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]
    assert list(answer.statistics) == list(STATISTICS)
    assert (answer.statistics["width"], answer.statistics["height"]) == (40, 30)
    assert answer.image_id == hashlib.sha256(data).hexdigest()
    assert answer.bundle == "03_train/small"
    assert answer.milliseconds > 0
    assert answer.warnings == ()


def test_turned_photo_is_answered_upright(predictor, photo, turned):
    data = turned(photo(60, 40), 6)
    upright = images.resize(images.decode(data).pixels, predictor.size)
    assert list(predictor.predict(data).scores.values()) == predictor.scores(upright).tolist()
    assert predictor.predict(data).statistics["width"] == 40


def test_odd_picture_comes_with_a_warning(predictor, encode):
    assert "nearly constant" in predictor.predict(encode(np.zeros((20, 20, 3), np.uint8))).warnings


def test_many_threads_get_the_same_answers(predictor, photo, encode):
    pictures = [encode(photo(30 + n, 50, n)) for n in range(12)] * 4
    alone = [predictor.predict(data).scores for data in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: predictor.predict(data).scores, pictures))
    for one, other in zip(alone, together, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-6)


REFUSED = [(b"", "empty_file"), (b"<html></html>", "not_an_image"), (b"%!PS-Adobe", "unsupported_format")]


@pytest.mark.parametrize(("data", "code"), REFUSED)
def test_what_is_no_picture_is_refused(predictor, data, code):
    with pytest.raises(ImageError) as caught:
        predictor.predict(data)
    assert caught.value.code == code


def test_truncated_picture_is_refused_with_a_cure(predictor, photo, encode):
    data = encode(photo(64, 64), "JPEG")
    with pytest.raises(ImageError) as caught:
        predictor.predict(data[: len(data) // 2])
    told = refusal(caught.value, "x.jpg")
    assert told["code"] == "truncated"
    assert told["message"].startswith("x.jpg is cut short")
    assert told["hint"] == "get the whole file again"


def test_refusal_without_a_cure_names_the_formats():
    assert "JPEG" in refusal(ImageError("odd", "is odd"), "x")["hint"]


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "fastrec/images.py", "web/app.js", "SHA256SUMS"])
def test_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(FastrecError, match=name):
        Predictor(copy)


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "fastrec/images.py", "web/app.js"])
def test_changed_file_is_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(FastrecError, match=f"{name} was changed"):
        Predictor(copy)


@pytest.mark.parametrize("text", ["[]", "{", '{"label": "x"}', '{"onnx_sha256": "0"}'])
def test_damaged_record_is_one_sentence(copy, text):
    (copy / "model.json").write_text(text)
    seal(copy)
    with pytest.raises(FastrecError, match=r"model\.(json|onnx)"):
        Predictor(copy)


@pytest.mark.parametrize("content", [b"no graph", b"", b"\n\x08location\x12\x0b../../etc/x"])
def test_graph_that_cannot_be_used_is_one_sentence(copy, content):
    (copy / "model.onnx").write_bytes(content)
    record = json.loads((copy / "model.json").read_text())
    record["onnx_sha256"] = files.checksum(copy / "model.onnx")
    (copy / "model.json").write_text(json.dumps(record))
    seal(copy)
    with pytest.raises(FastrecError, match=r"model\.onnx (cannot be loaded|keeps weights in other files)"):
        Predictor(copy)


def test_another_packages_graph_is_refused(copy):
    record = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(record | {"onnx_sha256": "0" * 64}))
    seal(copy)
    with pytest.raises(FastrecError, match="does not belong to"):
        Predictor(copy)
