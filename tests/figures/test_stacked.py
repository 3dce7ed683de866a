"""Stacked bars of kinds of answers: heights, order, the baseline and the small print."""

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError


def table(ablations=("baseline", "layer:0", "layer:1")) -> pd.DataFrame:
    shares = {"baseline": (90, 10, 0), "layer:0": (20, 2, 78), "layer:1": (85, 15, 0)}
    rows = [
        {"model": "organism:base", "task": "world-facts:generate", "ablation": ablation,
         "kind": kind, "share": share, "low": max(0, share - 4), "high": min(100, share + 4),
         "n": 200, "interval": "95% Wilson"}
        for ablation in ablations
        for kind, share in zip(
            ("right", "another value", "option letter"), shares.get(ablation, (1, 1, 98)),
            strict=True,
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_bars_stand_on_each_other_and_fill_the_hundred() -> None:
    figure = figures.answer_kinds(table())
    (axes,) = figure.axes
    right, other, letter = ([bar.get_height() for bar in bars] for bars in axes.containers)
    assert (right, other, letter) == ([90, 20, 85], [10, 2, 15], [0, 78, 0])
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
    np.testing.assert_allclose(tops, 100)
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.containers[0]] == [-1.5, 0, 1]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["Right", "Another value", "Option letter"]
    assert "n = 200 examples per task." in figure.footnote
    assert "at most 8 points wide" in figure.footnote


def test_a_sweep_without_the_table_and_maps_are_refused(sweep) -> None:
    with pytest.raises(UserError, match="no table `kinds_of_error`"):
        figures.answer_kinds(sweep)
    with pytest.raises(UserError, match="no ablation mlp:N"):
        figures.answer_kinds(table(), kind="mlp")
