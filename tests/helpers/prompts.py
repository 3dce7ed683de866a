"""Prompts of different lengths that share their first tokens."""

import random

from interp.tasks import GenerationRequest
from tests.helpers.families import (
    D_VOCAB,
)


def requests(count=4, *, shared=6, longest=10, until=("w61", "w62 w63"), seed=0):
    """Prompts of different lengths that start with the same tokens."""
    rng = random.Random(seed)

    def words(number):
        return [rng.randrange(4, D_VOCAB) for _ in range(number)]

    start = [1, *words(shared - 1)]
    return [
        GenerationRequest(i, (*start, *words(rng.randint(1, 7))), until, longest)
        for i in range(count)
    ]
