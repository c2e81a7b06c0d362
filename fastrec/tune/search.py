"""Search the hyperparameters with Optuna: every trial trains and is judged on the same split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from fastrec import engine, files, provenance
from fastrec.artefacts import CACHE, IMAGES, SPLITS, STUDY, TRIALS
from fastrec.files import FastrecError
from fastrec.run import Run, notebook

if TYPE_CHECKING:
    import optuna

    from fastrec.train.recipe import Recipe


def suggest(trial: optuna.trial.BaseTrial, base: Recipe) -> Recipe:
    """Draw a recipe: learning rate, batch size, augmentation, and width (``fastnet``) or dropout (others)."""
    if base.architecture == "fastnet":
        varied: dict[str, Any] = {"width": trial.suggest_categorical("width", [8, 16, 24])}
    else:
        varied = {"drop_rate": trial.suggest_float("drop_rate", 0.0, 0.4)}
    return replace(
        base,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        augment=trial.suggest_categorical("augment", ["none", "light", "medium"]),
        options={**base.options, **varied},
    )


def open_study(run: Run, base: Recipe, seed: int) -> optuna.Study:
    """Open the run's study, in SQLite: the finished trials of a killed search are still there.

    A study belongs to the pixels, the split, the code, the versions and to what its trials have in
    common; where any of them is another, a new study begins.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run.path(STUDY)
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}}),
        study_name=fingerprint(run, base, seed),
        direction="maximize",
        load_if_exists=True,
    )


def fingerprint(run: Run, recipe: Recipe, number: int) -> str:
    """Return a short checksum of all that a trained figure depends on: pixels, split, code, versions, settings."""
    data = [files.checksum(run.path(artefact)) for artefact in (SPLITS, CACHE, IMAGES)]
    made_by = [provenance.code_fingerprint(notebook("tune")), provenance.versions()]
    parts = json.dumps([data, made_by, asdict(recipe), number], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def search(run: Run, base: Recipe, trials: int, seed: int = 0) -> optuna.Study:
    """Run trials until the study holds ``trials`` of them that ended.

    Every trial's sampler is seeded with its number, so a search that was killed and continued draws
    what an unbroken one would have drawn (tree-structured Parzen estimator, Bergstra et al. 2011).

    Raises
    ------
    FastrecError
        If ``trials`` is under 1, or every trial failed: names the first reason.
    """
    import optuna

    if trials < 1:
        raise FastrecError(f"trials is {trials}: take at least 1.")
    study = open_study(run, base, seed)
    _close_interrupted(study)
    done = len(_ended(study, trials))
    for number in engine.progress(range(done, trials), trials - done, "search", unit="trial"):
        study.sampler = optuna.samplers.TPESampler(seed=1000 * seed + number, n_startup_trials=max(3, trials // 3))
        study.optimize(lambda trial: _objective(trial, run, base), n_trials=1, catch=(Exception,))
    if all(trial.value is None for trial in _ended(study, trials)):
        reason = table(study, trials)["reason"].iloc[0]
        raise FastrecError(f"all {trials} trials failed, the first with: {reason}")
    return study


def _close_interrupted(study: optuna.Study) -> None:
    """Mark trials that a kill left running as failed; the run's lock says that nobody else works on them."""
    import optuna

    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _interrupted(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state.name == "FAIL" and "reason" not in trial.user_attrs


def _ended(study: optuna.Study, trials: int) -> list[optuna.trial.FrozenTrial]:
    """Return the first trials that ended: a study may hold more, of an earlier and longer search."""
    return [trial for trial in study.trials if trial.state.is_finished() and not _interrupted(trial)][:trials]


def _objective(trial: optuna.Trial, run: Run, base: Recipe) -> float:
    from fastrec.train import learner, training

    try:
        found = learner.validate(training.fit(run, suggest(trial, base)))
    except Exception as error:
        trial.set_user_attr("reason", str(error).splitlines()[0][:300] if str(error) else type(error).__name__)
        raise
    trial.set_user_attr("loss", found["loss"])
    return found["accuracy"]


def winner(study: optuna.Study, base: Recipe, trials: int) -> Recipe:
    """Return the recipe of the best of the first trials; among equal accuracies the one with the lowest loss."""
    import optuna

    complete = [trial for trial in _ended(study, trials) if trial.value is not None]
    best = max(complete, key=lambda trial: (trial.value, -trial.user_attrs["loss"]))
    return suggest(optuna.trial.FixedTrial(best.params), base)


def table(study: optuna.Study, trials: int) -> pd.DataFrame:
    """Return TRIALS: one row per trial, failed and interrupted ones with their reason."""
    counted = {trial.number for trial in _ended(study, trials)}
    rows = [
        {
            "trial": trial.number,
            "state": "interrupted" if _interrupted(trial) else trial.state.name.lower(),
            "value": trial.value,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            "parameters": json.dumps(trial.params, sort_keys=True),
            "reason": trial.user_attrs.get("reason"),
        }
        for trial in study.trials
        if trial.number in counted or _interrupted(trial)
    ]
    return pd.DataFrame(rows, columns=TRIALS.schema.names).astype({"value": float, "seconds": float})


def readable(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials best first, one column per parameter, for people."""
    wide = pd.json_normalize(trials["parameters"].map(json.loads).tolist())
    both = pd.concat([trials.drop(columns="parameters"), wide], axis=1)
    return both.sort_values("value", ascending=False, ignore_index=True).dropna(axis=1, how="all")
