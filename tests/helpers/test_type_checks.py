"""Wrong types, shapes that contradict each other and wrong fields are seen in tests."""

import os

import numpy as np
import pytest

from interp.engine import Answer
from interp.labels import file_names
from interp.stats.agreement import _mean_correlation

pytestmark = pytest.mark.skipif(
    os.environ.get("INTERP_TYPE_CHECKS") == "off", reason="the type checks are switched off"
)


def test_a_wrong_type_is_seen():
    with pytest.raises(TypeError, match="file_names"):
        file_names(3)


def test_shapes_that_contradict_each_other_are_seen():
    one = np.random.default_rng(0).random((4, 5))
    assert isinstance(_mean_correlation(one, one[::-1]), float)
    with pytest.raises(TypeError, match="other"):
        _mean_correlation(one, one[:, :3])


def test_a_wrong_field_is_seen():
    assert Answer("w5", 1, finished=True).n_tokens == 1
    with pytest.raises(TypeError, match="n_tokens"):
        Answer("w5", "one", finished=True)
