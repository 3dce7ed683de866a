"""What a sweep will cost on this device, from a short calibration.

The engine's time is the baseline's plus that of every ablation, which is linear in the blocks that
it runs again, and each is a fixed part (the shared prefix, the first pass of a batch) plus a part
that is linear in the examples. So two small draws of each task, under a few ablations spread over
the layers, fix the line that the whole sweep lies on.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psutil
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Ablation, Edits, Variant, as_ablation, checked_edits
from interp.engine import Shortcuts
from interp.models import decoder, model_name
from interp.sweeps.plan import UNIT_ABLATIONS, UNIT_EXAMPLES, sampling_of
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit
from interp.tasks import GenerationRequest, Task, checked_requests, described, draw, how_drawn

SMALL, LARGE, GENERATED = 6, 18, 24
"""Examples in the two calibration runs of a task; in the larger one where answers are generated,
whose lengths differ (the smaller one has a third of them)."""
LAYERS, PER_LAYER = 3, 4
"""Layers whose ablations are calibrated, and ablations of each."""
UNSTACKED = Shortcuts(stacked=False)
WORTH_CALIBRATING = 5000
"""Examples times ablations from which on a sweep is told its cost before it starts."""


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a sweep.

    Attributes:
        model: its name.
        parameters: numbers in the model.
        device: where it runs.
        ablations: without the baseline.
        draws: one line a task: examples, strata, width of the interval.
        examples: over all tasks.
        tokens: that the harness would feed in one pass over all tasks, prompts and options.
        answer_tokens: most tokens that generated answers can have in one pass.
        seconds: of the whole sweep.
        calibration_seconds: that the calibration took.
        weights_bytes: of the model.
        peak_bytes: of memory on the device at the calibration's worst moment (on several GPUs
            their sum, on a CPU that of this process). Batches are sized by the memory that is
            free, so that a sweep takes about as much.
    """

    model: str
    parameters: int
    device: str
    ablations: int
    draws: tuple[str, ...]
    examples: int
    tokens: int
    answer_tokens: int
    seconds: float
    calibration_seconds: float
    weights_bytes: int
    peak_bytes: int

    @property
    def lines(self) -> tuple[str, ...]:
        """The estimate in words."""
        answers = f" and answers of up to {self.answer_tokens:,}" if self.answer_tokens else ""
        return (
            f"{self.model}: {self.parameters:,} parameters on {self.device}",
            *self.draws,
            f"baseline and {self.ablations:,} ablations of {self.examples:,} examples: "
            f"{self.tokens:,} tokens a pass{answers}",
            f"expected: {clock(self.seconds)} and {_size(self.peak_bytes)} of memory "
            f"({_size(self.weights_bytes)} of it weights), from a calibration of "
            f"{clock(self.calibration_seconds)}",
        )

    def __repr__(self) -> str:
        return (
            f"Estimate({self.model}: {self.ablations} ablations, {self.examples} examples, "
            f"{clock(self.seconds)})"
        )


def estimate(
    model: TransformerBridge,
    tasks: Sequence[Task],
    ablations: Sequence[str | Ablation],
    *,
    limit: int | None = None,
    seed: int = 0,
    unit_examples: int = UNIT_EXAMPLES,
    timer: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """The expected cost of `interp.sweep` with the same arguments; nothing is written.

    Args:
        model: the model, on the device on which the sweep will run.
        tasks: from `interp.load_task`.
        ablations: as for the sweep.
        limit: as for the sweep.
        seed: as for the sweep.
        unit_examples: examples of one work unit, which share their prefix.
        timer: seconds; wall-clock time by default.
    """
    began = timer()
    parts = decoder(model)
    asked = [as_ablation(a) for a in ablations]
    edits = [checked_edits(model, ablation) for ablation in asked]
    for device in parts.devices:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
    seconds, tokens, answers, examples, draws = 0.0, 0, 0, 0, []
    for task in tqdm(tasks, desc="calibration", unit="task", leave=False):
        planning = timer()
        drawn = draw(task, limit, seed=seed)
        checked = checked_requests(task, drawn, parts, seed=seed)
        requests = checked.of(drawn)
        lengths = dict.fromkeys(drawn, 0)
        for request in requests:
            if isinstance(request, GenerationRequest):
                lengths[request.doc_id] += len(request.prompt)
                answers += request.max_gen_toks
            else:
                lengths[request.doc_id] += len(request.context) + len(request.continuation)
        tokens += sum(lengths.values())
        # a sweep reads and hashes all rows and prompts before its first unit, which costs as much
        seconds += timer() - planning
        how = sampling_of(checked)
        times = checked.n_samples
        # answers are as long as they are, whatever the length of their prompts
        rows = drawn if task.generates else sorted(drawn, key=lengths.__getitem__)
        seconds += _task_seconds(model, task, (rows, times), edits, unit_examples, timer)
        examples += len(drawn)
        draws.append(described(task, drawn) + (f"; {how_drawn(how.as_dict())}" if how else ""))
    parameters = {p.data_ptr(): p for p in parts.root.parameters()}.values()
    return Estimate(
        model=model_name(model),
        parameters=sum(p.numel() for p in parameters),
        device=", ".join(map(str, parts.devices)),
        ablations=len(asked),
        draws=tuple(draws),
        examples=examples,
        tokens=tokens,
        answer_tokens=answers,
        seconds=seconds,
        calibration_seconds=timer() - began,
        weights_bytes=sum(p.numel() * p.element_size() for p in parameters),
        peak_bytes=_peak(parts.devices),
    )


def calibrated(edits: Sequence[Edits]) -> list[Edits]:
    """A few of the ablations whose cost stands for that of all: evenly spread over the layers.

    Ablations of one layer are taken together, because the engine runs them together.
    """
    by_layer: dict[int, list[Edits]] = defaultdict(list)
    for one in edits:
        by_layer[min(one, default=0)].append(_without_means(one))
    layers = sorted(by_layer)
    if len(layers) > LAYERS:
        # the middles of equal parts: the mean of what is linear in the layer is theirs
        layers = [layers[int((2 * i + 1) * len(layers) / (2 * LAYERS))] for i in range(LAYERS)]
    return [one for layer in layers for one in by_layer[layer][:PER_LAYER]]


def clock(seconds: float) -> str:
    """A time in words: `41 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _task_seconds(
    model: TransformerBridge,
    task: Task,
    asked: tuple[Sequence[int], int],
    edits: Sequence[Edits],
    unit_examples: int,
    timer: Callable[[], float],
) -> float:
    """The line through two draws, for the baseline and for the mean ablation, at full size.

    Args:
        model: the model.
        task: the task.
        asked: its rows in the sweep (options: shortest first), and how many answers to each.
        edits: the ablations.
        unit_examples: examples of one work unit.
        timer: seconds.
    """
    chosen, (drawn, times) = calibrated(edits), asked
    most = max(SMALL // 2, GENERATED // times) if task.generates else LARGE
    # options: middles of equal parts by length, for a few long rows can cost as much as all others
    place = 0.0 if task.generates else 0.5
    large = _spread(drawn, min(most, len(drawn)), place)
    small = _spread(large, -(-len(large) // max(1, LARGE // SMALL)), place)

    def measured(rows: Sequence[int], variants: Sequence[Edits]) -> float:
        numbered = tuple(Variant(str(i), one) for i, one in enumerate(variants))
        start = timer()
        unit = WorkUnit(0, "calibration", tuple(rows))
        # a few examples are small batches, and small batches are stacked: no line goes through that
        run_unit(model, task, unit, AblationBatch(numbered), shortcuts=UNSTACKED)
        return timer() - start

    measured(small, [Edits()])  # the first pass also allocates
    sizes = [min(unit_examples, len(drawn) - at) for at in range(0, len(drawn), unit_examples)]
    base = [measured(rows, [Edits()]) for rows in (small, large)]
    both = [measured(rows, [Edits(), *chosen]) for rows in (small, large)] if chosen else base
    each = [max(0.0, b - a) / max(1, len(chosen)) for a, b in zip(base, both, strict=True)]
    at = (len(small), len(large))
    runs = max(1, -(-len(edits) // UNIT_ABLATIONS))  # each unit runs the baseline for itself
    # rows are decoded so many at a time: a step of a few costs as much as one of many, and a line
    # through two small draws would rise too slowly
    line = _proportion if task.generates else _line
    return sum(runs * line(at, base, n) + len(edits) * line(at, each, n) for n in sizes)


def _spread(rows: Sequence[int], count: int, place: float) -> list[int]:
    """One row of each of so many equal parts: at their start (0), or in their middle (0.5)."""
    return [rows[int((i + place) * len(rows) / count)] for i in range(count)]


def _proportion(at: tuple[int, int], seconds: Sequence[float], n: int) -> float:
    """The larger measurement in proportion, at n."""
    return seconds[1] / at[1] * n


def _line(at: tuple[int, int], seconds: Sequence[float], n: int) -> float:
    """The line through two measurements, at n; never a negative slope or a negative start."""
    whole = seconds[1] / at[1]
    if at[1] == at[0]:
        return whole * n
    slope = (seconds[1] - seconds[0]) / (at[1] - at[0])
    return seconds[1] + min(max(slope, 0.0), whole) * (n - at[1])


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
            )
            for layer, edit in edits.items()
            for replaced in [edit.mean_parts | edit.resample_parts]
        }
    )


def _peak(devices: Sequence[torch.device]) -> int:
    if devices[0].type == "cuda":
        return sum(int(torch.cuda.max_memory_allocated(device)) for device in devices)
    return _peak_of_process()


def _peak_of_process() -> int:
    """The most memory that this process has had, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in bytes on macOS, in units of 1,024 bytes elsewhere
    return most if sys.platform == "darwin" else most * 1024


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
