from __future__ import annotations

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastrec import bundle as bundles
from fastrec import files, images
from fastrec.artefacts import BUNDLE, DEPLOYMENT, IMAGES, LOG_FILE, MANIFEST, PACKAGE, PREDICTIONS, SPLITS
from fastrec.collect.look import identity
from fastrec.deploy import package, recorder, samples, trial, widgets
from fastrec.deploy.predictor import Predictor
from fastrec.evaluate.predict import predictions
from fastrec.files import FastrecError
from fastrec.monitor import log


def test_trial_compares_and_records(run):
    table = trial.try_service(run, pictures=5, seed=3)
    assert len(table) == 5
    assert (table["difference"] <= 1e-5).all()
    known = run.read(PREDICTIONS).set_index("image_id")
    assert (table["predicted"] == known.loc[table["image_id"], "predicted"].to_numpy()).all()
    record = run.read(DEPLOYMENT)
    assert record.bundle == "03_train/small"
    assert (record.parity.pictures, record.speed.requests) == (8, 5)
    assert record.parity.served_offline == table["difference"].max()
    assert record.speed.milliseconds_median <= record.speed.milliseconds_p95
    assert record.speed.model_bytes < record.speed.package_bytes == package.size_of(run.path(PACKAGE))
    assert record.speed.ready_seconds > 0


def test_trials_rows_are_the_logs_and_replace_earlier_ones(run):
    url = recorder.file_url(run.path(LOG_FILE))
    earlier = recorder.Recorder(url)
    earlier.add({"id": "kept", "time": recorder.now(), "source": "page"})
    earlier.close()
    trial.try_service(run, pictures=4)
    trial.try_service(run, pictures=3)
    table = log.read(url)
    assert table["source"].tolist() == ["page", "self-test", "self-test", "self-test"]
    assert table["predicted"].iloc[1:].notna().all()


def test_trial_leaves_the_package_as_it_was(run):
    trial.try_service(run, pictures=1)
    Predictor(run.path(PACKAGE))
    assert not list(run.path(PACKAGE).rglob("__pycache__"))


def test_other_predictions_are_noticed(run):
    table = run.read(PREDICTIONS)
    table["scores"] = [scores[::-1] for scores in table["scores"]]
    run.write(PREDICTIONS, table)
    with pytest.raises(FastrecError, match=r"answers data/.* differently from 05_evaluate/predictions"):
        trial.try_service(run, pictures=2)
    assert not run.has(DEPLOYMENT)


def test_predictions_of_another_bundle_are_refused(run):
    run.write(PREDICTIONS, run.read(PREDICTIONS).assign(bundle="04_tune/best"))
    with pytest.raises(FastrecError, match=r"has nothing of 03_train/small"):
        trial.try_service(run)


def test_changed_and_missing_pictures_are_named(run):
    path = run.locate(run.read(PREDICTIONS)["path"][0])
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(FastrecError, match="changed after collect saw it"):
        trial.try_service(run)
    path.unlink()
    with pytest.raises(FastrecError, match="cannot be read"):
        trial.try_service(run)


@pytest.fixture
def boxed(run):
    """Turn the run's pictures into a box of each file, as a detector's labels give them."""
    manifest, splits, cached = run.read(MANIFEST), run.read(SPLITS), np.array(run.read(IMAGES))
    box = [3.0, 2.0, 15.0, 11.0]
    names = {}
    for k, row in manifest.iterrows():
        data = run.locate(row["path"]).read_bytes()
        names[row["image_id"]] = identity(data, box)
        cut = images.crop(images.decode(data).pixels, box)
        cached[splits["row"][k]] = images.resize(cut, cached.shape[1])
    manifest["box"] = [box] * len(manifest)
    manifest["width"], manifest["height"] = 15, 11
    for table in (manifest, splits):
        table["image_id"] = table["image_id"].map(names)
    run.write(MANIFEST, manifest)
    run.write(SPLITS, splits)
    with run.writing(IMAGES) as path, path.open("wb") as stream:
        np.save(stream, cached)
    bundle = bundles.load(run.path(BUNDLE, "small", "train"))
    kept = bundle.record.model_dump(exclude={"weights_sha256", "created", "versions", "data_sha256"})
    with run.writing(BUNDLE, "small", "train") as folder:
        bundles.save(folder, bundle.weights, **kept, data_sha256=files.checksum(run.path(SPLITS)))
    run.write(PREDICTIONS, predictions(run, "03_train/small"))
    return run


def test_boxed_pictures_are_packaged_served_and_drawn_as_they_were_cut(boxed):
    package.build(boxed, "03_train/small")
    table = trial.try_service(boxed, pictures=4)
    assert (table["difference"] <= 1e-5).all()
    drawn = list(samples.pixels(boxed, table["image_id"]))
    assert {picture.shape for picture in drawn} == {(11, 15, 3)}
    sent = [images.decode(data).pixels for data in samples.uploads(boxed, table["image_id"])]
    assert all((one == other).all() for one, other in zip(sent, drawn, strict=True))
    assert isinstance(widgets.answers(boxed, table), Figure)
    logged = log.read(recorder.file_url(boxed.path(LOG_FILE)))
    assert set(logged["width"]) == {15.0}


def test_pictures_without_a_box_are_sent_as_their_own_bytes(run):
    table = run.read(PREDICTIONS)
    sent = list(samples.uploads(run, table["image_id"]))
    assert sent == [run.locate(path).read_bytes() for path in table["path"]]


def test_service_that_does_not_start_says_why(package_folder, tmp_path):
    broken = shutil.copytree(package_folder, tmp_path / "package")
    (broken / "model.onnx").write_bytes(b"")
    with pytest.raises(FastrecError, match=r"did not start .*model\.onnx was changed"), trial.running(broken):
        pass


def test_service_ends_with_the_block(package_folder):
    with trial.running(package_folder) as service:
        pass
    with pytest.raises(FastrecError, match="was not ready"):
        trial._wait_until_ready(service.port, 0.0)


@pytest.mark.parametrize("most", [0, -1])
def test_no_pictures_are_refused(run, most):
    with pytest.raises(FastrecError, match="take at least 1"):
        samples.draw(run.read(PREDICTIONS), most, 0)


def test_draw_is_the_same_each_time_and_in_order(run):
    table = run.read(PREDICTIONS)
    first, again, other = (samples.draw(table, 4, seed)["image_id"].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert samples.draw(table, 100, 0)["image_id"].tolist() == table["image_id"].tolist()
    assert [i for i in table["image_id"] if i in first] == first


# ------------------------------------------------------------------------ in the notebook


def tried(run):
    return run.read(PREDICTIONS)[["image_id", "path", "label", "predicted", "score"]]


def test_executed_without_a_reader_the_widget_is_a_figure(run, monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    figure = widgets.try_model(run, run.path(PACKAGE), tried(run))
    assert isinstance(figure, Figure)
    assert sum(bool(axis.images) for axis in figure.axes) == 8
    figure.canvas.draw()


def uploaded(name, data):
    return (
        {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": datetime.now(UTC)},
    )


def test_reader_gets_an_upload_that_answers_and_refuses(run, monkeypatch, photo, encode, capsys):
    monkeypatch.setenv("JPY_SESSION_NAME", "x")
    chooser, _ = widgets.try_model(run, run.path(PACKAGE), tried(run)).children
    chooser.set_trait("value", uploaded("a.png", encode(photo(20, 20))))
    assert capsys.readouterr().out.count("Figure") == 2
    chooser.set_trait("value", uploaded("b$.png", b""))
    assert capsys.readouterr().out.endswith("b$.png is empty (0 bytes): get the file again.\n")


def test_bars_show_the_likeliest_classes(run, photo, encode):
    answer = Predictor(run.path(PACKAGE)).predict(encode(photo(20, 20)))
    axis = widgets.bars(answer, most=2).axes[0]
    assert len(axis.patches) == 2
    assert axis.patches[-1].get_width() == pytest.approx(answer.score)
