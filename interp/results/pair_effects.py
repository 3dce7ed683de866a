"""What two ablations cost together beyond their sum: pairs of parts, and scopes of one part."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from interp.errors import UserError, check_share
from interp.stats import BASELINE, adjust, contrasts, sample_of, series

PARTS = {"prompt": "prompt part", "answer": "answer part", "interaction": "interaction"}
"""The parts of a drop that was also swept with scopes, and what figures call them."""

WHOLE = "whole"
"""The drop of the ablation at all positions: the sum of its parts."""


def interactions(
    values: pd.DataFrame, *, confidence: float = 0.95, correction: str = "holm"
) -> pd.DataFrame:
    """How much the drop of each pair exceeds the sum of the two drops alone.

    Positive is synergy of damage: each of the two makes up for the other while that one is ablated
    alone. Negative is overlap: what one breaks, the other cannot break again. Near a floor
    everything overlaps, because a score cannot fall below it.

    The four outcomes of an example are paired, so that each example has an interaction of its own.
    The interval is that of their mean (`interp.stats.contrasts`).

    Args:
        values: the long table of one metric per task, in which larger is better (`Sweep.gains()`).
        confidence: coverage of the intervals.
        correction: correction of the p-values, over all pairs of a task.

    Returns:
        Columns `model task metric ablation first second drop_first drop_second drop interaction low
        high low_all high_all p p_adjusted n unit interval`, one row per pair, in points for 0/1
        metrics. `low_all` and `high_all` hold for all pairs of a task together (Bonferroni). Read
        these where the largest of several interactions is named.

    Raises:
        UserError: there is no pair whose parts were both ablated alone, too.
    """
    check_share("confidence", confidence)
    tables = []
    for key, points, wide, clusters in series(values):
        pairs = _pairs([str(name) for name in wide.columns])
        for pair, (first, second) in pairs.items():
            rows = wide[[BASELINE, first, second, pair]].dropna()
            means = (100.0 if points else 1.0) * rows.mean()
            beyond = rows[first] + rows[second] - rows[pair] - rows[BASELINE]
            estimates = _rows(beyond.to_frame(), clusters, points, confidence, family=len(pairs))
            columns = {"ablation": pair, "first": first, "second": second}
            columns |= {"drop_first": means[BASELINE] - means[first]}
            columns |= {"drop_second": means[BASELINE] - means[second]}
            columns |= {"drop": means[BASELINE] - means[pair]}
            tables.append(pd.DataFrame({**key, **columns, **next(estimates)}, index=[0]))
    if not tables:
        raise UserError(
            "interactions: no pair whose parts were ablated alone, too; sweep layers and "
            "pairs:layers together"
        )
    table = pd.concat(tables, ignore_index=True).rename(columns={"value": "interaction"})
    return _adjusted(table, ["model", "task", "metric"], correction)


def scope_parts(
    values: pd.DataFrame, *, confidence: float = 0.95, correction: str = "holm"
) -> pd.DataFrame:
    """The drop of each ablation, split by where it acts: prompt, answer, and their interaction.

    The prompt part is the drop of the ablation at the positions of the prompt alone
    (`layer:7@@prompt`). The answer part is that at the positions of the answer (`layer:7@@answer`).
    The interaction is how much the drop of the ablation everywhere exceeds the sum of the two:
    positive where either place makes up for the other, negative where both break the same examples.
    Near a floor it is negative whatever the layer does.

    Whether a layer is needed to read or to write is another possible explanation of differences
    between protocols (arXiv 2602.03295, 2605.06105). These sources give no intervals; the ones here
    are of paired contrasts over examples (`interp.stats.contrasts`).

    Args:
        values: the long table of one metric per task, in which larger is better (`Sweep.gains()`).
        confidence: coverage of the intervals.
        correction: correction of the p-values, over the ablations of one form, task and part.

    Returns:
        Columns `model task metric ablation part value low high p p_adjusted n unit interval`, with
        four rows per ablation: `prompt`, `answer`, `interaction` and `whole`, which is their sum.
        Values are in points for 0/1 metrics.

    Raises:
        UserError: no ablation was run everywhere, at the prompt and at the answer.
    """
    check_share("confidence", confidence)
    tables = list[pd.DataFrame]()
    for key, points, wide, clusters in series(values):
        names = [str(name) for name in wide.columns]
        named = {name: str(value) for name, value in key.items()}
        for name in names:
            prompt, answer = f"{name}@@prompt", f"{name}@@answer"
            if prompt not in names or answer not in names:
                continue
            rows = wide[[BASELINE, name, prompt, answer]].dropna()
            whole = rows[BASELINE] - rows[name]
            parts = pd.DataFrame(
                {
                    "prompt": rows[BASELINE] - rows[prompt],
                    "answer": rows[BASELINE] - rows[answer],
                    "interaction": rows[prompt] + rows[answer] - rows[name] - rows[BASELINE],
                    WHOLE: whole,
                }
            )
            estimates = pd.DataFrame(_rows(parts, clusters, points, confidence))
            tables.append(estimates.assign(**named, ablation=name, part=parts.columns))
    if not tables:
        raise UserError(
            "scope_parts: no ablation that was run everywhere, at the prompt and at the answer; "
            "sweep layers, layers@@prompt and layers@@answer together"
        )
    table = pd.concat(tables, ignore_index=True)
    form = table["ablation"].str.replace(r"\d+", "", regex=True)
    table = _adjusted(table.assign(form=form), ["model", "task", "metric", "form", "part"],
                      correction)  # fmt: skip
    first = ["model", "task", "metric", "ablation", "part"]
    return table[[*first, "value", "low", "high", "p", "p_adjusted", "n", "unit", "interval"]]


def _pairs(names: list[str]) -> dict[str, tuple[str, str]]:
    """Each pair whose parts were also ablated alone, with its two parts."""
    single_names = set(names)
    split = {name: name.split("+") for name in sorted(single_names)}
    return {
        name: (parts[0], parts[1])
        for name, parts in split.items()
        if len(parts) == 2 and set(parts) <= single_names
    }


def _rows(
    table: pd.DataFrame,
    clusters: pd.Series | None,
    points: bool,
    confidence: float,
    *,
    family: int = 1,
) -> Iterator[dict[str, object]]:
    """For each column its mean, interval, interval for the whole family, and test."""
    sample, scale = sample_of(table, clusters), 100.0 if points else 1.0
    estimates = contrasts(sample, points=points, confidence=confidence)
    strict = 1 - (1 - confidence) / family
    together = estimates if family == 1 else contrasts(sample, points=points, confidence=strict)
    for place in range(table.shape[1]):
        yield {
            "value": scale * estimates.value[place],
            "low": scale * estimates.low[place],
            "high": scale * estimates.high[place],
            "low_all": scale * together.low[place],
            "high_all": scale * together.high[place],
            "p": estimates.p[place],
            "n": len(table),
            "unit": "points" if points else "value",
            "interval": estimates.interval[place],
        }


def _adjusted(table: pd.DataFrame, families: list[str], correction: str) -> pd.DataFrame:
    """The table with `p_adjusted` after `p`."""
    adjusted = table.groupby(families, sort=False)["p"].transform(
        lambda p: adjust(p.to_numpy(float), correction=correction)
    )
    table = table.copy()
    table.insert(list(table.columns).index("p") + 1, "p_adjusted", np.asarray(adjusted, float))
    return table
