"""A small run, ready to train: two classes that a colour tells apart."""

import pytest

from fastrec.artefacts import MANIFEST, SPLITS
from fastrec.collect import manifest, sources
from fastrec.preprocess import cache, splits
from fastrec.run import Run


@pytest.fixture
def run(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=30, size=16)
    made = Run("t")
    table, _, _ = manifest.inspect(made, sources.listing("folder:pets").items)
    made.write(MANIFEST, table)
    split = splits.split(table)
    made.write(SPLITS, split)
    cache.build(made, table, split, 16)
    return made
