"""Sentences with numbers in the notebooks say what the tables of the pages they quote say."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments/results/organisms"


def said(page: str) -> str:
    """The text of a page, line breaks as spaces."""
    return " ".join((ROOT / page).read_text().split())


def prose(notebook: str) -> str:
    cells = json.loads((ROOT / "notebooks" / notebook).read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return " ".join(" ".join(texts).split())


def test_the_notebooks_quote_the_tables_of_the_page():
    contrasts = pd.read_csv(RESULTS / "heads-contrasts-table.csv")
    chosen = (contrasts["k"] == 2) & (contrasts["control"] == "all controls")
    row = contrasts[chosen & contrasts["model"].str.endswith("base12")].iloc[0]
    quoted = f"{row['difference']:.0f} points [{row['low']:.0f}, {row['high']:.0f}]"
    assert f"the two cost {quoted} more" in prose("3-retrieval-heads.ipynb")
    assert row["n_controls"] == 15
    alike = pd.read_csv(RESULTS / "reasoning-alike-table.csv")
    other = alike[alike["p_differ"] < 0.05]["p_differ"]
    assert (len(alike), len(other)) == (9, 8)
    assert "in eight of nine rows (`p_differ`, 0.006 and less" in prose("5-distillation.ipynb")
    assert other.max() == pytest.approx(0.006, abs=1e-4)


def test_the_notebook_on_distillation_quotes_what_is_shown_for_all_layers_together():
    text = prose("5-distillation.ipynb")
    table = pd.read_csv(RESULTS / "distillation-share-differences-table.csv")
    table = table[(table["task"] == "world2-arithmetic:generate")
                  & (table["a"] == "organism:base12")].set_index(["b", "ablation"])  # fmt: skip
    student, teacher = (table.loc[f"organism:{name}12"] for name in ("distilled", "teacher"))
    one, other = student.loc["layer:3"], teacher.loc["layer:3"]
    shares = f"*distilled12* {one['share_b']:.0f}% and *teacher12* {other['share_b']:.0f}%"
    assert f"costs *base12* {one['share_a']:.0f}% of what it gets right, {shares}" in text
    words = [f"{row['difference']:.0f} [{row['low_all']:.0f}, {row['high_all']:.0f}]"
             for row in (one, other)]  # fmt: skip
    assert f"(differences {words[0]} and {words[1]}, intervals of all 12 layers" in text
    assert teacher[teacher["low_all"] > 0].index.tolist() == ["layer:2", "layer:3", "layer:4"]
    assert student[student["low_all"] > 0].index.tolist() == ["layer:3"]
    swaps = pd.read_csv(RESULTS / "distillation-swaps-table.csv")
    single = swaps[(swaps["task"] == "world2-arithmetic:generate") & (swaps["part"] == "layer")
                   & (swaps["curve"] == "single") & (swaps["n_swapped"] == 1)
                   & (swaps["recipient"] == "organism:distilled12")]  # fmt: skip
    largest = single.loc[single["drop"].idxmax()]
    bounds = f"[{largest['drop_low_all']:.0f}, {largest['drop_high_all']:.0f}]"
    assert f"largest estimate is {largest['drop']:.0f} points {bounds} (layer 0, inter" in text
    moved = pd.read_csv(RESULTS / "distillation-weights-and-swaps-table.csv")
    moved = moved[(moved["task"] == "world2-arithmetic:generate")
                  & (moved["measure"] == "Frobenius distance")].set_index("model")  # fmt: skip
    base = moved.loc["organism:base12"]
    assert f"estimate there is +{base['rho']:.2f} (Frobenius, p {base['p']:.3f};" in text


def test_the_notebook_on_order_quotes_what_sixty_examples_say():
    text = prose("7-order-place-scope.ipynb")
    table = pd.read_csv(RESULTS / "replacements-table-table.csv")
    facts = table[table["task"] == "world2-facts:continuation"].set_index("layer")
    assert set(facts["n"]) == {60}

    def quoted(layer: int, way: str) -> str:
        row = facts.loc[layer]
        return f"{row[way]:.0f} [{row[way + '_low']:.0f}, {row[way + '_high']:.0f}]"

    assert f"{quoted(0, 'skip')} become {quoted(0, 'linear')} for layer 0" in text
    assert f"{quoted(7, 'skip')} become {quoted(7, 'linear')} for layer 7 (these diff" in text
    assert f"{quoted(5, 'resample')} against {quoted(5, 'skip')})" in text
    assert facts.loc[5, "resample_p_adjusted"] < 0.05 < facts.loc[6, "resample_p_adjusted"]
    assert f"p {facts.loc[6, 'resample_p_adjusted']:.2f})" in text


def test_planted_passages_and_heads_of_the_model_are_counted_rightly():
    text, page = prose("8-one-fact.ipynb"), said("experiments/validity/sources.md")
    config = json.loads((ROOT / "data/models/base12/config.json").read_text())
    heads = config["num_hidden_layers"] * config["num_attention_heads"]
    assert f"Over all {heads} heads" in text
    rows = re.findall(r"\| ([\d.]+) \| ([\d.]+) \| (\d+) \| (\d+) \|", page)
    assert [(recall, alarms) for _, recall, _, alarms in rows] == [
        ("1.000", "1"), ("1.000", "2"), ("1.000", "0"), ("1.000", "0"),
    ]  # fmt: skip
    assert "in 40 of 40 models, beside a part that was not built in in 1 and 2 of them" in text
