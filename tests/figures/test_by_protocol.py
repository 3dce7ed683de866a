"""Pruning curves of several protocols beside each other, on made-up tables; no model."""

import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError

PROTOCOLS = ("default", "continuation", "generate")


def curves(n_layers: int = 8) -> pd.DataFrame:
    """Two benchmarks under three protocols; generated answers are lost first."""
    rows = []
    for benchmark in ("world-facts", "world-kv"):
        for place, protocol in enumerate(PROTOCOLS):
            for removed in range(n_layers):
                value = max(0.0, 95 - 12 * (place + 1) * removed / 2)
                rows.append(
                    {"model": "m", "task": f"{benchmark}:{protocol}", "metric": "acc"}
                    | {"order": "block influence", "n_removed": removed, "value": value}
                    | {"low": max(0, value - 5), "high": min(100, value + 5), "n": 100}
                    | {"unit": "points", "interval": "95% Wilson"}
                )
    return pd.DataFrame(rows)


def counts(kept: int) -> pd.DataFrame:
    """As `interp.stats.removable` gives them."""
    tasks = sorted(set(curves()["task"]))
    return pd.DataFrame(
        {"model": "m", "task": tasks, "kept": kept, "margin": 10.0, "test": "fixed sequence"}
    )


def test_a_panel_a_benchmark_and_a_line_a_protocol():
    figure = figures.protocol_curves(curves(), counts=counts(2))
    assert [axes.get_title() for axes in figure.axes] == ["Knowledge", "Retrieval"]
    for axes in figure.axes:
        lines = [line for line in axes.lines if line.get_marker() == "None"]
        assert len(lines) == 3
        marked = [line for line in axes.lines if line.get_marker() != "None"]
        filled = [m for m in marked if m.get_markerfacecolor() != "white"]
        # the whole model and the two steps that are shown to keep the score
        assert [len(m.get_xdata()) for m in filled] == [3, 3, 3]
    assert "Filled: drop shown to be below 10 points" in figure.footnote


def test_without_counts_all_points_are_filled():
    figure = figures.protocol_curves(curves())
    axes = figure.axes[0]
    empty = [m for m in axes.lines if m.get_markerfacecolor() == "white"]
    assert all(len(m.get_xdata()) == 0 for m in empty)


def test_several_orders_are_refused():
    doubled = pd.concat([curves(), curves().assign(order="from the deepest")])
    with pytest.raises(UserError, match="one order and one metric per task"):
        figures.protocol_curves(doubled)
