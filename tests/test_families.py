"""Every family of networks, and pictures of either colour, from training to the answers of a package."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from fastrec import plots
from fastrec.artefacts import CACHE, IMAGES, MANIFEST, SPLITS
from fastrec.collect import manifest, sources
from fastrec.deploy import package
from fastrec.deploy.predictor import Predictor
from fastrec.evaluate import baselines
from fastrec.evaluate.predict import predictions
from fastrec.files import FastrecError
from fastrec.monitor import simulation
from fastrec.preprocess import augment, cache, explorer, splits
from fastrec.records import CacheInfo, Preprocessing
from fastrec.run import Run
from fastrec.train import architectures, learner, loaders, training
from fastrec.train.recipe import Recipe

FAMILIES = {  # one small member of each
    "fastnet": ("fastnet", {"width": 4}),
    "lstm": ("rownet", {"hidden": 16, "layers": 1}),
    "gru": ("rownet", {"hidden": 16, "layers": 2, "cell": "gru"}),
    "alexnet": ("alexnet", {"width": 4, "drop_rate": 0.0}),
    "resnet": ("test_resnet", {}),
    "vgg": ("vgg11_bn", {"mlp_ratio": 1 / 256}),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": (1, 1, 1, 1)}),
    "efficientnet": ("test_efficientnet", {}),
    "mobilenet": ("mobilenetv3_small_050", {}),
    "convnext": ("test_convnext", {}),
    "vit": ("test_vit", {}),
    "inception": ("inception_v3", {}),
}
SIZES = {"inception": 75}  # the least it takes
EVERY = [pytest.param(name, marks=[pytest.mark.slow] if name == "inception" else []) for name in FAMILIES]
STEPS = {"batch_size": 16, "epochs": 2, "learning_rate": 1e-3, "augment": "strong"}


def prepare(home: Path, name: str, size: int, colour: str) -> Run:
    run = Run(name)
    table, _, _ = manifest.inspect(run, sources.listing(f"folder:{home / 'pets'}").items)
    run.write(MANIFEST, table)
    run.write(SPLITS, splits.split(table))
    cache.build(run, table, run.read(SPLITS), size, "pad", colour)
    return run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, make_images) -> Path:
    """Return a home folder with runs that are ready to train; copied for each test."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        make_images(home / "pets", ["cat", "dog", "owl"], per_class=20, size=36)
        for name, size, colour in (("rgb32", 32, "rgb"), ("grey32", 32, "grey"), ("rgb75", 75, "rgb")):
            prepare(home, name, size, colour)
    return home


@pytest.fixture
def opened(prepared, home):
    """Return what opens a run by name, in a copy of its own."""
    shutil.copytree(prepared, home, dirs_exist_ok=True)
    return Run


def answer_alike(run: Run, label: str) -> float:
    """Build the package, let it answer for the files of the test split, and return the largest difference."""
    torch_says = predictions(run, label).set_index("image_id")
    predictor = Predictor(package.build(run, label))
    paths = run.read(MANIFEST).set_index("image_id")["path"]
    worst = 0.0
    for image_id, row in torch_says.iterrows():
        answer = predictor.predict(run.locate(paths[image_id]).read_bytes())
        worst = max(worst, np.abs(np.array(list(answer.scores.values())) - row["scores"]).max())
        for name in ("brightness", "contrast", "sharpness", "saturation"):
            assert answer.statistics[name] == pytest.approx(row[name], abs=1e-5)
    return worst


@pytest.mark.parametrize("family", EVERY)
def test_a_family_trains_and_its_package_answers_as_torch(opened, family):
    run = opened(f"rgb{SIZES.get(family, 32)}")
    architecture, options = FAMILIES[family]
    learn = training.fit(run, Recipe(architecture=architecture, options=options, **STEPS))
    learner.save(run, learn, family, "train")
    assert answer_alike(run, f"03_train/{family}") < 1e-4


@pytest.mark.parametrize("family", ["fastnet", "lstm", "convnext"])
def test_grey_pictures_go_the_same_way(opened, family):
    run = opened("grey32")
    info, cached = run.read(CACHE), run.read(IMAGES)
    assert (cached.shape[1:], info.channels, len(info.mean)) == ((32, 32, 1), 1, 1)
    architecture, options = FAMILIES[family]
    learn = training.fit(run, Recipe(architecture=architecture, options=options, **STEPS))
    record = learner.save(run, learn, family, "train")
    assert (record.preprocessing.channels, record.architecture_options["in_chans"]) == (1, 1)
    assert answer_alike(run, f"03_train/{family}") < 1e-4


def test_grey_pictures_are_shown_varied_and_judged(opened):
    run = opened("grey32")
    cached = run.read(IMAGES)
    dls = loaders.load(run, Recipe(batch_size=8))
    assert dls.one_batch()[0].shape == (8, 1, 32, 32)
    dls.show_batch(max_n=2)
    shown = plt.gcf().axes[0].images[0].get_array()
    assert np.ptp(np.asarray(shown), axis=-1).max() == 0  # no colour was made up
    plt.close("all")
    for level in augment.LEVELS:
        varied = explorer.varied(cached[0], augment.named(level, True, 0.5), 2, seed=0)
        assert varied[0].shape == (32, 32, 1)
    explorer.parts(cached[:2])
    explorer.levels(cached[0])
    plots.image_grid(cached[:3], ["a", "b", "c"])
    assert Image.open(io.BytesIO(plots.png(cached[0]))).mode == "RGB"
    for name in simulation.ALTERATIONS:
        assert simulation.altered(cached[:2], name, 0.25).shape == (2, 32, 32, 1)
    assert baselines.baselines(run, n_boot=100)["nearest_neighbour"].accuracy.value > 0


def test_a_bundle_of_colour_is_refused_by_a_grey_cache(opened):
    run = opened("rgb32")
    learn = training.fit(run, Recipe(options={"width": 4}, batch_size=16, epochs=1))
    learner.save(run, learn, "fastnet", "train")
    cache.build(run, run.read(MANIFEST), run.read(SPLITS), 32, "pad", "grey")
    with pytest.raises(FastrecError, match=r"expects images of 32 pixels \(pad, 3 channels\)"):
        predictions(run, "03_train/fastnet")


def test_records_from_before_there_was_grey_are_of_colour():
    size = {"size": 32, "resize": "pad", "mean": [0.5] * 3, "std": [0.2] * 3}
    assert Preprocessing(**size).channels == 3
    assert CacheInfo(n=1, classes=["a"], **size).channels == 3


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "inception"])
def test_a_family_takes_any_number_of_channels(family, channels):
    architecture, given = FAMILIES[family]
    options = architectures.sized(architecture, 32, given, channels)
    network = architectures.build(architecture, 3, **options)
    architectures.check_size(network, architecture, 32, channels)
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, channels, 32, 32)).shape == (2, 3)
