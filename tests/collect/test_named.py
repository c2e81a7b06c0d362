"""Public sets by name, each way to its end: the libraries are the real ones, only the network is not there."""

import inspect
import json
import re
import shutil
import sys
import tarfile
from types import ModuleType

import huggingface_hub
import numpy as np
import pytest
from fetched import drawn, told, write
from PIL import Image
from torchvision import datasets
from torchvision.datasets import clevr, dtd, eurosat, mnist

from fastrec.collect import manifest, sources
from fastrec.collect.sources import named
from fastrec.files import FastrecError
from fastrec.run import Run


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("fastai:PETZ", "did you mean PETS"),
        ("fastai:S3_IMAGE", "fastai has no set 'S3_IMAGE'"),
        ("torchvision:CIFAR11", "did you mean CIFAR10"),
        ("torchvision:VOCDetection", "no set 'VOCDetection' that it fetches with a label for each picture"),
        ("hf:justaname", "write hf:owner/name"),
        ("hf:a/b/c/d/e", "write hf:owner/name"),
    ],
)
def test_an_unknown_name_lists_the_nearest(home, source, says):
    with pytest.raises(FastrecError, match=says):
        sources.listing(source)


def test_offline_is_one_sentence_with_a_way_around(home, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FastrecError, match=r"hf:a/b could not be fetched \(ConnectionError: no route\).*folder:PATH"):
        sources.listing("hf:a/b")
    assert not (home / "data/hf/a--b").exists()


# --- fastai

leaves_a_file_open = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fastai, its config.ini


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Return a function that packs pictures as fastai does and names the archive in its list."""
    from fastai.data.external import URLs

    def pack(key, *names):
        for number, name in enumerate(names):
            (tmp_path / "fixture" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fixture" / name).write_bytes(drawn(number))
        with tarfile.open(tmp_path / f"{key}.tgz", "w:gz") as archive:
            archive.add(tmp_path / "fixture", ".")
        monkeypatch.setattr(URLs, key, (tmp_path / f"{key}.tgz").as_uri(), raising=False)

    return pack


@leaves_a_file_open
def test_a_set_of_fastai_is_collected_to_the_end(home, packed):
    packed("TINY", "tiny/cat/1.png", "tiny/dog/2.png", "tiny/dog/3.png", "tiny/labels.csv")
    found = sources.listing("fastai:TINY")
    assert told(found) == {(None, "cat"): 1, (None, "dog"): 2, "not_a_picture": 1}
    assert len(manifest.inspect(Run("tiny"), found.items)[0]) == 3
    assert not (home / "data/fastai/TINY/archive").exists()
    (home / "TINY.tgz").unlink()
    assert sources.listing("fastai:TINY") == found


@leaves_a_file_open
def test_beside_the_split_folders_of_fastai_nothing_has_a_label(packed):
    taken = (
        "mnist_tiny/train/3/1.png",
        "mnist_tiny/train/7/2.png",
        "mnist_tiny/valid/3/3.png",
        "mnist_tiny/valid/7/4.png",
    )
    packed("TINY", *taken, "mnist_tiny/test/5.png", "mnist_tiny/unsup/6.png", "mnist_tiny/models/a.pth")
    found = sources.listing("fastai:TINY")
    assert found.classes == ["3", "7"]
    assert told(found) == {
        **{("train", "3"): 1, ("train", "7"): 1, ("valid", "3"): 1, ("valid", "7"): 1},
        "no_label": 3,
    }


@leaves_a_file_open
def test_class_folders_of_fastai_below_a_folder_of_pictures(packed):
    packed("BIRDS", "birds/images/001.crow/1.png", "birds/images/002.wren/2.png", "birds/classes.txt", "birds/a/b.txt")
    assert sources.listing("fastai:BIRDS").classes == ["001.crow", "002.wren"]


@leaves_a_file_open
def test_a_set_of_fastai_without_class_folders_is_refused(packed):
    packed("VOC", "voc/train/1.png", "voc/test/2.png", "voc/segmentation/3.png", "voc/train.json")
    with pytest.raises(FastrecError, match=r"fastai:VOC is no set of class folders.*folder:PATH"):
        sources.listing("fastai:VOC")


@leaves_a_file_open
def test_fastais_pets_are_labelled_by_their_names(packed):
    packed("PETS", *(f"pets/images/{name}.jpg" for name in ("great_pyrenees_1", "pug_2", "pug_3", "oddity")))
    found = sources.listing("fastai:PETS")
    assert told(found) == {(None, "great_pyrenees"): 1, (None, "pug"): 2, "no_label": 1}


# --- torchvision


@pytest.fixture
def h5py(monkeypatch):
    """Stand in for the package that PCAM asks for before anything else."""
    monkeypatch.setitem(sys.modules, "h5py", ModuleType("h5py"))


def asked(name):
    return [dict(arguments) for arguments in named._TORCHVISION[name].values()]


@pytest.mark.parametrize("name", named._TORCHVISION)
def test_torchvision_takes_each_set_as_it_is_asked_here(h5py, name, tmp_path):
    make = getattr(datasets, name)
    for arguments in asked(name):
        with pytest.raises((RuntimeError, FileNotFoundError)):  # not there, and nothing worse
            make(str(tmp_path), download=False, **arguments)
    takes = inspect.signature(make).parameters
    assert asked(name) == [{}] or ("split" in takes or "train" in takes)
    assert asked(name) != [{}] or not {"split", "train"} & set(takes)


@pytest.mark.parametrize("name", [name for name in named._TORCHVISION if "split" in asked(name)[0]])
def test_no_split_of_torchvision_is_forgotten(h5py, name, tmp_path):
    with pytest.raises(ValueError, match="for argument split") as caught:
        getattr(datasets, name)(str(tmp_path), split="?", download=False)
    known = set(re.findall(r"'([\w+]+)'", str(caught.value).partition("values are")[2]))
    taken = {arguments["split"] for arguments in asked(name)}
    assert taken <= known
    left = {"STL10": {"unlabeled", "train+unlabeled"}, "SVHN": {"extra"}, "FGVCAircraft": {"trainval"}}
    assert known - taken == left.get(name, set())


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Return a function that lets one of torchvision's modules fetch a local folder."""
    source = tmp_path / "served"

    def serve(module, *names):
        write(source, *names)

        def fetched(url, download_root, **more):
            shutil.copytree(source, download_root, dirs_exist_ok=True)

        monkeypatch.setattr(module, "download_and_extract_archive", fetched)
        return source

    return serve


def test_all_splits_of_a_torchvision_set_are_taken_once(home, served):
    pictures = [
        f"{split}/{kind}_{k}.jpg" for split in ("train", "val", "test") for kind in ("bumpy", "dotted") for k in "12"
    ]
    root = served(
        dtd, *(f"dtd/images/{name.split('/')[1].split('_')[0]}/{name.replace('/', '_')}" for name in pictures)
    )
    (root / "dtd/labels").mkdir()
    for split in ("train", "val", "test"):
        lines = [f"{path.parent.name}/{path.name}" for path in sorted(root.rglob(f"{split}_*.jpg"))]
        (root / f"dtd/labels/{split}1.txt").write_text("\n".join(lines))
    found = sources.listing("torchvision:DTD")
    expected = {(split, kind): 2 for split in ("train", "valid", "test") for kind in ("bumpy", "dotted")}
    assert told(found) == expected
    assert len(manifest.inspect(Run("dtd"), found.items)[0]) == 12
    shutil.rmtree(root)
    assert sources.listing("torchvision:DTD") == found


def test_a_torchvision_set_without_splits(served):
    served(eurosat, *(f"2750/{kind}/{kind}_{k}.jpg" for kind in ("Forest", "River") for k in range(3)))
    assert told(sources.listing("torchvision:EuroSAT")) == {(None, "Forest"): 3, (None, "River"): 3}


def test_a_torchvision_set_with_a_flag_for_its_splits(served):
    root = served(mnist)
    root.mkdir()
    for name, labels in (("train", [0, 1, 1]), ("t10k", [1, 0])):
        size = np.array([len(labels), 28, 28], ">i4").tobytes()
        pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), np.uint8)
        (root / f"{name}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + size + pixels.tobytes())
        (root / f"{name}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + size[:4] + bytes(labels))
    assert told(sources.listing("torchvision:MNIST")) == {
        **{("train", "0 - zero"): 1, ("train", "1 - one"): 2},
        **{("test", "0 - zero"): 1, ("test", "1 - one"): 1},
    }


def test_the_unlabelled_test_split_of_a_torchvision_set_is_listed_as_such(served):
    splits = ("train", "val", "test")
    root = served(clevr, *(f"CLEVR_v1.0/images/{split}/{k}.png" for split in splits for k in range(2)))
    (root / "CLEVR_v1.0/scenes").mkdir()
    for split in splits[:2]:
        scenes = [{"image_filename": f"{k}.png", "objects": [{}] * (3 + k)} for k in range(2)]
        (root / f"CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json").write_text(json.dumps({"scenes": scenes}))
    assert told(sources.listing("torchvision:CLEVRClassification")) == {
        **{("train", "3"): 1, ("train", "4"): 1, ("valid", "3"): 1, ("valid", "4"): 1},
        "no_label": 2,
    }


def test_a_class_of_several_names_is_one_folder(home, tmp_path):
    class Two:
        classes = (("tench", "Tinca tinca"), ("C-130/J",))

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Image.new("RGB", (9, 9)), index

    folders = named.tables_of_pictures.ClassFolders("torchvision:Two", tmp_path / "two")
    named._write(Two(), "train", folders)
    assert {path.name for path in (tmp_path / "two/train").iterdir()} == {"tench, Tinca tinca", "C-130-J"}
