"""A lens in a folder: its sums over examples, and the tables made of them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from interp.errors import UserError
from interp.lens.residual_stream import Depth
from interp.lens.result import Lens, StepMeans
from interp.results import read_result, save_result
from interp.stats import StreamingMean

KIND = "lens"
TALLIES = ("values", "decisions")


def save_lens(folder: Path, lens: Lens, request: Mapping[str, Any]) -> None:
    """Write a lens into a folder that was claimed for the request."""
    arrays: dict[str, np.ndarray] = {}
    for number, tally in enumerate(lens.steps.values()):
        for name in TALLIES:
            arrays[f"{number}.{name}.sums"] = getattr(tally, name).sums
            arrays[f"{number}.{name}.totals"] = getattr(tally, name).totals
    facts = {
        "model": lens.model,
        "task": lens.task,
        "dtype": lens.dtype,
        "ablation": lens.ablation,
        "lens": lens.kind,
        "depths": [asdict(depth) for depth in lens.depths],
        "steps": list(lens.steps),
        "n": [tally.values.n for tally in lens.steps.values()],
        "n_units": [tally.values.n_units for tally in lens.steps.values()],
    }
    tables = {name: getattr(lens, name)() for name in ("table", "decided", "decision_depth")}
    save_result(folder, KIND, request, facts=facts, arrays=arrays, for_reading=tables)


def open_lens(folder: str | Path) -> Lens:
    """The lens that `logit_lens(..., out=folder)` wrote, without the model.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The lens, with the same tables.

    Raises:
        UserError: there is no lens, it is unfinished, or a file is damaged.
    """
    saved = read_result(folder, KIND)
    facts = saved.facts
    try:
        steps = {
            str(step): StepMeans(
                *(_tally(saved.arrays, f"{number}.{name}", int(n), int(u)) for name in TALLIES)
            )
            for number, (step, n, u) in enumerate(
                # lenses of earlier versions resampled examples
                zip(facts["steps"], facts["n"], facts.get("n_units", facts["n"]), strict=True)
            )
        }
        depths = tuple(Depth(**depth) for depth in facts["depths"])
        for tally in steps.values():
            _check_shapes(tally, len(depths))
        model, task = str(facts["model"]), str(facts["task"])
        ablation, kind = str(facts["ablation"]), str(facts["lens"])
        dtype = str(facts.get("dtype", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: its lens cannot be read ({error})") from error
    return Lens(model, task, ablation, kind, depths, steps, dtype)


def _check_shapes(tally: StepMeans, n_depths: int) -> None:
    """Raise ValueError where sums are not those of so many depths."""
    empty = StepMeans.empty(n_depths, resamples=len(tally.values.sums) - 1)
    for name in TALLIES:
        saved, made = getattr(tally, name), getattr(empty, name)
        totals = (made.totals.shape, made.sums.shape)
        if saved.sums.shape != made.sums.shape or saved.totals.shape not in totals:
            raise ValueError(f"{name} are of another shape than {n_depths} depths have")


def _tally(arrays: Mapping[str, np.ndarray], name: str, n: int, n_units: int) -> StreamingMean:
    sums = arrays[f"{name}.sums"]
    tally = StreamingMean(sums.shape[1:], resamples=len(sums) - 1)
    tally.sums, tally.totals = sums, arrays[f"{name}.totals"]
    tally.n, tally.n_units = n, n_units
    return tally
