import os
import signal
import subprocess
import sys

import pytest

from fastrec.pipeline import interruption as module
from fastrec.pipeline.interruption import Interrupted, Interruption

STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = """
import time
try:
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(7)
"""


@pytest.fixture
def kernel(request):
    process = subprocess.Popen(
        [sys.executable, "-c", request.param], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_kernel_a_signal_ends_the_run_at_once(number, code):
    with pytest.raises(Interrupted) as caught, Interruption():
        signal.raise_signal(number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize("kernel", [POLITE], indirect=True)
def test_a_kernel_may_end_by_itself(kernel):
    with Interruption() as interruption:
        interruption.guard(kernel.pid)
        os.kill(os.getpid(), signal.SIGTERM)
        assert kernel.wait(10) == 7
        with pytest.raises(Interrupted, match="SIGTERM"):
            interruption.check()


@pytest.mark.parametrize("kernel", [STUBBORN], indirect=True)
def test_a_kernel_that_stays_is_killed_after_a_while(kernel, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with Interruption() as interruption:
        interruption.guard(kernel.pid)
        os.kill(os.getpid(), signal.SIGINT)
        assert kernel.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("kernel", [STUBBORN], indirect=True)
def test_a_second_signal_kills_at_once(kernel):
    with Interruption() as interruption:
        interruption.guard(kernel.pid)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert kernel.wait(10) == -signal.SIGKILL


def test_afterwards_signals_are_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
