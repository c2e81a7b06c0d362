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


@pytest.mark.parametrize("name", ["fastnet", "rownet", "resnet18", "mobilenetv3_small_100"])
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


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_rownet_reads_rows_of_the_size_it_was_built_for(cell):
    options = architectures.sized("rownet", 20, {"hidden": 8, "cell": cell})
    network = architectures.build("rownet", 3, **options)
    assert network(torch.zeros(2, 3, 20, 20)).shape == (2, 3)
    with pytest.raises(FastrecError, match="rownet cannot take pictures of 24 pixels"):
        architectures.check_size(network, "rownet", 24)


@pytest.mark.parametrize("name", ["fastnet", "rownet"])
def test_ours_take_another_head_and_have_no_weights_on_a_hub(name):
    network = architectures.build(name, 3)
    network.reset_classifier(5)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    with pytest.raises(FastrecError, match="no weights on a hub"):
        architectures.build(name, 3, pretrained=True)


def test_a_cell_that_is_none_is_refused():
    with pytest.raises(FastrecError, match="take lstm or gru"):
        architectures.build("rownet", 2, cell="rnn")


def test_a_transformer_is_built_for_the_caches_size_and_a_picture_too_small_is_told():
    assert architectures.sized("vit_tiny_patch16_224", 32, {}) == {"img_size": 32}
    assert architectures.sized("resnet18", 32, {}) == {}
    with pytest.raises(FastrecError, match="densenet121 cannot take pictures of 16 pixels"):
        architectures.check_size(architectures.build("densenet121", 2), "densenet121", 16)
