"""A work unit in pieces, cut by measured time: an interrupted run loses at most a minute of work.

Most units are computed at once. A unit of scored options that takes longer is cut by its examples,
and where one example takes longer, by its ablations. Generated answers are fastest where many are
decoded together, so that a unit of them is not cut: its records are kept as they are finished.
Records that are kept are in files until the unit's shard is written.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import outputs_on
from interp.records import Record, read_pieces, write_piece
from interp.sweeps.execution import Runner, in_order, run_fitting
from interp.sweeps.plan import Plan
from interp.sweeps.telling import Told
from interp.sweeps.units import WorkUnit
from interp.tasks import GenerationRequest

PIECE_SECONDS = 30.0
"""What a piece is to take, or how often finished answers are kept; the pace may halve meanwhile."""
FEW_PAIRS = 32
"""A unit of so few (example, ablation) pairs is not worth a measurement in advance."""

Missing = dict[int, tuple[int, ...]]


@dataclass(eq=False)
class Pace:
    """How long one example takes under one ablation, by task, as far as it has been measured.

    Attributes:
        model: the model.
        plan: the plan of the sweep.
        seconds: seconds for a pair, by the number of the task.
    """

    model: TransformerBridge
    plan: Plan
    seconds: dict[int, float] = field(default_factory=dict)

    def of(self, unit: WorkUnit, pairs: int) -> float:
        """Seconds of a pair; before anything was computed, what one unbatched pass tells."""
        if unit.task in self.seconds:
            return self.seconds[unit.task]
        if pairs <= FEW_PAIRS:
            return PIECE_SECONDS / FEW_PAIRS
        requests = self.plan.tasks[unit.task].requests.of(unit.doc_ids[:1])
        first = requests[0]
        tokens = first.prompt if isinstance(first, GenerationRequest) else first.context
        start = time.perf_counter()
        outputs_on(self.model, [*tokens, tokens[-1]] if len(tokens) < 2 else tokens, [])
        self.seconds[unit.task] = (time.perf_counter() - start) * len(requests)
        return self.seconds[unit.task]


def run_in_pieces(
    run: Runner,
    unit: WorkUnit,
    pace: Pace,
    folder: Path,
    run_sha256: str,
    done: Callable[[int], Any],
) -> list[Record]:
    """A unit's records, in order; what was computed before an interruption is taken from files.

    Args:
        run: computes the records of a unit (`runner`).
        unit: the unit.
        pace: the pace of the work so far; it is updated.
        folder: the folder of the run.
        run_sha256: the fingerprint of the unit.
        done: told how many (example, ablation) pairs are finished.

    Returns:
        The records of the unit, by ablation and then by example.

    Raises:
        MemoryError: a single example does not fit.
    """
    plan = pace.plan
    numbers = {plan.variants[n].text: n for n in unit.ablations}
    by_place = {
        (record.ablation, record.doc_id): record
        for record in read_pieces(folder, unit.name, run_sha256)
        if record.ablation in numbers and record.doc_id in set(unit.doc_ids)
    }
    done(len(by_place))
    missing = _missing(unit, [(numbers[text], doc_id) for text, doc_id in by_place])
    while missing:
        if plan.tasks[unit.task].task.generates:
            piece = answers_together(unit, missing)
        else:
            piece = next_piece(unit, missing, pace)
        pairs, start = len(piece.doc_ids) * len(piece.ablations), time.perf_counter()
        kept = _Kept(folder, unit.name, run_sha256, set(numbers))
        computed = run_fitting(run, piece, Told(done, kept.add))
        # the first pace is an upper bound; a later one is that of the last piece
        pace.seconds[unit.task] = (time.perf_counter() - start) / pairs
        by_place |= {(record.ablation, record.doc_id): record for record in computed}
        for doc_id in piece.doc_ids:
            if doc_id in missing:
                left = missing[doc_id]
                missing[doc_id] = tuple(n for n in left if n not in set(piece.ablations))
        missing = {doc_id: left for doc_id, left in missing.items() if left}
        if missing:
            kept.write([record for record in computed if record not in kept])
    return in_order(plan, unit, list(by_place.values()))


class _Kept:
    """Records of a unit that are written to files while its work goes on."""

    def __init__(self, folder: Path, name: str, run_sha256: str, ablations: set[str]) -> None:
        self.folder, self.name, self.run_sha256 = folder, name, run_sha256
        self.ablations = ablations
        self.waiting: list[Record] = []
        self.places: set[tuple[str, int]] = set()
        self.since = time.perf_counter()

    def __contains__(self, record: Record) -> bool:
        return (record.ablation, record.doc_id) in self.places

    def add(self, record: Record) -> None:
        """Keep a finished record; a file is written when half a minute has passed."""
        # a baseline that another unit has is computed again, as a draft
        if record.ablation in self.ablations:
            self.waiting.append(record)
        if self.waiting and time.perf_counter() - self.since > PIECE_SECONDS:
            self.write(self.waiting)
            self.waiting = []

    def write(self, records: Sequence[Record]) -> None:
        """Write some records to a file."""
        if records:
            write_piece(self.folder, self.name, self.run_sha256, records)
        self.places |= {(record.ablation, record.doc_id) for record in records}
        self.since = time.perf_counter()


def answers_together(unit: WorkUnit, missing: Mapping[int, Sequence[int]]) -> WorkUnit:
    """All answers that are missing, or those of the examples that lack the same ablations.

    An interruption may leave any pairs of an example and an ablation. As much as is missing in
    ablations of all these examples is computed at once, even if some pairs of it are there, where
    that is less than the ablations one after the other, each with the baseline that drafts.

    Args:
        unit: the unit.
        missing: example to the numbers of the ablations that it lacks.

    Returns:
        A unit of some of the examples under some of the ablations.
    """
    lacking: dict[int, list[int]] = {}
    for doc_id, numbers in missing.items():
        for number in numbers:
            lacking.setdefault(number, []).append(doc_id)
    alike: dict[tuple[int, ...], list[int]] = {}
    for number in unit.ablations:
        if number in lacking:
            alike.setdefault(tuple(lacking[number]), []).append(number)
    apart = sum(len(doc_ids) * (1 + len(numbers)) for doc_ids, numbers in alike.items())
    if len(missing) * (1 + len(lacking)) <= apart:
        numbers = tuple(number for number in unit.ablations if number in lacking)
        return replace(unit, doc_ids=tuple(missing), ablations=numbers)
    doc_ids, some = next(iter(alike.items()))
    return replace(unit, doc_ids=doc_ids, ablations=tuple(some))


def next_piece(unit: WorkUnit, missing: Mapping[int, Sequence[int]], pace: Pace) -> WorkUnit:
    """As much of what is missing as fits into the time of a piece; never nothing.

    Args:
        unit: the unit.
        missing: example to the numbers of the ablations that it lacks.
        pace: the pace of the work so far.

    Returns:
        A unit of some of the examples under some of the ablations.
    """
    numbers = tuple(next(iter(missing.values())))
    alike = [doc_id for doc_id, left in missing.items() if tuple(left) == numbers]
    allowed = PIECE_SECONDS / max(pace.of(unit, len(alike) * len(numbers)), 1e-9)
    examples = max(1, int(allowed / len(numbers)))
    # pieces of one size, instead of a small one at the end
    examples = ceil(len(alike) / ceil(len(alike) / examples))
    ablations = len(numbers) if examples > 1 else max(1, min(len(numbers), int(allowed)))
    return replace(unit, doc_ids=tuple(alike[:examples]), ablations=numbers[:ablations])


def _missing(unit: WorkUnit, there: Sequence[tuple[int, int]]) -> Missing:
    """Example to the numbers of the ablations that it lacks; examples that lack none left out."""
    had: dict[int, set[int]] = {}
    for number, doc_id in there:
        had.setdefault(doc_id, set()).add(number)
    left = {i: tuple(n for n in unit.ablations if n not in had.get(i, ())) for i in unit.doc_ids}
    return {i: numbers for i, numbers in left.items() if numbers}
