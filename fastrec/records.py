"""The typed JSON records that pass between stages: what `fastrec.artefacts` names, field by field."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fastrec.formats import Model

Resize = Literal["squish", "crop", "pad"]


class SourceCard(Model):
    """Where some of the pictures come from, and under which terms."""

    source: str
    fingerprint: str
    images: int  # usable ones
    licence: str
    licence_from: str  # the file that says so, or who


class DataCard(Model):
    """What a reader should know of a data set before trusting what was learnt from it; see `fastrec.collect.card`."""

    sources: list[SourceCard]
    images: int
    multi_label: bool
    crops: int  # images that are a box of a larger picture
    classes: dict[str, int]  # images of each
    formats: dict[str, int]
    modes: dict[str, int]
    width: tuple[int, float, int]  # smallest, median, largest, in pixels
    height: tuple[int, float, int]
    bytes: tuple[int, float, int]
    groups: int  # that keep several images on one side of every split
    given_splits: dict[str, int]  # images that the source itself assigned
    label_map: list[str]
    limit: int | None  # at most so many images per class were taken
    refused: dict[str, int]  # by code of REJECTED
    faults: dict[str, int]  # by issue of QUALITY
    warnings: list[str]  # what concerns the set as a whole


class CacheInfo(Model):
    """How ``images.npy`` was made, and the statistics of its train rows."""

    n: int
    size: int
    resize: Resize
    mean: list[float]  # per channel, on the scale 0 to 1, over the train split only
    std: list[float]
    classes: list[str]
    multi_label: bool = False  # a picture may have several labels
    channels: int = 3  # 1: grey, see fastrec.channels


class Preprocessing(Model):
    """What happens to an upright RGB image between the decoder and the network."""

    size: int
    resize: Resize
    mean: list[float]
    std: list[float]
    channels: int = 3  # 1: grey, see fastrec.channels


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

    @model_validator(mode="after")
    def _thresholds_tell_of_several_labels(self) -> Self:
        if (len(self.thresholds) if self.thresholds is not None else 0) != self.multi_label * len(self.classes):
            raise ValueError("thresholds: a multi-label bundle has one for each class, any other none")
        return self


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
    multi_label: bool = False
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
    confusion: list[list[int]]  # rows: label, columns: predicted, in the order of ``classes``; see `fastrec.evaluate`


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
