"""A source that is written wrongly is answered with how it is written."""

import pytest

from fastrec.collect import sources
from fastrec.files import FastrecError


@pytest.mark.parametrize(
    ("file", "family"),
    [("pets", "folder"), ("pets.csv", "csv"), ("t.parquet", "parquet"), ("a.json", "coco"), ("pets.tar.gz", "archive")],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_bare_path_is_told_its_family(home, file, family, whole):
    path = home / file
    path.touch() if path.suffix else path.mkdir()
    given = str(path) if whole else file
    with pytest.raises(FastrecError) as caught:
        sources.listing(given)
    assert f"did you mean {family}:{given}? " in str(caught.value)


@pytest.mark.parametrize("source", ["folders:x", "x" * 5000, "~nobody/x", "a\0b", ""])
def test_any_other_text_is_refused_in_one_sentence(home, source):
    with pytest.raises(FastrecError, match=r"is unknown: .*The families are digits, folder") as caught:
        sources.listing(source)
    assert "\n" not in str(caught.value)
