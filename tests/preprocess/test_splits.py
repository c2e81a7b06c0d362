"""Splits: disjoint, stratified, and a matter of content alone."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.preprocess import splits


def manifest(labels, groups=None, hints=None):
    count = len(labels)
    return pd.DataFrame(
        {
            "image_id": [f"{k * 2654435761 % 2**32:08x}{k}" for k in range(count)],
            "labels": [[label] for label in labels],
            "group": groups or [None] * count,
            "split_hint": hints or [None] * count,
        }
    )


@given(
    st.lists(st.integers(3, 60), min_size=2, max_size=5),
    st.floats(0.1, 0.4),
    st.floats(0.1, 0.4),
    st.integers(0, 9),
)
def test_every_class_is_shared_out_within_one_image(sizes, valid, test, seed):
    labels = [str(k) for k, size in enumerate(sizes) for _ in range(size)]
    table = splits.split(manifest(labels), valid, test, seed)
    assert sorted(table["image_id"]) == sorted(manifest(labels)["image_id"])
    assert splits.leaks(table).empty
    for label, size in enumerate(sizes):
        counts = splits.counts(table).loc[str(label)]
        assert abs(counts["valid"] - size * valid) <= 1
        assert abs(counts["test"] - size * test) <= 1


@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_order_does_not_matter(random, seed):
    table = manifest(["a", "b", "c"] * 20)
    shuffled = table.sample(frac=1, random_state=random.randrange(2**31))
    pd.testing.assert_frame_equal(splits.split(table, seed=seed), splits.split(shuffled, seed=seed))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 14)), min_size=60, max_size=120))
def test_groups_stay_together(pairs):
    labels, groups = [label for label, _ in pairs], [f"g{group}" for _, group in pairs]
    try:
        table = splits.split(manifest(labels, groups))
    except FastrecError:
        return
    assert splits.leaks(table).empty
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert (table[table["split"] != "test"].groupby("group")["fold"].nunique() == 1).all()


def test_another_seed_gives_another_split():
    table = manifest(["a", "b"] * 50)
    assert (splits.split(table, seed=0)["split"] != splits.split(table, seed=1)["split"]).any()


def test_given_splits_are_kept_and_missing_ones_come_from_train():
    hints = ["train"] * 60 + ["test"] * 20
    table = splits.split(manifest(["a", "b"] * 40, hints=hints)).set_index("image_id")
    ids = manifest(["a", "b"] * 40)["image_id"]
    assert (table.loc[ids[60:], "split"] == "test").all()
    assert set(table.loc[ids[:60], "split"]) == {"train", "valid"}


def test_all_given_splits_are_kept_as_they_are():
    hints = (["train"] * 3 + ["valid", "test"]) * 8
    table = splits.split(manifest(["a"] * 20 + ["b"] * 20, hints=hints)).set_index("image_id")
    assert table.loc[manifest(["a"] * 40)["image_id"], "split"].tolist() == hints


def test_folds_cover_all_but_test_and_are_even():
    table = splits.split(manifest(["a", "b"] * 50))
    assert set(table.loc[table["split"] == "test", "fold"]) == {-1}
    sizes = table[table["fold"] >= 0].groupby("fold").size()
    assert len(sizes) == splits.FOLDS
    assert sizes.max() - sizes.min() <= 2


def test_rows_follow_the_content():
    table = splits.split(manifest(["a", "b"] * 10))
    assert table["image_id"].is_monotonic_increasing
    assert table["row"].tolist() == list(range(20))


@pytest.mark.parametrize(("valid", "test"), [(0, 0.2), (0.2, 0), (0.6, 0.4), (-1, 0.2)])
def test_senseless_shares_are_refused(valid, test):
    with pytest.raises(FastrecError, match="valid is"):
        splits.split(manifest(["a", "b"] * 10), valid, test)


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_with_too_few_images_is_named(few):
    with pytest.raises(FastrecError, match=f"class 'rare' has {few} image"):
        splits.split(manifest(["a"] * 20 + ["rare"] * few))


def test_a_leak_is_listed():
    table = splits.split(manifest(["a", "b"] * 10))
    both = pd.concat([table, table.iloc[[0]].assign(split="other")])
    assert splits.leaks(both)["value"].iloc[0] == table["image_id"].iloc[0]


def test_several_labels_are_refused_rather_than_cut():
    table = manifest(["a", "b"] * 10)
    table["path"] = "x.png"
    table.at[3, "labels"] = ["a", "b"]
    with pytest.raises(FastrecError, match="1 pictures have several labels"):
        splits.split(table)


def test_three_images_of_a_class_are_enough():
    table = splits.split(manifest(["a"] * 20 + ["rare"] * 3))
    assert splits.counts(table).loc["rare"].tolist() == [1, 1, 1]


def test_a_group_that_the_source_tore_apart_is_named():
    hints = ["train"] * 19 + ["test"] + ["test"] * 10
    with pytest.raises(FastrecError, match="group 'g' has images given to test and train"):
        splits.split(manifest(["a", "b"] * 15, [None] * 18 + ["g", "g"] + [None] * 10, hints))


def near(pairs):
    rows = [{"issue": "near_copy", "image_id": one, "other_id": other, "message": "alike"} for one, other in pairs]
    return pd.DataFrame(rows, columns=["issue", "image_id", "other_id", "message"])


@given(st.sets(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=30))
def test_near_copies_stay_on_one_side_and_in_one_fold(numbers):
    table = manifest(["a", "b"] * 20)
    quality = near((table["image_id"][one], table["image_id"][other]) for one, other in numbers if one != other)
    try:
        done = splits.split(table, quality=quality)
    except FastrecError:  # so many ties that a class has too few groups
        return
    assert splits.leaks(done, quality).empty


def test_given_splits_that_tear_near_copies_apart_are_kept_and_listed():
    hints = (["train"] * 3 + ["valid", "test"]) * 8
    table = manifest(["a"] * 20 + ["b"] * 20, hints=hints)
    quality = near([(table["image_id"][0], table["image_id"][4])])
    done = splits.split(table, quality=quality)
    assert splits.leaks(done, quality)["splits"].tolist() == [["train", "test"]]
