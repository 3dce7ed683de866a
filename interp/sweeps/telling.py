"""What a unit's work tells while it goes on: how much is done, and what is finished."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interp.records import Record


@dataclass(frozen=True)
class Told:
    """Who is told what.

    Attributes:
        pairs: is told how many (example, ablation) pairs have been computed since the last time.
        record: is told each record that is finished before its unit is. Generated answers tell
            theirs, because a unit of them takes long and is fastest at once.
        step: is told how many rows a step of decoding has, before it is computed.
    """

    pairs: Callable[[int], Any] = lambda pairs: None
    record: Callable[[Record], Any] = lambda record: None
    step: Callable[[int], Any] = lambda rows: None


NOBODY = Told()
"""Nobody is told anything."""
