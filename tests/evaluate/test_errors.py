import pandas as pd
import pytest
import toy

from fastrec.evaluate import baselines, compare, errors, metrics, predict
from fastrec.records import Interval, Metrics

TABLE = pd.DataFrame(
    [
        ("1", "cat", "dog", 0.9),
        ("2", "cat", "dog", 0.6),
        ("3", "cat", "cat", 0.5),
        ("4", "dog", "cat", 0.9),
        ("5", "dog", "dog", 0.99),
        ("6", "cow", "dog", 0.7),
    ],
    columns=["image_id", "label", "predicted", "score"],
)


@pytest.fixture
def judged(run):
    """Return METRICS of the toy run, made as the notebook makes it."""
    table = compare.candidates(run)
    predicted = {label: predict.predictions(run, label) for label in table.index}
    test = predicted[compare.choose(table)]
    return Metrics(
        bundle=compare.choose(table),
        n=len(test),
        classes=toy.CLASSES,
        **metrics.summary(test, toy.CLASSES, 100),
        per_class=metrics.per_class(test, toy.CLASSES),
        baselines=baselines.baselines(run, 100),
        candidates=compare.compared(table, predicted, toy.CLASSES, 100),
        confusion=metrics.confusion(test, toy.CLASSES),
    )


def test_mistakes_come_surest_first_and_the_hardest_right_ones_least_sure_first():
    assert list(errors.mistakes(TABLE)["image_id"]) == ["1", "4", "6", "2"]
    assert list(errors.hardest(TABLE)["image_id"]) == ["3", "5"]


def test_confused_pairs_are_counted_with_their_share_of_the_label():
    pairs = errors.confused(TABLE)
    assert [tuple(row) for row in pairs.to_numpy()[:2]] == [("cat", "dog", 2, 2 / 3), ("cow", "dog", 1, 1.0)]
    assert pairs["images"].sum() == len(errors.mistakes(TABLE))
    words = errors.confused_in_words(pairs)
    assert words.startswith("Most often cat is taken for dog 2 times (66.7% of cat), cow is taken for dog once")


def test_a_model_without_mistakes_is_told_as_such():
    right = TABLE[TABLE["label"] == TABLE["predicted"]]
    assert errors.mistakes(right).empty
    assert "No test image" in errors.confused_in_words(errors.confused(right))


def test_the_verdict_tells_answer_baselines_weakest_class_and_the_other_candidate(judged):
    told = errors.verdict(judged)
    assert told.startswith(f"03_train/fastnet is right on {judged.accuracy.value:.1%} (95 % interval ")
    assert "120 test images" in told
    assert "nearest_neighbour (label of the nearest of 90 train images" in told
    assert min(toy.CLASSES, key=lambda name: judged.per_class[name].f1) in told
    assert "04_tune/best was not chosen on the valid split" in told


def test_the_verdict_names_classes_without_test_images(judged):
    judged.per_class[toy.CLASSES[0]].support = 0
    judged.per_class[toy.CLASSES[0]].f1 = None
    assert f"Nothing is known of {toy.CLASSES[0]}: no test images." in errors.verdict(judged)


def test_a_share_without_interval_or_value_is_told_without_inventing_one():
    assert errors.in_words(Interval(value=0.5)) == "50.0%"
    assert errors.in_words(Interval(value=None, note="no images")) == "an unknown share (no images)"
