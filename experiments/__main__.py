"""All experiments and figures on one page: `python -m experiments all --preset organisms`."""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from experiments.presets import Preset, add_options, chosen_preset
from experiments.runs import share
from experiments.sections import write
from experiments.side_by_side import Page, make_pages, run_sweeps

NAMES = (
    "protocols",
    "factorial",
    "headline",
    "tasks",
    "retrieval",
    "reasoning",
    "heads",
    "lens",
    "similarity",
    "distillation",
    "programs",
    "scopes",
    "replacements",
    "text_loss",
    "downstream",
    "sets",
    "cause",
)


def modules(names: tuple[str, ...] = NAMES) -> list[ModuleType]:
    """The modules of the experiments, in the order of the page."""
    return [import_module(f"experiments.{name}") for name in names]


def everything(
    preset: Preset,
    out: Path,
    chosen: list[ModuleType],
    *,
    workers: int = 1,
    limit: int | None = None,
) -> Path:
    """Run experiments and join their pages.

    Args:
        preset: models, tasks, sizes.
        out: the folder of the experiments; what is finished in it is kept.
        chosen: the modules of the experiments to run.
        workers: processes that share the work; 1 for this one alone, one experiment after the
            other.
        limit: the most examples a task that were asked for, as the page says it.

    Returns:
        The page, `OUT/results/results.md`.
    """
    began, pages = time.monotonic(), {}
    if workers > 1:
        run_sweeps(preset, out, [job for module in chosen for job in module.jobs(preset)], workers)
        print(f"== all sweeps: {time.monotonic() - began:.0f} seconds", flush=True)
        pages = make_pages(preset, out, chosen, workers)
    else:
        for module in chosen:
            name, start = module.__name__.rpartition(".")[2], time.monotonic()
            print(f"== {name}: {module.QUESTION}", flush=True)
            path = write(module.run(preset, out), out)[0]
            pages[name] = Page(path, time.monotonic() - start)
            print(f"== {name}: {pages[name].seconds:.0f} seconds", flush=True)
    whole = out / "results" / "results.md"
    texts = [page.path.read_text() for page in pages.values()]
    whole.write_text("\n".join([_head(preset, pages, limit), *texts]))
    print(*(f"{name:>14} {page.seconds:6.0f} s" for name, page in pages.items()), sep="\n")
    print(f"{'together':>14} {time.monotonic() - began:6.0f} s")
    return whole


def _head(preset: Preset, names: Iterable[str], limit: int | None = None) -> str:
    models = "\n".join(f"- {role}: `{name}`" for role, name in preset.models.items())
    run = tuple(names)
    words = "all" if run == NAMES else " ".join(run)
    asked = f" --limit {limit}" if limit else ""
    most = f"At most {limit or max(preset.limits.values())} examples"
    return (
        f"# Results: preset {preset.name}\n\n"
        f"Made by `python -m experiments {words} --preset {preset.name}{asked}`; weights in "
        f"{preset.dtype}, seed {preset.seed}. {most} a task: each section says its n, which is "
        "smaller where there are many ablations or every example takes long. One training run a "
        "model: intervals are over examples and wordings, not over seeds.\n\n"
        f"{models}\n\n"
        "A drop is the baseline's score minus the ablated model's on the same examples, in points; "
        "positive is damage. Intervals are 95% and hold for one ablation at a time, unless it is "
        "said that they hold for all together; p-values are corrected over the ablations of a "
        "task, unless it is said that they are not.\n"
    )


def _workers(options: argparse.Namespace, preset: Preset) -> int:
    """How many processes share the work."""
    from interp.errors import UserError

    if options.workers is None:
        # models that need a GPU fill it; those of the organisms leave a core's neighbours idle
        return (os.cpu_count() or 1) if preset.device == "cpu" and not options.shard else 1
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: allowed are 1 and more")
    if options.workers > 1 and options.shard:
        raise UserError("--workers and --shard: give one; each shard is a process of its own")
    return int(options.workers)


def main() -> None:
    """The command."""
    from experiments.hours import announce
    from interp.errors import UserError

    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="+", choices=("all", *NAMES), metavar="NAME",
                        help=f"all, or some of {', '.join(NAMES)}")  # fmt: skip
    add_options(parser)
    parser.add_argument("--shard", metavar="K/N", help="only the K-th of N shares of every sweep")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes of one thread that share the work "
                             "(on a CPU one a core, else 1)")  # fmt: skip
    options = parser.parse_args()
    names = NAMES if "all" in options.names else tuple(n for n in NAMES if n in options.names)
    try:
        preset, chosen = chosen_preset(options), modules(names)
        workers = _workers(options, preset)
        jobs = [job for module in chosen for job in module.jobs(preset)]
        announce(preset, jobs)
        if options.shard and not options.dry_run:
            count = share(preset, options.out, jobs, options.shard)
            print(
                f"{options.shard} of {count} sweeps; when all shares are done, the same command "
                "without --shard makes the tables and figures"
            )
        elif not options.dry_run:
            print(everything(preset, options.out, chosen, workers=workers, limit=options.limit))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
