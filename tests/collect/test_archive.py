"""Archives: honest ones unpack once, dishonest ones are refused before anything is written outside."""

import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from contextlib import suppress

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


def pack(path, members):
    """Pack as the name says; a plain tar file has no checksum over its contents."""
    if path.suffix == ".zip":
        pack_zip(path, members)
        return
    with tarfile.open(path, "w:" + path.suffix[1:].replace("tar", "")) as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))


def unpacked(home):
    return [path.name for path in (home / "data").rglob("*") if path.is_file() and path.name != ".lock"]


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
    assert unpacked(home) == []


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


def contents(found):
    return {f"{item.labels[0]}/{item.path.name}": item.path.read_bytes() for item in found.items}


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_flipped_byte_anywhere_is_refused_or_harmless(home, kind):
    chance = random.Random(0)
    members = {f"{label}/{k}.bmp": chance.randbytes(40) * 30 for label in ("cat", "dog") for k in range(3)}
    path = home / f"pets.{kind}"
    pack(path, members)
    good, refused = path.read_bytes(), 0
    for place in range(0, len(good), max(1, len(good) // 120)):
        data = bytearray(good)
        data[place] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        with suppress(FastrecError):
            refused += 1
            assert contents(sources.listing(f"archive:{path.name}")) == members, place
            refused -= 1
    assert refused > 60
    assert not list((home / "data").rglob("*.partial")), "what came of damage is not kept"


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("harm", ["header", "cut"])
def test_a_damaged_header_of_a_plain_tar_is_not_taken_for_its_end(home, place, harm):
    path = home / "pets.tar"
    pack(path, HONEST)
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[place].offset
    data = bytearray(path.read_bytes())
    data[offset + 5] ^= 0xFF
    path.write_bytes(data if harm == "header" else data[:offset])
    with pytest.raises(FastrecError, match=r"cannot be unpacked|neither a zip nor a tar"):
        sources.listing("archive:pets.tar")
    assert unpacked(home) == []


def test_a_negative_size_leads_nowhere(home):
    pack(home / "pets.tar", HONEST)
    data = bytearray((home / "pets.tar").read_bytes())
    data[124:136] = (-512).to_bytes(12, "big", signed=True)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (home / "pets.tar").write_bytes(data)
    with pytest.raises(FastrecError, match=r"damaged|cannot be unpacked|neither"):
        sources.listing("archive:pets.tar")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_member_may_have_any_name_that_a_file_may_have(home, kind):
    members = {"cat/1.jpg": PICTURE, "dog/1.jpg": PICTURE, "dog/" + "n" * 251 + ".jpg": PICTURE}
    pack(home / f"pets.{kind}", members)
    assert contents(sources.listing(f"archive:pets.{kind}")) == members


def test_a_name_too_long_for_a_file_is_refused_with_a_cure(home):
    pack_zip(home / "pets.zip", {**HONEST, "pets/cat/" + "n" * 300: PICTURE})
    with pytest.raises(FastrecError, match=r"'pets/cat/n+' cannot be written .*another name"):
        sources.listing("archive:pets.zip")


@pytest.mark.parametrize("name", [".", "pets", "pets/cat", "./pets//cat/./"])
@pytest.mark.parametrize("first", [True, False])
def test_a_file_where_others_need_a_folder_is_refused_by_name(home, name, first):
    odd = {name: PICTURE}
    pack_zip(home / "pets.zip", {**odd, **HONEST} if first else {**HONEST, **odd})
    with pytest.raises(FastrecError, match="is a file and a folder at once"):
        sources.listing("archive:pets.zip")
    assert unpacked(home) == []


def test_a_zip_whose_list_hides_a_member_is_damaged(home):
    pack_zip(home / "pets.zip", HONEST)
    data = (home / "pets.zip").read_bytes()
    last = data.rindex(b"PK\1\2")
    second = data.rindex(b"PK\1\2", 0, last)
    swallowed = bytearray(data)
    swallowed[second + 32] = len(data) - 22 - last  # the last is a comment on the one before it
    (home / "pets.zip").write_bytes(swallowed)
    with pytest.raises(FastrecError, match="lists 5 of 6 members"):
        sources.listing("archive:pets.zip")
    (home / "pets.zip").write_bytes(data[:last] + data[last:].replace(b"dog/2", b"dog/1"))
    with pytest.raises(FastrecError, match="two members of one name"):
        sources.listing("archive:pets.zip")


def test_of_two_members_of_one_name_in_a_tar_the_later_counts(home):
    with tarfile.open(home / "pets.tar", "w") as made:
        for name, data in (("cat/1.jpg", b"old"), ("dog/1.jpg", b"dog"), ("cat/1.jpg", b"new")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    assert contents(sources.listing("archive:pets.tar"))["cat/1.jpg"] == b"new"


@pytest.mark.parametrize("inside", ["", "pets/"])
def test_what_macos_packs_beside_the_classes_is_no_class(home, inside):
    notes = {f"__MACOSX/{name.replace('pets/', inside)}": b"\0\5\x16\7" for name in HONEST}
    notes = {name.replace(".jpg", "").rpartition("/")[0] + "/._0.jpg": data for name, data in notes.items()}
    pack_zip(home / "pets.zip", {name.replace("pets/", inside): data for name, data in HONEST.items()} | notes)
    found = sources.listing("archive:pets.zip")
    assert found.classes == ["cat", "dog"]
    assert len([item for item in found.items if item.labels]) == 6
    assert {item.problem[0] for item in found.items if item.problem} <= {"hidden"}


def test_two_processes_may_unpack_one_archive(home):
    pack_zip(home / "pets.zip", {f"{label}/{k}.bmp": os.urandom(3000) for label in ("cat", "dog") for k in range(200)})
    program = "from fastrec.collect import sources; print(len(sources.listing('archive:pets.zip').items))"
    started = [
        subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "FASTREC_HOME": str(home)}, stdout=-1)
        for _ in range(2)
    ]
    assert [process.communicate()[0].split() for process in started] == [[b"400"], [b"400"]]


def test_the_fingerprint_unpacks_nothing_and_knows_archive_and_pictures(home):
    pack_zip(home / "pets.zip", HONEST)
    absent = sources.fingerprint("archive:pets.zip")
    assert unpacked(home) == []
    picture = sources.listing("archive:pets.zip").items[0].path
    there = sources.fingerprint("archive:pets.zip")
    picture.write_bytes(b"other")
    changed = sources.fingerprint("archive:pets.zip")
    pack_zip(home / "pets.zip", {**HONEST, "pets/owl/1.jpg": PICTURE})
    assert len({absent, there, changed, sources.fingerprint("archive:pets.zip")} - {absent}) == 2
    assert len(unpacked(home)) == 6, "the new archive is not unpacked"


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


def test_folders_that_are_listed_twice_and_backslashes_are_no_damage(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=2)
    with warnings.catch_warnings(), zipfile.ZipFile(home / "pets.zip", "w") as packed:
        warnings.simplefilter("ignore")  # zipfile names what is twice
        for name in ("set/", "set/"):
            packed.writestr(name, "")
        for path in root.rglob("*.png"):
            info = zipfile.ZipInfo()
            info.filename = f"set\\{path.parent.name}\\{path.name}"
            packed.writestr(info, path.read_bytes())
    assert [item.labels for item in sources.listing("archive:pets.zip").items] == [("cat",)] * 2 + [("dog",)] * 2
