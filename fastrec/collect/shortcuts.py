"""Shortcuts: how well the file alone, without a look at the picture's content, predicts the label."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastrec import labels
from fastrec.collect import duplicates
from fastrec.engine import workers

SAMPLE = 3000  # pictures that are asked, chosen by content
CLASSES = 50  # the most frequent ones that are asked
FEWEST = 5  # independent pictures that a class needs
FOLDS = 5
SKILL = 0.3  # of the way from chance to certainty: from here on a cue is a shortcut
APART = 0.8  # recall plus specificity minus 1 (Youden 1950) of one class, which a cue alone sets apart
DEVIATIONS = 3.0  # standard errors below the measured accuracy: some ten cues are tried on each set

CUES = {  # cue -> the columns it may use, and the cure
    "size": (["width", "height", "aspect"], "bring all classes to pictures of the same sizes"),
    "bytes": (["bytes"], "save all classes with the same settings"),
    "format": (["format"], "save all classes in one format"),
    "mode": (["mode"], "make all classes grey, or all coloured"),
    "brightness": (["brightness"], "take all classes in the same light, or augment with more lighting"),
    "contrast": (["contrast"], "take all classes in the same light, or augment with more lighting"),
    "sharpness": (["sharpness"], "take all classes with the same focus and resolution"),
    "saturation": (["saturation"], "take all classes with the same camera settings, or augment the colour"),
    "file name": ([], "find out whether the classes also came from different places or cameras"),
}
SPOKEN = {"size": "picture's size", "bytes": "file's size", "format": "file format", "mode": "colour mode"}
MEASURED = ["brightness", "contrast", "sharpness", "saturation"]
COLUMNS = ["cue", "accuracy", "chance", "low", "verdict", "apart"]


def measure(manifest: pd.DataFrame, near: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Measure how well each cue alone predicts the label of pictures it has not seen.

    A decision tree per cue, cross-validated; near copies, pictures of one group and crops of one file
    stay in one fold (cf. Geirhos et al. 2020, Shortcut learning in deep neural networks).

    Returns
    -------
    One row per cue: balanced ``accuracy``, ``chance`` (one over the number of classes), ``low`` (a bound
    that the true accuracy is above, at three standard errors) and ``verdict``: ``shortcut`` where ``low``
    lies 30 % or more of the way from chance to 1, ``weak`` where it is above chance at all, else ``none``.
    A cue that sets one class ``apart`` from all others is a shortcut too, and then the figures are of that
    class against the rest.  Empty where fewer than two classes have five independent pictures.
    """
    asked = _asked(manifest, near)
    if asked.empty:
        return pd.DataFrame(columns=COLUMNS).astype(dict.fromkeys(COLUMNS[1:4], float))
    folds = _folds(asked)
    table = asked.join(seen.drop_duplicates("image_id").set_index("image_id")[MEASURED], on="image_id")
    table["aspect"] = table["width"] / table["height"]
    truth = _Truth.of(table)
    with ThreadPoolExecutor(workers()) as pool:  # trees grow without Python's lock
        judged = pool.map(lambda cue: {"cue": cue, **_judge(truth, _features(table, cue), folds)}, CUES)
        return pd.DataFrame(list(judged), columns=COLUMNS)


def sentences(cues: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield for each shortcut a warning in plain words, and the accuracy."""
    for row in cues[cues["verdict"] == "shortcut"].to_dict("records"):
        cue, accuracy = row["cue"], 100 * row["accuracy"]
        told = f"names the class of {accuracy:.0f} % of pictures, classes weighed equally"
        if row["apart"]:
            told = f"tells {row['apart']!r} from the other classes, right for {accuracy:.0f} % of pictures"
        danger = "a model may learn that instead of the picture"
        if cue == "file name":
            danger = "a model never sees names, but what was named apart may have been taken apart"
        what = f"The {SPOKEN.get(cue, cue)} alone {told} (chance {100 * row['chance']:.0f} %)"
        yield f"{what}: {danger}; {CUES[cue][1]}.", row["accuracy"]


def _asked(manifest: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """Choose the pictures that are asked, by content: with the label and the unit that keeps to one fold."""
    table = manifest.drop(columns="labels").assign(label=manifest["labels"].map(labels.join))
    table["unit"] = _units(manifest, near)
    often = _independent(table).sort_index().sort_values(ascending=False, kind="stable").index[:CLASSES]
    chosen = table[table["label"].isin(often)].sort_values("image_id")
    chosen = chosen.groupby("label").head(SAMPLE // max(1, len(often)))
    left = _independent(chosen).index  # a few large groups may have filled the sample
    return chosen[chosen["label"].isin(left)].reset_index(drop=True) if len(left) > 1 else table.iloc[:0]


def _independent(table: pd.DataFrame) -> pd.Series:
    """Count the units of each class that has enough of them."""
    units = table.groupby("label")["unit"].nunique()
    return units[units >= FEWEST]


def _units(manifest: pd.DataFrame, near: pd.DataFrame) -> pd.Series:
    """Name for each picture what it hangs together with: near copies, its group, crops of one file."""
    links = [duplicates.among(manifest["image_id"], near)[["image_id", "other_id"]]]
    for column in ("path", "group"):
        named = manifest[["image_id", column]].dropna()
        named = named[named[column].duplicated(keep=False)]
        first = named.groupby(column)["image_id"].transform("first")
        links.append(pd.DataFrame({"image_id": named["image_id"], "other_id": first})[first != named["image_id"]])
    unit = duplicates.clusters(pd.concat(links, ignore_index=True))
    return manifest["image_id"].map(lambda name: unit.get(name, name))


def _folds(asked: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Deal the units of each class out in the order of their names, which are content hashes."""
    label = asked.groupby("unit")["label"].first()
    fold = asked["unit"].map(label.groupby(label).cumcount() % FOLDS).to_numpy()
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
    return [one for one in folds if min(map(len, one))]


def _features(table: pd.DataFrame, cue: str) -> np.ndarray:
    if cue == "file name":
        return _name_features(table)
    columns = CUES[cue][0]
    if cue in ("format", "mode"):
        return pd.get_dummies(table[columns].fillna("unknown")).to_numpy(float)
    return table[columns].to_numpy(float)


def _name_features(table: pd.DataFrame) -> np.ndarray:
    """Describe how each file is named: pieces of its name without numbers, folders and names of classes."""
    from sklearn.feature_extraction.text import HashingVectorizer

    parts = [posixpath.splitext(posixpath.basename(path)) for path in table["path"]]
    stems, extensions = (pd.Series(part, dtype=object) for part in zip(*parts, strict=True))
    classes = sorted({name for text in set(table["label"]) for name in labels.split(text)}, key=len, reverse=True)
    spelt = "|".join(re.escape(name) for name in classes if not name.isdigit())
    if spelt:
        stems = stems.str.replace(rf"(?<![^\W\d_])(?:{spelt})(?![^\W\d_])", "", case=False, regex=True)
    shape, shapes = pd.factorize("^" + stems.str.replace(r"\d+", "0", regex=True) + extensions)
    pieces = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=128, lowercase=False, norm=None)
    counted = np.column_stack([stems.str.len(), stems.str.count(r"\d"), extensions.str.len()])
    return np.hstack([pieces.transform(shapes).toarray()[shape], counted])


@dataclass(frozen=True)
class _Truth:
    """The labels that cues are asked for, and how many independent pictures speak for each."""

    classes: np.ndarray
    label: np.ndarray  # of each picture, as a position in ``classes``
    trials: np.ndarray  # of each class: the units that have a picture of it
    others: np.ndarray  # the units that have one of another class

    @classmethod
    def of(cls, table: pd.DataFrame) -> _Truth:
        label, classes = pd.factorize(table["label"], sort=True)
        pairs = pd.DataFrame({"unit": table["unit"], "label": label}).drop_duplicates()
        alone = pairs[~pairs["unit"].duplicated(keep=False)]
        trials, only = (np.bincount(rows["label"], minlength=len(classes)) for rows in (pairs, alone))
        return cls(np.asarray(classes), label, trials, pairs["unit"].nunique() - only)


def _judge(truth: _Truth, features: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, object]:
    number = len(truth.classes)
    chance = 1 / number
    features = features[:, ~np.isnan(features).all(0)]
    if (features == features[:1]).all():  # says the same of all pictures
        return {"accuracy": chance, "chance": chance, "low": 0.0, "verdict": "none", "apart": ""}
    predicted = _predict(features, truth.label, folds)
    images, named = (np.bincount(labels_, minlength=number) for labels_ in (truth.label, predicted[predicted >= 0]))
    right = np.bincount(truth.label[predicted == truth.label], minlength=number)
    accuracy, low = _bound(right / images, truth.trials)
    skill = (low - chance) / (1 - chance)
    verdict = "shortcut" if skill >= SKILL else "weak" if skill > 0 else "none"
    judged = {"accuracy": accuracy, "chance": chance, "low": low, "verdict": verdict, "apart": ""}
    if verdict != "shortcut":
        others = len(truth.label) - images
        for k, name in enumerate(truth.classes):
            recall = np.array([(others[k] - named[k] + right[k]) / others[k], right[k] / images[k]])
            accuracy, low = _bound(recall, np.array([truth.others[k], truth.trials[k]]))
            if 2 * low - 1 >= APART:
                return {"accuracy": accuracy, "chance": 0.5, "low": low, "verdict": "shortcut", "apart": name}
    return judged


def _predict(features: np.ndarray, labels_: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Predict each picture by a tree grown on the other folds."""
    from sklearn.tree import DecisionTreeClassifier

    leaves = max(8, 2 * len(set(labels_)))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=3, class_weight="balanced", random_state=0)
    predicted = np.full(len(labels_), -1)
    for train, test in folds:
        predicted[test] = tree.fit(features[train], labels_[train]).predict(features[test])
    return predicted


def _bound(recall: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return the balanced accuracy and what it is at least, from the recall and the trials of each class."""
    cautious = (recall * trials + 1) / (trials + 2)  # Laplace: five of five are no certainty
    error = np.sqrt((cautious * (1 - cautious) / trials).sum()) / len(recall)
    return float(recall.mean()), max(0.0, float(cautious.mean() - DEVIATIONS * error))
