"""Archives: honest ones unpack once, dishonest ones are refused before anything is written outside."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest

from fastrec.collect import sources
from fastrec.collect.sources import archive
from fastrec.files import FastrecError

PICTURE = b"not yet judged: the decoder does that"


def pack_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)


def pack_tar(path, members, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            made.addfile(info, io.BytesIO(data))


HONEST = {f"pets/{label}/{k}.jpg": PICTURE + str(k).encode() for label in ("cat", "dog") for k in range(3)}


@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_an_honest_archive_is_unpacked_once_and_stepped_into(home, pack):
    pack(home / "pets.pack", HONEST)
    found = sources.listing("archive:pets.pack")
    assert found.classes == ["cat", "dog"]
    assert len(found.items) == 6
    stamps = [item.path.stat().st_mtime_ns for item in found.items]
    assert [item.path.stat().st_mtime_ns for item in sources.listing("archive:pets.pack").items] == stamps


def test_train_alone_is_a_split_not_a_class(home):
    pack_zip(home / "pets.zip", {f"train/{label}/1.jpg": PICTURE for label in ("cat", "dog")})
    found = sources.listing("archive:pets.zip")
    assert found.classes == ["cat", "dog"]
    assert {item.split_hint for item in found.items} == {"train"}


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_a_member_outside_is_refused_by_name(home, pack, name):
    pack(home / "bad.pack", {**HONEST, name: PICTURE})
    with pytest.raises(FastrecError, match="would be written outside"):
        sources.listing("archive:bad.pack")
    assert not list(home.parent.rglob("evil.jpg"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(home, kind):
    pack_tar(home / "bad.tar", {"cat/1.jpg": b""}, kind)
    with pytest.raises(FastrecError, match=r"'cat/1\.jpg' is a link or a device"):
        sources.listing("archive:bad.tar")


def test_a_link_in_a_zip_is_refused(home):
    info = zipfile.ZipInfo("cat/1.jpg")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(home / "bad.zip", "w") as made:
        made.writestr(info, "/etc/passwd")
    with pytest.raises(FastrecError, match="is a link or a device"):
        sources.listing("archive:bad.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(home, monkeypatch):
    monkeypatch.setattr(archive, "BOMB", 2**20)
    pack_zip(home / "bomb.zip", {**HONEST, "pets/cat/big.jpg": bytes(8 * 2**20)})
    with pytest.raises(FastrecError, match=r"big\.jpg.*bomb"):
        sources.listing("archive:bomb.zip")
    assert not [path for path in (home / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused(home, data):
    (home / "bad.zip").write_bytes(data)
    with pytest.raises(FastrecError, match=r"neither a zip nor a tar|cannot be unpacked"):
        sources.listing("archive:bad.zip")


def test_a_damaged_member_is_one_sentence(home):
    pack_zip(home / "pets.zip", HONEST)
    data = bytearray((home / "pets.zip").read_bytes())
    data[60] ^= 0xFF
    (home / "pets.zip").write_bytes(data)
    with pytest.raises(FastrecError, match="cannot be unpacked"):
        sources.listing("archive:pets.zip")


def test_a_killed_extraction_continues(home):
    members = {f"{label}/{k}.jpg": os.urandom(20_000) for label in ("cat", "dog") for k in range(300)}
    pack_zip(home / "pets.zip", members)
    program = "from fastrec.collect import sources; sources.listing('archive:pets.zip')"
    child = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "FASTREC_HOME": str(home)})
    while not (written := list((home / "data").rglob("*.jpg"))) and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in written}
    found = sources.listing("archive:pets.zip")
    assert {f"{item.labels[0]}/{item.path.name}": item.path.read_bytes() for item in found.items} == members
    if child.returncode == -signal.SIGKILL and kept:
        name = next(iter(kept))
        assert kept[name] in {item.path.stat().st_mtime_ns for item in found.items if item.path.name == name}
