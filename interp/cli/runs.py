"""`interp runs` and `interp show RUN`: what has been run, and what came out; no model is loaded."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.records import Manifest

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    runs = commands.add_parser("runs", help="list the runs in a folder")
    runs.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where (runs)")
    runs.set_defaults(run=_runs)
    show = commands.add_parser("show", help="show a run: progress, scores, largest drops")
    show.add_argument("folder", metavar="RUN", help="folder of the run")
    show.add_argument("--top", type=int, default=5, metavar="N", help="ablations a task (5)")
    show.add_argument("--metric", help="by default accuracy, or else an exact match")
    show.add_argument(
        "--correction", default="holm", choices=("holm", "bh", "none"), help="of p-values (holm)"
    )
    show.add_argument(
        "--margin", type=float, help="also name the ablations that change less than this"
    )
    show.set_defaults(run=_show)


def _runs(options: argparse.Namespace) -> None:
    from interp.errors import UserError
    from interp.records import MANIFEST, read_manifest

    folder = Path(options.folder)
    if not folder.is_dir():
        raise UserError(f"runs {folder}: no such folder")
    found = sorted(path.parent for path in folder.rglob(MANIFEST))
    for run in found:
        try:
            print(f"{run}  {_line(run, read_manifest(run))}")
        except UserError as error:
            print(f"{run}  {str(error).partition(': ')[2]}")
    if not found:
        print(f"no runs in {folder}")


def _line(run: Path, manifest: "Manifest") -> str:
    tasks = ", ".join(task.name for task in manifest.tasks[:3])
    more = f" and {len(manifest.tasks) - 3} more" if len(manifest.tasks) > 3 else ""
    return (
        f"{manifest.model}: {tasks}{more}; {len(manifest.ablations)} ablations; "
        f"{_progress(run, manifest)}; {manifest.origin.created}"
    )


def _progress(run: Path, manifest: "Manifest") -> str:
    from interp.records import shard_path

    units = manifest.unit_names
    there = sum(shard_path(run, unit).is_file() for unit in units)
    return f"{there} of {len(units)} units"


def _show(options: argparse.Namespace) -> None:
    from interp.errors import UserError
    from interp.results import choose_metric, open_run
    from interp.tasks import how_drawn

    if options.top < 1:
        raise UserError(f"--top {options.top}: allowed are 1 and more")
    run = open_run(options.folder)
    print(_line(run.folder, run.manifest))
    print(
        f"weights {run.manifest.weights_sha256[:12]}, {run.manifest.dtype}, seed "
        f"{run.manifest.seed}, torch {run.manifest.libraries.get('torch', 'unknown')}"
    )
    for entry in run.manifest.tasks:
        if entry.sampling:
            how = how_drawn(entry.sampling.as_dict())
            print(f"{entry.name}: {how}; an example counts once")
    for note in run.manifest.allowed:
        print(f"allowed: {note.name} {note.there} and {note.asked}")
    importance = choose_metric(run.importance(correction=options.correction), options.metric)
    scores = choose_metric(run.scores(), options.metric)
    ties = run.ties()
    alike = None
    if options.margin is not None:
        alike = choose_metric(run.equivalence(margin=options.margin), options.metric)
    for task, rows in importance.groupby("task", sort=False):
        base = scores[(scores["task"] == task) & (scores["ablation"] == "baseline")].iloc[0]
        print(
            f"\n{task}, {base['metric']} in {_unit(base)}: baseline {base['value']:.4g} "
            f"[{base['low']:.4g}, {base['high']:.4g}], n = {base['n']}, {base['interval']}"
        )
        largest = rows.sort_values("drop", ascending=False, kind="stable").head(options.top)
        shown = largest[["ablation", "drop", "low", "high", "p", "p_adjusted", "n"]]
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        kinds = ", ".join(dict.fromkeys(largest["interval"]))
        how = "not corrected" if options.correction == "none" else f"{options.correction} over"
        family = "" if options.correction == "none" else f" {len(rows)} ablations"
        print(f"intervals: {kinds}; p: {rows['test'].iloc[0]}, {how}{family}")
        _print_ties(ties[ties["task"] == task])
        if alike is not None:
            _print_equivalent(alike[alike["task"] == task], options.margin)


def _print_ties(rows: Any) -> None:
    """The choices that rounding may decide, and under which ablations."""
    tied = rows[rows["ties"] > 0].sort_values("ties", ascending=False, kind="stable")
    if len(tied):
        some = ", ".join(f"{r.ablation} {r.ties}" for r in tied.head(5).itertuples())
        print(
            f"ties: {tied['ties'].sum()} of {rows['n'].sum()} choices, two options within "
            f"{rows['within'].iloc[0]:g} nats: rounding decides ({some}"
            f"{' ...' if len(tied) > 5 else ''})"
        )


def _print_equivalent(rows: Any, margin: float) -> None:
    """The ablations whose drop lies within the margin, and how that was shown."""
    names = rows[rows["equivalent"]]["ablation"].tolist()
    print(
        f"within {margin:g} either way: {', '.join(names) or 'none'} ({rows['test'].iloc[0]}, one "
        f"ablation at a time, n = {rows['n'].iloc[0]})"
    )


def _unit(row: Any) -> str:
    return "points" if row["unit"] == "points" else "its own unit"
