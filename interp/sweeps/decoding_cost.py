"""How long answers take that are decoded many rows at a time, from a short run of a few.

A step of decoding has a fixed cost and one for each of its rows. A calibration has few rows and a
sweep as many as fit, so that neither the steps nor the seconds of the one are in proportion to the
other's. What a step costs is timed by itself, over few rows and over many; the calibration tells
how long answers are and what everything else costs, which is in proportion to the examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Variant
from interp.engine import Settings, generate, shared_length
from interp.models import decoder
from interp.sweeps.telling import Told
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit
from interp.tasks import CheckedRequests, GenerationRequest, Task

FEW_ROWS, STEPS, PROMPT = 2, 8, 8
"""Rows of the narrower of the two timed runs; tokens that both write; tokens of their prompts."""


@dataclass(frozen=True)
class StepCost:
    """What one step costs in which rows are decoded together.

    Attributes:
        step: seconds of a step, whatever is in it.
        row: seconds of each of its rows.
        most_rows: the most rows of a step.
    """

    step: float
    row: float
    most_rows: int

    def seconds(self, steps: int | float, rows: int | float) -> float:
        """Seconds of some steps.

        Args:
            steps: how many.
            rows: the rows of all of them, counted at each step.
        """
        return steps * self.step + rows * self.row


@dataclass(frozen=True)
class Decoded:
    """What the answers to some examples took, under some ablations or none.

    Attributes:
        examples: how many.
        ablations: under how many of them; 1 for the baseline.
        seconds: all seconds.
        steps: steps in which rows were decoded together.
        rows: the rows of all of them, counted at each step.
        shared: tokens that all prompts start with; they are run once under each ablation.
        own: the mean number of the other tokens of a prompt.
    """

    examples: int
    ablations: int
    seconds: float
    steps: int
    rows: int
    shared: int
    own: float

    def at(self, examples: int, ablations: int, cost: StepCost) -> float:
        """Seconds of more answers like these, decoded in as few steps as their rows allow.

        Args:
            examples: how many.
            ablations: under how many of them.
            cost: what a step costs.
        """
        if not self.ablations:
            return 0.0
        decoding = min(self.seconds, cost.seconds(self.steps, self.rows))
        times = examples * ablations / (self.examples * self.ablations)
        reading = ablations * (self.shared + examples * self.own)
        reading /= self.ablations * (self.shared + self.examples * self.own)
        read = (self.seconds - decoding) * reading
        if not decoding:
            return read
        rows = self.rows * times
        # rows leave one by one at the end of the work, when no others wait
        steps = max(self.steps, rows / cost.most_rows + self.steps / 2)
        grown = cost.seconds(steps, rows) / cost.seconds(self.steps, self.rows)
        # never more than the same few rows again and again
        return read + decoding * min(grown, max(1.0, times))


@dataclass(frozen=True, eq=False)
class AnswersWork:
    """A few examples of a task under a few ablations.

    Attributes:
        task: the task.
        requests: its prompts.
        doc_ids: the examples.
        edits: the ablations, the baseline left out.
    """

    task: Task
    requests: CheckedRequests
    doc_ids: tuple[int, ...]
    edits: tuple[Edits, ...]


@dataclass
class _Watch:
    """Times and rows of the steps so far, and when the first answers were finished."""

    timer: Callable[[], float]
    first: int = 0
    times: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    finished: int = 0
    steps_then: int = 0
    time_then: float | None = None

    def step(self, rows: int) -> None:
        self.times.append(self.timer())
        self.rows.append(rows)

    def times_as_long(self, cost: StepCost) -> float:
        """How many times as long as `cost` says the widest steps took; 1 or more."""
        widest = max(self.rows, default=0) / 2
        each = [
            (end - start) / expected
            for start, end, rows in zip(self.times, self.times[1:], self.rows, strict=False)
            if rows >= widest and (expected := cost.seconds(1, rows))
        ]
        return max(1.0, median(each)) if each else 1.0

    def pairs(self, pairs: int) -> None:
        self.finished += pairs
        if self.time_then is None and self.finished >= self.first:
            self.time_then, self.steps_then = self.timer(), len(self.rows)


def step_cost(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    rows: int,
    timer: Callable[[], float],
) -> StepCost | None:
    """What a step of decoding costs, from a few steps over few rows and over many.

    Args:
        model: the model.
        requests: prompts of the task.
        rows: rows that the sweep could decode together, if there were room.
        timer: a clock, in seconds.

    Returns:
        The cost; None where this model's rows are not decoded together.
    """
    settings = replace(Settings.for_model(decoder(model)), drafts=False)
    most_rows = max(1, min(settings.rows, rows))
    seconds: dict[int, float] = {}
    # the first run also allocates
    for count in (FEW_ROWS, FEW_ROWS, most_rows):
        watch = _Watch(timer)
        short = [
            replace(one, prompt=one.prompt[-PROMPT:], until=(), max_gen_toks=STEPS, draw=number)
            for number in range(count)
            for one in [requests[number % len(requests)]]
        ]
        generate(model, short, [Edits()], settings=settings, stepped=watch.step)
        full = [
            end - start
            for start, end, at_once in zip(watch.times, watch.times[1:], watch.rows, strict=False)
            if at_once == count
        ]
        if not full:
            return None
        seconds[count] = median(full)
    few, many = seconds[FEW_ROWS], seconds[most_rows]
    row = max(0.0, many - few) / max(1, most_rows - FEW_ROWS)
    return StepCost(max(0.0, few - FEW_ROWS * row), row, most_rows)


def decoded(
    model: TransformerBridge,
    work: AnswersWork,
    cost: StepCost,
    timer: Callable[[], float],
) -> tuple[Decoded, Decoded, StepCost]:
    """What the answers to a few examples take: without an ablation, and under the ablations.

    The baseline's answers come first, as the others' drafts.

    Args:
        model: the model.
        work: the examples and the ablations.
        cost: what a step costs behind short prompts.
        timer: a clock, in seconds.

    Returns:
        Both, and what a step costs behind these prompts.
    """
    doc_ids, edits = work.doc_ids, work.edits
    watch = _Watch(timer, first=len(doc_ids))
    variants = [Variant(str(i), edit) for i, edit in enumerate([Edits(), *edits])]
    unit, batch = WorkUnit(0, "calibration", doc_ids), AblationBatch(tuple(variants))
    told = Told(pairs=watch.pairs, step=watch.step)
    start = timer()
    run_unit(model, work.task, unit, batch, requests=work.requests, told=told)
    end = timer()
    assert watch.time_then is not None
    then, at = watch.time_then, watch.steps_then
    asked = [one for one in work.requests.of(doc_ids) if isinstance(one, GenerationRequest)]
    prompts = [request.prompt for request in asked]
    shared = shared_length(prompts)
    own = sum(map(len, prompts)) / len(doc_ids) - shared * len(prompts) / len(doc_ids)
    alone = Decoded(len(doc_ids), 1, then - start, at, sum(watch.rows[:at]), shared, own)
    rest = Decoded(
        len(doc_ids),
        len(edits),
        end - then,
        len(watch.rows) - at,
        sum(watch.rows[at:]),
        shared,
        own,
    )
    longer = watch.times_as_long(cost)
    return alone, rest, replace(cost, step=cost.step * longer, row=cost.row * longer)
