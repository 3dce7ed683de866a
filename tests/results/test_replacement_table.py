"""One row a layer: what skipping it costs beside what its replacements cost."""

import pandas as pd
import pytest

from interp.errors import UserError
from interp.results import replacement_table
from tests.helpers.figure_tables import sweep_of_texts

TEXTS = [f"layer:{n}{by}" for n in range(12) for by in ("", "@mean", "@linear")]


def test_each_cell_is_the_drop_of_its_ablation():
    drops = sweep_of_texts([*TEXTS, "mlp:0@mean", "layer:0@@prompt"]).importance()
    table = replacement_table(drops)
    assert list(table["layer"]) == list(range(12))
    assert "resample" not in table
    by_text = drops.set_index("ablation")
    for row in table.to_dict("records"):
        for way, ending in (("skip", ""), ("mean", "@mean"), ("linear", "@linear")):
            own = by_text.loc[f"layer:{row['layer']}{ending}"]
            assert row[way] == own["drop"]
            assert (row[f"{way}_low"], row[f"{way}_high"]) == (own["low"], own["high"])
            assert row[f"{way}_p_adjusted"] == own["p_adjusted"]
    assert set(table["n"]) == {12}


def test_several_tasks_are_several_rows_and_one_way_alone_is_refused():
    both = pd.concat(
        [sweep_of_texts(TEXTS[:6], task=task).importance() for task in ("a:generate", "b:generate")]
    )
    assert list(replacement_table(both)["task"]) == ["a:generate"] * 2 + ["b:generate"] * 2
    with pytest.raises(UserError, match="two of mlp, mlp@mean, mlp@resample, mlp@linear"):
        replacement_table(both, part="mlp")
