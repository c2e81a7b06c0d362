"""Public sets by name: ``fastai:PETS``, ``torchvision:CIFAR10`` and ``hf:owner/name``, fetched once below ``data``."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastrec import engine, files
from fastrec.collect.sources import Item, Listing, folder, tables_of_pictures
from fastrec.files import FastrecError

_LABEL_IN_NAME = {"PETS": r"(.+)_\d+\.jpg$", "CARS": r"(.+)_\d+\.jpg$"}  # fastai's sets without class folders

_Splits = dict[str, dict[str, Any]]  # what each split is called here, and how torchvision is asked for it
_FLAG: _Splits = {"train": {"train": True}, "test": {"train": False}}
_TWO: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_VALID: _Splits = {"valid": {"split": "val"}}
_WHOLE: _Splits = {"": {}}
_TORCHVISION: dict[str, _Splits] = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"), _FLAG),
    **dict.fromkeys(("Food101", "GTSRB", "STL10", "SVHN"), _TWO),
    **dict.fromkeys(("CLEVRClassification", "DTD", "FGVCAircraft", "Flowers102"), _TWO | _VALID),
    **dict.fromkeys(("PCAM", "RenderedSST2"), _TWO | _VALID),
    **dict.fromkeys(("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397"), _WHOLE),
    "Country211": _TWO | {"valid": {"split": "valid"}},
    "Imagenette": {"train": {"split": "train"}} | _VALID,
    "OxfordIIITPet": _TWO | {"train": {"split": "trainval"}},
}


def fastai(name: str, below: Path) -> Listing:
    """Fetch one of fastai's sets (``fastai.data.external.URLs``) and list its class folders."""
    from fastai.data.external import URLs, untar_data

    packed = {key: url for key, url in vars(URLs).items() if str(url).endswith((".tgz", ".zip"))}
    source, url, target = f"fastai:{name}", _known("fastai", name, packed), below / name
    if not target.is_dir():
        with files.replacing(target) as temporary:
            _fetch(source, lambda: untar_data(url, base=str(temporary)))
            shutil.rmtree(temporary / "archive")  # what was fetched now lies unpacked in data
    if pattern := _LABEL_IN_NAME.get(name):
        return _in_classes(source, target, _by_name(target, pattern))
    return _in_classes(source, target, _listing(target / "data"))


def _by_name(root: Path, pattern: str) -> Listing:
    """Label pictures by the first group of a pattern that their file names match."""
    unmatched = ("no_label", "has a name that tells no class")
    items = []
    for path in sorted(root.rglob("*.jpg")):
        match = re.match(pattern, path.name)
        items.append(Item(str(path), (match[1],)) if match else Item(str(path), problem=unmatched))
    return Listing(items, sorted({label for item in items for label in item.labels}))


def torchvision(name: str, below: Path) -> Listing:
    """Fetch one of torchvision's classification sets and write it as class folders of PNG files, once.

    All splits are taken but the unlabelled one of STL10 and the easier extra one of SVHN.
    """
    from torchvision import datasets

    splits = _known("torchvision", name, _TORCHVISION)
    source, target, make = f"torchvision:{name}", below / name, getattr(datasets, name)
    if not target.is_dir():
        with files.replacing(target) as temporary:
            folders, fetched = tables_of_pictures.ClassFolders(source, temporary), temporary / ".fetched"
            fetched.mkdir(parents=True)
            for split, asked in splits.items():
                _write(_fetch(source, partial(make, str(fetched), download=True, **asked)), split, folders)
            shutil.rmtree(fetched)
    return _in_classes(source, target, _listing(target))


def _write(pictures: Any, split: str, folders: tables_of_pictures.ClassFolders) -> None:
    names = getattr(pictures, "classes", None) or getattr(pictures, "categories", None)
    named = [name if isinstance(name, str) else ", ".join(name) for name in names or ()]  # some have several
    # by number: not every set ends a plain loop over it
    rows = engine.progress(map(pictures.__getitem__, range(len(pictures))), len(pictures), f"write {split}".strip())
    for picture, target in rows:
        label = None if target is None else named[target] if named else str(target)
        picture.save(folders.path(split, label, ".png"))


def hugging_face(name: str, below: Path) -> Listing:
    """Fetch a data set of the Hugging Face hub: class folders, or Parquet files with image and label columns.

    Of a set with several configurations one is named as ``owner/name/configuration``.
    """
    import huggingface_hub

    source, target = f"hf:{name}", below / name.replace("/", "--")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+){1,3}", name):
        raise FastrecError(f"source {source!r} names no data set: write hf:owner/name.")
    owner, repository, *one = name.split("/")
    only = [f"{'/'.join(one)}/*", "README*", "LICEN*"] if one else None
    fetch = partial(huggingface_hub.snapshot_download, f"{owner}/{repository}", repo_type="dataset")
    if not target.is_dir():
        with files.replacing(target) as temporary:
            _fetch(source, partial(fetch, local_dir=str(temporary), allow_patterns=only))
            shutil.rmtree(temporary / ".cache", ignore_errors=True)  # the hub's own bookkeeping
            (temporary / ".gitattributes").unlink(missing_ok=True)
            tables_of_pictures.unpack(source, temporary)
            if not any(child.is_dir() for child in temporary.iterdir()):
                raise FastrecError(f"{source} holds neither class folders nor tables of pictures: check its name.")
    return _in_classes(source, target, _listing(target))


def _listing(root: Path) -> Listing:
    """List the class folders of a fetched set, whose maker and not the user laid it out.

    A folder that holds all pictures is stepped into, whatever lies beside it.  Beside split folders
    nothing has a label: unlabelled pictures, samples or models often lie there.
    """
    found = folder.listing(root)
    labels = {item.labels[0] for item in found.items if item.labels}
    split = any(item.split_hint for item in found.items if item.labels)
    if len(labels) == 1 and not split and any(child.is_dir() for child in (root / min(labels)).iterdir()):
        return _listing(root / min(labels))
    beside = ("no_label", "lies outside the split folders of its set")
    items = [
        replace(item, labels=(), problem=beside) if split and item.labels and not item.split_hint else item
        for item in found.items
    ]
    return Listing(items, sorted({label for item in items for label in item.labels}))


def _in_classes(source: str, target: Path, found: Listing) -> Listing:
    splits = [name for name in found.classes if name.lower() in folder.SPLIT_NAMES]
    if len(found.classes) < 2 or len(splits) > 1:  # folders called train and test that hold pictures: no classes
        raise FastrecError(f"{source} is no set of class folders: sort {target} into some and use folder:PATH.")
    return found


def _known(family: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise FastrecError(
            f"{family} has no set {name!r} that it fetches with a label for each picture: "
            f"did you mean {', '.join(near) or ', '.join(sorted(known)[:5])}?"
        )
    return known[name]


def _fetch(source: str, load: Callable[[], Any]) -> Any:
    """Run a library's own download; offline it becomes one sentence with the way around."""
    try:
        return load()
    except Exception as error:  # every library has its own errors for a missing network
        said = next(iter(str(error).splitlines()), "")[:160].rstrip(".:")
        raise FastrecError(
            f"{source} could not be fetched ({type(error).__name__}: {said}): check its name and the network, or fetch "
            "it elsewhere and use folder:PATH."
        ) from error
