"""Would the drift checks notice?  Simulated on altered copies of test images, never written to the log."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from fastrec import channels, labels
from fastrec.artefacts import IMAGES, SPLITS
from fastrec.bundle import Bundle
from fastrec.evaluate.predict import measured, open_bundle, probabilities
from fastrec.monitor import drift
from fastrec.run import Run

Alteration = Callable[[Image.Image, float], Image.Image]


def darker(image: Image.Image, strength: float) -> Image.Image:
    """Take away a share of the light."""
    return ImageEnhance.Brightness(image).enhance(1 - strength)


def blurred(image: Image.Image, strength: float) -> Image.Image:
    """Blur with a Gaussian whose deviation is a tenth of ``strength`` times the side."""
    return image.filter(ImageFilter.GaussianBlur(strength * image.width / 10))


ALTERATIONS: dict[str, Alteration] = {"darker": darker, "blurred": blurred}
STRENGTHS = (0.1, 0.25, 0.5)


def would_notice(
    run: Run,
    reference: pd.DataFrame,
    *,
    threshold: float = drift.THRESHOLD,
    alpha: float = drift.ALPHA,
    seed: int = 0,
    most: int = 500,
) -> pd.DataFrame:
    """Alter one half of the test images and let the drift checks compare it with the other half.

    Parameters
    ----------
    run
        Whose cache and bundle are read.
    reference
        PREDICTIONS; its bundle answers for the altered copies.
    threshold, alpha, seed
        As in `fastrec.monitor.drift.measure`.
    most
        How many images are altered at most.

    Returns
    -------
    By ``alteration`` and ``strength``: ``images``, ``accuracy`` on them, ``state`` and the ``checks`` that
    drifted.  The first row is the control: untouched images, where none should.
    """
    mixed = reference.sample(frac=1.0, random_state=seed)
    chosen, rest = mixed.iloc[: min(most, len(mixed) // 2)], mixed.iloc[len(mixed) // 2 :]
    bundle = open_bundle(run, str(reference["bundle"].iloc[0]))
    row = run.read(SPLITS).set_index("image_id")["row"]
    pixels = np.asarray(run.read(IMAGES)[row[chosen["image_id"]].to_numpy()])
    rows = []
    for name, strength in [("untouched", 0.0), *itertools.product(ALTERATIONS, STRENGTHS)]:
        live = _answered(bundle, chosen, altered(pixels, name, strength))
        found = drift.measure(
            rest,
            live,
            "simulated",
            threshold=threshold,
            alpha=alpha,
            seed=seed,
            multi_label=bundle.record.multi_label,
        )
        fired = ", ".join(check.name for check in found.checks if check.drifted)
        rows.append((name, strength, len(live), (live["label"] == live["predicted"]).mean(), found.state, fired))
    table = pd.DataFrame(rows, columns=["alteration", "strength", "images", "accuracy", "state", "checks"])
    return table.set_index(["alteration", "strength"])


def altered(pixels: np.ndarray, name: str, strength: float) -> np.ndarray:
    """Alter copies of pictures, uint8 (n, size, size, channels); any name but those of ALTERATIONS copies only."""
    alter, depth = ALTERATIONS.get(name, lambda image, _: image), pixels.shape[-1]
    given = (Image.fromarray(np.ascontiguousarray(channels.expanded(picture))) for picture in pixels)
    return np.stack([channels.reduced(np.asarray(alter(image, strength)), depth) for image in given])


def _answered(bundle: Bundle, rows: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
    """Answer for altered pictures as the service would have logged it."""
    every = np.arange(len(pixels))
    scores = probabilities(bundle, pixels, every)
    predicted, certainty = labels.answers(scores, bundle.record.classes, bundle.record.thresholds)
    answered = {"predicted": predicted, "score": certainty, "code": None, "source": "simulated"}
    return rows.assign(**answered, **measured(pixels, every))
