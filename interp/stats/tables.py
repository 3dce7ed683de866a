"""The tables of scores and of paired drops, each with its interval."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from interp.errors import UserError
from interp.stats.detectability import FAILED, YES
from interp.stats.failures import NO_INTERVAL, with_failures
from interp.stats.floors import shares_lost
from interp.stats.intervals import drop_intervals, mean_intervals, simultaneous, wilson
from interp.stats.pvalues import adjust, check_correction, paired_test
from interp.stats.sample_size import ALPHA, least_detectable, smallest_p
from interp.stats.samples import (
    BASELINE,
    Sample,
    check_options,
    check_paired,
    sample_of,
    series,
)
from interp.stats.selection import expected_excess

NUMBERS = ["baseline", "ablated", "drop", "low", "high", "low_all", "high_all", "p", "p_adjusted",
           "noise", "least_detectable_drop"]  # fmt: skip
"""The columns of drops that are NaN where examples failed."""


def scores(
    values: pd.DataFrame,
    *,
    ablations: Collection[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The score of every model, task, metric and ablation, with its interval.

    0/1 values get the Wilson score interval, which is valid at 0% and 100% too. Continuous values
    get the wider of Student's and Hall's interval; where all values are equal (or there is only
    one) the sample does not show its spread and the interval is NaN. With a `cluster` column,
    clusters are resampled. A 0/1 score with fewer than ten clusters that hold its rarer outcome
    gets Wilson's interval with each cluster counted as one example.

    Args:
        values: the long table that `interp.stats` describes.
        ablations: only these have rows, one or several; all by default.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        Columns `model task metric ablation value low high n unit interval`. Where values are NaN
        (failures), `failures` says how many, and what has no score has a row without numbers.

    Raises:
        UserError: a column is missing, a value is infinite, a document occurs twice, or the
            ablations are no texts.
    """
    check_options(confidence, resamples, seed)
    if isinstance(ablations, str):
        ablations = [ablations]
    if ablations is not None and not isinstance(ablations, Collection):
        raise UserError(f"ablations {ablations!r:.80}: allowed are texts such as layer:7")
    rows: list[dict[str, object]] = []
    for key, points, wide, clusters in series(values):
        for ablation in wide.columns:
            if ablations is not None and ablation not in ablations:
                continue
            column = wide[ablation].dropna()
            sample = sample_of(column.to_frame(), clusters)
            low, high, kind = mean_intervals(sample, points, confidence, resamples, seed)
            scale = 100.0 if points else 1.0
            rows.append(
                key
                | {"ablation": ablation, "value": scale * float(sample.table.mean())}
                | {"low": scale * low[0], "high": scale * high[0], "n": len(column)}
                | {"unit": "points" if points else "value", "interval": kind[0]}
            )
    values_asked = values if ablations is None else values[values["ablation"].isin(ablations)]
    return with_failures(
        pd.DataFrame(rows),
        values_asked,
        baseline=True,
        numbers=["value", "low", "high"],
        unit="value",
        interval=NO_INTERVAL,
    )


def importance(
    values: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    correction: str = "holm",
    floors: Mapping[tuple[str, str], float] | None = None,
    measured: Mapping[tuple[str, str], pd.Series] | None = None,
) -> pd.DataFrame:
    """Paired drop of every ablation against the baseline, with its interval and test.

    `drop` is baseline minus ablated on the same documents: positive is damage.

    *Interval.* For 0/1 values it is a percentile bootstrap over documents (Efron & Tibshirani
    1993), with the same resamples for all ablations of a task. A bootstrap fails where few
    documents change: when none does it gives [0, 0], and with one expected change in 50 a nominal
    95% interval covers the truth in 63%. So where fewer than `MIN_RARE` documents have another
    outcome than the commonest one (harmed, helped, unchanged), the interval is the score interval
    of Tango (1998), which inverts McNemar's test. Together the two cover 93% or more at every n (50
    to 1,000), drop and accuracy that was simulated. For continuous values it is the wider of
    Student's and Hall's interval, which takes skewness into account (`interp.stats.skewness` has
    its coverage). Differences that are all equal have no interval (NaN).

    *All together.* `low_all` and `high_all` hold for all ablations of a family together (maximum of
    the studentised drops over the shared resamples). Read these where the largest of several drops
    is named.

    *Test.* Mid-p McNemar for 0/1 values; Student's t with Hall's correction otherwise. With a
    `cluster` column whole clusters are resampled, the signs of whole clusters are flipped (exact),
    and Tango's interval counts each cluster as one example.

    *What could have been found.* `least_detectable_drop` is the smallest drop of a 0/1 metric that
    the test finds in four of five sweeps of this size, if ablations help as many examples by chance
    as on average in this family (`noise`). It is shown beside every "none". `testable` is false,
    and `testability` says why, where a family cannot show anything: a total loss would not be
    significant, or the baseline is not above its floor.

    *As a share.* For 0/1 metrics, in percent and with Fieller's (1954) intervals: `relative` is the
    drop divided by the baseline; `floor_aware` is the drop divided by baseline minus `floor`, so
    that tasks with different floors can be compared. NaN where the baseline is not clearly above
    its floor.

    *Chosen because largest.* `expected_excess` is how much the largest drop of a family is
    overestimated on average, because it was chosen for its size (`interp.stats.expected_excess`).

    Args:
        values: the long table that `interp.stats` describes.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: bootstrap resamples.
        seed: seed of the resampling.
        correction: the correction across the ablations of one family: `"holm"` (family-wise),
            `"bh"` (false discovery rate) or `"none"`. A family is one model, task, metric and form
            of ablation (`layer`, `head@mean`, ...): what else the table holds does not matter.
        floors: for each (task, metric) the score of guessing, as a share.
        measured: for each (task, metric) whose floor was measured, each example's part in it, by
            `doc_id` (`interp.stats.measured_floor`, or the outcomes of a prompt without the
            question). It replaces the score of guessing in `floor`.

    Returns:
        Columns `model ablation task metric baseline ablated drop low high low_all high_all p
        p_adjusted n noise least_detectable_drop testable testability family n_family unit interval
        test correction expected_excess floor floor_aware floor_aware_low floor_aware_high relative
        relative_low relative_high`, one row per ablation other than the baseline. Where values are
        NaN (failures), `failures` says how many, and what has no drop has a row without numbers.

    Raises:
        UserError: the baseline is missing, or the documents are not the same.
    """
    return paired_drops(
        values,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        correction=correction,
        floors=floors,
        measured=measured,
    )


def _check_floors(**given: object) -> None:
    for name, floors in given.items():
        if floors is not None and not isinstance(floors, Mapping):
            raise UserError(f"{name} {floors!r:.80}: allowed is one for each (task, metric)")


def paired_drops(
    values: pd.DataFrame,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    correction: str,
    score: bool = False,
    floors: Mapping[tuple[str, str], float] | None = None,
    measured: Mapping[tuple[str, str], pd.Series] | None = None,
) -> pd.DataFrame:
    """As `importance`; with `score` every 0/1 drop has Tango's interval."""
    check_options(confidence, resamples, seed)
    check_correction(correction)
    _check_floors(floors=floors, measured=measured)
    tables = []
    for key, points, wide, clusters in series(values):
        check_paired(wide, key)
        named = (str(key["task"]), str(key["metric"]))
        floor, parts = (floors or {}).get(named), (measured or {}).get(named)
        by_family = []
        for family, ablations in _families(wide).items():
            damage = wide[ablations].rsub(wide[BASELINE], axis=0)
            sample = sample_of(damage, clusters)
            low, high, kind = drop_intervals(
                sample, points, confidence, resamples, seed, score=score
            )
            low_all, high_all = simultaneous(sample, points, confidence, resamples, seed)
            p, test = paired_test(sample, points, resamples, seed)
            scale = 100.0 if points else 1.0
            tests = 1 if correction == "none" else len(ablations)
            columns = {
                "model": key["model"],
                "ablation": ablations,
                "task": key["task"],
                "metric": key["metric"],
                "baseline": scale * wide[BASELINE].mean(),
                "ablated": scale * wide[ablations].mean().to_numpy(),
                "drop": scale * sample.table.mean(axis=0),
                "low": scale * low,
                "high": scale * high,
                "low_all": scale * low_all,
                "high_all": scale * high_all,
                "p": p,
                "p_adjusted": adjust(p, correction=correction),
                "n": len(wide),
                **_findable(sample, wide[BASELINE].to_numpy(float), points, tests, floor),
                "family": family,
                "n_family": len(ablations),
                "unit": "points" if points else "value",
                "interval": kind,
                "test": test,
                "correction": correction,
                "expected_excess": scale * expected_excess(sample, seed=seed),
                **_as_shares(sample, wide[BASELINE], points, confidence, floor, parts),
            }
            by_family.append(pd.DataFrame(columns))
        if by_family:
            joined = pd.concat(by_family, ignore_index=True).set_index("ablation", drop=False)
            tables.append(joined.loc[[c for c in wide.columns if c != BASELINE]])
    return _with_failed(tables, values, correction)


def _with_failed(tables: list[pd.DataFrame], values: pd.DataFrame, correction: str) -> pd.DataFrame:
    """The tables in one, with rows for the ablations under which examples failed."""
    if (values["ablation"] == BASELINE).all():
        raise UserError("the table of values holds no ablation besides the baseline")
    table = with_failures(
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
        values,
        baseline=False,
        numbers=NUMBERS,
        testable=False,
        testability=FAILED,
        n_family=0,
        unit="value",
        interval=NO_INTERVAL,
        test="none",
        correction=correction,
    )
    return table.assign(family=table["ablation"].map(family_of))


def _families(wide: pd.DataFrame) -> dict[str, list[str]]:
    """The ablations of a table by their form."""
    families: dict[str, list[str]] = {}
    for name in wide.columns:
        if name != BASELINE:
            families.setdefault(family_of(str(name)), []).append(str(name))
    return families


def _as_shares(
    sample: Sample,
    baseline: pd.Series,
    points: bool,
    confidence: float,
    floor: float | None,
    parts: pd.Series | None,
) -> dict[str, object]:
    """Floor-aware and relative drops, in percent."""
    names = ["floor_aware", "relative"]
    columns = [f"{name}{bound}" for name in names for bound in ("", "_low", "_high")]
    if not points:
        return dict.fromkeys(["floor", *columns], np.nan)
    right = baseline.to_numpy(float)
    each = np.full(len(right), floor or 0.0)
    if parts is not None:
        each = parts.reindex(baseline.index).to_numpy(float)
    shares = [
        100 * bound
        for whole in (right - each, right)
        for bound in shares_lost(sample, whole, confidence=confidence)
    ]
    return {"floor": 100 * each.mean(), **dict(zip(columns, shares, strict=True))}


def family_of(ablation: str) -> str:
    """The form of an ablation: `layer` of `layer:7`, `head@mean` of `head:7.3@mean`.

    Several ablations together are a `combination`.

    Args:
        ablation: text form.

    Returns:
        The text form without its numbers.
    """
    if "+" in ablation:
        return "combination"
    form, _, rest = ablation.partition(":")
    _, at, how = rest.partition("@")
    return form + at + how


def _findable(
    sample: Sample, baseline: np.ndarray, points: bool, tests: int, floor: float | None
) -> dict[str, object]:
    """The columns `noise`, `least_detectable_drop`, `testable` and `testability`."""
    if not points:
        return {
            "noise": np.nan,
            "least_detectable_drop": np.nan,
            "testable": True,
            "testability": YES,
        }
    n, right = sample.n_units, int(baseline.sum())
    noise = min(100 * float((sample.table < 0).mean()), 49.0)
    least = smallest_p(right, tests)
    why = YES
    if not sample.clustered and least > ALPHA:
        why = (
            f"not testable: baseline right on {right} of {len(baseline)}: losing all of them would "
            f"give an adjusted p of {least:.2g}"
        )
    elif floor is not None and wilson(np.array([float(right)]), len(baseline))[0][0] <= floor:
        score, guessed = 100 * baseline.mean(), 100 * floor
        why = f"not testable: baseline {score:.0f} is not shown to be above guessing, {guessed:.0f}"
    detectable = least_detectable(n, noise=round(noise, 1), family=tests)
    return {
        "noise": noise,
        "least_detectable_drop": detectable,
        "testable": why == YES,
        "testability": why,
    }
