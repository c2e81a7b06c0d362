"""Try the packaged model in the notebook; executed without a reader, the same call leaves a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastrec import images, labels, plots
from fastrec.artefacts import CACHE
from fastrec.deploy import samples
from fastrec.deploy.predictor import Answer, Predictor, refusal
from fastrec.evaluate.widgets import live
from fastrec.refusals import ImageError
from fastrec.run import Run

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure


def try_model(run: Run, folder: Path, tried: pd.DataFrame) -> Widget | Figure:
    """Let a reader choose a picture and see the answer; without one, draw the pictures of `answers`.

    Parameters
    ----------
    run
        Where the pictures of ``tried`` lie.
    folder
        The package that answers.
    tried
        What `fastrec.deploy.trial.try_service` returned.
    """
    return _uploader(Predictor(folder)) if live() else answers(run, tried)


def answers(run: Run, tried: pd.DataFrame, most: int = 24) -> Figure:
    """Draw served pictures, each titled ``predicted score``: green where it is the label, red where not.

    Mistakes come first, then the answers with the lowest scores.
    """
    wrong = tried["predicted"] != tried["label"]
    shown = tried.assign(wrong=wrong).sort_values(["wrong", "score"], ascending=[False, True]).head(most)
    pictures = [_thumbnail(picture) for picture in samples.pixels(run, shown["image_id"])]
    told = labels.told if run.read(CACHE).multi_label else str
    titles = [f"{told(name)} {score:.2f}" for name, score in zip(shown["predicted"], shown["score"], strict=True)]
    return plots.image_grid(pictures, titles, 8, [plots.RED if bad else plots.GREEN for bad in shown["wrong"]])


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    return images.resize(pixels, min(96, *pixels.shape[:2]), "crop")


def bars(answer: Answer, most: int = 5) -> Figure:
    """Draw the likeliest classes of an answer as bars."""
    top = sorted(answer.scores.items(), key=lambda item: -item[1])[:most][::-1]
    with plots.canvas(size=(5.0, 0.5 + 0.3 * len(top))) as (figure, axis):
        axis.barh([plots.plain(name) for name, _ in top], [score for _, score in top], color=plots.BLUE)
        axis.set_xlim(0, 1)
        axis.set_xlabel("score")
        axis.grid(axis="y", visible=False)
        return figure


def _uploader(predictor: Predictor) -> Widget:
    import ipywidgets as w
    from IPython.display import display

    chooser, output = w.FileUpload(accept="image/*", description="Picture"), w.Output()

    def show(change: Mapping[str, Any]) -> None:
        output.clear_output(wait=True)
        with output:
            for file in change["new"]:
                data = bytes(file["content"])
                try:
                    answer = predictor.predict(data)
                except ImageError as error:
                    refused = refusal(error, file["name"])
                    print(f"{refused['message']}: {refused['hint']}.")
                    continue
                display(
                    plots.image_grid(
                        [images.resize(images.decode(data).pixels, 192)], [" + ".join(answer.labels) or labels.NONE], 1
                    )
                )
                display(bars(answer))

    chooser.observe(show, "value")
    return w.VBox([chooser, output])
