"""Networks by name."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.train import architectures


@settings(max_examples=12)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(8, 40))
def test_fastnet_gives_logits_at_any_size(classes, width, size):
    network = architectures.build("fastnet", classes, width=width).eval()
    assert network(torch.zeros(2, 3, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", ["fastnet", "resnet18", "mobilenetv3_small_100"])
def test_head_and_body_share_no_weight_and_miss_none(name):
    network = architectures.build(name, 3)
    body, head = architectures.head_parameters(network)
    assert sum(p.numel() for p in body + head) == architectures.parameter_count(network)
    assert {id(p) for p in body}.isdisjoint(id(p) for p in head)
    assert head


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(FastrecError, match=r"'resnt18' is unknown: did you mean resnet18"):
        architectures.build("resnt18", 2)


def test_an_option_that_does_not_fit_is_named():
    with pytest.raises(FastrecError, match="fastnet does not take"):
        architectures.build("fastnet", 2, wdth=3)
