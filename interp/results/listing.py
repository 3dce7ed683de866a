"""A run described in one line, from its manifest alone."""

from pathlib import Path

from interp import records


def counted(number: int, noun: str) -> str:
    """A number and what is counted: `1 task`, `2 tasks`, `1,200 examples`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def run_line(folder: Path, manifest: records.Manifest) -> str:
    """A run in one line: model, tasks, ablations, progress and date.

    Args:
        folder: the folder of the run.
        manifest: the manifest of the run.

    Returns:
        The line, without a line break.
    """
    tasks = ", ".join(task.name for task in manifest.tasks[:3])
    more = f" and {len(manifest.tasks) - 3} more" if len(manifest.tasks) > 3 else ""
    units = manifest.unit_names
    n_written = sum(records.shard_path(folder, unit).is_file() for unit in units)
    return (
        f"{manifest.model}: {tasks}{more}; {counted(len(manifest.ablations), 'ablation')}; "
        f"{n_written} of {len(units)} units; {manifest.origin.created}"
    )
