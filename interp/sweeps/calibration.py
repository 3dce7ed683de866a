"""How long a sweep of one task takes on this device, from short runs of a few examples.

The engine's time is the baseline's plus that of every ablation, which is linear in the blocks that
it runs again. Both are in proportion to the tokens that are run, where what many examples start
with counts once, so that a small draw of a task under a few ablations, spread over the layers,
tells what the whole takes. Answers that are decoded together are another matter
(`interp.sweeps.decoding_cost`).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Variant
from interp.engine import Shortcuts, exact_shortcuts, group_examples
from interp.sweeps.cutting import UNIT_ABLATIONS
from interp.sweeps.decoding_cost import AnswersWork, decoded, step_cost
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit
from interp.tasks import CheckedRequests, GenerationRequest, OptionRequest, Task

T = TypeVar("T")

SCORED, GENERATED, LEAST = 24, 24, 3
"""Most examples that are timed: of a task that is scored, and of one whose answers are generated
(they differ in length; each of several answers to one example counts). And the fewest, of a sweep
that is short itself."""
SHARE = 0.06
"""Of the sweep's own work that the calibration may take."""
FEWER = 3
"""The first pass has the timed one's examples divided by this."""
COUNTED_UNITS = 8
"""Work units whose tokens are counted; the others are like these."""
LAYERS, PER_LAYER = 3, 4
"""Layers whose ablations are calibrated, and ablations of each."""
UNSTACKED = Shortcuts(stacked=False)


@dataclass(frozen=True, eq=False)
class TaskWork:
    """What a sweep does with one task.

    Attributes:
        task: the task.
        doc_ids: its examples, in the order in which units are cut.
        requests: the requests of these; a sweep builds them once, before its first unit.
        edits: the edits of every ablation, the baseline left out.
        unit_examples: examples of one work unit.
    """

    task: Task
    doc_ids: Sequence[int]
    requests: CheckedRequests
    edits: Sequence[Edits]
    unit_examples: int


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
    # every unit runs the baseline for itself
    baseline_runs = max(1, math.ceil(len(work.edits) / UNIT_ABLATIONS))
    units = [
        work.doc_ids[start : start + work.unit_examples]
        for start in range(0, len(work.doc_ids), work.unit_examples)
    ]
    if work.task.generates and many:
        asked = [one for one in work.requests.of(many) if isinstance(one, GenerationRequest)]
        rows = len(units[0]) * max(1, len(work.edits)) * work.requests.n_samples
        cost = step_cost(model, asked, rows, timer)
        if cost is not None:
            few_answers = AnswersWork(work.task, work.requests, tuple(many), tuple(chosen))
            alone, rest, cost = decoded(model, few_answers, cost, timer)
            return sum(
                baseline_runs * alone.at(len(unit), 1, cost)
                + rest.at(len(unit), len(work.edits), cost)
                for unit in units
            )

    def seconds(doc_ids: Sequence[int], edits: Sequence[Edits]) -> float:
        variants = tuple(Variant(str(i), edit) for i, edit in enumerate(edits))
        unit = WorkUnit(0, "calibration", tuple(doc_ids))
        if not doc_ids:
            return 0.0
        start = timer()
        # a few examples are small batches, which the engine stacks; those of a whole unit are not
        batch = AblationBatch(variants)
        run_unit(model, work.task, unit, batch, requests=work.requests, shortcuts=UNSTACKED)
        return timer() - start

    seconds(few, [Edits()])  # the first pass also allocates
    baseline = seconds(many, [Edits()])
    ablation = (seconds(many, [Edits(), *chosen]) - baseline) / len(chosen) if chosen else 0.0
    each = baseline_runs * baseline + len(work.edits) * max(0.0, ablation)
    if work.task.generates or not many:
        # answers to one example after the other
        return each * len(work.doc_ids) / max(1, len(many))
    counted = spread(units, min(COUNTED_UNITS, len(units)), 0.5)
    tokens_each = sum(_tokens_run(model, work, unit) for unit in counted) / sum(map(len, counted))
    return each * tokens_each * len(work.doc_ids) / _tokens_run(model, work, many)


def _tokens_run(model: TransformerBridge, work: TaskWork, doc_ids: Sequence[int]) -> int:
    """Tokens that are run to score options; what many examples start with is run once."""
    requests = [one for one in work.requests.of(doc_ids) if isinstance(one, OptionRequest)]
    exact = exact_shortcuts(model, UNSTACKED, max(request.row_length for request in requests))
    groups = group_examples(
        requests, prefixes=exact.prefixes and bool(exact.replay), trees=bool(exact.options)
    )
    return sum(
        len(group.prefix) + sum(len(tree.tokens) for tree in group.trees) for group in groups
    )


def calibration_examples(work: TaskWork) -> tuple[list[int], list[int]]:
    """The examples of the first pass, and those that are timed: a few of all lengths."""
    order, within = work.doc_ids, 0.0
    if work.task.generates:
        # answers are as long as they are, whatever the length of their prompts
        most = GENERATED // work.requests.n_samples
    else:
        # the middles of equal parts by length: a few long rows can cost as much as all others
        most, within = SCORED, 0.5
        order = sorted(order, key=lambda i: _length(work.requests.of([i])))
    most = max(LEAST, min(most, _affordable(work)))
    many = spread(order, min(most, len(order)), within)
    return spread(many, math.ceil(len(many) / FEWER), within), many


def _length(requests: Sequence[OptionRequest] | Sequence[GenerationRequest]) -> int:
    return sum(
        len(r.context) + len(r.continuation) for r in requests if isinstance(r, OptionRequest)
    )


def _affordable(work: TaskWork) -> int:
    """Examples with which the calibration takes `SHARE` of the sweep.

    In passes through all layers: one per baseline, half a pass per replayed ablation, a whole
    one where answers are generated.
    """
    cost_per_ablation = 1.0 if work.task.generates else 0.5
    sweep = len(work.doc_ids) * (1 + cost_per_ablation * len(work.edits))
    cost_of_calibrated = 1 + cost_per_ablation * len(calibrated(work.edits))
    # the first pass, the baseline, and all
    return int(SHARE * sweep / (1 / FEWER + 1 + cost_of_calibrated))


def spread(numbers: Sequence[T], count: int, within: float) -> list[T]:
    """One item of each of `count` equal parts: its first (0.0), or its middle one (0.5)."""
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
