"""One drop measured in several ways: how much examples and prompts each add to its variance.

Every example is asked under every prompt (few-shot draw, wording, order of options), or by every
model of several training seeds. Both are taken as draws from what could have been asked, a two-way
random-effects model without replication (Searle, Casella & McCulloch 1992, chapter 4):

    outcome[i, j] = mean + example[i] + prompt[j] + rest[i, j]

`rest` holds both how differently single examples react to a prompt, and chance. One answer per cell
does not tell the two apart.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import UserError, check_share
from interp.stats.distributions import f_p, normal_reach, student_reach
from interp.stats.failures import BASELINE, SERIES
from interp.stats.pvalues import adjust, check_correction
from interp.stats.samples import Sample, check_values, sample_of, series

FEWEST = 3
"""The smallest number of variants with an interval over variants."""

SCORE, DROP = "score", "drop"
NUMBERS = ["value", "low", "high", "low_examples", "high_examples", "least", "most",
           "sd_examples", "sd_variants", "sd_rest"]  # fmt: skip


@dataclass(frozen=True)
class TwoWay:
    """Means of tables of examples x variants, with intervals, and the components of their variance.

    Attributes:
        mean: the mean over all cells.
        low: lower bound of the interval over examples *and* variants; NaN with fewer than three
            variants.
        high: its upper bound.
        low_examples: lower bound of the interval over examples, with these variants taken as fixed.
        high_examples: its upper bound.
        examples: variance between examples; never below 0.
        variants: variance between variants; never below 0.
        rest: variance of what is left in a cell after both.
        p: the p-value of "the variants do not differ" (F test of two-way tables, Fisher
            1925); NaN where nothing varies.
    """

    mean: Float[np.ndarray, " tables"]
    low: Float[np.ndarray, " tables"]
    high: Float[np.ndarray, " tables"]
    low_examples: Float[np.ndarray, " tables"]
    high_examples: Float[np.ndarray, " tables"]
    examples: Float[np.ndarray, " tables"]
    variants: Float[np.ndarray, " tables"]
    rest: Float[np.ndarray, " tables"]
    p: Float[np.ndarray, " tables"]


def fit_two_way(
    table: Float[np.ndarray, "tables examples variants"],
    *,
    points: bool,
    confidence: float = 0.95,
) -> TwoWay:
    """Fit the two-way random-effects model to each table, by the analysis of variance.

    The variance of the overall mean is taken as the sum of the variance between the means of
    examples and that between the means of variants, with Satterthwaite's degrees of freedom (1946).
    Textbooks subtract the variance of the rest, which both contain; with three variants the
    interval then covers only 92%. Without the subtraction it covers 93% and more
    (`experiments/coverage`). Two variants say too little about how much variants differ (coverage
    down to 89%), so there is then no interval over variants.

    Args:
        table: outcomes, or sums over clusters as `variance_components` scales them.
        points: whether the table holds 0/1 outcomes, or differences of them. The mean of equal
            outcomes is then not known exactly (see `means_of`).
        confidence: coverage of the intervals.

    Returns:
        The numbers of each table.
    """
    n, count = table.shape[-2:]
    mean = table.mean((-1, -2))
    of_examples = table.mean(-1) - mean[..., None]
    of_variants = table.mean(-2) - mean[..., None]
    rest = table - mean[..., None, None] - of_examples[..., None] - of_variants[..., None, :]
    free = (n - 1, count - 1, (n - 1) * (count - 1))
    squares = (
        count * (of_examples**2).sum(-1) / free[0],
        n * (of_variants**2).sum(-1) / free[1],
        (rest**2).sum((-1, -2)) / free[2],
    )
    by_example, by_variant = squares[0] / (n * count), squares[1] / (n * count)
    z2 = normal_reach(confidence) ** 2
    least = z2 / (n + z2) ** 2 if points else 0.0
    both = by_example + by_variant
    under = by_example**2 / free[0] + by_variant**2 / free[1]
    effective = np.divide(both**2, under, out=np.full_like(both, float(free[0])), where=under > 0)
    wide = student_reach(confidence, effective) * np.sqrt(np.maximum(both, least))
    if count < FEWEST:
        wide = np.full_like(wide, np.nan)
    narrow = student_reach(confidence, free[0]) * np.sqrt(np.maximum(by_example, least))
    return TwoWay(
        mean, mean - wide, mean + wide, mean - narrow, mean + narrow,
        examples=np.maximum(squares[0] - squares[2], 0) / count,
        variants=np.maximum(squares[1] - squares[2], 0) / n,
        rest=squares[2],
        p=_test(squares[1], squares[2], free),
    )  # fmt: skip


def _test(
    of_variants: Float[np.ndarray, " tables"],
    rest: Float[np.ndarray, " tables"],
    free: tuple[int, int, int],
) -> Float[np.ndarray, " tables"]:
    """P-value of the F test; NaN where neither varies beyond rounding."""
    varies = (of_variants > 1e-12) | (rest > 1e-12)
    ratio = of_variants / np.where(rest > 1e-12, rest, 1e-12)
    return np.where(varies, f_p(ratio, free[1], free[2]), np.nan)


def variance_components(
    values: pd.DataFrame,
    over: str = "variant",
    *,
    confidence: float = 0.95,
    correction: str = "holm",
) -> pd.DataFrame:
    """Scores and drops over several variants of a sweep, with the components of their variance.

    Args:
        values: the long table of `interp.stats`, with a column that names the variant.
        over: the name of that column: it tells ways of asking apart, or models of several training
            seeds.
        confidence: coverage of the intervals.
        correction: correction of the p-values, across the ablations of a task and a metric.

    Returns:
        Columns `task metric ablation quantity value low high low_examples high_examples least most
        sd_examples sd_variants sd_rest p p_adjusted n n_variants clusters`. The baseline's row
        holds its `score`, the other rows hold a `drop`. `low` and `high` hold for other examples
        and other variants (three variants or more are needed), `low_examples` and `high_examples`
        for other examples under these variants. `least` and `most` are the smallest and the largest
        value of a variant. Numbers are in points for 0/1 metrics. With clusters, `sd_examples` is
        the standard deviation of cluster means. An ablation under which examples failed has no
        numbers.

    Raises:
        UserError: there are fewer than two variants, or their examples differ.
    """
    check_share("confidence", confidence)
    check_correction(correction)
    if not isinstance(values, pd.DataFrame) or not isinstance(over, str) or over not in values:
        raise UserError(f"over {over!r:.80}: allowed is a column of the table of values")
    names = list(dict.fromkeys(values[over]))
    for name in names:
        check_values(values[values[over] == name].assign(model=str(name)))
    if len(names) < 2:
        raise UserError(f"{over} {', '.join(map(str, names)) or 'none'}: at least two are needed")
    rows: list[dict[str, object]] = []
    for (task, metric), of_metric in values.groupby(["task", "metric"], observed=True, sort=False):
        key = {"task": task, "metric": metric}
        family = list(_rows(of_metric, over, names, confidence))
        p = np.array([row["p"] for row in family], dtype=float)
        tested = ~np.isnan(p) & [row["quantity"] == DROP for row in family]
        p[tested] = adjust(p[tested], correction=correction)
        rows += [key | row | {"p_adjusted": one} for row, one in zip(family, p, strict=True)]
    columns = ["task", "metric", "ablation", "quantity", *NUMBERS, "p", "p_adjusted", "n",
               "n_variants", "clusters"]  # fmt: skip
    return pd.DataFrame(rows)[columns]


def _rows(
    values: pd.DataFrame, over: str, names: list[object], confidence: float
) -> list[dict[str, object]]:
    """The rows of one task and metric: one for the baseline's score, and one for each drop."""
    tables, points, clusters = {}, True, None
    for name in names:
        of_name = values[values[over] == name].drop(columns=SERIES[0], errors="ignore")
        for _, in_points, wide, units in series(of_name.assign(model=str(name))):
            tables[name], clusters = wide, units
            points = points and in_points
    lacking = [str(name) for name in names if name not in tables]
    if lacking or BASELINE not in tables[names[0]]:
        raise UserError(f"{over} {', '.join(lacking) or names[0]}: no baseline to compare with")
    documents = tables[names[0]].index
    doc_ids = set(values["doc_id"])
    for name in names:
        if set(values.loc[values[over] == name, "doc_id"]) != doc_ids:
            raise UserError(f"{over} {name}: it was asked other examples than {names[0]}")
        documents = documents.intersection(tables[name].index)
    rows: list[dict[str, object]] = []
    for ablation in dict.fromkeys([BASELINE, *values["ablation"]]):
        quantity = SCORE if ablation == BASELINE else DROP
        row: dict[str, object] = {"ablation": ablation, "quantity": quantity}
        row |= {"n": len(documents), "n_variants": len(names)}
        if any(ablation not in table for table in tables.values()):
            rows.append(row | dict.fromkeys([*NUMBERS, "p"], np.nan) | {"clusters": 0})
            continue
        one = pd.DataFrame({name: _outcome(tables[name], ablation) for name in names})
        sample = sample_of(one.loc[documents], clusters)
        rows.append(row | _numbers(sample, points, confidence))
    return rows


def _outcome(table: pd.DataFrame, ablation: str) -> pd.Series:
    return table[BASELINE] if ablation == BASELINE else table[BASELINE] - table[ablation]


def _numbers(sample: Sample, points: bool, confidence: float) -> dict[str, object]:
    """The fitted numbers in the units of the table; with clusters, a cluster is the unit."""
    mean = sample.table.mean()
    deviations = Sample(sample.table - mean, sample.units, sample.clustered).sums()
    # a cluster's sum, scaled so that the mean over clusters is the mean over examples
    cells = mean + deviations * (sample.n_units / len(sample.table))
    if sample.n_units < 2:
        none: dict[str, object] = dict.fromkeys([*NUMBERS, "p"], np.nan)
        return none | {"clusters": sample.n_units}
    fit = fit_two_way(cells[None], points=points, confidence=confidence)
    scale = 100.0 if points else 1.0
    means = sample.table.mean(axis=0)
    shown = {
        "value": fit.mean[0], "low": fit.low[0], "high": fit.high[0],
        "low_examples": fit.low_examples[0], "high_examples": fit.high_examples[0],
        "least": means.min(), "most": means.max(), "sd_examples": np.sqrt(fit.examples[0]),
        "sd_variants": np.sqrt(fit.variants[0]), "sd_rest": np.sqrt(fit.rest[0]),
    }  # fmt: skip
    numbers: dict[str, object] = {name: scale * float(value) for name, value in shown.items()}
    return numbers | {"p": float(fit.p[0]), "clusters": sample.n_units if sample.clustered else 0}
