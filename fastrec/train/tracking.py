"""A training kept in MLflow beside others: its parameters, the figures of every epoch, the bundle that came out."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastai.callback.core import Callback

from fastrec.files import FastrecError
from fastrec.records import BundleRecord
from fastrec.run import Run, home
from fastrec.train.history import verdict
from fastrec.train.recipe import Recipe

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

STORE = "runs/mlflow.db"  # below the home folder, where nothing else is asked for
TRAINING = "fastrec.training"  # the tag by which a training that was killed finds its run again
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing of a training leaves this machine unasked
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is not there costs a minute by default, each time
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class Untracked(Callback):
    """Keep nothing."""

    watches = True  # see fastrec.train.copies

    def finish(self, record: BundleRecord) -> None:
        """Do nothing with the bundle."""


def tracker(kind: str, run: Run, recipe: Recipe) -> Untracked:
    """Return the callback for ``kind``, none or mlflow.

    The store is what ``MLFLOW_TRACKING_URI`` names, else a SQLite file beside the runs.

    Raises
    ------
    FastrecError
        If the kind is unknown or MLflow is not installed.
    """
    if kind == "none":
        return Untracked()
    if kind != "mlflow":
        raise FastrecError(f"track is {kind!r}: write none or mlflow.")
    if importlib.util.find_spec("mlflow") is None:
        raise FastrecError("track is 'mlflow', which is not installed: pip install 'fastrec[track]', or write none.")
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / STORE}"
    return Tracking(store, run.name, recipe)


class Tracking(Untracked):
    """Log to MLflow: parameters before the first epoch, figures after each; `finish` closes the run.

    A training that goes on after a kill goes on in the same MLflow run, and no epoch is logged twice.  Should the
    store fail, one sentence says so and the training goes on without it.

    Parameters
    ----------
    store
        An address that MLflow knows, such as ``sqlite:///runs/mlflow.db`` or ``http://server:5000``.
    experiment
        Its name: that of the run.
    recipe
        Whose fields become the parameters.
    """

    order = 70  # after History (60)
    run_valid = False

    def __init__(self, store: str, experiment: str, recipe: Recipe) -> None:
        self.store, self.experiment, self.recipe = store, experiment, recipe
        self.run_id = self.verdict = ""
        self.logged: set[int] = set()
        self.client: MlflowClient | None = None
        self.failed = False

    def before_epoch(self) -> None:
        """Open the MLflow run, once: by now Checkpointing has said whether the training goes on."""
        if not self.run_id and not hasattr(self.learn, "lr_finder"):
            self._safely(self._open)

    def after_epoch(self) -> None:
        """Log the epochs that are not there yet."""
        if self.run_id and not hasattr(self.learn, "lr_finder"):
            self._safely(self._log)

    def after_fit(self) -> None:
        """Remember what there is to judge: a callback that was lent to a fit has no Learner afterwards."""
        self.verdict = verdict(self.learn.history.table()) if self.learn.history.rows else ""

    def finish(self, record: BundleRecord) -> None:
        """Log verdict and bundle, and close the MLflow run."""
        if self.run_id:
            self._safely(lambda: self._close(record))

    def _safely(self, work: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            with _quiet():
                work()
        except Exception as error:  # of a database, a server, the network: never the training's affair
            self.failed = True
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            print(
                f"MLflow keeps no more of this training ({reason}): mend the store for the next one; this one goes on."
            )

    def _open(self) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.store)
        found = self.client.get_experiment_by_name(self.experiment)
        place = found.experiment_id if found else self._create_experiment()
        self.run_id = self._unfinished(place) or self._create(place)
        history = self.client.get_metric_history(self.run_id, "valid_loss")
        self.logged = {metric.step for metric in history}

    def _create_experiment(self) -> str:
        assert self.client is not None
        beside = (home() / "runs" / "mlflow").as_uri()  # of files, of which none are logged; else the working directory
        return self.client.create_experiment(self.experiment, beside)

    def _unfinished(self, experiment: str) -> str:
        assert self.client is not None
        if not self._key:
            return ""
        same = f"tags.`{TRAINING}` = '{self._key}' and attributes.status = 'RUNNING'"
        runs = self.client.search_runs([experiment], same, max_results=1)
        return runs[0].info.run_id if runs else ""

    @property
    def _key(self) -> str:
        """What names all that the training depends on; without checkpoints it never goes on."""
        kept = self.learn.checkpointing
        return kept.checkpoints.folder.name if kept else ""

    def _create(self, experiment: str) -> str:
        from mlflow.entities import Param

        assert self.client is not None
        made = self.client.create_run(experiment, tags={TRAINING: self._key}, run_name=self.recipe.architecture)
        fields = asdict(self.recipe)
        fields |= {f"options.{name}": value for name, value in fields.pop("options").items()}
        self.client.log_batch(made.info.run_id, params=[Param(name, str(value)) for name, value in fields.items()])
        return made.info.run_id

    def _log(self) -> None:
        from mlflow.entities import Metric

        assert self.client is not None
        now = int(self.learn.recorder.start_epoch * 1000)
        for row in self.learn.history.rows:
            if (step := int(row["epoch"])) not in self.logged:
                figures = [Metric(name, value, now, step) for name, value in row.items() if name != "epoch"]
                self.client.log_batch(self.run_id, metrics=figures)
                self.logged.add(step)

    def _close(self, record: BundleRecord) -> None:
        assert self.client is not None
        words = {
            "verdict": self.verdict,
            "bundle": f"{record.stage}/{record.name}",
            "weights_sha256": record.weights_sha256,
            "classes": str(len(record.classes)),
        }
        for name, text in words.items():
            self.client.set_tag(self.run_id, name, text)
        for name, value in {"parameters": record.parameters, **record.valid}.items():
            self.client.log_metric(self.run_id, f"bundle_{name}", float(value))
        self.client.set_terminated(self.run_id)


@contextmanager
def _quiet() -> Iterator[None]:
    """Set what MLflow reads from the environment, unless the user has, and keep its own affairs off the screen."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
