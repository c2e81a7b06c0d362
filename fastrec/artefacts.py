"""Every file that passes between stages: its place, its schema and its check.

``Run.read`` and ``Run.write`` take these names and nothing else: this page is the whole contract between
one notebook and the next.  `fastrec.formats` tells what tables, records, arrays and folders are.
"""

from __future__ import annotations

import pyarrow as pa

from fastrec.formats import Array, Folder, Record, Table
from fastrec.records import CacheInfo, DataCard, DeployRecord, Drift, Metrics, StageRecord

STAGES = ("collect", "preprocess", "train", "tune", "evaluate", "deploy", "monitor")
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
        image_id=TEXT,  # sha256 of the file's bytes; with a box half of that and half of the box's
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

CARD = Record("01_collect/card.json", DataCard)

STATISTICS = ("width", "height", "brightness", "contrast", "sharpness", "saturation")
SEEN = Table(  # what one decode told about each content, so that none is decoded twice
    "01_collect/seen.parquet",
    _columns(
        image_id=TEXT,
        code=TEXT,  # of the refusal; null where the picture is usable, and what follows is null where it is not
        message=TEXT,
        mode=TEXT,
        format=TEXT,
        bytes=WHOLE,
        warnings=TEXTS,
        thumbnail=pa.binary(),  # 16 x 16 x 3 levels, squished
        width=WHOLE,
        height=WHOLE,
        **dict.fromkeys(STATISTICS[2:], REAL),  # of the picture at 64 pixels, see fastrec.images.statistics
        coarse_sharpness=REAL,  # of the thumbnail
        decoder=TEXT,  # fingerprint of the decoder that told this: what another told counts no more
    ),
)

DECISIONS = Table(  # made by hand in the widgets, applied by the next run of collect; originals stay as they are
    "decisions.parquet", _columns(image_id=TEXT, action=TEXT, labels=TEXTS, time=TEXT)
)

# ------------------------------------------------------------------------- 02_preprocess

SPLITS = Table(
    "02_preprocess/splits.parquet",
    _columns(image_id=TEXT, label=TEXT, split=TEXT, fold=WHOLE, group=TEXT, row=WHOLE),  # label: see fastrec.labels
)
IMAGES = Array("02_preprocess/images.npy")  # uint8, (n, height, width, channels)

CACHE = Record("02_preprocess/cache.json", CacheInfo)

# ------------------------------------------------------------------ 03_train and 04_tune

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

METRICS = Record("05_evaluate/metrics.json", Metrics)

# ----------------------------------------------------------------------------- 06_deploy

PACKAGE = Folder("06_deploy/package")

DEPLOYMENT = Record("06_deploy/deployment.json", DeployRecord)

# ---------------------------------------------------------------------------- 07_monitor

LOG_FILE = "07_monitor/predictions.db"

DRIFT = Record("07_monitor/drift.json", Drift)

# --------------------------------------------------------------------------- every stage

ABSENT = "absent"  # the checksum of an input that was not there; should it come, the stage is out of date


def stage_record(stage: str) -> Record:
    """Return the name of a stage's own record."""
    return Record(f"{stage_folder(stage)}/stage.json", StageRecord)
