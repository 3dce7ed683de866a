"""A finished run in a folder in which nothing can be written: the same request reads it."""

import os
from collections.abc import Sequence
from pathlib import Path

from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.errors import UserError, can_be_written, folder_given, path_given
from interp.sweeps.extending import Extension, extension
from interp.sweeps.plan import Plan


def run_folder(given: str | Path) -> Path:
    """The folder of a run, new or not; one that can hold none is refused before any work.

    Args:
        given: the option `out`.

    Returns:
        The path; nothing is made.

    Raises:
        UserError: it is no path, a file, or a folder without a run in which nothing can be written.
    """
    folder = path_given("out", given)
    return folder if os.path.exists(folder / records.MANIFEST) else folder_given("out", folder)


def is_read_only(folder: Path) -> bool:
    """Whether a run's folder is there, and nothing can be written in it."""
    return folder.is_dir() and not can_be_written(folder)


def read_only(
    model: TransformerBridge, plan: Plan, folder: Path, *, allow: Sequence[str] = ()
) -> Extension:
    """A request beside the run in such a folder, which must hold all of it.

    Args:
        model: the model.
        plan: the plan of the request.
        folder: the folder of the run.
        allow: names of differences that are accepted.

    Returns:
        The request; where its plan is None, the run has more than was asked.

    Raises:
        UserError: something is to be run or noted.
    """
    kept = records.read_manifest(folder)
    asked = extension(model, plan, kept, folder, allow=allow)
    if asked.plan is None:
        return asked
    if asked.manifest.model_copy(update={"limit": kept.limit}) != kept:
        lacks = "the run in it would have to grow, or a difference be noted"
    elif wrong := records.problems(folder, kept.unit_names, kept):
        lacks = f"{len(wrong)} of {len(kept.units)} units of the run in it are missing or damaged"
    else:
        return asked
    raise UserError(f"out {folder}: nothing can be written there, and {lacks}; copy it elsewhere")
