"""Student's interval and test against SciPy's own, and where there is none."""

import numpy as np
from scipy import stats as sps

from interp.stats import student_interval, student_test


def test_it_is_that_of_scipy():
    values = np.random.default_rng(0).normal(0.3, 1, size=(12, 3))
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(12)
    low, high = student_interval(mean, error, 12, confidence=0.9)
    for column in range(3):
        known = sps.ttest_1samp(values[:, column], 0)
        bounds = known.confidence_interval(0.9)
        np.testing.assert_allclose([low[column], high[column]], [bounds.low, bounds.high])
        np.testing.assert_allclose(student_test(mean, error, 12)[column], known.pvalue)


def test_one_unit_or_no_spread_has_no_interval():
    for error, n in ((np.array([0.0]), 12), (np.array([1.0]), 1)):
        low, high = student_interval(np.array([0.5]), error, n)
        assert np.isnan(low).all()
        assert np.isnan(high).all()
        assert student_test(np.array([0.5]), error, n) == 1
