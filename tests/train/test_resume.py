"""Exact resume: killed anywhere, the training ends with the very same weights, optimizer and figures."""

import errno
import random
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback

from fastrec.files import FastrecError
from fastrec.train import learner, schedules, training
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.recipe import Recipe

QUICK = Recipe(
    options={"width": 4, "drop_rate": 0.2}, batch_size=8, augment="medium", flip=True, epochs=3, learning_rate=0.02
)


class Killed(BaseException):
    """What a SIGKILL is to the training: nothing more runs."""


class KillAt(Callback):
    """Kill at the n-th event of a kind."""

    order = 200

    def __init__(self, event, count):
        self.left = count
        setattr(self, event, self._arrive)

    def _arrive(self):
        self.left -= 1
        if self.left < 0:
            raise Killed


def train(run, folder, every=3, kill=None, **changes):
    random.seed()  # what came before must not matter
    torch.manual_seed(random.randrange(2**31))
    recipe = replace(QUICK, **changes)
    learn = training.prepare(run, recipe)
    learn.keep(Checkpoints(folder, {"learning_rate": 0.02}), every)
    if kill:
        learn.add_cb(kill)
    with learn.no_bar(), learn.no_logging():
        schedules.train(learn, recipe)
    return learn


def state(learn):
    optimizer = [value for found in learn.opt.state_dict()["state"] for value in found.values()]
    return [*learn.model.state_dict().values(), *optimizer]


def assert_equal(one, other):
    for mine, theirs in zip(state(one), state(other), strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(theirs))
    drop = ["seconds"]
    assert one.history.table().drop(columns=drop).equals(other.history.table().drop(columns=drop))
    assert one.recorder.losses == other.recorder.losses
    assert one.recorder.lrs == other.recorder.lrs


EVENTS = ("before_batch", "after_pred", "after_backward", "after_step", "after_batch", "after_train", "after_validate")


CRAFT = {
    "one_cycle": {},
    "frozen, then all": {"frozen_epochs": 1, "epochs": 2, "rate_spread": 5.0},
    "sgdr, gradual": {"schedule": "sgdr", "unfreeze": "gradual"},
    "cosine, frozen, gradual": {"schedule": "cosine", "unfreeze": "gradual", "frozen_epochs": 1, "epochs": 2},
    "flat_cos, sgd": {"schedule": "flat_cos", "optimizer": "sgd", "learning_rate": 0.1, "clip": 0.5},
    "accumulated": {"accumulate": 2, "mix": "mixup"},
    "mixed": {"precision": "mixed"},  # where the processor knows bfloat16
    "average": {"keep": "average", "frozen_epochs": 1, "epochs": 2},
    "best": {"keep": "best", "frozen_epochs": 1, "epochs": 2, "start_size": 0.5},
    "patience": {"keep": "best", "patience": 1, "epochs": 4, "learning_rate": 0.3},
    "ranger": {"optimizer": "ranger"},
}


@pytest.mark.parametrize("craft", CRAFT)
def test_killed_anywhere_it_ends_with_the_same_bits(run, tmp_path, craft):
    unkilled = train(run, tmp_path / "unkilled", **CRAFT[craft])
    draw = random.Random(craft)
    for trial in range(3):
        place = tmp_path / f"killed{trial}"
        for _ in range(draw.randint(1, 3)):
            with suppress(Killed):
                kill = KillAt(draw.choice(EVENTS), draw.randint(0, 14))
                train(run, place, draw.randint(1, 4), kill, **CRAFT[craft])
        assert_equal(train(run, place, **CRAFT[craft]), unkilled)


@pytest.mark.parametrize("saves", [0, 2])
def test_killed_between_writing_and_renaming_it_goes_on_from_the_checkpoint_before(run, tmp_path, saves, monkeypatch):
    unkilled, replaced, left = train(run, tmp_path / "unkilled"), Path.replace, [saves]

    def killed(path, target):
        if target.suffix == ".pt":
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        return replaced(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            train(run, tmp_path / "killed")
    assert len(list((tmp_path / "killed").glob("*/[0-9]*.pt"))) == saves
    assert_equal(train(run, tmp_path / "killed"), unkilled)


def test_a_full_disk_keeps_the_checkpoint_before_and_is_told_in_one_sentence(run, tmp_path, monkeypatch):
    unkilled, written, left = train(run, tmp_path / "unkilled"), Path.write_bytes, [2]

    def full(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(FastrecError, match=r"was not written, what was there is kept: the disk is full") as caught:
            train(run, tmp_path / "full")
    assert "\n" not in str(caught.value)
    assert sorted(path.name[:8] for path in (tmp_path / "full").glob("*/*.pt")) == ["00000003", "00000004"]
    assert_equal(train(run, tmp_path / "full"), unkilled)


def test_two_checkpoints_are_kept(run, tmp_path):
    train(run, tmp_path, every=1)
    assert len(list(tmp_path.glob("*/*.pt"))) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_saves_and_says_how_to_go_on(run, tmp_path, number, capsys):
    unkilled = train(run, tmp_path / "unkilled")

    class SendAt(KillAt):
        def _arrive(self):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        train(run, tmp_path / "killed", every=1000, kill=SendAt("after_pred", 6))
    assert signal.getsignal(number) == before
    assert "after step 5: run the same again" in capsys.readouterr().out
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert_equal(train(run, tmp_path / "killed"), unkilled)
    assert "goes on after step 5" in capsys.readouterr().out


def test_a_sigkill_in_a_process_of_its_own_changes_nothing(run, tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import os, signal\n"
        "from train.test_resume import KillAt, train; from fastrec.run import Run\n"
        "class Kill(KillAt):\n"
        "    def _arrive(self):\n"
        "        self.left -= 1\n"
        "        if self.left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(Run('t'), Path(sys.argv[2]), kill=Kill('after_backward', 7))\n"
    )
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program, tests, tmp_path / "killed"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert any((tmp_path / "killed").glob("*/*.pt"))
    assert_equal(train(run, tmp_path / "killed"), train(run, tmp_path / "unkilled"))


def test_the_finder_is_no_fit_and_leaves_no_checkpoint(run, tmp_path):
    learn = training.prepare(run, QUICK)
    learn.keep(Checkpoints(tmp_path / "c", {}), 1)
    with learn.no_bar():
        learner.suggest_rate(learn)
    assert not (tmp_path / "c").exists()
    assert learn.fits == 0


def test_a_notebooks_bars_and_table_go_on_too(run, tmp_path, monkeypatch):
    from fastai.callback import progress
    from fastprogress.fastprogress import NBMasterBar, NBProgressBar

    made = []

    class Bar(NBMasterBar):
        """The bar of a notebook, shown nowhere."""

        def on_iter_begin(self):
            made.append(self)

    monkeypatch.setattr(progress, "master_bar", Bar)
    monkeypatch.setattr(progress, "progress_bar", NBProgressBar)

    def begin():
        learn = training.prepare(run, QUICK)
        learn.keep(Checkpoints(tmp_path / "c", {}), 3)
        return learn

    with pytest.raises(Killed):
        begin().fit_one_cycle(3, 0.02, cbs=KillAt("after_batch", 9))
    begin().fit_one_cycle(3, 0.02)
    assert [line[0] for line in made[-1].lines] == ["epoch", "0", "1", "2"]
