"""The figure of accepted draft tokens."""

import pandas as pd
import pytest

from interp.figures import drafts, save


def counts():
    return pd.DataFrame(
        {
            "model": ["organism:distilled"] * 3 + ["random"] * 3,
            "layer": [0, 1, 2] * 2,
            "baseline_tokens": [200] * 3 + [500] * 3,
            "baseline_accepted": [2, 150, 200, 0, 5, 10],
        }
    )


def test_the_lines_are_the_shares():
    figure = drafts(counts())
    (axes,) = figure.axes
    first, second = axes.get_lines()
    assert list(first.get_ydata()) == pytest.approx([1, 75, 100])
    assert list(second.get_ydata()) == pytest.approx([0, 1, 2])
    assert (first.get_label(), second.get_label()) == ("distilled", "random")
    assert axes.get_xlabel() == "Ablated layer"
    assert axes.get_ylabel() == "Draft tokens accepted (%)"
    assert "200 tokens (distilled)" in figure.footnote


@pytest.mark.slow
def test_it_is_saved_with_its_data(tmp_path):
    paths = save(drafts(counts()), tmp_path / "drafts")
    assert {path.suffix for path in paths} == {".pdf", ".svg", ".png", ".csv"}
    assert pd.read_csv(tmp_path / "drafts.csv")["share"].tolist() == [1, 75, 100, 0, 1, 2]


def test_no_model_is_left_out_where_markers_repeat():
    models = [f"model-{i}" for i in range(9)]
    table = pd.DataFrame(
        {"model": models, "layer": 0, "baseline_tokens": 10, "baseline_accepted": range(9)}
    )
    (axes,) = drafts(table).axes
    assert [line.get_label() for line in axes.get_lines()] == models
