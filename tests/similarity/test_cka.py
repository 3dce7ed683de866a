"""CKA over groups: the jackknife against leaving each example out, one scale for all groups."""

import numpy as np
import pytest
import torch

from interp.similarity.cka import CkaSums
from interp.similarity.measures import hsic, hsic_left_out


def drawn(n, seed=0, widths=(6, 5)):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3))
    return [
        torch.tensor(
            np.stack([shared @ rng.normal(size=(3, width)) + noise * rng.normal(size=(n, width))
                      for noise in (0.5, 1.0)])
        )
        for width in widths
    ]  # fmt: skip


def test_leaving_an_example_out_is_what_it_says():
    one, other = drawn(12)
    lengths = torch.ones(2, dtype=torch.float64), torch.full((2,), 2.0, dtype=torch.float64)
    whole, left = hsic_left_out(one, other, lengths=lengths)
    for example in (0, 7):
        kept = [n for n in range(12) if n != example]
        expected, _ = hsic_left_out(one[:, kept], other[:, kept], lengths=lengths)
        torch.testing.assert_close(left[..., example], expected)
    scale = hsic(one, other) / whole
    assert scale.shape == (2, 2)
    assert torch.isnan(hsic_left_out(one[:, :4], other[:, :4])[1]).all()


def test_groups_of_unlike_size_do_not_count_by_their_own_scale():
    """Thrice as long states of one group: the sums of plain HSIC decide, as without any scale."""
    one, other = drawn(40)
    other = torch.cat([other[:, :20], 3 * other[:, 20:]], dim=1)
    sums, plain = CkaSums(), np.zeros((3, 2, 2))
    unit = torch.ones(2, dtype=torch.float64)
    for part in (slice(0, 20), slice(20, 40)):
        x, y = one[:, part], other[:, part]
        sums.add(x, y)
        for place, (a, b) in enumerate(((x, y), (x, x), (y, y))):
            plain[place] += hsic_left_out(a, b, lengths=(unit, unit))[0].numpy()
    expected = plain[0] / np.sqrt(np.diagonal(plain[1])[:, None] * np.diagonal(plain[2])[None])
    found = sums.table({"model": "m"})
    np.testing.assert_allclose(found["value"].to_numpy().reshape(2, 2), expected, atol=1e-9)
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()
    assert set(found["interval"]) == {"95% jackknife"}


def test_the_same_states_have_no_interval():
    one, _ = drawn(30)
    sums = CkaSums()
    sums.add(one, one)
    found = sums.table({}).set_index(["depth", "other"])
    assert found.loc[(0, 0), "value"] == pytest.approx(1)
    assert np.isnan(found.loc[(0, 0), "low"])
    assert found.loc[(0, 1), "low"] < found.loc[(0, 1), "value"] < found.loc[(0, 1), "high"]
    numbers = found[["value", "low", "high"]]
    np.testing.assert_allclose(numbers.loc[(0, 1)], numbers.loc[(1, 0)])
