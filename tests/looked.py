"""Tables MANIFEST and SEEN made without files, as if some pictures had been decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastrec import images
from fastrec.artefacts import MANIFEST, SEEN, STATISTICS

NO_PAIRS = pd.DataFrame({"image_id": [], "other_id": [], "value": []})


def name(k: int) -> str:
    """Return the image_id of picture ``k``."""
    return hashlib.sha256(str(k).encode()).hexdigest()


def tables(
    labels: Sequence[str], pictures: Sequence[np.ndarray] = (), **facts: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return MANIFEST and SEEN of pictures with these labels; ``facts`` are columns of either."""
    count = len(labels)
    given = {"width": 64, "height": 64, "bytes": 1000, "mode": "RGB", "format": "PNG", "source": "folder:x"}
    given |= dict.fromkeys(STATISTICS[2:], 0.2)
    if len(pictures):
        shown = np.stack([images.resize(picture, 64) for picture in pictures])
        coarse = np.stack([images.resize(picture, 16) for picture in shown])
        given["coarse_sharpness"] = images.statistics(coarse)["sharpness"].astype(float)
        given |= {key: values.astype(float) for key, values in images.statistics(shown).items()}
    table = pd.DataFrame({"image_id": [name(k) for k in range(count)], "labels": [[label] for label in labels]})
    table["path"] = [f"x/{label}/{k:03d}.png" for k, label in enumerate(labels)]
    table["warnings"] = [[] for _ in range(count)]
    table = table.assign(**given).assign(**facts)
    for column in {*MANIFEST.schema.names, *SEEN.schema.names} - set(table.columns):
        table[column] = None
    return table[MANIFEST.schema.names], table[SEEN.schema.names]
