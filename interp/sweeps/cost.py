"""What a sweep will cost on this device, from a short calibration (`interp.sweeps.calibration`)."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Ablation, Variant, as_ablation, checked_edits
from interp.engine import refuse_impossible
from interp.models import decoder, model_name
from interp.sweeps.calibration import TaskWork, task_seconds
from interp.sweeps.cutting import UNIT_EXAMPLES
from interp.sweeps.plan import distinct, planned_task, sampling_of
from interp.tasks import (
    GenerationRequest,
    OptionRequest,
    Task,
    described,
    how_drawn,
)

WORTH_CALIBRATING = 5000
"""Examples times ablations from which on a sweep says its cost before it starts."""


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a sweep.

    Attributes:
        model: its name.
        parameters: numbers in the model.
        device: where it runs.
        ablations: without the baseline.
        draws: one line per task: examples, strata, width of the interval.
        examples: over all tasks.
        tokens: how many the harness would compute in one pass over all tasks, prompts and options.
        answer_tokens: most tokens that generated answers can have in one pass.
        seconds: the seconds of the whole sweep.
        calibration_seconds: how long the calibration took.
        weights_bytes: the bytes of the model's weights.
        peak_bytes: the peak of memory on the device at the calibration's worst moment (on several
            GPUs their sum, on a CPU that of this process). Batches are sized by the memory that is
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

    Returns:
        Examples, tokens, seconds and memory of the sweep. Printed, it is a few lines.

    Raises:
        UserError: a row or an ablation cannot be run, before anything is timed.
    """
    began = timer()
    dec = decoder(model)
    values = [as_ablation(a) for a in ablations]
    edits = [checked_edits(model, ablation) for ablation in values]
    for device in dec.devices:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
    seconds, tokens, answer_tokens, examples = 0.0, 0, 0, 0
    draws: list[str] = []
    variants = [Variant(ablation.text, edit) for ablation, edit in zip(values, edits, strict=True)]
    refuse_impossible(model, edits)
    planning = timer()
    planned = [planned_task(model, task, distinct(variants), limit, seed) for task in tasks]
    # a sweep reads and hashes all rows and prompts before its first unit, which costs as much
    seconds += timer() - planning
    for one in tqdm(planned, desc="calibration", unit="task", leave=False):
        task, doc_ids, checked = one.task, one.doc_ids, one.requests
        lengths, most_written = _tokens(checked.of(doc_ids))
        work = TaskWork(task, doc_ids, checked, edits, unit_examples)
        seconds += task_seconds(model, work, timer)
        tokens += sum(lengths.values())
        answer_tokens += most_written
        examples += len(doc_ids)
        sampling = sampling_of(checked)
        draws.append(
            described(task, doc_ids) + (f"; {how_drawn(sampling.as_dict())}" if sampling else "")
        )
    parameters = {p.data_ptr(): p for p in dec.root.parameters()}.values()
    return Estimate(
        model=model_name(model),
        parameters=sum(p.numel() for p in parameters),
        device=", ".join(map(str, dec.devices)),
        ablations=len(values),
        draws=tuple(draws),
        examples=examples,
        tokens=tokens,
        answer_tokens=answer_tokens,
        seconds=seconds,
        calibration_seconds=timer() - began,
        weights_bytes=sum(p.numel() * p.element_size() for p in parameters),
        peak_bytes=_peak(dec.devices),
    )


def clock(seconds: float) -> str:
    """A time in words: `41 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _tokens(
    requests: Sequence[OptionRequest] | Sequence[GenerationRequest],
) -> tuple[dict[int, int], int]:
    """Tokens to read for each example, and the most that all answers together can have."""
    lengths: dict[int, int] = defaultdict(int)
    most_written = 0
    for request in requests:
        if isinstance(request, GenerationRequest):
            lengths[request.doc_id] += len(request.prompt)
            most_written += request.max_gen_toks
        else:
            lengths[request.doc_id] += len(request.context) + len(request.continuation)
    return lengths, most_written


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
