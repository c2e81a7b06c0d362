"""Every file that passes between stages: its place, its schema and its check.

``Run.read`` and ``Run.write`` take these names and nothing else: this page is the whole contract between
one notebook and the next.  `fastrec.formats` tells what tables, records, arrays and folders are.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from fastrec.formats import Array, Folder, Model, Record, Table

STAGES = ("collect", "preprocess", "train", "tune", "evaluate", "deploy", "monitor")
Resize = Literal["squish", "crop"]
SPLITS_ORDER = ("train", "valid", "test")


def stage_folder(stage: str) -> str:
    """Return the folder and notebook stem of a stage: ``train`` gives ``03_train``."""
    return f"{STAGES.index(stage) + 1:02d}_{stage}"


def _columns(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


TEXT, TEXTS, WHOLE, REAL = pa.string(), pa.list_(pa.string()), pa.int64(), pa.float64()

# ---------------------------------------------------------------------------- 01_collect

MANIFEST = Table(
    "01_collect/manifest.parquet",
    _columns(
        image_id=TEXT,  # sha256 of the file's bytes; with a box also of the box
        path=TEXT,  # below the home folder where possible, else absolute
        labels=TEXTS,
        group=TEXT,  # images of one group never sit on both sides of a split
        split_hint=TEXT,  # the split that the source itself gave, or null
        width=WHOLE,
        height=WHOLE,
        mode=TEXT,
        format=TEXT,
        bytes=WHOLE,
        box=pa.list_(REAL),  # left, top, width, height in pixels, or null
        source=TEXT,
        warnings=TEXTS,
    ),
)
REJECTED = Table("01_collect/rejected.parquet", _columns(path=TEXT, code=TEXT, message=TEXT))
QUALITY = Table(
    "01_collect/quality.parquet", _columns(issue=TEXT, image_id=TEXT, other_id=TEXT, value=REAL, message=TEXT)
)

DECISIONS = Table(  # made by hand in the widgets, applied by the next run of collect; originals stay as they are
    "decisions.parquet", _columns(image_id=TEXT, action=TEXT, labels=TEXTS, time=TEXT)
)

# ------------------------------------------------------------------------- 02_preprocess

SPLITS = Table(
    "02_preprocess/splits.parquet",
    _columns(image_id=TEXT, label=TEXT, split=TEXT, fold=WHOLE, group=TEXT, row=WHOLE),
)
IMAGES = Array("02_preprocess/images.npy")  # uint8, (n, height, width, 3)


class CacheInfo(Model):
    """How ``images.npy`` was made, and the statistics of its train rows."""

    n: int
    size: int
    resize: Resize
    mean: list[float]  # per channel, on the scale 0 to 1, over the train split only
    std: list[float]
    classes: list[str]


CACHE = Record("02_preprocess/cache.json", CacheInfo)

# ------------------------------------------------------------------ 03_train and 04_tune


class Preprocessing(Model):
    """What happens to an upright RGB image between the decoder and the network."""

    size: int
    resize: Resize
    mean: list[float]
    std: list[float]


class BundleRecord(Model):
    """``model.json``: all that is needed to use the weights beside it, without fastai or pickle."""

    name: str
    stage: str
    run: str
    architecture: str  # a timm name
    architecture_options: dict[str, Any] = Field(default={})
    classes: list[str]
    multi_label: bool = False
    preprocessing: Preprocessing
    thresholds: list[float] | None = None  # one per class, multi-label only
    temperature: float = 1.0  # logits are divided by it before the softmax
    parameters: int  # how many weights the network has
    valid: dict[str, float]  # metrics on the valid split: what choices may rest on
    weights_sha256: str
    data_sha256: str  # of the splits table the weights were trained with
    created: str
    versions: dict[str, str]


BUNDLE = Folder("{stage}/{name}")
HISTORY = Table(
    "03_train/history.parquet",
    _columns(
        **{"epoch": WHOLE, "train_loss": REAL, "train_accuracy": REAL, "valid_loss": REAL},
        **{"valid_accuracy": REAL, "valid_macro_f1": REAL, "lr": REAL, "seconds": REAL},
    ),
)
TRIALS = Table(
    "04_tune/trials.parquet",
    _columns(trial=WHOLE, state=TEXT, value=REAL, seconds=REAL, parameters=TEXT, reason=TEXT),
)
STUDY = "04_tune/study.db"
FOLDS = Table(
    "04_tune/folds.parquet", _columns(image_id=TEXT, fold=WHOLE, label=TEXT, predicted=TEXT, scores=pa.list_(REAL))
)

# --------------------------------------------------------------------------- 05_evaluate

STATISTICS = ("width", "height", "brightness", "contrast", "sharpness", "saturation")
PREDICTIONS = Table(
    "05_evaluate/predictions.parquet",
    _columns(
        image_id=TEXT,
        path=TEXT,
        label=TEXT,
        predicted=TEXT,
        score=REAL,
        scores=pa.list_(REAL),  # in the order of the bundle's classes
        bundle=TEXT,
        **dict.fromkeys(STATISTICS, REAL),
    ),
)


class Interval(Model):
    """A figure with its 95 % bootstrap interval; null where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


class PerClass(Model):
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


class Baseline(Model):
    accuracy: Interval
    macro_f1: Interval
    what: str


class Candidate(Model):
    """One bundle on the test split, and the paired test of its accuracy against the chosen one."""

    bundle: str
    chosen: bool
    valid_accuracy: float
    accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    difference: Interval  # accuracy minus the chosen bundle's
    p_value: float | None  # exact McNemar test
    parameters: int


class Metrics(Model):
    """``metrics.json``: the chosen bundle on the test split."""

    bundle: str
    n: int
    classes: list[str]
    accuracy: Interval
    balanced_accuracy: Interval
    macro_precision: Interval
    macro_recall: Interval
    macro_f1: Interval
    weighted_f1: Interval
    log_loss: Interval
    ece: Interval
    per_class: dict[str, PerClass]
    baselines: dict[str, Baseline]
    candidates: list[Candidate]
    confusion: list[list[int]]  # rows: label, columns: predicted, in the order of ``classes``


METRICS = Record("05_evaluate/metrics.json", Metrics)

# ----------------------------------------------------------------------------- 06_deploy

PACKAGE = Folder("06_deploy/package")


class Speed(Model):
    """How fast and how big the deployed model is on the machine that made it."""

    requests: int
    milliseconds_median: float  # one picture through the served model, decoding included
    milliseconds_p95: float
    ready_seconds: float  # from the service's start to its first answer
    package_bytes: int
    model_bytes: int


class Parity(Model):
    """The largest difference of a probability between two ways to the same picture's answer."""

    pictures: int
    onnx_torch: float  # the exported graph against the trained network
    served_offline: float | None  # the service's answer against evaluate's prediction


class DeployRecord(Model):
    parity: Parity
    speed: Speed
    bundle: str


DEPLOYMENT = Record("06_deploy/deployment.json", DeployRecord)

# ---------------------------------------------------------------------------- 07_monitor

LOG_FILE = "07_monitor/predictions.db"


class Check(Model):
    """One comparison of live traffic with the reference."""

    name: str
    method: str
    statistic: float | None
    threshold: float  # of the statistic
    p_value: float | None = None  # corrected for the number of checks
    drifted: bool | None  # null: not enough data to say
    n_reference: int
    n_live: int
    note: str = ""


class Drift(Model):
    state: Literal["ok", "drift", "insufficient_data"]
    traffic: Literal["real", "self-test", "none"] = "real"  # self-test: only what deploy itself sent to try the service
    bundle: str = ""  # whose answers are compared: the served one
    checks: list[Check]
    reference_sha256: str
    n_reference: int
    n_live: int


DRIFT = Record("07_monitor/drift.json", Drift)

# --------------------------------------------------------------------------- every stage


class StageRecord(Model):
    """``<stage>/stage.json``, written last: the only word on how far a stage came."""

    stage: str
    run: str
    state: Literal["running", "done", "failed"]
    parameters: dict[str, Any] = Field(default={})
    inputs: dict[str, str] = Field(default={}, description="file of the run, or outside address -> checksum")
    outputs: dict[str, str] = Field(default={})
    code: str = ""
    seed: int | None = None
    seconds: float = 0.0
    peak_memory: int = 0  # bytes
    versions: dict[str, str] = Field(default={})
    started: str
    pid: int
    host: str
    error: str | None = None


ABSENT = "absent"  # the checksum of an input that was not there; should it come, the stage is out of date


def stage_record(stage: str) -> Record:
    """Return the name of a stage's own record."""
    return Record(f"{stage_folder(stage)}/stage.json", StageRecord)
