"""Claim: building the cache costs little more than bare Pillow, which only decodes and resizes.

The peer opens, converts and resizes each picture over as many processes and gives its bytes back by their sum alone.
Ours also hashes the file, checks that it is the one collect saw, turns it upright, writes the row to the disk with a
checksum, and takes the statistics of the train split.

    python benchmarks/cache.py [ROUNDS]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import measure
from collect import digits, some, unpacked


def bare(job: tuple[str, int]) -> int:
    import numpy as np
    from PIL import Image

    path, size = job
    with Image.open(path) as image:
        return int(np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))[0, 0, 0])


def pillow(paths: list[str], size: int, processes: int):
    def timed() -> float:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(bare, [(path, size) for path in paths[:64]], chunksize=1))  # started and warm
            return measure.rate(lambda: len(list(pool.map(bare, [(p, size) for p in paths], chunksize=32))))

    return timed


def ours(run, table, split, size: int):
    from fastrec.preprocess import cache

    def timed() -> float:  # the children of the call before are warm, as the peer's are
        shutil.rmtree(run.folder, ignore_errors=True)
        return measure.rate(lambda: cache.build(run, table, split, size).n)

    return timed


def main(rounds: int = 5) -> None:
    from fastrec import engine
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import splits
    from fastrec.run import Run

    with tempfile.TemporaryDirectory() as name:
        os.environ["FASTREC_HOME"] = name
        folder = Path(name)
        cifar, imagenette = unpacked("cifar10", folder), unpacked("imagenette160", folder)
        contests = [(some(cifar, 20_000, folder), 32)] if cifar else [(digits(), 32)]
        contests += [(imagenette, 128)] if imagenette else []
        if photos := unpacked("facemask_coco", folder):  # of a common size, where decoding costs most
            shutil.rmtree(photos / "annotations")
            contests.append((photos, 128))
        for root, size in contests:
            run = Run("bench")
            table, _, _ = manifest.inspect(run, sources.listing(f"folder:{root}").items)
            paths = [str(run.locate(path)) for path in table["path"]]
            contestants = {"fastrec": ours(run, table, splits.split(table), size)}
            contestants["bare Pillow"] = pillow(paths, size, engine.workers())
            found = measure.alternate(contestants, rounds)
            title = f"{root.name}: {len(table):,} pictures to {size} px over {engine.workers()} processes"
            measure.report(title, "images/s", found, "fastrec", ("pillow", "numpy"), digits=0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
