"""What a run is asked to do: a configuration file and ``--set``, checked before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fastrec import files
from fastrec.artefacts import STAGES
from fastrec.files import FastrecError
from fastrec.pipeline.parameters import RUN_NAME, CallError, Parameter, read_parameters
from fastrec.run import ROOT, Run, home

DEFAULT_RUN = "digits"
SETTINGS = "settings.json"  # in the run's folder: lets `--run NAME` alone continue with the same settings
Overrides = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """A run's name, the parameters of every stage, and which of them differ from the notebooks' defaults."""

    run: Run
    parameters: dict[str, dict[str, Parameter]]
    overrides: Overrides = field(default_factory=dict)

    def values(self, stage: str) -> dict[str, Any]:
        """Return the value of each parameter of a stage."""
        given = {**self.overrides.get(stage, {}), RUN_NAME: self.run.name}
        return {name: given.get(name, known.default) for name, known in self.parameters[stage].items()}

    def given(self, stage: str) -> dict[str, Any]:
        """Return what is passed to a stage's notebook: the run's name and the overrides."""
        return {RUN_NAME: self.run.name, **self.overrides.get(stage, {})}

    def save(self) -> None:
        """Record the overrides in the run's folder."""
        files.write_text(self.run.path(SETTINGS), json.dumps(self.overrides, indent=2) + "\n")


def settle(config: str | None = None, name: str | None = None, assignments: Iterable[str] = ()) -> Settings:
    """Settle a run's name and parameters from a configuration, a name and ``stage.parameter=value`` texts.

    A name without a configuration continues that run with the settings it was last run with.

    Raises
    ------
    CallError
        If a file, section, parameter or value is not usable.
    """
    asked: dict[str, Any] = {}
    if config is not None:
        path = find_config(config)
        asked = _read_config(path)
        name = name or asked.pop("run", None) or path.stem
    asked.pop("run", None)
    run = open_run(name or DEFAULT_RUN)
    if config is None and name is not None:
        settings = recorded(run)
    else:
        known = {stage: read_parameters(stage) for stage in STAGES}
        settings = Settings(run, known, _check(asked, known))
    for stage, parameter, value in map(_assignment, assignments):
        checked = _check({stage: {parameter: value}}, settings.parameters)
        settings.overrides.setdefault(stage, {}).update(checked[stage])
    return settings


def recorded(run: Run) -> Settings:
    """Return the settings that a run was last run with; those of a new run are the notebooks' defaults.

    Raises
    ------
    CallError
        If a notebook no longer has a recorded parameter.
    """
    known = {stage: read_parameters(stage) for stage in STAGES}
    try:
        return Settings(run, known, _check(_read_recorded(run), known))
    except CallError as error:
        place = run.shorten(run.path(SETTINGS))
        raise CallError(f"{place} no longer fits the notebooks, so give a CONFIG or mend it: {error}") from error


def open_run(name: Any) -> Run:
    """Return the run of that name, which need not exist.

    Raises
    ------
    CallError
        If the name is not usable.
    """
    try:
        return Run(str(name))
    except FastrecError as error:
        raise CallError(str(error)) from error


def find_config(config: str) -> Path:
    """Return the configuration that a path, or the name of a file in ``configs``, means."""
    folders = [home() / "configs", ROOT / "configs"]
    places = [Path(config), *(folder / f"{config}{ending}" for folder in folders for ending in ("", ".yaml", ".yml"))]
    for place in places:
        if place.is_file():
            return place
    known = sorted({path.stem for folder in folders for path in folder.glob("*.y*ml")})
    raise CallError(f"configuration {config!r} is not there: give a YAML file{_one_of(config, known)}.")


class _Loader(yaml.SafeLoader):
    """Plain YAML that refuses a key given twice, of which the first would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CallError(f"{path} is not readable as YAML ({reason}): mend it there.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CallError(f"{path} holds no sections: write `train:` and below it, indented, `epochs: 5`.")
    return content


def _read_recorded(run: Run) -> Overrides:
    try:
        content = json.loads(run.path(SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _assignment(text: str) -> tuple[str, str, Any]:
    target, equals, value = text.partition("=")
    stage, dot, parameter = target.strip().partition(".")
    if not (equals and dot and stage and parameter):
        raise CallError(f"--set {text!r} is not stage.parameter=value: write such as --set train.epochs=5.")
    try:
        return stage, parameter, yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise CallError(f"--set {text!r} has no readable value: quote it as YAML wants.") from error


def _check(asked: dict[str, Any], known: dict[str, dict[str, Parameter]]) -> Overrides:
    checked: Overrides = {}
    for stage, section in asked.items():
        if stage not in known:
            raise CallError(f"section {stage!r} is unknown{_one_of(str(stage), ['run', *known])}.")
        if section is None:
            continue
        if not isinstance(section, dict):
            raise CallError(f"section {stage!r} is {section!r}: write its parameters below it, indented.")
        checked[stage] = {name: _checked(stage, name, value, known[stage]) for name, value in section.items()}
    return checked


def _checked(stage: str, name: Any, value: Any, known: dict[str, Parameter]) -> Any:
    if name == RUN_NAME:
        raise CallError(f"{stage}.{RUN_NAME} is set by the pipeline: name the run with --run NAME.")
    if name not in known:
        names = [other for other in known if other != RUN_NAME]
        raise CallError(f"parameter {stage}.{name} is unknown{_one_of(str(name), names)}.")
    return known[name].check(value)


def _one_of(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (known: {', '.join(known)})" if known else hint
