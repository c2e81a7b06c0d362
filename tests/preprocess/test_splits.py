"""Splits: disjoint, stratified, and a matter of content alone."""

import re
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.collect import look
from fastrec.files import FastrecError
from fastrec.preprocess import splits, stratify


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


SETS = st.lists(st.sets(st.sampled_from("abc")), min_size=60, max_size=120)


def sets_manifest(sets, groups=None, hints=None):
    return manifest(["x"] * len(sets), groups, hints).assign(labels=[sorted(found) for found in sets])


def is_multi(sets):
    return any(len(found) != 1 for found in sets)


@given(SETS, st.integers(0, 9))
def test_each_of_several_labels_is_shared_out(sets, seed):
    try:
        table = splits.split(sets_manifest(sets), seed=seed)
    except FastrecError as error:
        assert re.search(r"no picture has a label|has [012]", str(error))  # noqa: PT017
        return
    counts = splits.counts(table, is_multi(sets))
    assert splits.leaks(table).empty
    assert (counts > 0).all().all()
    assert "" not in counts.index
    for label in counts.index:
        size = sum(label in found for found in sets)
        assert counts.loc[label].sum() == size
        assert abs(counts.loc[label, "test"] - 0.2 * size) <= 3
        assert abs(counts.loc[label, "valid"] - 0.2 * size) <= 3


def test_sets_that_come_again_and_again_are_shared_out_evenly():
    sets = [{"a"}, {"b"}, {"a", "b"}, {"c"}, set()] * 20
    table = splits.split(sets_manifest(sets))
    counts = splits.counts(table, True)
    assert counts.loc["c"].tolist() == [12, 4, 4]
    assert table.loc[table["label"] == "", "split"].value_counts().to_dict() == {"train": 12, "valid": 4, "test": 4}
    assert counts.loc[["a", "b"], ["valid", "test"]].isin([7, 8, 9]).all().all()
    folds = splits.each_label(table[table["fold"] >= 0], True)
    assert (pd.crosstab(folds["label"], folds["fold"]).loc[["a", "b"]] - 6.4).abs().max().max() < 2


def test_a_label_that_can_stand_in_every_split_does():
    sets = [{"a", "b"}, {"b", "c"}, {"c", "a"}] * 3 + [set()] * 60
    for seed in range(30):
        assert (splits.counts(splits.split(sets_manifest(sets), seed=seed), True) > 0).all().all()


@given(SETS, st.randoms(use_true_random=False))
def test_the_order_of_pictures_with_several_labels_does_not_matter(sets, random):
    table = sets_manifest([*sets, *[{"a", "b"}, {"b", "c"}, {"c", "a"}] * 3])
    shuffled = table.sample(frac=1, random_state=random.randrange(2**31))
    pd.testing.assert_frame_equal(splits.split(table), splits.split(shuffled))


@given(SETS, st.data())
def test_groups_with_several_labels_stay_together(sets, data):
    groups = [f"g{data.draw(st.integers(0, 20))}" for _ in sets]
    try:
        table = splits.split(sets_manifest(sets, groups), folds=3)
    except FastrecError:
        return
    assert splits.leaks(table).empty
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert (table[table["split"] != "test"].groupby("group")["fold"].nunique() == 1).all()


def test_given_splits_with_several_labels_are_kept():
    sets = [{"a"}, {"a", "b"}, {"b", "c"}, {"c"}] * 20
    hints = ["train"] * 60 + ["test"] * 20
    table = splits.split(sets_manifest(sets, hints=hints)).set_index("image_id")
    ids = sets_manifest(sets)["image_id"]
    assert (table.loc[ids[60:], "split"] == "test").all()
    assert set(table.loc[ids[:60], "split"]) == {"train", "valid"}


def test_a_rare_one_of_several_labels_is_named():
    sets = [{"a"}, {"a", "b"}] * 20 + [{"a", "rare"}, {"b", "rare"}]
    with pytest.raises(FastrecError, match="class 'rare' has 2 images"):
        splits.split(sets_manifest(sets))


@pytest.mark.parametrize("name", ["a|b", ""])
def test_a_label_that_joined_text_cannot_hold_is_refused_in_one_sentence(name):
    with pytest.raises(FastrecError, match=r"label .* cannot stand in a set with several labels") as caught:
        splits.split(sets_manifest([{"a"}, {name, "c"}] * 10))
    assert "\n" not in str(caught.value)
    assert repr(name) in str(caught.value)


def test_pictures_without_any_label_at_all_are_refused():
    with pytest.raises(FastrecError, match="no picture has a label"):
        splits.split(sets_manifest([set()] * 20))


def test_where_every_picture_has_one_label_a_bar_in_its_name_is_a_letter_like_any_other():
    table = splits.split(manifest(["a|b", "a"] * 10))
    assert list(splits.counts(table).index) == ["a", "a|b"]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_as_many_folds_as_asked_for(folds):
    assert set(splits.split(manifest(["a", "b"] * 50), folds=folds)["fold"]) == {-1, *range(folds)}


def test_one_fold_is_refused():
    with pytest.raises(FastrecError, match="folds is 1: take at least 2"):
        splits.split(manifest(["a", "b"] * 50), folds=1)


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


def sides(done, names):
    return set(done.set_index("image_id").loc[names, "split"])


def test_near_copies_that_are_given_to_one_split_are_in_one_fold():
    table = manifest(["a", "b"] * 40, hints=["train"] * 40 + ["valid"] * 20 + ["test"] * 20)
    ids = table["image_id"]
    pairs = [(ids[k], ids[k + 2]) for k in range(30, 56, 4)]  # also across train and valid
    done = splits.split(table, quality=near(pairs)).set_index("image_id")
    assert all(done["fold"][one] == done["fold"][other] for one, other in pairs)


def test_near_copies_of_given_pictures_follow_them_and_the_stricter_of_two():
    table = manifest(["a", "b"] * 60, hints=["test"] * 20 + ["valid"] * 20 + [None] * 80)
    ids = table["image_id"]
    quality = near([(ids[k], ids[k + 40]) for k in range(40)] + [(ids[0], ids[20])])
    done = splits.split(table, quality=quality)
    assert sides(done, ids[40:60]) == {"test"}
    assert sides(done, ids[61:80]) == {"valid"}
    assert sides(done, [ids[60]]) == {"test"}  # a near copy of both
    assert splits.leaks(done, quality)["splits"].tolist() == [["valid", "test"], ["test", "valid"]]


def test_what_hangs_together_through_a_given_test_picture_stays_together():
    table = manifest(["a", "b"] * 40, hints=["test"] * 8 + ["train"] * 72)
    ids = table["image_id"]
    pairs = [(ids[k], ids[8 + 4 * k + step]) for k in range(8) for step in range(4)]
    done = splits.split(table, quality=near(pairs))
    assert all(len(sides(done, ids[8 + 4 * k : 12 + 4 * k])) == 1 for k in range(8))
    assert (done.groupby("group")["split"].nunique() == 1).all()  # what the source tore counts as two


@given(st.integers(0, 9))
def test_crops_of_one_photo_stay_on_one_side_whatever_their_files(seed):
    table = manifest(["a", "b", "b"] * 20)
    table["image_id"] = [look.identity(bytes([k // 3]), (k, 0, 9, 9)) for k in range(60)]
    done = splits.split(table, seed=seed)
    photo = done["image_id"].map(look.photo)
    assert photo.nunique() == 20
    assert (done.groupby(photo)["split"].nunique() == 1).all()
    assert (done[done["split"] != "test"].groupby(photo)["fold"].nunique() == 1).all()


def test_crops_of_one_photo_that_the_source_tore_apart_are_listed():
    table = manifest((["a"] * 4 + ["b"] * 4) * 5, hints=["train", "train", "valid", "test"] * 10)
    table["image_id"] = [look.identity(bytes([min(k, 37)]), (k, 0, 9, 9)) for k in range(40)]
    leaks = splits.leaks(splits.split(table))
    assert leaks["what"].tolist() == ["crops of a photo"]
    assert leaks["splits"].tolist() == [["test", "train", "valid"]]


@given(st.integers(0, 2**32 - 1))
def test_a_rare_class_of_a_few_large_groups_is_in_every_split(seed):
    sizes = np.random.default_rng(seed).integers(20, 60, 50)
    labels = [label for k, size in enumerate(sizes) for label in ["common"] * size + ["rare"] * (2 * (k < 6))]
    groups = [f"{seed} {k}" for k, size in enumerate(sizes) for _ in range(size + 2 * (k < 6))]
    found = splits.counts(splits.split(manifest(labels, groups)))
    assert (found.loc["rare"] > 0).all()


def test_a_given_split_can_be_set_aside():
    table = manifest(["a", "b"] * 20, hints=["test"] * 30 + ["train"] * 10)
    quality = near([(table["image_id"][0], table["image_id"][38])])
    assert len(splits.leaks(splits.split(table, quality=quality), quality)) == 1
    anew = splits.split(table, quality=quality, given_splits=False)
    pd.testing.assert_frame_equal(anew, splits.split(table.assign(split_hint=None), quality=quality))
    assert splits.leaks(anew, quality).empty


def test_a_class_that_the_given_split_lacks_is_told_with_the_way_out():
    table = manifest(["a"] * 20 + ["b"] * 20, hints=["valid"] * 5 + ["test"] * 5 + [None] * 30)
    with pytest.raises(FastrecError, match=r"class 'b' has no image in valid: .*gave has none: set given_splits=False"):
        splits.split(table)


def test_leaks_are_told_in_whole_sentences():
    table = manifest(["a", "b"] * 20, hints=["test"] * 20 + ["train"] * 20)
    quality = near([(table["image_id"][0], table["image_id"][38])]).assign(message="x.png (a) and y.png (a) are alike.")
    shown = splits.show_leaks(splits.leaks(splits.split(table, quality=quality), quality)).data
    assert "x.png (a) and y.png (a) are alike. They stand in test and " in shown
    assert splits.show_leaks(splits.leaks(splits.split(table))) == "Nothing stands on two sides."


def test_what_cannot_be_served_costs_little():
    """Six rare classes in two groups each cannot be in five folds; singles are many."""
    labels = [f"c{k % 300}" for k in range(30_000)] + [f"rare{k}" for k in range(6) for _ in range(6)]
    groups = [None] * 30_000 + [f"g{k // 3 % 5}" for k in range(36)]
    tried = []
    with pytest.MonkeyPatch.context() as patch:
        dealer = stratify._rarest_first
        patch.setattr(stratify, "_rarest_first", lambda *given: tried.append(1) or dealer(*given))
        with suppress(FastrecError):
            splits.split(manifest(labels, groups))
    assert sum(tried) <= 2 * stratify.MOST // 30_000
