"""The contract between the stages: places, columns and fields that others rely on."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from fastrec import artefacts, records
from fastrec.artefacts import STAGES, stage_folder, stage_record
from fastrec.formats import Array, Folder, Model, Record, Table, reason
from fastrec.records import Interval

PLACES = {
    "MANIFEST": "01_collect/manifest.parquet",
    "REJECTED": "01_collect/rejected.parquet",
    "QUALITY": "01_collect/quality.parquet",
    "SPLITS": "02_preprocess/splits.parquet",
    "IMAGES": "02_preprocess/images.npy",
    "CACHE": "02_preprocess/cache.json",
    "HISTORY": "03_train/history.parquet",
    "TRIALS": "04_tune/trials.parquet",
    "FOLDS": "04_tune/folds.parquet",
    "PREDICTIONS": "05_evaluate/predictions.parquet",
    "METRICS": "05_evaluate/metrics.json",
    "PACKAGE": "06_deploy/package",
    "DRIFT": "07_monitor/drift.json",
}
COLUMNS = {
    "MANIFEST": "image_id path labels group split_hint width height mode format bytes box source warnings",
    "REJECTED": "path code message",
    "QUALITY": "issue image_id other_id value message",
    "SPLITS": "image_id split fold group row",
    "PREDICTIONS": "image_id path label predicted score scores bundle",
}
FIGURES = "accuracy balanced_accuracy macro_precision macro_recall macro_f1 weighted_f1 log_loss ece"


@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_every_artefact_lies_where_the_contract_says(name, place):
    assert getattr(artefacts, name).file == place


@pytest.mark.parametrize(("name", "columns"), COLUMNS.items())
def test_every_table_has_the_columns_of_the_contract(name, columns):
    assert set(columns.split()) <= set(getattr(artefacts, name).schema.names)


def test_metrics_hold_the_figures_of_the_contract_each_with_its_interval():
    fields = records.Metrics.model_fields
    assert all(fields[name].annotation is Interval for name in FIGURES.split())
    assert {"bundle", "n", "per_class", "baselines", "candidates"} <= set(fields)
    assert {"value", "low", "high"} <= set(Interval.model_fields)
    assert {"precision", "recall", "f1", "support"} == set(records.PerClass.model_fields)


def test_drift_checks_and_stage_records_hold_what_the_contract_names():
    assert {"statistic", "threshold", "drifted", "n_reference", "n_live"} <= set(records.Check.model_fields)
    named = {"state", "parameters", "inputs", "outputs", "seconds", "peak_memory", "versions", "seed"}
    assert named <= set(records.StageRecord.model_fields)


def test_bundle_records_hold_what_the_contract_names():
    named = {"architecture", "classes", "preprocessing", "thresholds", "temperature", "run", "versions"}
    assert named <= set(records.BundleRecord.model_fields)


def test_stages_number_themselves():
    assert [stage_folder(stage)[:3] for stage in STAGES] == [f"{k:02d}_" for k in range(1, 8)]
    assert stage_record("tune").file == "04_tune/stage.json"


def every() -> list[Table | Record | Array | Folder]:
    return [value for value in vars(artefacts).values() if isinstance(value, Table | Record | Array | Folder)]


def test_no_two_artefacts_share_a_file():
    files = [artefact.file for artefact in every()]
    assert len(files) == len(set(files)) > 12


def test_every_table_is_of_types_that_parquet_and_pandas_keep():
    kinds = {
        pa.string(),
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.binary(),
        pa.list_(pa.string()),
        pa.list_(pa.float64()),
    }
    tables = [artefact for artefact in every() if isinstance(artefact, Table)]
    assert all(set(table.schema.types) <= kinds for table in tables)


def test_every_record_refuses_unknown_fields_and_not_a_number():
    models = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Model)]
    assert all(kind.model_config["extra"] == "forbid" for kind in models)
    for wrong in ({"value": float("nan")}, {"value": 1.0, "colour": "red"}):
        with pytest.raises(ValidationError):
            Interval.model_validate(wrong)
    assert Interval(value=None, note="no image of that class").value is None


def test_a_reason_is_one_line_that_names_the_field():
    with pytest.raises(ValidationError) as caught:
        records.Baseline.model_validate({"accuracy": {"value": "x"}, "macro_f1": {"value": 1}, "what": "w"})
    assert reason(caught.value).startswith("accuracy.value: Input should be a valid number")
    assert reason(ValueError("first line.\nsecond")) == "first line"
    assert reason(EOFError()) == "EOFError"
