"""Claim: collect is faster than each of its peers while it does what all of them do, and its cost does not grow.

Collect reads, hashes and decodes every file in full, measures it, finds exact and near copies and audits the set.
fastai's ``verify_images`` decodes JPEG files at an eighth of their size; cleanvision makes all its default checks;
imagededup hashes (PHash) and finds duplicates.  Every contestant uses all processors, as it does by default.

    python benchmarks/collect.py [ROUNDS] [--quick]     quick: beside verify_images alone, and at more sizes
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import measure

SIZES = (1_000, 5_000, 20_000, 50_000)
FRAMES = 10_000


def unpacked(name: str, folder: Path) -> Path | None:
    """Return a real picture set of FASTREC_DATA as a folder, or None."""
    archive = Path(os.environ.get("FASTREC_DATA", "")) / f"{name}.zip"
    if not archive.is_file():
        return None
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder / name)
    return folder / name


def digits() -> Path:
    from fastrec.collect.sources import listing

    print("FASTREC_DATA names no real pictures: the built-in digits are used")
    listing("digits")
    return Path(os.environ["FASTREC_HOME"]) / "data" / "digits"


def some(root: Path, count: int, folder: Path) -> Path:
    """Return a folder with ``count`` of the pictures, of all classes alike."""
    if (made := folder / f"{root.name}{count}").exists():
        return made
    files = sorted(path for path in root.rglob("*") if path.is_file() and "test" not in path.parts[len(root.parts) :])
    for place in range(count):
        path = files[place * len(files) // count]
        target = made / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    return made


def ours(root: Path, processes: int | None = None):
    from fastrec import children, engine
    from fastrec.collect import manifest, quality, seen, sources
    from fastrec.run import Run

    def work() -> int:
        shutil.rmtree(Run("bench").folder, ignore_errors=True)  # nothing is known
        children.stop()  # starting them counts
        found = sources.listing(f"folder:{root}")
        usable, _, near = manifest.inspect(Run("bench"), found.items)
        quality.audit(usable, near, seen.measures(Run("bench")))
        return len(found.items)

    def timed() -> float:
        before = engine.workers
        engine.workers = (lambda: processes) if processes else before
        try:
            return measure.rate(work)
        finally:
            engine.workers = before

    return timed


def verify_images(root: Path):
    from fastai.vision.utils import get_image_files, verify_images

    def work() -> int:
        files = get_image_files(root)
        verify_images(files)
        return len(files)

    return lambda: measure.rate(work)


def cleanvision(root: Path):
    from cleanvision import Imagelab

    def work() -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            lab = Imagelab(data_path=str(root))
            lab.find_issues()
        return len(lab.issues)

    return lambda: measure.rate(work)


def imagededup(root: Path):
    from imagededup.methods import PHash

    logging.disable(logging.INFO)

    def work() -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            hasher = PHash(verbose=False)
            codes = hasher.encode_images(str(root), recursive=True)
            hasher.find_duplicates(encoding_map=codes)
        return len(codes)

    return lambda: measure.rate(work)


def beside_peers(root: Path, rounds: int, quick: bool) -> None:
    contestants = {"fastrec": ours(root), "fastai verify_images": verify_images(root)}
    libraries = ["fastai", "pillow"]
    if not quick:
        contestants |= {"cleanvision": cleanvision(root), "imagededup": imagededup(root)}
        libraries += ["cleanvision", "imagededup"]
    gc.freeze()  # what the peers import, PyTorch among it, is walked over at nobody's cost
    found = measure.alternate(contestants, rounds)
    count = sum(path.is_file() for path in root.rglob("*"))
    title = f"{root.name}: {count:,} files, from their names to the judgement"
    measure.report(title, "images/s", found, "fastrec", tuple(libraries), digits=0)


def over_processors(root: Path, rounds: int) -> None:
    found = measure.alternate({"2 processes": ours(root, 2), "1 process": ours(root, 1)}, rounds)
    measure.report(f"{root.name}: over the processors", "images/s", found, "2 processes", ("pillow",), digits=0)


def at_sizes(root: Path, folder: Path) -> None:
    """Print cost and memory of collect, and of `verify_images`, each in a process of its own at several sizes."""
    print(f"\n{root.name}: cost and memory by the number of pictures")
    count = sum(path.is_file() for path in root.rglob("*"))
    for size in [size for size in SIZES if size <= count] or [count]:
        place = root if size == count else some(root, size, folder)
        for who in ("collect", "verify_images"):
            print(f"  {size:7,d} pictures  {who:13}  {in_a_process_of_its_own(who, place)}", flush=True)
    print(f"  {FRAMES:7,d} frames of a film, near copies alone: {in_a_process_of_its_own('film', folder)}")


def in_a_process_of_its_own(who: str, place: Path) -> str:
    command = [sys.executable, __file__, "--alone", who, str(place)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def peak() -> float:
    """Return the most memory that this process has held, in MB; Linux alone tells it apart from its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def collect_alone(root: Path) -> None:
    import psutil

    from fastrec import children
    from fastrec.collect import manifest, quality, seen, sources
    from fastrec.run import Run

    before, began, run = peak(), time.perf_counter(), Run(f"alone{root.name}")
    items = sources.listing(f"folder:{root}").items
    usable, _, near = manifest.inspect(run, items)
    spent, decoded = time.perf_counter() - began, peak()
    child = max(psutil.Process(one.process.pid).memory_info().rss for one in children._idle) / 2**20
    import scipy.stats  # noqa: F401 (the audit loads it: not timed, as fastai's start is not below)
    import sklearn.tree  # noqa: F401

    began = time.perf_counter()
    quality.audit(usable, near, seen.measures(run))
    spent += time.perf_counter() - began
    print(
        f"{1e6 * spent / len(items):6.0f} us each, peak {decoded:4.0f} MB ({before:.0f} before it began), "
        f"{peak():.0f} with the audit and its libraries, each child {child:.0f} MB, {len(near)} near copies"
    )


def verify_alone(root: Path) -> None:
    from fastai.vision.utils import get_image_files, verify_images

    before, began = peak(), time.perf_counter()
    files = get_image_files(root)
    verify_images(files)
    spent = time.perf_counter() - began
    print(f"{1e6 * spent / len(files):6.0f} us each, peak {peak():4.0f} MB ({before:.0f} before it began)")


def film_alone(folder: Path) -> None:
    """Seek near copies among thumbnails that are all frames of one film: the most pairs that a set can have."""
    import numpy as np
    import pyarrow as pa

    from fastrec.collect import duplicates
    from fastrec.collect.thumbnails import Thumbnails

    random = np.random.default_rng(0)
    first, before = random.integers(0, 200, (16, 16, 3)), peak()
    with contextlib.closing(Thumbnails(folder)) as shown:
        for k in range(FRAMES):
            frame = first + random.integers(0, 7, first.shape) + k * 20 // FRAMES
            shown.add([frame.astype(np.uint8).tobytes()])
        began = time.perf_counter()
        pairs = duplicates.pairs(pa.array([f"{k:064d}" for k in range(FRAMES)]), shown.__getitem__)
        spent = time.perf_counter() - began
    clusters = len(set(duplicates.clusters(pairs).values()))
    print(
        f"{1e6 * spent / FRAMES:.0f} us each, {len(pairs):,} pairs in {clusters} cluster, "
        f"peak {peak():.0f} MB ({before:.0f} before it began)"
    )


ALONE = {"collect": collect_alone, "verify_images": verify_alone, "film": film_alone}


def main(rounds: int = 5, quick: bool = False) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FASTREC_HOME"] = name
        sets = [root for root in (unpacked("cifar10", folder), unpacked("imagenette160", folder)) if root]
        first = sets[0] if sets else digits()
        for root in [some(first, 5_000, folder) if sets else first, *sets[1:]]:
            beside_peers(root, rounds, quick)
            over_processors(root, max(1, rounds // 2))
        if sets and quick:
            beside_peers(some(first, 20_000, folder), rounds, quick)
        if sets:
            beside_peers(first, rounds if quick else max(1, rounds // 3), quick)
        at_sizes(first, folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        ALONE[sys.argv[2]](Path(sys.argv[3]))
    else:
        asked = [one for one in sys.argv[1:] if one != "--quick"]
        main(int(asked[0]) if asked else 5, "--quick" in sys.argv)
