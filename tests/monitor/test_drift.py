import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fastrec.artefacts import DRIFT
from fastrec.files import FastrecError
from fastrec.monitor import drift
from fastrec.records import Drift

from .conftest import reference

CHECKS = ("width", "height", "brightness", "contrast", "sharpness", "saturation", "score", "predicted")


def measure(old, new, **changes):
    found = drift.measure(old, new, "sha", **changes)
    Drift.model_validate_json(found.model_dump_json())
    return found, drift.table(found)


def test_the_same_kind_of_pictures_gives_no_drift_and_every_check_has_its_row():
    found, table = measure(reference(360), reference(200, seed=1))
    assert (found.state, found.n_reference, found.n_live, found.reference_sha256) == ("ok", 360, 200, "sha")
    assert tuple(table.index) == CHECKS
    assert DRIFT.model is Drift
    silent = table["drifted"].isna()
    assert set(table.index[silent]) == {"height", "saturation"}
    assert (table.loc[silent, "note"] == ["constant: 480 in both", "constant: 0 in both"]).all()


def test_statistics_and_p_values_are_those_of_scipy():
    old, new = reference(300), reference(150, seed=2)
    _, table = measure(old, new)
    for name in ("width", "brightness", "score"):
        assert table["statistic"][name] == pytest.approx(stats.ks_2samp(old[name], new[name]).statistic)
    shares = [frame["predicted"].value_counts(normalize=True) for frame in (old, new)]
    assert table["statistic"]["predicted"] == pytest.approx(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
    raw = {name: stats.ks_2samp(old[name], new[name], method="asymp").pvalue for name in CHECKS if name != "predicted"}
    smallest = min(raw, key=lambda name: raw[name])
    assert table["p_value"][smallest] <= min(1.0, 6 * raw[smallest]) + 1e-12
    counted = pd.crosstab(np.repeat([0, 1], [300, 150]), pd.concat([old["predicted"], new["predicted"]]).to_numpy())
    check = drift._names("predicted", old["predicted"], new["predicted"], seed=0)
    assert check.p_value == pytest.approx(stats.chi2_contingency(counted, correction=False).pvalue, abs=0.02)


@given(p_values=st.lists(st.floats(0, 1), max_size=9), alpha=st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values, alpha):
    corrected = drift.holm(p_values)
    assert all(after >= before for after, before in zip(corrected, p_values, strict=True))
    rejected = set()
    for k, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - k) >= alpha:
            break
        rejected.add(index)
    assert {k for k, value in enumerate(corrected) if value < alpha} == rejected


@pytest.mark.parametrize(("n_reference", "n_live"), [(360, 200), (360, 50), (2000, 1000)])
def test_false_alarms_are_rarer_than_alpha(n_reference, n_live):
    """Of 150 comparisons where nothing changed, alarms at alpha 0.05 stay within 0.05 and chance (p = 0.01)."""
    alarms = 0
    for seed in range(150):
        both = reference(n_reference + n_live, seed=1000 + seed)
        found = drift.measure(both.iloc[:n_reference], both.iloc[n_reference:], "sha", seed=seed)
        alarms += found.state == "drift"
    assert alarms <= stats.binom.ppf(0.99, 150, drift.ALPHA)


def test_the_distance_alone_would_raise_false_alarms_in_small_samples():
    """What the p-value is for: without it, a third of harmless comparisons would reach the threshold."""
    reached = 0
    for seed in range(60):
        found = drift.measure(reference(360, seed=seed), reference(100, seed=500 + seed), "sha", seed=seed)
        reached += any((check.statistic or 0) >= drift.THRESHOLD for check in found.checks)
        assert not any(check.drifted for check in found.checks if check.p_value is not None and check.p_value >= 0.05)
    assert reached > 20


def test_the_p_value_alone_would_alarm_for_a_shift_that_does_not_matter():
    """What the threshold is for: a twentieth of a deviation is certain with many rows, and harmless."""
    old, new = reference(20_000), reference(20_000, seed=1)
    new["brightness"] += 0.05 * old["brightness"].std()
    found, table = measure(old, new)
    assert table["p_value"]["brightness"] < 0.01
    assert found.state == "ok"


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("brightness", lambda old: old * 0.7),
        ("width", lambda old: old * 0 + 640),
        ("saturation", lambda old: old + 0.3),
        ("score", lambda old: old - 0.2),
        ("predicted", lambda old: old.where(old < "5", "0")),
    ],
)
def test_a_change_is_found_where_it_is_and_nowhere_else(column, change):
    live = reference(200, seed=1)
    live[column] = change(live[column])
    found, table = measure(reference(360), live)
    assert found.state == "drift"
    assert list(table.index[table["drifted"].fillna(False).astype(bool)]) == [column]
    assert column in drift.verdict(found)


@settings(max_examples=20, deadline=None)
@given(n_reference=st.integers(0, 80), n_live=st.integers(0, 80))
def test_too_few_rows_are_never_called_no_drift(n_reference, n_live):
    found, table = measure(reference(n_reference), reference(n_live, seed=1))
    enough = min(n_reference, n_live) >= drift.FEWEST
    assert (found.state != "insufficient_data") == enough
    if not enough:
        assert table["drifted"].isna().all()
        assert table["note"].str.contains("50 are needed").all()
        assert drift.verdict(found).startswith("Too little to say")


def test_self_tests_and_no_traffic_are_told_apart_from_visitors():
    old, live = reference(360), reference(200, seed=1)
    visitors, _ = measure(old, live)
    selves, _ = measure(old, live.assign(source="self-test"))
    mixed, _ = measure(old, live.assign(source=["api"] + ["self-test"] * 199))
    nobody, _ = measure(old, live.iloc[:0])
    assert [found.traffic for found in (visitors, selves, mixed, nobody)] == ["real", "self-test", "real", "none"]
    assert selves.checks == visitors.checks
    assert drift.verdict(selves).startswith("Only the deploy stage's own test pictures came in so far")
    assert drift.verdict(visitors).startswith("No drift")
    assert visitors.bundle == "03_train/fastnet"


def test_missing_values_are_left_out_and_an_empty_column_is_named():
    live = reference(200, seed=1)
    live["brightness"] = np.nan
    live.loc[:19, "score"] = np.nan
    found, table = measure(reference(360), live)
    assert found.state == "ok"
    assert table["drifted"]["brightness"] is None or pd.isna(table["drifted"]["brightness"])
    assert table["note"]["brightness"] == "0 live values, 50 are needed"
    assert (table["n_live"]["score"], table["n_live"]["contrast"]) == (180, 200)
    assert "brightness (0 live values" in drift.verdict(found)


def test_refused_requests_are_left_out():
    live = pd.concat([reference(200, seed=1), reference(100, seed=2).assign(code="truncated", predicted=None)])
    assert measure(reference(360), live)[0].n_live == 200


def test_a_class_that_was_never_predicted_before_counts_as_a_change():
    live = reference(200, seed=1)
    live.loc[:99, "predicted"] = "new"
    assert measure(reference(360), live)[1]["drifted"]["predicted"]


@pytest.mark.parametrize("values", [{"threshold": 0.0}, {"threshold": 1.5}, {"alpha": 0.0}, {"alpha": 2.0}])
def test_settings_out_of_range_are_refused(values):
    (name,) = values
    with pytest.raises(FastrecError, match=f"{name} is .*: take a number between 0 and 1"):
        measure(reference(60), reference(60), **values)


def test_the_same_input_gives_the_same_record():
    assert measure(reference(), reference(200, seed=3))[0] == measure(reference(), reference(200, seed=3))[0]


def sets(n, rate, seed=0):
    """Make reference-like rows whose answers hold ``b`` at a rate, and ``a`` at one half."""
    rng = np.random.default_rng(seed)
    table = reference(n, seed)
    held = zip(rng.random(n) < 0.5, rng.random(n) < rate, strict=True)
    return table.assign(
        predicted=["|".join(name for name, is_in in zip("ab", row, strict=True) if is_in) for row in held]
    )


def last(found):
    return found.checks[-1]


def test_a_class_among_several_that_becomes_frequent_is_noticed():
    check = last(drift.measure(sets(400, 0.2), sets(300, 0.5, 1), "0", multi_label=True))
    assert (check.name, check.drifted) == ("predicted", True)
    assert check.statistic == pytest.approx(0.3, abs=0.1)


def test_the_same_sets_in_another_order_are_no_drift():
    table = sets(400, 0.3)
    check = last(drift.measure(table, table.sample(frac=1, random_state=0), "0", multi_label=True))
    assert (check.statistic, check.p_value, check.drifted) == (0.0, 1.0, False)


def test_sets_of_the_same_kind_rarely_alarm():
    found = [last(drift.measure(sets(200, 0.3, k), sets(200, 0.3, 100 + k), "0", multi_label=True)) for k in range(20)]
    assert sum(bool(check.drifted) for check in found) <= 1


def test_one_set_in_all_answers_is_noted_and_too_few_are_not_judged():
    same = sets(100, 0.3).assign(predicted="")
    assert "constant: no label in both" in last(drift.measure(same, same, "0", multi_label=True)).note
    assert last(drift.measure(sets(100, 0.3), sets(9, 0.3), "0", multi_label=True)).drifted is None
