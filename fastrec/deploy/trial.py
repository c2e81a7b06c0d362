"""The service tried as a user would: started, sent real files, and held against evaluate's predictions."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from fastrec import engine
from fastrec.artefacts import DEPLOYMENT, LOG_FILE, PACKAGE, PREDICTIONS
from fastrec.deploy import package, recorder, samples
from fastrec.deploy.predictor import MODEL
from fastrec.files import FastrecError
from fastrec.records import DeployRecord, Parity, Speed
from fastrec.run import Run

SOURCE = "self-test"  # marks these requests in the log
TOLERANCE = 1e-3
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 60.0, 15.0, 30.0


@dataclass(frozen=True)
class Service:
    """A running service: its port on this machine, and the seconds it took to be ready."""

    port: int
    ready_seconds: float


@contextmanager
def running(folder: Path, log_url: str | None = None) -> Iterator[Service]:
    """Serve a package in a process of its own while the block runs.

    Raises
    ------
    FastrecError
        If the service does not start; tells what it said last.
    """
    command = [sys.executable, "-I", str(folder / "predict.py"), "--serve", "--port", "0"]
    command += ["--log", log_url] if log_url else []
    environment = {name: value for name, value in os.environ.items() if name != "FASTREC_TOKEN"}
    begin = time.monotonic()
    with TemporaryFile("w+") as said, _process(command, stderr=said, env=environment) as process:
        port = _port(process, said)
        _wait_until_ready(port, begin + START_SECONDS)
        yield Service(port, time.monotonic() - begin)


@contextmanager
def _process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block runs; end it in any case."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _port(process: subprocess.Popen[str], said: IO[str]) -> int:
    """Read the first line, "fastrec serves http://127.0.0.1:PORT"; it is empty when the process ended."""
    assert process.stdout is not None
    alarm = threading.Timer(START_SECONDS, process.kill)
    alarm.start()
    first = process.stdout.readline()
    alarm.cancel()
    if first:
        return int(first.rsplit(":", 1)[1])
    process.wait()
    said.seek(0)
    last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
    raise FastrecError(f"the service did not start ({last}): run predict.py --serve in the package to see why.")


def _wait_until_ready(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            try:
                if _ask(connection, "GET", "/ready")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
    raise FastrecError(f"the service was not ready after {START_SECONDS:.0f} seconds: try a smaller model.")


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, body, {"Content-Type": "application/octet-stream"} if body else {})
    with connection.getresponse() as response:
        return response.status, json.loads(response.read())


def try_service(run: Run, pictures: int = 200, seed: int = 0) -> pd.DataFrame:
    """Start the run's package as a service, send it test pictures by their files, and compare the answers.

    The service writes the requests to the run's log, marked ``self-test``; rows of earlier trials
    are replaced.  Writes DEPLOYMENT.

    Parameters
    ----------
    run
        Whose PACKAGE and PREDICTIONS are read.
    pictures
        How many test pictures are sent, one after the other, at most.
    seed
        Which ones.

    Returns
    -------
    A row per picture: ``image_id``, ``path``, ``label``, ``predicted`` and ``score`` as served,
    ``milliseconds`` from request to answer, ``difference`` (the largest one of a probability to
    PREDICTIONS).

    Raises
    ------
    FastrecError
        If the service does not start or refuses a picture, or an answer differs from PREDICTIONS by
        more than `TOLERANCE`.
    """
    folder, predictions = run.read(PACKAGE), run.read(PREDICTIONS)
    record = package.read_record(folder)
    predictions = predictions[predictions["bundle"] == record["label"]]
    if predictions.empty:
        raise FastrecError(f"{PREDICTIONS.file} has nothing of {record['label']}: run notebooks/05_evaluate.ipynb.")
    drawn = samples.draw(predictions, pictures, seed)
    log_url = recorder.file_url(run.path(LOG_FILE))
    _forget_earlier(log_url)
    with running(folder, log_url) as service:
        table = _send_all(run, service.port, drawn, record["bundle"]["classes"])
    run.write(DEPLOYMENT, _summary(table, folder, record, service))
    return table


def _forget_earlier(log_url: str) -> None:
    log = recorder.open_log(log_url)
    recorder.forget(log, SOURCE)
    log.dispose()


def _send_all(run: Run, port: int, drawn: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)) as connection:
        sent = zip(drawn.to_dict("records"), samples.uploads(run, drawn["image_id"]), strict=True)
        for row, data in engine.progress(sent, len(drawn), "serve"):
            answer, milliseconds = _send(connection, row["path"], data)
            served = np.array([answer["scores"][name] for name in classes])
            rows.append(
                {
                    **{name: row[name] for name in ("image_id", "path", "label")},
                    "predicted": answer["label"],
                    "score": answer["score"],
                    "milliseconds": milliseconds,
                    "difference": float(np.abs(served - row["scores"]).max()),
                }
            )
    return pd.DataFrame(rows)


def _send(connection: http.client.HTTPConnection, path: str, data: bytes) -> tuple[dict[str, Any], float]:
    address = f"/predict?source={SOURCE}&name={quote(Path(path).name)}"
    begin = time.perf_counter()
    try:
        status, answer = _ask(connection, "POST", address, data)
    except (OSError, http.client.HTTPException) as error:
        raise FastrecError(f"the service gave no answer for {path} ({error!r}): run this notebook again.") from error
    if status != 200:
        raise FastrecError(f"the service refused {path} ({answer['message']}: {answer['hint']}).")
    return answer, (time.perf_counter() - begin) * 1e3


def _summary(table: pd.DataFrame, folder: Path, record: dict[str, Any], service: Service) -> DeployRecord:
    difference = float(table["difference"].max())
    if not difference <= TOLERANCE:
        worst = table.sort_values("difference")["path"].iloc[-1]
        raise FastrecError(
            f"the service answers {worst} differently from {PREDICTIONS.file} (by {difference:.1e}): "
            "run notebooks/05_evaluate.ipynb and this one again."
        )
    speed = Speed(
        requests=len(table),
        milliseconds_median=float(table["milliseconds"].median()),
        milliseconds_p95=float(table["milliseconds"].quantile(0.95)),
        ready_seconds=service.ready_seconds,
        package_bytes=package.size_of(folder),
        model_bytes=package.size_of(folder / MODEL),
    )
    found = record["parity"]
    parity = Parity(pictures=found["pictures"], onnx_torch=found["network"], served_offline=difference)
    return DeployRecord(parity=parity, speed=speed, bundle=record["label"])
