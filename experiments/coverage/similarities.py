"""The interval of linear CKA: Gaussian and heavy-tailed states whose true CKA is known."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from experiments.coverage.drawing import coverage_row
from interp.similarity.cka import CkaSums

# shared directions, their weight, width of the states, spread of their lengths
SETTINGS = {
    "CKA 0.9, width 32, n 60": (60, 0.95, 32, 0.0),
    "CKA 0.9, width 32, n 200": (200, 0.95, 32, 0.0),
    "CKA 0.5, width 32, n 60": (60, 0.7, 32, 0.0),
    "CKA 0.5, width 32, n 200": (200, 0.7, 32, 0.0),
    "CKA 0.1, width 64, n 200": (200, 0.32, 64, 0.0),
    "CKA 0.5, width 32, lengths spread by 1.5, n 200": (200, 0.7, 32, 0.4),
    "CKA 0.5, width 32, n 512 in groups of 256": (512, 0.7, 32, 0.0),
}
GROUP = 256


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the CKA of two sets of states."""
    for number, (setting, (n, weight, width, spread)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 14, number])
        # the covariances are those of equal, independent directions: CKA is the squared weight
        truth, hits = weight**2, []
        for _ in range(sweeps):
            shared, own = rng.normal(size=(2, n, width))
            mixed = weight * shared + np.sqrt(1 - weight**2) * own
            if spread:
                # one length for both: it leaves every covariance a multiple of what it was
                length = np.exp(spread * rng.normal(size=(n, 1)))
                shared, mixed = shared * length, mixed * length
            sums = CkaSums()
            for first in range(0, n, GROUP):
                part = slice(first, first + GROUP)
                sums.add(torch.tensor(shared[None, part]), torch.tensor(mixed[None, part]))
            row = sums.table({}).iloc[0]
            hits.append(bool(row["low"] <= truth <= row["high"]))
        yield coverage_row("linear CKA", setting, hits, sweeps=sweeps)
