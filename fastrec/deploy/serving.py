"""One picture answered, logged and counted: what the service does, apart from HTTP."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastrec import labels
from fastrec.deploy.gauges import Gauges
from fastrec.deploy.pool import Pool
from fastrec.deploy.predictor import Answer, Predictor, refusal
from fastrec.deploy.recorder import Recorder, now
from fastrec.deploy.replies import Refusal, Reply, SeveralLabels, refused_picture
from fastrec.deploy.uploads import Upload
from fastrec.refusals import ImageError


@dataclass(frozen=True)
class Serving:
    """What the routes work with."""

    predictor: Predictor
    recorder: Recorder | None
    pool: Pool
    gauges: Gauges

    def answer(self, upload: Upload, source: str) -> Reply | Refusal:
        """Answer for one picture, or say why not; either way the log gets a row."""
        identifier = secrets.token_hex(16)
        row: dict[str, Any] = {"id": identifier, "time": now(), "path": upload.name, "source": source}
        row |= {"bundle": self.predictor.label, "model_sha256": self.predictor.sha256}
        try:
            answer = self.predictor.predict(upload.read())
        except ImageError as error:
            self.gauges.refusals.labels(error.code).inc()
            self._log(row | {"code": error.code})
            return refused_picture(refusal(error, upload.name))
        for name in answer.labels or (labels.NONE,):
            self.gauges.answers.labels(name).inc()
        self.gauges.seconds.observe(answer.milliseconds / 1e3)
        self._log(row | _columns(answer))
        return self._reply(answer, identifier, upload.name)

    def answer_all(self, uploads: Iterable[Upload], source: str) -> list[Reply | Refusal]:
        """Answer for several pictures, in their order."""
        return [self.answer(upload, source) for upload in uploads]

    def _log(self, row: dict[str, Any]) -> None:
        if self.recorder:
            self.recorder.add(row)

    def _reply(self, answer: Answer, identifier: str, name: str) -> Reply:
        content: dict[str, Any] = {
            "id": identifier,
            "file": name,
            "label": answer.label,
            "score": answer.score,
            "scores": answer.scores,
            "warnings": list(answer.warnings),
            "milliseconds": round(answer.milliseconds, 3),
            "bundle": answer.bundle,
            "model_sha256": self.predictor.sha256,
        }
        if self.predictor.multi_label:
            return SeveralLabels(**content, labels=list(answer.labels))
        return Reply(**content)

    def checked(self, given: str | list[str]) -> str:
        """Return the label of a feedback as the log keeps it, after checking each part against the classes.

        Raises
        ------
        Refusal
            422 if one is not a class, or there are several where pictures have one.
        """
        several = self.predictor.multi_label
        names = labels.each(given, several) if isinstance(given, str) else given
        hint = "take one of those that /model lists"
        for name in names:
            if name not in self.predictor.classes:
                raise Refusal(422, "unknown_label", f"{name[:60]!r} is not a class of this model", hint, field="label")
        if not several and len(names) != 1:
            raise Refusal(
                422, "unknown_label", f"{len(names)} labels are given, a picture has one", hint, field="label"
            )
        return labels.join(set(names))

    def state(self) -> str:
        """Return ``ready``, or ``degraded`` while the log cannot be written."""
        return "degraded" if self.recorder and self.recorder.failing else "ready"


def _columns(answer: Answer) -> dict[str, Any]:
    return {
        "image_id": answer.image_id,
        "predicted": answer.label,
        "score": answer.score,
        "scores": json.dumps(answer.scores, ensure_ascii=False, allow_nan=False),
        "milliseconds": answer.milliseconds,
        **answer.statistics,
    }
