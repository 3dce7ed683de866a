"""How long a sweep of one task takes on this device, from two short runs of a few examples.

The engine's time is the baseline's plus that of every ablation, which is linear in the blocks that
it runs again. Each of the two is a fixed part (the shared prefix, the first pass of a batch) plus a
part that is linear in the examples. So two small draws of a task, under a few ablations spread over
the layers, fix the line that the whole sweep lies on.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Variant
from interp.engine import Shortcuts
from interp.sweeps.cutting import UNIT_ABLATIONS
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit
from interp.tasks import Task

SCORED, GENERATED, LEAST = 18, 24, 3
"""Most examples in the larger of a task's two runs: of a task that is scored, and of one whose
answers are generated (they differ in length; each of several answers to one example counts). And
the fewest, of a sweep that is short itself."""
SHARE = 0.06
"""Of the sweep's own work that the calibration may take."""
FEWER = 3
"""The smaller run has the larger one's examples divided by this."""
LAYERS, PER_LAYER = 3, 4
"""Layers whose ablations are calibrated, and ablations of each."""
UNSTACKED = Shortcuts(stacked=False)


@dataclass(frozen=True, eq=False)
class TaskWork:
    """What a sweep does with one task.

    Attributes:
        task: the task.
        doc_ids: its examples; where options are scored, those with the fewest tokens first.
        n_samples: how many answers are generated to each example.
        edits: the edits of every ablation, the baseline left out.
        unit_examples: examples of one work unit.
    """

    task: Task
    doc_ids: Sequence[int]
    n_samples: int
    edits: Sequence[Edits]
    unit_examples: int


@dataclass(frozen=True)
class Timing:
    """Seconds that the same work took over a few examples and over more of them.

    Attributes:
        few: how many examples the smaller run had.
        many: how many the larger one had.
        few_seconds: seconds of the smaller run.
        many_seconds: seconds of the larger run.
    """

    few: int
    many: int
    few_seconds: float
    many_seconds: float

    def on_line(self, n: int) -> float:
        """Seconds of n examples, on the line through both runs.

        Its slope is never negative, and neither is its value at no examples.
        """
        if self.few == self.many:
            return self.in_proportion(n)
        slope = (self.many_seconds - self.few_seconds) / (self.many - self.few)
        slope = min(max(slope, 0.0), self.many_seconds / self.many)
        return self.many_seconds + slope * (n - self.many)

    def in_proportion(self, n: int) -> float:
        """Seconds of n examples, in proportion to the larger run."""
        return self.many_seconds / self.many * n


def task_seconds(model: TransformerBridge, work: TaskWork, timer: Callable[[], float]) -> float:
    """Seconds of a sweep over one task, its planning left out.

    Args:
        model: the model, on the device on which the sweep will run.
        work: the task, its examples and the ablations.
        timer: a clock, in seconds.

    Returns:
        Seconds, estimated from runs over a few examples and a few ablations.
    """
    few, many = calibration_examples(work)
    chosen = calibrated(work.edits)

    def seconds(doc_ids: Sequence[int], edits: Sequence[Edits]) -> float:
        variants = tuple(Variant(str(i), edit) for i, edit in enumerate(edits))
        unit = WorkUnit(0, "calibration", tuple(doc_ids))
        if not doc_ids:
            return 0.0
        start = timer()
        # a few examples are small batches, which the engine stacks; those of a whole unit are not
        run_unit(model, work.task, unit, AblationBatch(variants), shortcuts=UNSTACKED)
        return timer() - start

    seconds(few, [Edits()])  # the first pass also allocates
    # in proportion to the larger run, the smaller one says nothing
    smaller = [] if work.task.generates else few
    few_alone, few_all = (seconds(smaller, edits) for edits in ([Edits()], [Edits(), *chosen]))
    many_all = seconds(many, [Edits(), *chosen])
    # the baseline's part of a run is that of the smaller run, but answers differ in length
    many_alone = seconds(many, [Edits()]) if work.task.generates and chosen else many_all
    if chosen and few_all > 0:
        many_alone = many_all * min(1.0, few_alone / few_all)
    baseline = Timing(len(few), len(many), few_alone, many_alone)
    ablation = Timing(
        len(few),
        len(many),
        max(0.0, few_all - few_alone) / max(1, len(chosen)),
        max(0.0, many_all - many_alone) / max(1, len(chosen)),
    )
    # every unit runs the baseline for itself
    baseline_runs = max(1, math.ceil(len(work.edits) / UNIT_ABLATIONS))
    total = 0.0
    for size in unit_sizes(len(work.doc_ids), work.unit_examples):
        # answers are decoded many rows at a time: a step of a few rows costs as much as one of
        # many, and a line through two small draws would rise too slowly
        of = Timing.in_proportion if work.task.generates else Timing.on_line
        total += baseline_runs * of(baseline, size) + len(work.edits) * of(ablation, size)
    return total


def calibration_examples(work: TaskWork) -> tuple[list[int], list[int]]:
    """The examples of the two runs: a few, and more of them."""
    if work.task.generates:
        # answers are as long as they are, whatever the length of their prompts
        most, within = GENERATED // work.n_samples, 0.0
    else:
        # the middles of equal parts by length: a few long rows can cost as much as all others
        most, within = SCORED, 0.5
    most = max(LEAST, min(most, _affordable(work)))
    many = spread(work.doc_ids, min(most, len(work.doc_ids)), within)
    return spread(many, math.ceil(len(many) / FEWER), within), many


def _affordable(work: TaskWork) -> int:
    """Examples of the larger run with which the calibration takes `SHARE` of the sweep.

    In passes through all layers: one per baseline, half a pass per replayed ablation, a whole
    one where answers are generated.
    """
    cost_per_ablation = 1.0 if work.task.generates else 0.5
    sweep = len(work.doc_ids) * (1 + cost_per_ablation * len(work.edits))
    cost_of_calibrated = 1 + cost_per_ablation * len(calibrated(work.edits))
    # the first pass; then the baseline, and all: of both sizes, or of the larger one alone
    least = 1 / FEWER + (
        1 + cost_of_calibrated
        if work.task.generates
        else (1 + cost_of_calibrated) / FEWER + cost_of_calibrated
    )
    return int(SHARE * sweep / least)


def unit_sizes(n_examples: int, unit_examples: int) -> list[int]:
    """How many examples each unit has; only the last may have fewer."""
    return [min(unit_examples, n_examples - start) for start in range(0, n_examples, unit_examples)]


def spread(numbers: Sequence[int], count: int, within: float) -> list[int]:
    """One number of each of `count` equal parts: its first (0.0), or its middle one (0.5)."""
    return [numbers[int((i + within) * len(numbers) / count)] for i in range(count)]


def calibrated(edits: Sequence[Edits]) -> list[Edits]:
    """A few of the ablations whose cost stands for that of all: evenly spread over the layers.

    Ablations of one layer are taken together, because the engine runs them together.

    Returns:
        At most `PER_LAYER` ablations per layer, in the order of the layers.
    """
    by_layer: dict[int, list[Edits]] = defaultdict(list)
    for edit in edits:
        by_layer[min(edit, default=0)].append(_without_means(edit))
    layers = sorted(by_layer)
    if len(layers) > LAYERS:
        # cost is linear in the layer, so that the middles of equal parts have the mean cost
        layers = spread(layers, LAYERS, 0.5)
    return [edit for layer in layers for edit in by_layer[layer][:PER_LAYER]]


def _without_means(edits: Edits) -> Edits:
    """The same work without other activations: zero in place of the mean and of other examples'."""
    return Edits(
        {
            layer: replace(
                edit,
                scoped=tuple((s, _without_means(Edits({layer: e}))[layer]) for s, e in edit.scoped),
                skip=not edit.runs_block,
                skip_attention=edit.skip_attention or "attention" in replaced,
                skip_mlp=edit.skip_mlp or "mlp" in replaced,
                zero_heads=edit.zero_heads | edit.mean_heads | edit.resample_heads,
                mean_heads=frozenset(),
                resample_heads=frozenset(),
                mean_parts=frozenset(),
                resample_parts=frozenset(),
                linear=False,
            )
            for layer, edit in edits.items()
            for replaced in [edit.mean_parts | edit.resample_parts]
        }
    )
