import numpy as np
import pytest
import torch
import toy

from fastrec import bundle as bundles
from fastrec.artefacts import CACHE, IMAGES, MANIFEST, PREDICTIONS, SPLITS
from fastrec.evaluate import predict
from fastrec.files import FastrecError
from fastrec.images import statistics
from fastrec.train import architectures

FASTNET = "03_train/fastnet"


def test_predictions_fit_their_schema_and_agree_with_torch_one_by_one(run, monkeypatch):
    monkeypatch.setattr(predict, "BATCH", 7)
    table = predict.predictions(run, FASTNET)
    run.write(PREDICTIONS, table)
    splits = run.read(SPLITS)
    expected = splits[splits["split"] == "test"]
    assert list(table["image_id"]) == list(expected["image_id"])
    assert list(table["label"]) == list(expected["label"])
    bundle = bundles.load(run.folder / FASTNET)
    network, cached = architectures.restore(bundle), run.read(IMAGES)
    for k in (0, 6, 7, len(table) - 1):
        pixels = torch.from_numpy(np.array(cached[expected["row"].iloc[k]])).permute(2, 0, 1)[None] / 255
        scores = torch.softmax(network((pixels - toy.MEAN[0]) / toy.STD[0]), 1)[0].detach().numpy()
        np.testing.assert_allclose(table["scores"].iloc[k], scores, atol=1e-5)
        assert table["predicted"].iloc[k] == toy.CLASSES[scores.argmax()]
        assert table["score"].iloc[k] == max(table["scores"].iloc[k])


def test_statistics_come_from_the_cached_pixels_and_sizes_from_the_manifest(run):
    table = predict.predictions(run, FASTNET)
    rows = run.read(SPLITS).set_index("image_id").loc[table["image_id"], "row"].to_numpy()
    for name, values in statistics(run.read(IMAGES)[rows]).items():
        np.testing.assert_allclose(table[name], values)
    manifest = run.read(MANIFEST).set_index("image_id").loc[table["image_id"]]
    assert list(table["width"]) == list(manifest["width"])
    assert list(table["path"]) == list(manifest["path"])


def test_predictions_are_the_same_twice_and_better_than_guessing(run):
    first, second = predict.predictions(run, FASTNET), predict.predictions(run, FASTNET)
    assert np.array_equal(np.stack(first["scores"]), np.stack(second["scores"]))
    assert (first["label"] == first["predicted"]).mean() > 0.7


def test_temperature_flattens_scores_without_changing_the_answer(run):
    network = architectures.restore(bundles.load(run.folder / FASTNET))
    toy.save_bundle(run, "train", "warm", network, accuracy=0.9, temperature=4.0)
    cold, warm = predict.predictions(run, FASTNET), predict.predictions(run, "03_train/warm")
    assert list(cold["predicted"]) == list(warm["predicted"])
    assert (warm["score"] <= cold["score"] + 1e-12).all()
    assert warm["score"].mean() < cold["score"].mean()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_sha256": "0" * 64}, "another split"),
        ({"preprocessing": {"size": 32, "resize": "squish", "mean": toy.MEAN, "std": toy.STD}}, "32 pixels"),
        ({"preprocessing": {"size": 16, "resize": "crop", "mean": toy.MEAN, "std": toy.STD}}, "crop"),
        ({"classes": ["a", "b", "c"]}, "other classes"),
    ],
)
def test_a_bundle_that_does_not_fit_the_run_is_refused_with_the_cure(run, changes, reason):
    toy.save_bundle(run, "train", "other", architectures.build("fastnet", 3, width=8), accuracy=0.9, **changes)
    with pytest.raises(FastrecError, match=rf"03_train/other .*{reason}.*: run notebooks/03_train\.ipynb again\."):
        predict.predictions(run, "03_train/other")


def test_a_network_that_gives_no_numbers_is_refused(run):
    network = architectures.build("fastnet", 3, width=8)
    torch.nn.init.constant_(network.head.bias, float("nan"))
    toy.save_bundle(run, "train", "broken", network, accuracy=0.9)
    with pytest.raises(FastrecError, match="03_train/broken gives probabilities that are not numbers"):
        predict.predictions(run, "03_train/broken")


@pytest.mark.parametrize("column", ["image_id", "group"])
def test_an_image_or_group_on_both_sides_of_the_split_is_refused(run, column):
    splits = run.read(SPLITS)
    test, train = (splits.index[splits["split"] == name][0] for name in ("test", "train"))
    splits.loc[train, column] = splits.loc[test, column]
    run.write(SPLITS, splits)
    with pytest.raises(FastrecError, match=f"has {column} .* in test and in another split"):
        predict.split_rows(run, "test")


def test_an_empty_split_names_the_notebook_to_run(run):
    splits = run.read(SPLITS)
    run.write(SPLITS, splits[splits["split"] != "test"])
    with pytest.raises(FastrecError, match=r"no test images: run notebooks/02_preprocess\.ipynb"):
        predict.split_rows(run, "test")


@pytest.mark.parametrize("artefact", [SPLITS, CACHE])
def test_a_missing_input_names_the_notebook_that_makes_it(run, artefact):
    run.path(artefact).unlink()
    with pytest.raises(FastrecError, match=r"is missing in run 'toy': run notebooks/02_preprocess\.ipynb first"):
        predict.open_bundle(run, FASTNET)


@pytest.mark.parametrize("label", ["03_train/none", "fastnet", "99_other/x", "03_train/../../x", ""])
def test_an_unknown_bundle_is_an_error_in_one_sentence(run, label):
    with pytest.raises(FastrecError):
        predict.open_bundle(run, label)
