"""Public sets by name: ``fastai:PETS``, ``torchvision:CIFAR10`` and ``hf:owner/name``, fetched once below ``data``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastrec import engine, files
from fastrec.collect.sources import Item, Listing, archive, folder
from fastrec.files import FastrecError

_LABEL_IN_NAME = {"PETS": r"(.+)_\d+\.jpg$", "CARS": r"(.+)_\d+\.jpg$"}  # fastai's sets without class folders


def fastai(name: str, below: Path) -> Listing:
    """Fetch one of fastai's sets (``fastai.data.external.URLs``) and list its class folders."""
    from fastai.data.external import URLs, untar_data

    url = _known("fastai", name, {key: value for key, value in vars(URLs).items() if key.isupper()})
    target = below / name
    if not target.is_dir():
        with files.replacing(target) as temporary:
            _fetch(f"fastai:{name}", lambda: untar_data(url, base=str(temporary)))
    if pattern := _LABEL_IN_NAME.get(name):
        return _by_name(target, pattern)
    return folder.listing(archive.innermost(target))


def _by_name(root: Path, pattern: str) -> Listing:
    """Label pictures by the first group of a pattern that their file names match."""
    found = [(path, re.match(pattern, path.name)) for path in sorted(root.rglob("*.jpg"))]
    items = [Item(str(path), (match[1],)) for path, match in found if match]
    return Listing(items, sorted({item.labels[0] for item in items}))


def torchvision(name: str, below: Path) -> Listing:
    """Fetch one of torchvision's classification sets and write it as class folders of PNG files, once."""
    from torchvision import datasets

    known = {key: getattr(datasets, key) for key in datasets.__all__}
    make = _known("torchvision", name, known)
    target = below / name
    if not target.is_dir():
        with files.replacing(target) as temporary:
            for split in ("train", "test"):
                made = _fetch(f"torchvision:{name}", partial(_open, make, below / ".downloads", split))
                _write(made, temporary / split)
    return folder.listing(target)


def _open(make: Callable[..., Any], root: Path, split: str) -> Any:
    try:
        return make(str(root), train=split == "train", download=True)
    except TypeError:  # the younger sets of torchvision take the split's name
        return make(str(root), split=split, download=True)


def _write(pictures: Any, root: Path) -> None:
    names = getattr(pictures, "classes", None)
    for number, (picture, target) in enumerate(engine.progress(pictures, len(pictures), f"write {root.name}")):
        label = str(names[target]) if names else str(target)
        path = root / label.replace("/", "-") / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def hugging_face(name: str, below: Path) -> Listing:
    """Fetch a data set of the Hugging Face hub: class folders, or Parquet files with image and label columns."""
    import huggingface_hub

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise FastrecError(f"source 'hf:{name}' names no data set: write hf:owner/name.")
    target = below / name.replace("/", "--")
    if not target.is_dir():
        with files.replacing(target) as temporary:
            _fetch(
                f"hf:{name}",
                lambda: huggingface_hub.snapshot_download(name, repo_type="dataset", local_dir=str(temporary)),
            )
            for table in sorted(temporary.rglob("*.parquet")):
                unpack_parquet(table, temporary)
                table.unlink()
    return folder.listing(archive.innermost(target))


def unpack_parquet(table: Path, root: Path) -> None:
    """Write the pictures of one Parquet file of the hub's image format below ``root/<split>/<label>/``.

    Raises
    ------
    FastrecError
        If it has no column of pictures or none of labels.
    """
    import pyarrow.parquet as pq

    source = pq.ParquetFile(table)
    features = json.loads((source.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    features = features.get("info", {}).get("features", {})
    image, label = _column(source, ("image", "img", "picture")), _column(source, ("label", "labels", "fine_label"))
    if image is None or label is None:
        raise FastrecError(
            f"{table.name} has the columns {source.schema_arrow.names}: one image and one label are needed."
        )
    names = features.get(label, {}).get("names")
    split = next(
        (folder.SPLIT_NAMES[word] for word in re.split(r"\W|_", table.stem) if word in folder.SPLIT_NAMES), "train"
    )
    number = 0
    for batch in source.iter_batches(256, columns=[image, label]):
        for row in batch.to_pylist():
            place = root / split / str(names[row[label]] if names else row[label]).replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{table.stem}-{number:06d}").write_bytes(row[image]["bytes"])
            number += 1


def _column(source: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in source.schema_arrow.names), None)


def _known(family: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise FastrecError(
            f"{family} has no set {name!r}: did you mean {', '.join(near) or ', '.join(sorted(known)[:5])}?"
        )
    return known[name]


def _fetch(source: str, load: Callable[[], Any]) -> Any:
    """Run a library's own download; offline it becomes one sentence with the way around."""
    try:
        return load()
    except Exception as error:  # every library has its own errors for a missing network
        reason = type(error).__name__
        raise FastrecError(
            f"{source} could not be fetched ({reason}): check the network, or fetch it elsewhere and use folder:PATH."
        ) from error
