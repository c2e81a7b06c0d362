"""Freed memory: the next arrays take it without new pages."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from fastrec.allocation import keep_freed

if {kept}:
    keep_freed(2**30)
for number in range(20):
    if number == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(2**20) for _ in range(20)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept):
    told = subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, text=True, check=True)
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the settings")
@pytest.mark.skipif(any(name.startswith("MALLOC_") for name in os.environ), reason="malloc is set from outside")
def test_arrays_that_come_and_go_cost_no_new_pages():
    assert faults(True) < faults(False) / 10


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_a_c_library_without_the_settings_is_left_as_it_is(monkeypatch, error):
    from fastrec import allocation

    def none(_):
        raise error

    monkeypatch.setattr(allocation.ctypes, "CDLL", none)
    allocation.keep_freed(2**20)
