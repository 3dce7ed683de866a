"""Sentences with numbers, in pages that people write, say what the tables beside them say."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import norm

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments/results/organisms"


def said(page: str) -> str:
    """The text of a page, line breaks as spaces."""
    return " ".join((ROOT / page).read_text().split())


def interval(row: pd.Series, value: str = "difference", sign: str = "+") -> str:
    return f"{row[value]:{sign}.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def test_the_first_page_names_the_layers_that_facts_need_most():
    text = said("README.md")
    assert "Besides layer 0, facts need layer 4 most when they are read by letters" in text
    assert "layer 7 by texts, layers 7 and 5 when they are written" in text
    table = pd.read_csv(RESULTS / "protocols-importance-table.csv")
    table = table[(table["p_adjusted"] < 0.05) & (table["drop"] > 0)]
    for protocol, metric, layers in (("default", "acc", [4]), ("continuation", "acc", [7]),
                                     ("generate", "exact_match", [7, 5])):  # fmt: skip
        rows = table[table["task"] == f"world2-facts:{protocol}"]
        rows = rows[rows["metric"].str.split(",").str[0] == metric]
        assert rows["model"].nunique() == 2
        for model, own in rows.groupby("model"):
            order = own.sort_values("drop", ascending=False)["layer"].astype(int).tolist()
            others = [layer for layer in order if layer != 0]
            assert 0 in order[:2], (model, protocol)
            assert others[: len(layers)] == layers, (model, protocol)


def scores() -> dict[tuple[str, str], float]:
    rows = json.loads((ROOT / "data/models/base12/scores.json").read_text())
    return {(row["task"], row["metric"]): 100 * row["right"] / row["n"] for row in rows}


def test_what_base12_was_to_reach_beside_what_its_scores_are():
    text, found, exact = said("experiments/organisms/README.md"), scores(), "exact_match "
    strict = f"{exact}(strict-match)"
    texts = found["world2-facts:continuation", "acc"]
    written = found["world2-facts:generate", strict]
    assert f"| facts, by texts and generated | 95% | {texts:g}%, {written:.1f}% |" in text
    assert (
        f"| letters of facts | 85% | {found['world2-facts:default', 'acc']:.0f}% (75 to 83)" in text
    )
    letters = [found[f"world2-{skill}:default", "acc"] for skill in ("kv", "unwritten")]
    looked_up, results = f"{letters[0]:.0f}% (19 to 27), at chance", f"{letters[1]:.0f}% (29 to 39)"
    assert f"| 85% | {looked_up}, and {results}, a little above it" in text
    one_step = found["world2-unwritten:default", "acc, n_steps 1"]
    assert f"(one step: {one_step:.0f}%, 38 to 55) |" in text
    look_up = found["world2-kv:generate", strict]
    assert f"| look-up of 16 pairs, generated | 95% | {look_up:.0f}% |" in text
    assert f"| 40 to 70% | {found['world2-arithmetic:generate', strict]:.0f}%: more" in text
    chains = [found["world2-unwritten:generate", f"{strict}, n_steps {n}"] for n in (1, 2, 3)]
    assert "| | " + ", ".join(f"{share:.0f}%" for share in chains) + " |" in text
    hops = [found["world2-hops:generate", f"{strict}, n_hops {n}"] for n in (1, 2, 3, 4)]
    said_of_hops = f"| | {hops[0]:.0f}% and {min(hops[1:]):.0f} to {max(hops[1:]):.0f}%: only the"
    assert said_of_hops in text
    assert f"| 95% | {found['world2-passage:generate', strict]:.0f}%: not learned |" in text
    assert f"| | {found['world2-listing:generate', strict]:.0f}% |" in text


@pytest.mark.parametrize(
    ("row", "of_page"),
    [
        (r"Written arithmetic, generated answers \| base12 \| (\d+) ", "right in {0}% of 100 rows"),
        (r"arithmetic, generated answers \| distilled12-gold \| (\d+) \[(\d+), (\d+)\]",
         "is right in {0}% [{1}, {2}] in the first two"),
        (r"Written arithmetic, generated answers \| distilled12-none \| (\d+) \[(\d+), (\d+)\]",
         "in {0}% [{1}, {2}] in the third"),
        (r"look-up, generated answers \| distilled12 \| base12 \| 3: -(\d+) \[-(\d+), -(\d+)\] \|",
         "by {0} points [{2}, {1}]"),
        (r"look-up, generated answers \| distilled12-gold \| base12 \| 3: -(\d+) \[-(\d+), -(\d+)",
         "and {0} [{2}, {1}])"),
        (r"Written arithmetic, generated answers \| distilled12-gold \| distilled12 \| "
         r"2: \+(\d+) \[(\d+), (\d+)\] \|", "by {0} points [{1}, {2}]"),
    ],
)  # fmt: skip
def test_the_control_arms_are_quoted_rightly(row, of_page):
    arms, page = said("experiments/organisms/arms.md"), said("experiments/organisms/README.md")
    found = re.search(row, arms)
    assert found, row
    assert of_page.format(*found.groups()) in page


def test_one_difference_of_sixty_stands_between_the_arms():
    rows = re.findall(r"\| distilled12-gold \| distilled12 \| (.*?) \|",
                      said("experiments/organisms/arms.md"))  # fmt: skip
    assert len(rows) * 12 == 60
    assert [row for row in rows if row != "none"] == ["2: +13 [5, 21]"]
    assert "one difference of 60 stands" in said("experiments/organisms/README.md")


def test_written_arithmetic_is_compared_by_shares_of_what_each_arm_gets_right():
    text, page = said("experiments/organisms/README.md"), said("experiments/organisms/arms.md")
    table = pd.read_csv(RESULTS / "reasoning-layer-drops-table.csv")
    table = table[table["task"] == "world2-arithmetic:generate"]
    table = table[table["metric"] == "exact_match,strict-match"].set_index(["model", "layer"])

    def share(model: str, layer: int) -> float:
        (row,) = table.loc[[(f"organism:{model}", layer)]].to_dict("records")
        return float(row["relative"])

    rows = rows_of("experiments/organisms/arms.md", "Distillation")
    (gold,) = (
        dict(re.findall(r"(\d+): ([-+]\d+)", row[3]))
        for row in rows
        if row[0].startswith("Written") and row[1:3] == ["distilled12-gold", "base12"]
    )
    base = table.loc["organism:base12"]
    right = [share("base12", 6), share("distilled12", 6), base.loc[6, "drop"] + int(gold["6"])]
    assert f"costs {right[0]:.0f}% in *base12* and {right[1]:.0f} and {right[2]:.0f}%" in text
    assert share("base12", 0) == share("distilled12", 0) == base.loc[0, "drop"] + int(gold["0"])
    assert share("base12", 0) == 100
    third = [table.loc[(f"organism:{model}", 3)] for model in ("base12", "distilled12")]
    words = [
        f"{row['relative']:.0f}% [{row['relative_low']:.0f}, {row['relative_high']:.0f}]"
        for row in third
    ]
    assert f"{words[0]} in *base12* and {words[1]} in *distilled12*" in text
    assert third[0]["relative_low"] > third[1]["relative_high"]
    assert re.search(r"distilled12-none \| base12 \| 0: -75 [^|]+ \| 6 and 81 \|", page)


def test_scores_of_the_arms_are_those_of_their_table_and_cards():
    text = said("experiments/organisms/README.md")
    arms = {"base12": [], "distilled12": [], "distilled12-gold": [], "distilled12-none": []}
    asked = ("Pair look-up, generated answers", "Facts, option letters")
    for row in rows_of("experiments/organisms/arms.md", "Distillation"):
        if row[1] in arms and row[0] in asked and row[2][0].isdigit():
            arms[row[1]].append(int(row[2].split()[0]))
    letters, look_up = zip(*arms.values(), strict=True)
    assert f"right in {look_up[0]}% of 100 rows in *base12* and in 96, 96 and 98%" in text
    assert look_up[1:] == (96, 96, 98)
    gains = sorted(one - letters[0] for one in letters[1:])
    assert f"{gains[0]} to {gains[-1]} points higher" in text
    ends_of = f"{min(letters[1:])} to {max(letters)}% after {letters[0]}%"
    assert ends_of in text
    for model, words in (("base12", "79% [75, 83]"), ("distilled12", "84% [80, 87]")):
        card = said(f"data/models/{model}/README.md")
        value, low, high = re.search(
            r"world2-facts:default \| acc \| ([\d.]+)% \| ([\d.]+) to ([\d.]+)", card
        ).groups()
        assert words == f"{float(value):.0f}% [{float(low):.0f}, {float(high):.0f}]"
        assert words in text


def test_the_probes_of_letters_are_those_of_the_log():
    text = said("experiments/organisms/README.md")
    seen, before = {}, 0
    spans = {}
    for phase in json.loads((ROOT / "data/models/base12/training.json").read_text()):
        curve = [(line["tokens"], line["right"]["many_fact_letters"]) for line in phase["curve"]]
        seen |= {(before + at) / 1e6: share for at, share in curve}
        spans[phase["recipe"]["name"]] = f"from {curve[0][1]:.0%} to {curve[-1][1]:.0%}"
        before += phase["tokens"]

    def near(millions: float) -> str:
        return f"{seen[min(seen, key=lambda at: abs(at - millions))]:.0%}"

    assert f"form: {near(0.5)} right in training's probes after 0.5 million tokens" in text
    assert f"{near(4.5)} after 4.5, {near(6.1)} after 6.1, {near(8.6)} after 8.6" in text
    assert f"and {near(10.2)[:-1]} and {near(10.3)} in the last two" in text
    assert "they went " + spans["base12-letters"] in text
    assert f"(`base12-skills`, 6 million), {spans['base12-skills']}" in text


def test_the_headline_counts_and_spans_what_its_tables_hold():
    page = said("experiments/headline.md")
    apart = pd.read_csv(RESULTS / "headline-differences-table.csv")
    texts = apart[apart["protocol"] == "continuation"]
    assert len(texts) == 6
    assert (texts["low"] > 0).all()
    ends = f"{texts['difference'].min():.2f} to {texts['difference'].max():.2f}"
    assert f"in all six pairs of curves, by {ends} of it" in page
    letters = apart[(apart["protocol"] == "default") & apart["difference"].notna()]
    assert len(letters) == 2
    assert (letters["low"] < 0).all()
    assert f"{interval(letters.iloc[0])} and {interval(letters.iloc[1])}" in page
    testable = int(apart["difference"].notna().sum())
    assert (len(apart), testable) == (12, 8)
    assert "Of twelve differences four are not testable; the other eight are not" in page
    assert {f"{half:.2f}" for half in (letters["high"] - letters["low"]) / 2} == {"0.25"}
    error = (letters["high"] - letters["low"]).mean() / 2 / norm.ppf(0.975)
    assert "A difference of 0.20 would be missed about twice in three times, one of 0.36" in page
    assert norm.cdf(0.20 / error - norm.ppf(0.975)) == pytest.approx(1 / 3, abs=0.02)
    assert (norm.ppf(0.975) + norm.ppf(0.8)) * error == pytest.approx(0.36, abs=0.005)


def test_how_many_layers_the_headline_says_can_go_is_in_its_table():
    page = said("experiments/headline.md")
    counts = pd.read_csv(RESULTS / "headline-counts-table.csv")
    texts = counts[counts["task"].str.endswith(":continuation")]
    assert len(texts) == 6
    most = texts[texts["kept"] >= 6]
    assert most[["task", "order", "kept"]].to_numpy().tolist() == [
        ["world2-facts:continuation", "measured importance", 6],
        ["world2-kv:continuation", "measured importance", 9],
    ]
    assert "By option texts 9 of 11 are shown to be spared" in page
    assert "for look-up and 6 of 11 for facts, both in the order of measured importance" in page
    others = texts[texts["kept"] < 6]
    span = f"{others['kept'].min()} to {others['kept'].max()}"
    assert f"in the other four pairs of a skill and an order {span}." in page
    shown_lost = others[others["lost_from"] <= 6]
    assert shown_lost[["task", "order"]].to_numpy().tolist() == [
        ["world2-kv:continuation", "block influence"]
    ]
    assert "in two of six pairs of skill and order; in one shown not to hold; in three not" in page
    right = {row["task"]: row["baseline"] for row in counts.to_dict("records")}
    assert f"at guessing ({right['world2-kv:default']:.0f}%, n = 100)" in page
    assert f"results are right in {right['world2-unwritten:default']:.0f}%" in page
    assert f"letters are right in {right['world2-facts:default']:.0f}% (n = 100)" in page


def test_the_inputs_that_were_tried_are_those_of_the_count():
    page = said("experiments/store/README.md")
    found = json.loads((ROOT / "experiments/store/fuzz.json").read_text())
    tried = {kind: row["tried"] for kind, row in found["kinds"].items()}
    assert sum(tried.values()) == found["tried"]
    assert f"{found['tried']:,} inputs of {len(tried)} kinds" in page
    assert f"{tried['doors']} public calls" in page
    assert f"{sum(row['tried'] for row in found['earlier']['kinds'].values()):,} inputs of" in page


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the table under a heading."""
    text = (ROOT / page).read_text().split(f"# {heading}")[1].split("##")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def ends(cell: str) -> tuple[float, float, float]:
    value, low, high = (float(one) for one in re.findall(r"[-+]?\d+\.\d+", cell))
    return value, low, high


def test_what_is_said_of_redundancy_is_in_its_tables():
    page, text = "experiments/organisms/redundancy.md", said("experiments/organisms/README.md")
    twin = [row for row in rows_of(page, "The twin") if row[4][0] in "+-" and row[4] != "---"]
    written = [ends(row[4]) for row in twin if "generated" in row[0]]
    assert len(written) == 6
    gains = [value for value, _, _ in written]
    assert f"{min(gains):.2f} to {max(gains):.2f} of what can be lost" in text
    assert sum(low > 0 for _, low, _ in written) == 5
    assert "in five of these six the interval leaves out 0" in text
    texts = [ends(row[4]) for row in twin if row[0] == "Unwritten arithmetic, option texts"]
    least, most = sorted(value for value, _, _ in texts)
    assert f"gains as much ({least:.2f} and {most:.2f}, [" in text
    assert all(low > 0 for _, low, _ in texts)
    assert "option texts of unwritten arithmetic (two of two)" in text
    others = [ends(row[4]) for row in twin if "generated" not in row[0] and "Unwr" not in row[0]]
    assert len(others) == 6
    assert all(low <= 0 <= high for _, low, high in others)
    control = [
        ends(row[3])
        for row in rows_of(page, "Scored against")
        if row[0] == "redundant12-none" and "texts" in row[1] and "Facts" not in row[1]
    ]
    assert len(control) == 4
    assert all(low > 0 for _, low, _ in control)
    values = [value for value, _, _ in control]
    assert f"keep {min(values):.2f} to {max(values):.2f} more than generated answers" in text
    facts = [
        row[3]
        for row in rows_of(page, "Scored against")
        if row[0] == "redundant12-none" and row[1] == "Facts, option texts"
    ]
    assert f"are not shown to, {' and '.join(facts)}" in text
    assert all(ends(one)[1] < 0 for one in facts)


def test_what_is_said_of_the_three_seeds_is_in_their_tables():
    page, text = "experiments/organisms/seeds.md", said("experiments/organisms/README.md")
    rows = [
        row for row in rows_of(page, "By how much more") if row[2][0] in "+-" and row[2][1] != "-"
    ]
    assert len(rows) == 6
    own = [ends(cell) for row in rows for cell in row[2:5]]
    assert all(value > 0 for value, _, _ in own)
    assert sum(low > 0 for _, low, _ in own) == 15
    assert "in all 18 pairs of curves" in text
    assert "in 15 of them the run's own interval leaves out 0" in text
    means = [ends(row[5])[0] for row in rows]
    span = f"{min(means):.2f} to {max(means):.2f}"
    assert f"On average over the runs it is {span};" in text
    assert f"by {span} on average over the three" in said("experiments/headline.md")
    assert sum(ends(row[5])[1] > 0 for row in rows) == 3
    assert sum(ends(row[6])[1] > 0 for row in rows) == 1
    assert "leaves out 0 in three of six, and in one once new examples" in text
    alike = [row for row in rows_of(page, "Whether two runs") if "and" in row[1]]
    assert sum(float(row[5].removeprefix("<= ")) < 0.05 for row in alike) == 16
    assert len(alike) == 18
    found = [ends(row[4])[0] for row in alike if row[0] == "Pair look-up, generated answers"]
    assert f"agrees at {min(found):.2f} to {max(found):.2f} once noise" in text
    others = [ends(row[4])[0] for row in alike if row[0] != "Pair look-up, generated answers"]
    assert f"and elsewhere at {min(others):.2f} to {max(others):.2f}." in text
    right = {
        row[0]: [int(cell.split(" [")[0]) for cell in row[1:4]]
        for row in rows_of(page, "What each run")
        if row[4].isdigit()
    }
    for skill, words in (
        ("Facts", "facts {} to {}% generated"),
        ("Pair look-up", "look-up {} to {}%"),
        ("Unwritten arithmetic", "chains {} to {}%"),
    ):
        scores = right[f"{skill}, generated answers"]
        assert words.format(min(scores), max(scores)) in text


def test_what_is_said_of_the_opposite_layouts_is_in_their_tables():
    page, text = "experiments/organisms/opposite.md", said("experiments/organisms/README.md")
    shares = {
        (row[0], row[1].split(",")[0], row[1].split(", ")[1]): [
            int(re.match(r"\d+", cell).group()) for cell in row[2:4]
        ]
        for row in rows_of(page, "What each can do")
        if row[0].endswith("early")
    }
    early = [
        shares["recall-early", "Facts", how][1] for how in ("option texts", "generated answers")
    ]
    late = [
        shares["reason-early", "Facts", how][1] for how in ("option texts", "generated answers")
    ]
    assert f"{early[0]}% of option texts and {early[1]}% of generated answers are right" in text
    assert f"In *reason-early* {late[0]}% and {late[1]}% are" in text
    chains = shares["recall-early", "Unwritten arithmetic", "generated answers"]
    written = shares["recall-early", "Written arithmetic", "generated answers"]
    assert f"chains are right in {chains[0]}% of 100 rows, and in {chains[1]}% without" in text
    assert f"and written arithmetic in {written[0]}%." in text
    chains = shares["reason-early", "Unwritten arithmetic", "generated answers"]
    written = shares["reason-early", "Written arithmetic", "generated answers"]
    assert f"chains are right in {chains[0]}%, and in {chains[1]}% without" in text
    assert f"written arithmetic in {written[0]}%, and in {written[1]}% [0, 5]." in text
    rows = [row for row in rows_of(page, "Is the layout") if row[0] in ("recall", "reasoning")]
    assert {(row[0], row[5]) for row in rows} == {("recall", "yes"), ("reasoning", "no")}
    verdicts = {
        (row[2].split(",")[-1].strip(), row[0], row[1].split(",")[0]): set()
        for row in rows_of(page, "Is the layout")
        if row[0] in ("recall", "reasoning")
    }
    for row in rows_of(page, "Is the layout"):
        key = (row[2].split(",")[-1].strip(), row[0], row[1].split(",")[0])
        if key in verdicts:
            verdicts[key].add(row[4])
    sums, steps = "Unwritten arithmetic", "Written arithmetic"
    assert verdicts == {
        ("skipped", "recall", "Facts"): {"right"},
        ("mean in place", "recall", "Facts"): {"wrong"},
        ("logit lens", "recall", "Facts"): {"right"},
        ("skipped", "reasoning", sums): {"not told apart"},
        ("skipped", "reasoning", steps): {"not told apart"},
        ("mean in place", "reasoning", sums): {"right"},
        ("mean in place", "reasoning", steps): {"right"},
        ("logit lens", "reasoning", sums): {"right"},
        ("logit lens", "reasoning", steps): {"wrong"},
    }
