"""``digits``: 1,797 handwritten digits that come with scikit-learn, written as folders of PNG files.

The source of the images is the test part of the UCI set "Optical Recognition of Handwritten Digits"
(Alpaydin and Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0): 8 x 8 pixels, 17 grey levels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fastrec import files
from fastrec.collect.sources import Listing, folder


def listing(root: Path) -> Listing:
    """List the digits, written to ``root`` first where they are not yet there."""
    if not root.is_dir():
        with files.replacing(root) as temporary:
            _write(temporary)
    return folder.listing(root)


def _write(root: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (levels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = root / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(levels * (255 / 16)).astype(np.uint8)).save(path)
