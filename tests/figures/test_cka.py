"""Facts about the figures of CKA, on made-up tables; no model."""

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError
from tests.helpers.figure_tables import cka_table


def test_the_heatmap_holds_every_pair_of_depths() -> None:
    table = cka_table(others=3, other_model="organism:teacher")
    figure = figures.cka.heatmap(table)
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    cells = np.asarray(axes.images[0].get_array())
    assert cells.shape == (3, 4)  # [depth of the other, depth]
    assert cells[1, 3] == pytest.approx(1 - 0.4 - 0.03)
    assert axes.images[0].get_clim() == (0, 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Layers passed, base", "Layers passed, teacher",
    )  # fmt: skip
    assert bar.get_ylabel() == "Linear CKA"
    assert "n = 40 texts." in figure.footnote


def test_models_of_unlike_depth_keep_their_own_axes_and_gaps_are_said() -> None:
    gap = cka_table(6)
    gap.loc[gap["depth"].eq(0) | gap["other"].eq(0), "value"] = np.nan
    both = pd.concat([cka_table(4, other_model="organism:teacher"), gap], ignore_index=True)
    figure = figures.cka.heatmap(both)
    shapes = [axes.images[0].get_array().shape for axes in figure.axes if axes.images]
    assert shapes == [(4, 4), (6, 6)]
    assert [axes.get_xlim() for axes in figure.axes[:2]] == [(-0.5, 3.5), (-0.5, 5.5)]
    assert figure.axes[1].get_ylabel() == "Layers passed, base"
    assert "Grey: all examples have the same state there." in figure.footnote


def test_the_same_depth_of_two_models() -> None:
    names = ("organism:teacher", "organism:distilled")
    both = pd.concat([cka_table(other_model=name) for name in names], ignore_index=True)
    figure = figures.cka.same_depth(both)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["base and teacher", "base and distilled"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 0.99, 0.98, 0.97])
    by_source = pd.concat(
        [
            cka_table(other_model="organism:teacher", source=source)
            for source in ("world-kv:generate", "world-facts:default")
        ]
    )
    figure = figures.cka.same_depth(by_source)
    assert figure.footnote.startswith("Base and teacher.")
    assert [line.get_label() for line in figure.axes[0].lines] == [
        "Knowledge, option letters", "Retrieval, generated answers",
    ]  # fmt: skip
    with pytest.raises(UserError, match="compares no two models"):
        figures.cka.same_depth(cka_table())
    with pytest.raises(UserError, match="not both"):
        figures.cka.same_depth(pd.concat([both, both.assign(source="world-kv:generate")]))
