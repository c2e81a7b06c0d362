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


GROUPED = ["fastnet", "rownet", "alexnet", "resnet18", "vgg11_bn", "densenet121", "efficientnet_b0", "inception_v3"]
GROUPED += ["inception_v4", "mobilenetv3_small_100", "convnext_tiny", "vit_tiny_patch16_224", "xception41", "dla34"]
GROUPED += ["deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "rdnet_tiny", "hrnet_w18_small"]


@pytest.mark.parametrize("name", GROUPED)
def test_every_weight_is_in_one_of_a_few_layer_groups_the_head_last(name):
    with torch.device("meta"):
        network = architectures.build(name, 3)
    groups = architectures.layer_groups(network)
    assert 3 <= len(groups) <= 6
    assert all(groups)
    assert sorted(id(one) for group in groups for one in group) == sorted(map(id, network.parameters()))
    assert all(3 in one.shape for one in groups[-1])
    assert groups[0][0] is next(iter(network.parameters())) or name.startswith(("swin", "deit", "vit"))


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


@pytest.mark.parametrize("size", [32, 33, 47, 63, 64, 65, 96, 127, 128, 160, 224])
def test_alexnet_takes_pictures_of_any_size_from_32_pixels_on(size):
    options = architectures.sized("alexnet", size, {"width": 2}, 1)
    network = architectures.build("alexnet", 3, **options).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 3)
    if size == 224:
        assert network.forward_features(torch.zeros(1, 1, size, size)).shape[2:] == (6, 6)  # as in the paper


def test_a_picture_too_small_for_alexnet_is_told():
    with pytest.raises(FastrecError, match="img_size is 31: alexnet takes 32 pixels or more"):
        architectures.build("alexnet", 3, **architectures.sized("alexnet", 31, {}))


def test_options_say_what_the_pictures_ask_for():
    assert architectures.sized("resnet18", 32, {"drop_rate": 0.1}, 1) == {"drop_rate": 0.1, "in_chans": 1}
    assert architectures.sized("alexnet", 48, {}, 3) == {"img_size": 48}
