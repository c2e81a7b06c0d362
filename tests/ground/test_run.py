"""A run's doors: what they let through is whole and fits, what they refuse is named with its cure."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec import files, provenance
from fastrec import run as run_module
from fastrec.artefacts import (
    BUNDLE,
    CACHE,
    DECISIONS,
    DRIFT,
    IMAGES,
    MANIFEST,
    METRICS,
    PACKAGE,
    QUALITY,
    REJECTED,
    SPLITS,
    STAGES,
    stage_folder,
)
from fastrec.files import FastrecError
from fastrec.records import CacheInfo
from fastrec.run import PIPELINE_HOLDS, Run, home, notebook

INFO = CacheInfo(n=1, size=8, resize="squish", mean=[0.5] * 3, std=[0.2] * 3, classes=["a"])


@pytest.fixture(autouse=True)
def notebooks(tmp_path, monkeypatch):
    """Give every stage a notebook in the test's own home, and let no test leave a lock behind."""
    monkeypatch.delenv(PIPELINE_HOLDS, raising=False)
    (tmp_path / "notebooks").mkdir()
    parameters = {"cell_type": "code", "source": "run_name: str = 'r'\nseed: int = 0\nsize: int = 8\n"}
    parameters["metadata"] = {"tags": ["parameters"]}
    for stage in STAGES:
        code = {"cell_type": "code", "source": f"print('{stage}')", "metadata": {}}
        path = tmp_path / "notebooks" / f"{stage_folder(stage)}.ipynb"
        path.write_text(json.dumps({"cells": [parameters, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    yield tmp_path / "notebooks"
    for path in list(files._held):
        files.unlock(path)


@pytest.fixture
def run():
    return Run("r")


def manifest(*ids: str) -> pd.DataFrame:
    rows = [
        {"image_id": k, "path": f"{k}.png", "labels": ["a"], "group": None, "split_hint": None, "width": 8, "height": 8}
        | {"mode": "RGB", "format": "PNG", "bytes": 99, "box": None, "source": "folder:x", "warnings": []}
        for k in ids
    ]
    return pd.DataFrame(rows, columns=MANIFEST.schema.names)


def rejected(*codes: str) -> pd.DataFrame:
    return pd.DataFrame([{"path": "x", "code": code, "message": "m"} for code in codes], columns=REJECTED.schema.names)


# -------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "-rf", ".hidden", "a b", "ä", "a\n", "n" * 101, 5]
)
def test_run_names_that_could_leave_the_folder_are_refused(name):
    with pytest.raises(FastrecError, match=r"^run name .* is not usable: take letters"):
        Run(name)


@pytest.mark.parametrize("name", ["", "..", "../../x", "a/b", "/etc"])
def test_bundle_names_that_could_leave_the_folder_are_refused(run, name):
    for door in (run.read, run.has, run.path):
        with pytest.raises(FastrecError, match=r"^bundle name .* is not usable"):
            door(BUNDLE, name, "train")
    with pytest.raises(FastrecError, match=r"^stage 'wash' is unknown: take one of collect, "):
        run.read(BUNDLE, "fastnet", "wash")


def test_home_is_what_the_environment_says_wherever_the_process_stands(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert home() == tmp_path.resolve()
    assert Run("r").folder == tmp_path.resolve() / "runs" / "r"
    monkeypatch.delenv("FASTREC_HOME")
    assert home() == run_module.ROOT
    monkeypatch.setattr(run_module, "ROOT", tmp_path / "nowhere")
    with pytest.raises(FastrecError, match="set it to the folder"):
        home()


def test_the_homes_own_notebook_goes_before_the_projects(notebooks):
    assert notebook("train").parent == notebooks
    (notebooks / "03_train.ipynb").unlink()
    assert notebook("train") == run_module.ROOT / "notebooks" / "03_train.ipynb"


@given(
    st.binary(min_size=1, max_size=40).filter(lambda name: not set(b"\0/") & set(name) and name not in (b".", b".."))
)
def test_every_file_name_survives_the_way_through_a_manifest(name):
    run = Run("r")
    for path in (home() / "data" / os.fsdecode(name), Path("/elsewhere") / os.fsdecode(name)):
        short = run.shorten(path)
        short.encode("utf-8")
        assert run.locate(short) == path


# --------------------------------------------------------------------- reading and writing


def test_a_table_goes_and_comes_some_rows_at_a_time_and_by_columns(run):
    whole = pa.table(
        {"path": [str(k) for k in range(5)], "code": ["empty"] * 5, "message": [None] * 5}, REJECTED.schema
    )
    run.write(REJECTED, iter(whole.to_batches(2)))
    assert pa.Table.from_batches(run.parts(REJECTED, 3)) == whole
    assert run.read(REJECTED)["path"].tolist() == ["0", "1", "2", "3", "4"]
    assert list(run.read(REJECTED, columns=["code", "path"]).columns) == ["code", "path"]
    path = run.path(REJECTED)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FastrecError, match="is damaged"):
        list(run.parts(REJECTED, 3))


def test_rows_that_cannot_be_made_leave_the_old_table(run):
    run.write(REJECTED, rejected("old"))

    def broken():
        yield from pa.Table.from_pandas(rejected("new"), REJECTED.schema, preserve_index=False).to_batches()
        raise FastrecError("no more")

    with pytest.raises(FastrecError, match="no more"):
        run.write(REJECTED, broken())
    assert run.read(REJECTED)["code"].tolist() == ["old"]


def test_tables_records_and_folders_come_back_as_written(run):
    table = manifest("one", "two").astype({"width": "float64"})  # whole numbers that pandas made floats
    run.write(MANIFEST, table)
    back = run.read(MANIFEST)
    assert list(back.columns) == MANIFEST.schema.names
    assert back["width"].tolist() == [8, 8]
    assert back["labels"].map(list).tolist() == [["a"], ["a"]]
    assert back["group"].isna().all()
    run.write(MANIFEST, back)
    run.write(CACHE, INFO)
    assert run.read(CACHE) == INFO
    with run.writing(IMAGES) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.arange(8, dtype=np.uint8))
    array = run.read(IMAGES)
    assert array.tolist() == list(range(8))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_an_empty_table_keeps_its_columns_and_types(run):
    run.write(REJECTED, rejected())
    assert list(run.read(REJECTED).columns) == REJECTED.schema.names
    assert len(run.read(REJECTED)) == 0


def test_a_table_that_lacks_a_column_is_refused_by_name(run):
    with pytest.raises(FastrecError, match=r"^02_preprocess/splits\.parquet lacks the columns fold, row: add them"):
        run.write(SPLITS, pd.DataFrame(columns=["image_id", "label", "split", "group"]))
    assert not run.has(SPLITS)


@pytest.mark.parametrize(("column", "value"), [("width", "wide"), ("width", 1.5), ("labels", "a"), ("path", "\udcff")])
def test_a_table_of_the_wrong_type_is_refused_and_the_old_one_stays(run, column, value):
    run.write(MANIFEST, manifest("one"))
    wrong = manifest("one").astype(object)
    wrong[column] = pd.Series([value], dtype=object)
    with pytest.raises(FastrecError, match=r"^01_collect/manifest\.parquet does not fit its schema \(.+\): mend"):
        run.write(MANIFEST, wrong)
    assert run.read(MANIFEST)["image_id"].tolist() == ["one"]


def test_a_record_that_does_not_fit_is_refused_by_field(run):
    with pytest.raises(FastrecError, match=r"^02_preprocess/cache\.json does not fit its schema \(size: .*integer"):
        run.write(CACHE, INFO.model_dump() | {"size": "large"})
    with pytest.raises(FastrecError, match=r"cache\.json does not fit its schema \(colour: Extra inputs"):
        run.write(CACHE, INFO.model_dump() | {"colour": 1})
    with pytest.raises(FastrecError, match=r"cache\.json does not fit its schema \(mean\.0: .*finite"):
        run.write(CACHE, INFO.model_dump() | {"mean": [float("nan")]})
    assert not run.has(CACHE)


@pytest.mark.parametrize("artefact", [MANIFEST, QUALITY, SPLITS, IMAGES, CACHE, METRICS, PACKAGE, DRIFT])
def test_what_is_missing_names_the_notebook_and_the_command(run, artefact):
    folder = artefact.file.split("/")[0]
    with pytest.raises(FastrecError) as missing:
        run.read(artefact)
    stage = folder[3:]
    assert str(missing.value) == (
        f"{artefact.file} is missing in run 'r': run notebooks/{folder}.ipynb first "
        f"(or `fastrec run --run r --to {stage}`)."
    )


def damage_empty(data):
    return b""


def damage_cut(data):
    return data[: len(data) // 2]


def damage_noise(data):
    return np.random.default_rng(0).bytes(200)


def damage_archive(data):
    return b"PK\x03\x04" + bytes(60)


@pytest.mark.parametrize("damage", [damage_empty, damage_cut, damage_noise, damage_archive])
@pytest.mark.parametrize("artefact", [MANIFEST, CACHE, IMAGES, DECISIONS])
def test_damage_is_one_sentence_with_file_and_cure(run, artefact, damage):
    run.write(MANIFEST, manifest("one"))
    run.write(CACHE, INFO)
    run.write(DECISIONS, pd.DataFrame([{"image_id": "a", "action": "drop", "labels": [], "time": ""}]))
    with run.writing(IMAGES) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.zeros(1000, np.uint8))
    path = run.path(artefact)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FastrecError) as caught:
        run.read(artefact)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} is damaged (")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ("restore it" if artefact is DECISIONS else "run notebooks/0") in sentence


def test_one_flipped_bit_in_a_table_is_found(run):
    ids = [hashlib.sha256(bytes([k])).hexdigest() for k in range(20)]
    run.write(MANIFEST, manifest(*ids))
    path, content = run.path(MANIFEST), run.read(MANIFEST).to_json()
    whole = path.read_bytes()
    texts = [whole.find(name[8:24].encode()) for name in ids]  # where compression left a name as it is
    assert max(texts) > 0
    for place in (*texts, *range(len(whole) // 8, len(whole), len(whole) // 12)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x08
        path.write_bytes(flipped)
        try:
            assert run.read(MANIFEST).to_json() == content, f"the flip at byte {place} went unnoticed"
        except FastrecError:
            continue


def test_other_columns_of_an_older_version_are_told(run):
    run.write(REJECTED, rejected("a"))
    run.read(REJECTED).rename(columns={"code": "kind"}).to_parquet(run.path(REJECTED))
    with pytest.raises(FastrecError, match=r"columns \['path', 'kind', 'message'\] instead of \['path', 'code'"):
        run.read(REJECTED)


def test_an_array_of_pickled_objects_is_never_loaded(run, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    with run.writing(IMAGES) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(FastrecError, match="is damaged"):
        run.read(IMAGES)
    assert not (tmp_path / "ran").exists()


def test_a_bundle_whose_replacement_was_killed_is_back_for_its_reader(run):
    with run.writing(BUNDLE, "fastnet", "train") as temporary:
        temporary.mkdir()
        (temporary / "model.json").write_text("{}")
    path = run.path(BUNDLE, "fastnet", "train")
    path.rename(path.with_name(".fastnet.old"))
    assert run.has(BUNDLE, "fastnet", "train")
    path.rename(path.with_name(".fastnet.old"))
    assert (run.read(BUNDLE, "fastnet", "train") / "model.json").is_file()


# ------------------------------------------------------------------------- a stage's life


def test_a_stage_is_running_until_it_is_done_and_says_what_it_used(run):
    run.write(MANIFEST, manifest("one"))
    run.start("preprocess", {"run_name": "r", "size": 16, "seed": 7, "unrelated": object()})
    record = Run("r").record("preprocess")
    assert record.state == "running"
    assert record.parameters == {"run_name": "r", "seed": 7, "size": 16}
    assert (record.seed, record.pid) == (7, os.getpid())
    run.read(MANIFEST)
    run.note_outside("folder:/photos", "abc")
    run.write(CACHE, INFO)
    run.read(CACHE)
    assert run.finish() == "preprocess is done: 1 outputs in runs/r"
    record = Run("r").record("preprocess")
    assert record.state == "done"
    assert record.inputs == {MANIFEST.file: files.checksum(run.path(MANIFEST)), "folder:/photos": "abc"}
    assert record.outputs == {CACHE.file: files.checksum(run.path(CACHE))}
    assert record.code == provenance.code_fingerprint(notebook("preprocess"))
    assert record.peak_memory > 2**20
    assert record.versions["python"]


def test_the_record_is_the_last_thing_written(run):
    run.start("preprocess", {})
    run.write(CACHE, INFO)
    assert Run("r").record("preprocess").outputs == {}
    run.finish()
    assert Run("r").record("preprocess").outputs.keys() == {CACHE.file}


def test_a_stage_that_is_not_open_cannot_finish(run):
    with pytest.raises(FastrecError, match="no stage is open"):
        run.finish()
    run.start("collect", {})
    run.finish()
    with pytest.raises(FastrecError, match="no stage is open"):
        run.finish()


def test_an_unknown_stage_and_a_broken_notebook_take_no_lock(run, notebooks):
    with pytest.raises(FastrecError, match="stage 'wash' is unknown"):
        run.start("wash", {})
    (notebooks / "01_collect.ipynb").write_text("{}")
    with pytest.raises(FastrecError, match=r"01_collect\.ipynb is missing or not a notebook"):
        run.start("collect", {})
    assert not run.folder.exists()


@pytest.mark.parametrize("change", ["rewritten", "removed"])
def test_an_input_that_changes_while_the_stage_runs_stops_it(run, change):
    run.write(MANIFEST, manifest("one"))
    run.start("preprocess", {})
    run.read(MANIFEST)
    if change == "rewritten":
        Run("r").write(MANIFEST, manifest("two"))
    else:
        run.path(MANIFEST).unlink()
    with pytest.raises(FastrecError, match=r"^01_collect/manifest\.parquet changed while preprocess ran: run preproc"):
        run.finish()
    assert Run("r").record("preprocess").state == "running"


def test_an_outside_address_that_is_also_a_path_is_no_input_file(run, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label")
    run.start("collect", {})
    run.note_outside(str(tmp_path / "labels.csv"), "not the sha256 of the file")
    run.finish()


def collected(run: Run) -> Run:
    run.start("collect", {})
    run.write(MANIFEST, manifest("one"))
    run.finish()
    return run


def test_what_a_killed_stage_left_is_not_built_upon(run):
    collected(run).start("collect", {})  # begun again, and never finished
    run.unlock()
    later = Run("r").start("preprocess", {})
    with pytest.raises(
        FastrecError, match=r"^01_collect/manifest\.parquet is of a collect that did not finish: run no"
    ):
        later.read(MANIFEST)
    assert len(Run("r").read(MANIFEST)) == 1, "looking at it stays possible"


def test_an_artefact_that_its_stage_did_not_write_is_noticed(run):
    collected(run)
    Run("r").write(MANIFEST, manifest("two"))
    run.start("preprocess", {})
    with pytest.raises(FastrecError, match=r"^01_collect/manifest\.parquet is not what collect wrote"):
        run.read(MANIFEST)


@pytest.mark.parametrize("text", ["", "{", '{"stage": "collect"}', "\udcff"])
def test_an_unreadable_record_counts_as_none(run, text):
    collected(run)
    (run.folder / "01_collect" / "stage.json").write_bytes(os.fsencode(text))
    assert run.record("collect") is None


# ------------------------------------------------------------------------------- one writer

START = """
import sys, time
from fastrec.run import Run
from fastrec.files import FastrecError
try:
    Run("r").start("collect", {})
    print("started", flush=True)
    time.sleep(60)
except FastrecError as error:
    print(error, flush=True)
"""


def elsewhere(**environment: str) -> subprocess.Popen:
    """Start the collect stage in another process; its first line says how that went."""
    everything = {**os.environ, **environment}
    return subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, text=True, env=everything)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def other(run):
    process = elsewhere()
    assert process.stdout.readline() == "started\n"
    yield process
    end(process)


def test_a_second_writer_is_refused_at_once_and_leaves_no_trace(run, other):
    with pytest.raises(FastrecError, match=f"runs/r is in use by process {other.pid} on "):
        run.start("collect", {})
    assert Run("r").record("collect").pid == other.pid
    Run("s").start("collect", {})  # another run is free
    assert run.record("collect").state == "running", "reading is free"


def test_a_killed_writer_holds_nobody_up(run, other):
    end(other)
    run.start("collect", {})
    assert run.record("collect").pid == os.getpid()


def test_finish_lets_the_next_writer_in(run):
    run.start("collect", {})
    run.finish()
    process = elsewhere()
    assert process.stdout.readline() == "started\n"
    end(process)


def test_a_kernel_writes_under_its_pipelines_lock_and_a_stranger_does_not(run):
    files.lock(run.folder / ".pipeline.lock")
    assert f"in use by process {os.getpid()}" in elsewhere().communicate()[0]
    kernel = elsewhere(**{PIPELINE_HOLDS: str(run.folder)})
    assert kernel.stdout.readline() == "started\n"
    end(kernel)


def test_the_kernel_of_a_killed_pipeline_is_outwaited_then_named(run, monkeypatch):
    kernel = elsewhere(**{PIPELINE_HOLDS: str(run.folder)})  # holds the kernel's lock; its pipeline is gone
    assert kernel.stdout.readline() == "started\n"
    monkeypatch.setattr(run_module, "PATIENCE", 0.3)
    with pytest.raises(FastrecError, match=f"in use by process {kernel.pid}"):
        run.start("collect", {})
    end(kernel)
    later = elsewhere()
    assert later.stdout.readline() == "started\n", "the refused writer kept half of the lock"
    end(later)
