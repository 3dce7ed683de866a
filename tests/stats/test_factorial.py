"""Effects of a factorial: by hand, against a planted interaction, and where there is none."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.stats import cells_of, factorial_contrasts, factorial_effects

DESIGN = {"readout": ("likelihood", "greedy"), "candidates": ("options", "type", "vocabulary")}


def drawn(drops, *, n=400, right=0.9, seed=0):
    """Outcomes of two ablations, one that does nothing; the same luck in every cell."""
    rng = np.random.default_rng(seed)
    whole, harmed = rng.random(n) < right, rng.random(n)
    rows = []
    for cell in cells_of(DESIGN):
        for ablation, drop in (("baseline", 0.0), ("layer:0", drops[cell]), ("layer:1", 0.0)):
            outcome = whole & ~(harmed < drop)
            rows += [
                {"model": "m", "ablation": ablation, "doc_id": i, "value": float(outcome[i])}
                | dict(zip(DESIGN, cell, strict=True))
                for i in range(n)
            ]
    return pd.DataFrame(rows)


def test_contrasts_are_orthogonal_to_the_mean_and_in_the_usual_order():
    found = factorial_contrasts(DESIGN)
    assert [c.name for c in found] == [
        "readout: greedy - likelihood",
        "candidates: type - options",
        "candidates: vocabulary - options",
        "readout: greedy - likelihood x candidates: type - options",
        "readout: greedy - likelihood x candidates: vocabulary - options",
    ]
    for contrast in found:
        assert contrast.weights.sum() == pytest.approx(0)
    np.testing.assert_allclose(found[0].weights, [-1 / 3] * 3 + [1 / 3] * 3)
    np.testing.assert_allclose(found[3].weights, [1, -1, 0, -1, 1, 0])


def test_effects_are_differences_of_mean_drops_with_their_interval():
    drops = {cell: 0.1 + 0.2 * (cell[0] == "greedy") + 0.1 * (cell[1] == "vocabulary")
             for cell in cells_of(DESIGN)}  # fmt: skip
    values = drawn(drops)
    table = factorial_effects(values, DESIGN).set_index(["ablation", "effect"])
    mean = values.groupby(["ablation", "readout", "candidates"])["value"].mean()
    by_hand = {
        readout: 100 * (mean["baseline", readout] - mean["layer:0", readout]).mean()
        for readout in DESIGN["readout"]
    }
    row = table.loc[("layer:0", "readout: greedy - likelihood")]
    assert row["value"] == pytest.approx(by_hand["greedy"] - by_hand["likelihood"])
    assert row["low"] < 18 < row["high"]
    assert row["p_adjusted"] < 0.001
    assert table.loc[("layer:1", "readout: greedy - likelihood"), "value"] == 0
    assert row["n"] == 400


def test_shares_take_the_floor_out():
    """Half of what can be lost goes in every cell: no effect in shares, a large one in points."""
    floors = {cell: {"options": 0.25, "type": 0.05, "vocabulary": 0.0}[cell[1]]
              for cell in cells_of(DESIGN)}  # fmt: skip
    drops = {cell: (0.9 - floors[cell]) / 2 / 0.9 for cell in cells_of(DESIGN)}
    values, name = drawn(drops, n=3000), "candidates: vocabulary - options"
    points = factorial_effects(values, DESIGN).set_index(["ablation", "effect"])
    shares = factorial_effects(values, DESIGN, floors=floors).set_index(["ablation", "effect"])
    assert points.loc[("layer:0", name), "low"] > 8
    row = shares.loc[("layer:0", name)]
    assert row["low"] < 0 < row["high"]
    assert row["high"] - row["low"] < 0.1
    low = factorial_effects(drawn(drops, right=0.25), DESIGN, floors=floors)
    assert low.set_index(["ablation", "effect"]).loc[("layer:0", name), "interval"].startswith("no")


def test_cells_that_agree_have_no_effect_whatever_rounding_says():
    """Effects of 1e-17 once passed for significant: their spread is rounding, too."""
    rng = np.random.default_rng(3)
    design = {**DESIGN, "steps": ("without", "with")}
    floors = {cell: {"options": 0.25, "type": 0.05, "vocabulary": 0.0}[cell[1]]
              for cell in cells_of(design)}  # fmt: skip
    rows = []
    for candidates in DESIGN["candidates"]:
        for steps in design["steps"]:
            right = rng.random(100) < 0.9
            kept = right & (rng.random(100) < 0.6)
            for readout in DESIGN["readout"]:  # the same outcomes, however they are read
                cell = {"readout": readout, "candidates": candidates, "steps": steps}
                for ablation, outcome in (("baseline", right), ("layer:0", kept)):
                    rows += [{"model": "m", "ablation": ablation, "doc_id": i, **cell,
                              "value": float(outcome[i])} for i in range(100)]  # fmt: skip
    table = factorial_effects(pd.DataFrame(rows), design, floors=floors)
    same = table[table["effect"].str.contains("readout")]
    assert len(same) == 6
    assert (same["value"] == 0).all()
    assert (same["p"] == 1).all()
    assert same["low"].isna().all()


def test_bounds_for_all_ablations_are_those_of_a_stricter_confidence():
    drops = {cell: 0.1 + 0.2 * (cell[0] == "greedy") for cell in cells_of(DESIGN)}
    values = drawn(drops, n=100)
    found, strict = factorial_effects(values, DESIGN), factorial_effects(
        values, DESIGN, confidence=0.975
    )  # fmt: skip
    np.testing.assert_allclose(found["low_all"], strict["low"])
    np.testing.assert_allclose(found["high_all"], strict["high"])


def test_a_cell_without_values_is_named():
    values = drawn(dict.fromkeys(cells_of(DESIGN), 0.1), n=5)
    with pytest.raises(UserError, match="no values of the cell greedy, type"):
        factorial_effects(
            values[(values["readout"] != "greedy") | (values["candidates"] != "type")], DESIGN
        )
    with pytest.raises(UserError, match="factor steps: no such column"):
        factorial_effects(values, {**DESIGN, "steps": ("without", "with")})
