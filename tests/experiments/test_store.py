"""A small share of the store's experiments: kills, bad inputs, coverage, false positives, power."""

import json
import subprocess
import sys

import pytest

from experiments.store import coverage, scaling
from experiments.store.mends import MUTATIONS
from experiments.store.mutations import ROOT
from tests.helpers.thinning import sized


@pytest.mark.slow
def test_kills_lose_and_double_nothing(tmp_path):
    # in a process of its own: it forks, and the forks are killed
    command = [sys.executable, "-m", "experiments.store.kills", "--out", str(tmp_path)]
    kills = sized(thinned=2, whole=5)
    more = ["--kills", str(kills), "--examples", "8"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    result = json.loads((tmp_path / "kills.json").read_text())
    assert result["kills"] == kills
    for what in ("lost", "doubled", "different", "shards_different", "temporary_files"):
        assert result[what] == 0, what
    assert max(result["units_at_kill"]) > 0


@pytest.mark.slow
def test_bad_inputs_are_refused_in_one_line_and_nothing_is_written(tmp_path):
    command = [sys.executable, "-m", "experiments.store.fuzz", "--out", str(tmp_path)]
    inputs = sized(thinned=40, whole=250)
    more = ["--inputs", str(inputs), "--seed", "1"]
    subprocess.run([*command, *more], capture_output=True, check=False)
    result = json.loads((tmp_path / "fuzz.json").read_text())
    assert result["defects"] == {}
    assert sum(kind["refused"] for kind in result["kinds"].values()) > 0.4 * inputs


def test_the_mends_that_are_taken_away_are_where_the_list_says():
    for one in MUTATIONS:
        assert (ROOT / one.file).read_text().count(one.text) == 1, one.kind
        place, _, name = one.test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / place).read_text(), one.test


@pytest.mark.parametrize(("drop", "noise"), [(0.02, 0.1), (0.2, 0.02)])
def test_intervals_cover(monkeypatch, drop, noise):
    monkeypatch.setattr(coverage, "_settings", lambda: iter([(200, 0.5, drop, noise)]))
    (row,) = coverage.coverage(1000, resamples=500).to_dict("records")
    assert 0.925 <= row["coverage"] <= 0.975


def test_holm_keeps_false_positives_of_a_sweep_rare():
    found = coverage.false_positives(300)
    assert (found["holm"] <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5).all()
    assert found["uncorrected"].max() > 0.3


def test_power_is_what_simulated_sweeps_show():
    found = coverage.powers(1000)
    assert (found["simulated"] - found["stated"]).abs().max() <= 4 * (0.25 / 1000) ** 0.5


def test_schedules_are_bounded_by_their_largest_unit():
    seconds = [3.0, 1.0, 1.0, 1.0, 2.0]
    assert scaling.schedule(seconds, 1) == {
        "makespan": 8.0, "ideal": 8.0, "efficiency": 1.0, "wait_for_last": 0.0,
    }  # fmt: skip
    two = scaling.schedule(sorted(seconds, reverse=True), 2)
    assert two["makespan"] == 4.0
    assert scaling.schedule(seconds, 2)["makespan"] == 5.0
    measured = {"seconds": seconds, "expected": seconds}
    found = scaling.simulated(measured, 4, 64, 0)
    assert found["largest_first"]["wait_for_last"] <= found["largest_unit_seconds"]
