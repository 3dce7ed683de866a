"""`interp trace`: which heads carry a value from its place in the context to the answer."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out, the_task

if TYPE_CHECKING:
    from interp.tasks import Task


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    trace = commands.add_parser(
        "trace",
        parents=[loads_a_model()],
        help="retrieval score and attention of every head on a key-value task",
        description="Trace a key-value task (world-kv, or kv-75 for JSON objects of 75 pairs), 100 "
        "examples unless --limit says otherwise: the retrieval score of every head, where its "
        "attention goes, and the trace of one example. With --draws also the cause: accuracy "
        "without the best heads, against random heads of the same layers.",
    )
    trace.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    add_tasks(trace, required=True)
    trace.add_argument("--top", type=int, default=8, metavar="K", help="heads that are named (8)")
    trace.add_argument(
        "--gold", type=int, metavar="P", help="place of the gold pair, for kv-N (spread evenly)"
    )
    trace.add_argument(
        "--example", type=int, metavar="ROW", help="row to draw (the first answered rightly)"
    )
    trace.add_argument(
        "--draws",
        type=int,
        default=0,
        metavar="N",
        help="also sweep: the 1, 2, 4 ... K best heads, and N random draws of as many, each put to "
        "its mean (0)",
    )
    trace.add_argument(
        "--all-examples", action="store_true", help="also score examples answered wrongly"
    )
    trace.set_defaults(run=_run, limit=100)


def _run(options: argparse.Namespace) -> None:
    from interp.attention import retrieval_heads, top_heads
    from interp.errors import UserError

    out, task = required_out(options), _task(options)
    if options.draws < 0:
        raise UserError(f"draws {options.draws}: allowed are 0 and more")
    rows = len(task.documents())
    if options.example is not None and not 0 <= options.example < rows:
        raise UserError(f"example {options.example}: task {task.name} has rows 0-{rows - 1}")
    model = loaded(options.model, options)
    if not 1 <= options.top <= model.cfg.n_layers * model.cfg.n_heads:
        raise UserError(
            f"top {options.top}: the model has 1-{model.cfg.n_layers * model.cfg.n_heads} heads"
        )
    heads = retrieval_heads(
        model,
        task,
        limit=options.limit,
        seed=options.seed,
        copied_only=not options.all_examples,
        out=out,
    )
    chosen = top_heads(heads.scores, options.top)
    written = [out / "heads.csv", out / "by-gold-position.csv", _trace_table(heads, out)]
    written += _figures(model, task, heads, chosen, options)
    if options.draws:
        written += _contrast(model, task, heads, options)
    print(heads.summary(top=options.top))
    for path in written:
        print(path)


def _task(options: argparse.Namespace) -> "Task":
    """The task by its name; `world-kv` means its generate protocol."""
    from interp.errors import UserError
    from interp.tasks import load_task, shipped_tasks

    name = the_task(options)
    if options.gold is not None:
        if not re.fullmatch(r"kv-\d+", name):
            raise UserError(f"gold {options.gold}: only a task kv-N can place its gold pair")
        name = f"{name}-at-{options.gold}"
    if f"{name}:generate" in shipped_tasks():
        name = f"{name}:generate"
    return load_task(name, data=options.data, allow_code=options.allow_code)


def _trace_table(heads: Any, out: Path) -> Path:
    """One row for each example, layer and head, for other programs."""
    import io

    from interp.records import write_whole

    buffer, path = io.BytesIO(), out / "trace.parquet"
    heads.trace.table().to_parquet(buffer, index=False)
    write_whole(path, buffer.getvalue())
    return path


def _figures(
    model: Any, task: Any, heads: Any, chosen: list[tuple[int, int]], options: argparse.Namespace
) -> list[Path]:
    from interp import figures
    from interp.attention import trace_example

    out, examples, row = required_out(options), heads.trace.examples, options.example
    if row is None:
        right = examples[examples["copied"]]
        row = int((right if len(right) else examples)["doc_id"].iloc[0])
    example = trace_example(model, task, row, chosen[:3])
    drawn = {
        "retrieval-map": figures.retrieval_map(heads.table(), mark=options.top),
        "retrieval-depth": figures.depth(heads.table()),
        "example": figures.example(example.table()),
    }
    return [path for name, fig in drawn.items() for path in figures.save(fig, out / name)]


def _contrast(model: Any, task: Any, heads: Any, options: argparse.Namespace) -> list[Path]:
    from interp import figures
    from interp.attention import removal_contrasts, removal_curve, removals
    from interp.records import write_whole
    from interp.results import choose_metric, csv_text
    from interp.sweeps import sweep

    out = Path(options.out)
    numbers = sorted({*[2**n for n in range(12) if 2**n <= options.top], options.top})
    plan = removals(heads, numbers, draws=options.draws, seed=options.seed, nearest=True)
    ablations = [ablation for ablation, *_ in plan]
    run = sweep(model, task, ablations, out=out / "removal", limit=options.limit, seed=options.seed)
    scores = run.scores()
    metric = choose_metric(scores)["metric"].iloc[0]
    curve = removal_curve(scores, plan, metric=metric)
    contrasts = removal_contrasts(run.gains(), plan, metric=metric, seed=options.seed)
    write_whole(out / "removal-contrasts.csv", csv_text(contrasts).encode())
    return figures.save(figures.removal(curve), out / "removal-curve")
