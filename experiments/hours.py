"""The cost of the experiments, by arithmetic alone: nothing is downloaded or run.

A sweep takes tokens x parameters of the blocks x 2 operations, and those of attention, times the
share of the blocks that each ablation runs again. This is divided by an assumed share of a GPU's
peak. On the machine itself, `interp sweep --dry-run` measures (`interp.sweeps.cost`).

The assumptions are printed with the result: the length of an example (characters of public rows
divided by four, of the UUIDs of key-value rows by 1.6); 40% of the peak where tokens are read (on a
CPU the engine was measured at 63 to 69% of the matrix-multiply rate); and 3% where they are
generated (64 rows per step of 30 ms, which a model of eight billion parameters takes whatever the
peak). Drafts save most of the generated tokens; this is not counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.operations import Size, llama_size
from experiments.presets import Preset
from experiments.runs import Job

READING, GENERATING = 0.40, 0.03
"""The assumed shares of the peak."""

SEVERAL = {"scopes": 3, "replacements": 4, "patches-gold": 8, "patches-key": 8,
           "patches-person": 8, "cuts": 3}  # fmt: skip
"""Families in which each layer is ablated in several ways, with their number."""

GPUS = {
    "H100": {"bfloat16": 989.4e12, "float16": 989.4e12, "float32": 66.9e12},
    "H200": {"bfloat16": 989.4e12, "float16": 989.4e12, "float32": 66.9e12},
    "A100": {"bfloat16": 312e12, "float16": 312e12, "float32": 19.5e12},
}
"""The dense peak by dtype, in operations per second, of SXM cards as their maker states it."""

_LLAMA = llama_size(
    layers=32, heads=32, kv_heads=8, d_head=128, d_model=4096, d_mlp=14336, vocab=128256
)
KNOWN = {
    "meta-llama/Llama-3.1-8B": _LLAMA,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA,
    "Qwen/Qwen3-8B": llama_size(
        layers=36, heads=32, kv_heads=8, d_head=128, d_model=4096, d_mlp=12288, vocab=151936
    ),
}
"""Sizes from the configurations of models, so that an estimate needs no download."""


@dataclass(frozen=True)
class Length:
    """The assumed tokens of one example.

    Attributes:
        prompt: its own tokens, without what all examples share.
        options: the tokens of all scored options together.
        answer: the generated tokens.
        shared: the tokens of few-shot examples before every example.
    """

    prompt: int
    options: int = 0
    answer: int = 0
    shared: int = 0


LENGTHS = {
    "mmlu:default": Length(95, options=4),
    "mmlu:continuation": Length(45, options=45),
    "mmlu:generate": Length(95, answer=16),
    "mmlu-forms:default": Length(95, options=26),
    "mmlu-forms:generate": Length(95, answer=8),
    "hellaswag:continuation": Length(45, options=75),
    "mathqa:continuation": Length(45, options=20),
    "kv-75:generate": Length(4000, answer=40),
    "openbookqa:continuation": Length(15, options=25),
    "openbookqa-fact:continuation": Length(30, options=25),
    "gsm8k:generate": Length(55, answer=130, shared=720),
}


def size_of(model: str) -> Size | None:
    """The size of a model that is known, in a folder, or in the hub's cache; otherwise None."""
    if model in KNOWN:
        return KNOWN[model]
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from interp.models import organisms

    place = str(organisms().get(model, model))
    try:
        config = AutoConfig.from_pretrained(place, local_files_only=True)
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError):
        return None
    outside = {id(p) for m in (empty.get_input_embeddings(), empty.get_output_embeddings()) if m
               for p in m.parameters()}  # fmt: skip
    numbers = {id(p): p.numel() for p in empty.parameters()}
    blocks = sum(count for key, count in numbers.items() if key not in outside)
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return Size(sum(numbers.values()), blocks, int(config.num_hidden_layers), heads, width)


def runs_again(job: Job, size: Size) -> tuple[int, float]:
    """The number of ablations of a job, and the blocks that they run, in passes through all blocks.

    An ablation of layer l runs the blocks from l on (from l + 1 on, where l is skipped).
    """
    n = size.n_layers
    if job.ablations is not None:
        # along a curve down to one layer, half of the layers are left on average
        left = 0.5 if job.family == "headline" else 1.0
        return job.ablations, left * job.ablations
    if job.family == "layers":
        return n, (n - 1) / 2
    if job.family == "heads":
        return n * size.n_heads, size.n_heads * (n + 1) / 2
    if job.family == "contradicted":  # layers, MLPs and heads
        return n * (size.n_heads + 2), (size.n_heads + 2) * (n + 1) / 2
    if job.family in SEVERAL:  # each layer once in every way
        return SEVERAL[job.family] * n, SEVERAL[job.family] * n / 2
    if job.family in ("programs", "pairs"):
        windows = n * (n - 1) // 2
        # of two layers drawn at random the first stands at a third
        return (n + windows, n / 2 + 2 * windows / 3) if job.family == "pairs" else (
            n * n + n - 1, n / 2 + 2 * n * n / 3
        )  # fmt: skip
    if job.family == "cumulative":  # from the deepest layer up: nothing is left to run behind it
        return n, 0.0
    if (
        job.family == "swap-curves"
    ):  # of a layer, an attention, an MLP: each, from below, from above
        below, above = n - 1, sum(range(2, n)) / n
        return 9 * n - 9, 3 * ((n + 1) / 2 + below + above)
    return n, (n + 1) / 2


def estimate(preset: Preset, jobs: Iterable[Job], *, gpu: str | None = None) -> pd.DataFrame:
    """The hours of every job; shared jobs count once.

    Args:
        preset: models, examples, dtype.
        jobs: the jobs that would be run.
        gpu: a name in `GPUS`; by default the preset's.

    Returns:
        Columns model, task, family, examples, ablations, operations, hours; `operations` are those
        of reading. `hours` is NaN if the size of the model or the length of the task is not known.
    """
    from interp.errors import UserError
    from interp.sweeps import UNIT_EXAMPLES

    gpu = gpu or preset.gpu or "H100"
    if gpu not in GPUS:
        raise UserError(f"gpu {gpu}: allowed are {', '.join(GPUS)}")
    peak = GPUS[gpu].get(preset.dtype)
    if peak is None:
        raise UserError(f"dtype {preset.dtype}: allowed are {', '.join(GPUS[gpu])}")
    rows: list[dict[str, Any]] = []
    seen = set()
    for job in jobs:
        model = preset.models[job.role]
        key = (model, job.task, job.family, preset.models.get(job.donor or ""))
        if key in seen:
            continue
        seen.add(key)
        size, length = size_of(model), LENGTHS.get(job.task)
        row: dict[str, Any] = {"model": model, "task": Path(job.task).stem, "family": job.family}
        n = preset.limit(job.task, job.family)
        if size is None or length is None:
            rows.append(row | {"examples": n, "ablations": pd.NA, "operations": None})
            continue
        ablations, passes = runs_again(job, size)
        own = size.operations(length.prompt + length.options, length.shared)
        shared = size.operations(length.shared) / min(n, UNIT_EXAMPLES)
        reading = n * (own + shared) * (1 + passes)
        before = length.shared + length.prompt
        generating = n * size.operations(length.answer, before) * (1 + ablations)
        seconds = reading / (peak * READING) + generating / (peak * GENERATING)
        rows.append(row | {"examples": n, "ablations": ablations, "operations": reading}
                    | {"hours": seconds / 3600})  # fmt: skip
    columns = ["model", "task", "family", "examples", "ablations", "operations", "hours"]
    return pd.DataFrame(rows, columns=columns)


def lines(preset: Preset, jobs: Sequence[Job], *, gpu: str | None = None) -> list[str]:
    """The estimate in words: the assumptions, one line per sweep, and the sum."""
    gpu = gpu or preset.gpu or "H100"
    table = estimate(preset, jobs, gpu=gpu)
    unknown = table[table["hours"].isna()]
    found = [
        f"{preset!r}",
        f"GPU hours by arithmetic for one {gpu} ({preset.dtype}, peak "
        f"{GPUS[gpu][preset.dtype] / 1e12:g} TFLOP/s): assumed are {READING:.0%} of it for tokens "
        f"that are read, {GENERATING:.0%} for tokens that are generated, and the lengths of the "
        "examples",
    ]
    for model in dict.fromkeys(table["model"]):
        size = size_of(model)
        if size is not None:
            weights = size.parameters * (4 if preset.dtype == "float32" else 2)
            found.append(f"  {model}: {size.parameters / 1e9:.2f} billion parameters, "
                         f"{weights / 1e9:.1f} GB of weights")  # fmt: skip
    found += [
        f"  {row['model'].split('/')[-1]}, {row['task']}, {row['family']}: {row['examples']} "
        f"examples x {row['ablations']} ablations, {row['hours']:.2f} h"
        for row in table[table["hours"].notna()].to_dict("records")
    ]
    found.append(f"together about {table['hours'].sum():.1f} GPU hours, {len(table)} sweeps and "
                 "readings")  # fmt: skip
    if len(unknown):
        names = ", ".join(dict.fromkeys(f"{r['model']} on {r['task']}"
                                        for r in unknown.to_dict("records")))  # fmt: skip
        found.append(f"not in it, for their size is not known here: {names}")
    return found


def announce(preset: Preset, jobs: Sequence[Job]) -> None:
    """Print what will be run, before anything starts."""
    if preset.gpu is None:
        count = len({(preset.models[j.role], j.task, j.family, j.donor) for j in jobs})
        print(f"{preset!r}: {count} sweeps and readings, minutes on two cores")
        return
    print("\n".join(lines(preset, jobs)), flush=True)
