"""Live curves: one display that grows, cheap, silent where nobody looks, the same after a kill."""

from contextlib import ExitStack

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from train.test_resume import KillAt, Killed

from fastrec.train import live, training
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, epochs=4)


class Screen(live.Live):
    """Live with a display that remembers what it was shown, and drawings that take a known time."""

    def __init__(self, a_drawing=0.0, an_epoch=1.0):
        self.now, self.shown, self.times, self.a_drawing, self.an_epoch = 0.0, [], [], a_drawing, an_epoch
        super().__init__(clock=lambda: self.now)

    def before_epoch(self):
        self.now += self.an_epoch

    def _png(self):
        self.now += self.a_drawing
        return bytes([len(self.learn.history.rows)])

    def _show(self, png):
        self.shown.append(png[0])
        self.times.append(self.now)


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "03_train.ipynb")


def trained(run, callback, epochs=QUICK.epochs, quiet=(), keep=None):
    learn = training.prepare(run, QUICK)
    learn.add_cb(callback)
    if keep:
        learn.keep(Checkpoints(keep, {}), 3)
    with ExitStack() as stack:
        for one in quiet:
            stack.enter_context(getattr(learn, one)())
        learn.fit_one_cycle(epochs, 0.01)
    return learn


def test_every_epoch_is_drawn_where_that_is_cheap(run, notebook):
    screen = Screen(an_epoch=6.0)
    trained(run, screen)
    assert screen.shown == [1, 2, 3, 4]


def test_drawing_takes_no_more_than_its_share(run, notebook):
    screen = Screen(a_drawing=0.05, an_epoch=2.0)
    trained(run, screen, epochs=20)
    assert screen.shown[-1] == 20
    assert 3 < len(screen.shown) < 20
    spent = [0.05 * (count + 1) for count in range(len(screen.shown) - 1)]  # the last one stays: it is always drawn
    assert all(taken <= 0.01 * now for taken, now in zip(spent, screen.times[:-1], strict=True))


@pytest.mark.parametrize("quiet", [["no_bar"], ["no_logging"], ["no_bar", "no_logging"]])
def test_nothing_is_drawn_where_printing_is_off(run, notebook, quiet):
    screen = Screen()
    trained(run, screen, quiet=quiet)
    assert screen.shown == []


def test_nothing_is_drawn_in_a_terminal(run):
    screen = Screen()
    trained(run, screen)
    assert screen.shown == []


def test_after_a_kill_the_epochs_before_it_are_there_again(run, notebook, tmp_path):
    whole = trained(run, Screen(), keep=tmp_path / "whole")
    killed = Screen(an_epoch=6.0)
    learn = training.prepare(run, QUICK)
    learn.add_cbs([killed, KillAt("after_step", 2 * len(learn.dls.train) + 2)])
    learn.keep(Checkpoints(tmp_path / "killed", {}), 3)
    with pytest.raises(Killed):
        learn.fit_one_cycle(QUICK.epochs, 0.01)
    screen = Screen(an_epoch=6.0)
    again = trained(run, screen, keep=tmp_path / "killed")
    assert killed.shown == [1, 2]
    assert screen.times[0] == 0.0  # before anything new was learnt
    assert screen.shown == [*range(screen.shown[0], QUICK.epochs + 1)]
    for mine, theirs in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


CELLS = (
    "from fastrec.run import Run\nfrom fastrec.train import live, training\nfrom fastrec.train.recipe import Recipe",
    "learn = training.prepare(Run('t'), Recipe(options={'width': 4}, batch_size=8))\nlive.SECONDS, live.SHARE = 0, 1e9",
    "learn.add_cb(live.Live())\nlearn.fit(3, 0.01)\nlearn.fit(1, 0.01)",
)


def executed():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    assert not [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    return [output for output in notebook.cells[-1].outputs if "image/png" in output.get("data", {})]


def test_a_person_sees_one_figure_that_grows(run, notebook):
    assert len(executed()) == 1


def test_an_executed_notebook_has_only_the_static_twin(run):
    assert executed() == []
