"""Groups by a pattern on the path."""

import pytest

from fastrec.collect import sources
from fastrec.files import FastrecError


@pytest.fixture
def scans(home, make_images):
    root = make_images(home / "scans", ["no", "yes"], per_class=4)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(path.with_name(f"patient{number // 3}_{number}.png"))
    (root / "no" / "other.png").write_bytes(b"x")
    (root / "no" / "README.md").write_text("about")
    return "folder:scans"


def groups(source, pattern):
    return {item.path.name: item.group for item in sources.listing(source, group_by=pattern).items}


@pytest.mark.parametrize("pattern", [r"(patient\d+)_", r"patient\d+(?=_)"])
def test_the_first_group_or_the_whole_match_names_the_group(scans, pattern):
    found = groups(scans, pattern)
    assert found["patient0_2.png"] == "patient0"
    assert found["patient1_3.png"] == "patient1"
    assert found["other.png"] is None
    assert found["README.md"] is None


def test_a_group_that_took_no_part_names_nothing(scans):
    assert groups(scans, r"patient0_(1)?")["patient0_1.png"] == "1"
    assert groups(scans, r"patient0_(1)?")["patient0_2.png"] is None


def test_the_path_is_the_one_that_the_manifest_shows(scans):
    assert set(groups(scans, r"^scans/(\w+)/.*png").values()) == {"no", "yes", None}


def test_without_a_match_the_source_s_own_group_stays(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    lines = ["path,label,group", *(f"pets/{name}/{k:03d}.png,{name},g{k}" for name in ("cat", "dog") for k in (0, 1))]
    (home / "table.csv").write_text("\n".join(lines))
    assert [item.group for item in sources.listing("csv:table.csv", group_by="cat").items] == ["cat", "cat", "g0", "g1"]


@pytest.mark.parametrize(
    ("pattern", "said"), [("(", "is no regular expression"), ("nurse", "matches no path, such as 'scans/no/")]
)
def test_a_pattern_that_cannot_work_is_one_sentence(scans, pattern, said):
    with pytest.raises(FastrecError, match=said) as caught:
        sources.listing(scans, group_by=pattern)
    assert repr(pattern) in str(caught.value)
    assert "\n" not in str(caught.value)
