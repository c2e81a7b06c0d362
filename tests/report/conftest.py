"""A run with every artefact and an executed notebook per stage, made without executing anything."""

import base64
from collections.abc import Callable, Sequence

import nbformat
import numpy as np
import pandas as pd
import pytest

from fastrec import artefacts as a
from fastrec import records
from fastrec.plots import png
from fastrec.run import Run

PER_CLASS = 12
RunMaker = Callable[..., Run]


def interval(value: float, half: float = 0.01) -> records.Interval:
    return records.Interval(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def tables(classes: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return manifest, splits and predictions; every fourth test picture is taken for the next class."""
    labels = [label for label in classes for _ in range(PER_CLASS)]
    rows = range(len(labels))
    ids = [2 * f"{row:032d}" for row in rows]
    manifest = pd.DataFrame(
        {
            "image_id": ids,
            "path": [f"data/{label}/{row}.png" for row, label in zip(rows, labels, strict=True)],
            "labels": [[label] for label in labels],
            "group": None,
            "split_hint": None,
            "width": 8,
            "height": 8,
            "mode": "RGB",
            "format": "PNG",
            "bytes": 100,
            "box": None,
            "source": "digits",
            "warnings": [[] for _ in rows],
        }
    )
    split = [("train", "valid", "test")[row % 3] for row in rows]
    splits = pd.DataFrame({"image_id": ids, "label": labels, "split": split, "fold": 0, "group": None, "row": rows})
    test = splits[splits["split"] == "test"].reset_index(drop=True)
    wrong = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    predictions = pd.DataFrame(
        {
            "image_id": test["image_id"],
            "path": "data/x.png",
            "label": test["label"],
            "predicted": [wrong[label] if k % 4 == 0 else label for k, label in enumerate(test["label"])],
            "score": 0.75,
            "scores": [[1.0 / len(classes)] * len(classes) for _ in range(len(test))],
            "bundle": "03_train/fastnet",
            **dict.fromkeys(a.STATISTICS, 1.0),
        }
    )
    return manifest, splits, predictions


def metrics(classes: Sequence[str], accuracy: float) -> records.Metrics:
    size = len(classes)
    confusion = np.eye(size, dtype=int) * 3
    confusion[range(size), np.roll(range(size), -1)] = 1
    names = ("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_f1", "log_loss", "ece")
    candidate = {"accuracy": interval(accuracy), "macro_f1": interval(accuracy), "log_loss": interval(0.1)}
    baseline = records.Baseline(accuracy=interval(0.1), macro_f1=interval(0.05), what="always the most frequent class")
    return records.Metrics(
        bundle="03_train/fastnet",
        n=4 * size,
        classes=list(classes),
        accuracy=interval(accuracy),
        **{name: interval(accuracy) for name in names},
        per_class={name: records.PerClass(precision=0.9, recall=None, f1=0.9, support=4) for name in classes},
        baselines={"majority": baseline},
        candidates=[
            records.Candidate(
                bundle=bundle,
                chosen=chosen,
                valid_accuracy=0.9,
                difference=interval(0.0),
                p_value=None if chosen else 0.5,
                parameters=1000,
                **candidate,
            )
            for bundle, chosen in (("03_train/fastnet", True), ("04_tune/best", False))
        ],
        confusion=confusion.tolist(),
    )


def executed(label: str) -> nbformat.NotebookNode:
    """Return an executed notebook whose every kind of output holds ``label``."""
    v4 = nbformat.v4
    pixels = np.full((4, 4, 3), 200, np.uint8)
    outputs = [
        v4.new_output("stream", name="stdout", text=f"10%\r20%\rdone {label}\n"),
        v4.new_output("stream", name="stderr", text="\n"),  # what a progress bar leaves behind
        v4.new_output("display_data", {"text/html": f"<table><tr><td>{label}</td></tr></table><script>bad()</script>"}),
        v4.new_output("display_data", {"text/markdown": f"**{label}** [go](javascript:bad())"}),
        v4.new_output("display_data", {"image/png": base64.b64encode(png(pixels)).decode(), "text/plain": "a figure"}),
        v4.new_output("display_data", {"application/javascript": "bad()", "text/plain": label}),
        v4.new_output("display_data", {"text/html": "<style>a {}</style><div><progress></progress></div>"}),
        v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}
        ),
        v4.new_output("execute_result", {"text/plain": repr(label)}, execution_count=1),
    ]
    parameters = 'run_name: str = "digits"  # the run\nrate: float | None = 0.1  # step size'
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell(f"# Title {label}\n\nThe question. `a -> b`\n\n<script>bad()</script>"),
            v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            v4.new_code_cell('run_name = "x"\nrate = 0.2', metadata={"tags": ["injected-parameters"]}),
            v4.new_markdown_cell("Look at it. [Next](02_preprocess.ipynb)"),
            v4.new_code_cell(f"look({label!r})", outputs=outputs),
        ]
    )


@pytest.fixture
def make_run() -> RunMaker:
    """Return ``make(name, classes, until, accuracy, seed)``, which writes a run's artefacts up to a stage."""

    def make(
        name: str = "x",
        classes: Sequence[str] = ("cat", "dog", "owl"),
        until: str = "monitor",
        accuracy: float = 0.93,
        seed: int = 0,
    ) -> Run:
        run = Run(name)
        manifest, splits, predictions = tables(classes)
        pixels = np.random.default_rng(0).integers(0, 255, (len(splits), 8, 8, 3)).astype(np.uint8)
        for stage in a.STAGES[: a.STAGES.index(until) + 1]:
            run.start(stage, {"run_name": name, "seed": seed, "source": "digits"})
            if stage == "collect":
                _collect(run, manifest, classes[0])
            elif stage == "preprocess":
                _preprocess(run, splits, pixels)
            elif stage == "evaluate":
                run.read(a.SPLITS)
                run.write(a.PREDICTIONS, predictions)
                run.write(a.METRICS, metrics(classes, accuracy))
            elif stage == "deploy":
                run.write(a.DEPLOYMENT, deployment())
            elif stage == "monitor":
                run.write(a.DRIFT, drift(classes[0]))
            run.finish()
            notebook = run.folder / a.stage_folder(stage) / f"{a.stage_folder(stage)}.ipynb"
            nbformat.write(executed(classes[0]), notebook)
        return run

    return make


def _collect(run: Run, manifest: pd.DataFrame, label: str) -> None:
    run.write(a.MANIFEST, manifest)
    refused = {"path": [f"data/{label}.txt"], "code": ["not_an_image"], "message": [f"is {label}"]}
    run.write(a.REJECTED, pd.DataFrame(refused))
    issue = {"issue": ["near_copy"], "image_id": ["0"], "other_id": ["1"], "value": [0.1], "message": [label]}
    run.write(a.QUALITY, pd.DataFrame(issue))


def _preprocess(run: Run, splits: pd.DataFrame, pixels: np.ndarray) -> None:
    run.read(a.MANIFEST)
    run.write(a.SPLITS, splits)
    with run.writing(a.IMAGES) as path, path.open("wb") as stream:
        np.save(stream, pixels)


def deployment() -> records.DeployRecord:
    speed = records.Speed(
        requests=100,
        milliseconds_median=3.2,
        milliseconds_p95=5.0,
        ready_seconds=1.1,
        package_bytes=900_000,
        model_bytes=800_000,
    )
    parity = records.Parity(pictures=256, onnx_torch=2e-6, served_offline=1e-6)
    return records.DeployRecord(parity=parity, speed=speed, bundle="03_train/fastnet")


def drift(label: str) -> records.Drift:
    sizes = {"n_reference": 100, "n_live": 50}
    check = records.Check(name=f"score {label}", method="ks", statistic=0.3, threshold=0.1, drifted=True, **sizes)
    return records.Drift(state="drift", checks=[check], reference_sha256="0", **sizes)
