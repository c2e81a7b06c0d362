"""Thresholds and loss of pictures with several labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score

from fastrec.train import multilabel

SCORES = hnp.arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 20).map(lambda k: k / 20))


@given(SCORES, st.integers(0, 2**32 - 1))
def test_no_other_threshold_has_a_higher_f1(scores, seed):
    truth = np.random.default_rng(seed).random(scores.shape) < 0.4
    limits = multilabel.thresholds(scores, truth)
    for k, limit in enumerate(limits):
        if not truth[:, k].any():
            assert limit == 0.5
            continue
        found = [f1_score(truth[:, k], scores[:, k] >= cut) for cut in np.unique(scores[:, k])]
        assert f1_score(truth[:, k], scores[:, k] >= limit) == pytest.approx(max(found))
        assert limit == 0 or limit not in scores[:, k]


def test_a_threshold_lies_in_the_middle_of_the_gap_that_it_parts():
    scores = np.array([[0.1], [0.2], [0.6], [0.9]])
    assert multilabel.thresholds(scores, np.array([[False], [False], [True], [True]])) == [pytest.approx(0.4)]
    assert multilabel.thresholds(scores, np.array([[True]] * 4)) == [pytest.approx(0.05)]


def test_figures_follow_the_thresholds():
    scores, truth = np.array([[0.3, 0.6], [0.8, 0.1]]), np.array([[True, False], [True, False]])
    assert multilabel.figures(scores, truth, [0.25, 0.7])["accuracy"] == 1
    assert multilabel.figures(scores, truth, [0.5, 0.5])["accuracy"] == 0.5


def test_one_class_that_is_there_or_not_has_its_own_f1():
    truth = np.array([[True], [True], [False], [False], [False]])
    found = multilabel.figures(np.array([[0.9], [0.1], [0.8], [0.2], [0.3]]), truth, [0.5])
    assert found == {"accuracy": pytest.approx(0.6), "macro_f1": pytest.approx(0.5)}


def test_accuracy_is_of_whole_sets():
    logits, target = torch.tensor([[2.0, -1.0], [1.0, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(multilabel.accuracy(logits, target)) == 0.5
