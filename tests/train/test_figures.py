"""Figures of an epoch: equal to scikit-learn's over all pictures at once, however they come in batches."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from fastrec.train.figures import Accuracy, MacroF1


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 5), st.integers(1, 10))
def test_they_equal_scikit_learns_over_all_at_once(seed, pictures, classes, size):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(pictures, classes, generator=random)
    target = torch.randint(0, classes, (pictures,), generator=random)
    figures = [Accuracy(), MacroF1()]
    for pred, true in zip(logits.split(size), target.split(size), strict=True):
        for figure in figures:
            figure.accumulate(SimpleNamespace(pred=pred, yb=(true,)))
    named, true = logits.argmax(1).numpy(), target.numpy()
    assert figures[0].value == pytest.approx(accuracy_score(true, named))
    assert figures[1].value == pytest.approx(f1_score(true, named, average="macro"))
    for figure in figures:
        figure.reset()
        assert figure.value is None


def test_the_names_are_those_of_the_history():
    assert (Accuracy().name, MacroF1().name) == ("accuracy", "f1_score")
