"""What this machine has of what fastrec needs, and the command that mends each lack."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from fastrec import engine
from fastrec.artefacts import STAGES
from fastrec.files import FastrecError
from fastrec.run import ROOT, home, notebook

LEAST_DISK, LEAST_MEMORY = 2e9, 2e9  # bytes: the default run needs about half of each
_PROBE = """
import json, torch, torchvision
devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
print(json.dumps({"devices": devices, "mps": torch.backends.mps.is_available(), "threads": torch.get_num_threads()}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``missing`` needs the cure, ``note`` does not."""

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    cure: str = ""


def examine() -> Iterator[Finding]:
    """Yield a finding per library, for the torch pair, the devices, and what the pipeline needs around it."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield from _libraries()
    yield from _torch()
    yield from _machine()
    yield from _surroundings()


def _libraries() -> Iterator[Finding]:
    try:
        needed = [Requirement(text) for text in importlib.metadata.requires("fastrec") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("fastrec", "missing", "not installed", "pip install -c constraints.txt -e '.[serve,dev]'")
        return
    pinned = _pinned()
    seen: set[str] = set()
    for requirement in needed:
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": "serve"})
        if wanted and requirement.name not in seen:
            seen.add(requirement.name)
            yield _library(requirement, pinned.get(_plain(requirement.name)), optional=requirement.marker is not None)


def _library(requirement: Requirement, pin: str | None, optional: bool) -> Finding:
    wanted = f"{requirement.name}=={pin}" if pin else str(requirement).partition(";")[0].strip()
    cure = f"pip install -c constraints.txt '{wanted}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "note" if optional else "missing", "absent", cure)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, "missing", f"{version}, needs {requirement.specifier}", cure)
    if pin and version.partition("+")[0] != pin:
        return Finding(requirement.name, "note", f"{version}, tested with {pin}", cure)
    return Finding(requirement.name, "ok", version)


def _pinned() -> dict[str, str]:
    """Read ``constraints.txt``: the set of versions that was tested together."""
    try:
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split("#")[0].strip().partition("==") for line in lines)
    return {_plain(name): version for name, equals, version in pairs if equals}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _torch() -> Iterator[Finding]:
    """Look at the pair in a process of its own: a wrong one ends in the middle of the import."""
    try:
        torch, vision = (importlib.metadata.version(name) for name in ("torch", "torchvision"))
    except importlib.metadata.PackageNotFoundError:
        return
    cure = "pip install --force-reinstall -c constraints.txt torch torchvision"
    name, versions = "torch and torchvision", f"torch {torch} with torchvision {vision}"
    if (needed := _torch_for_torchvision()) and needed != torch.partition("+")[0]:
        yield Finding(name, "missing", f"{versions}, which is built for torch {needed}", cure)
        return
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        yield Finding(name, "missing", f"{versions} do not import within 300 s", cure)
        return
    if probe.returncode:
        reason = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        told = f"{versions} do not import together ({reason}): one is built for CUDA, the other is not, or they differ"
        yield Finding(name, "missing", told, cure)
        return
    yield Finding(name, "ok", f"{versions} match")
    yield _devices(json.loads(probe.stdout.splitlines()[-1]))


def _torch_for_torchvision() -> str | None:
    for text in importlib.metadata.requires("torchvision") or []:
        requirement = Requirement(text)
        exact = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        if requirement.name == "torch" and exact:
            return exact[0]
    return None


def _devices(probe: dict[str, Any]) -> Finding:
    names = list(probe["devices"]) + (["Apple GPU"] if probe["mps"] else [])
    if names:
        return Finding("devices", "ok", ", ".join(names))
    return Finding("devices", "ok", f"CPU only, {probe['threads']} threads")


def _machine() -> Iterator[Finding]:
    import psutil

    yield Finding("processors", "ok", str(engine.workers()))
    free = psutil.virtual_memory().available
    state: Literal["ok", "missing"] = "ok" if free >= LEAST_MEMORY else "missing"
    yield Finding("memory", state, f"{free / 1e9:.1f} GB free", "" if state == "ok" else "end other programs")


def _surroundings() -> Iterator[Finding]:
    try:
        place = home()
    except FastrecError as error:
        yield Finding("home", "missing", str(error), "export FASTREC_HOME=$HOME/fastrec")
        return
    yield _home(place)
    for stage in STAGES:
        if not notebook(stage).is_file():
            yield Finding("notebooks", "missing", f"{notebook(stage).name} is not there", "git checkout -- notebooks")
            break
    else:
        yield Finding("notebooks", "ok", f"{len(STAGES)} found")
    yield _kernel()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    cure = "" if browser else "apt-get install chromium (only the tests of pages in a browser use it)"
    yield Finding("browser", "ok" if browser else "note", browser or "absent", cure)


def _home(place: Path) -> Finding:
    cure = "set FASTREC_HOME to a writable folder on a disk with room: export FASTREC_HOME=$HOME/fastrec"
    if not os.access(place, os.W_OK):
        return Finding("home", "missing", f"{place} is not writable", cure)
    free = shutil.disk_usage(place).free
    if free < LEAST_DISK:
        return Finding("home", "missing", f"{place}, {free / 1e9:.1f} GB free", cure)
    return Finding("home", "ok", f"{place}, {free / 1e9:.1f} GB free")


def _kernel() -> Finding:
    try:
        from ipykernel.kernelspec import get_kernel_dict
    except ImportError:
        return Finding("kernel", "missing", "ipykernel is absent", "pip install -c constraints.txt ipykernel")
    return Finding("kernel", "ok", f"python3 by {get_kernel_dict()['argv'][0]}")
