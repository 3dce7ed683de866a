"""`interp patch`: which activation, taken from a prompt that differs in one thing, is enough."""

import argparse
from typing import TYPE_CHECKING, Literal

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out
from interp.cli.sweep import add_execution, announced, execution, named_tasks, refuse_early

if TYPE_CHECKING:
    from interp.results import Sweep

SITES = ("resid", "attn", "mlp", "heads")


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    patch = commands.add_parser(
        "patch",
        parents=[loads_a_model()],
        help="take activations from prompts that differ in one thing, and measure the recovery",
        description="Activation patching over pairs of prompts that differ in one thing: every "
        "layer's (or head's) activation at each class of positions is taken from the twin, both "
        "ways, and the normalised recovery of the twin's answer is measured and drawn.",
    )
    patch.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    add_tasks(patch, required=True)
    patch.add_argument(
        "--by",
        default="gold",
        metavar="WHAT",
        help="what differs between the prompts of a pair: gold (the value that is asked for), key "
        "(which pair is asked for), or a field of the rows (gold)",
    )
    patch.add_argument(
        "--sites",
        nargs="+",
        default=["resid", "attn", "mlp"],
        choices=SITES,
        metavar="SITE",
        help=f"activations: {', '.join(SITES)} (resid attn mlp)",
    )
    patch.add_argument(
        "--positions",
        nargs="+",
        default=["changed", "last"],
        metavar="CLASS",
        help="of positions of the prompt: last, changed (tokens that differ from the twin), gold, "
        "a field of the rows, or numbers such as 3 or 3-7 (changed last)",
    )
    patch.add_argument("--fewshot", type=int, metavar="N", help="few-shot examples in the prompt")
    patch.add_argument(
        "--dry-run", action="store_true", help="say what it would cost here, and write nothing"
    )
    add_execution(patch)
    patch.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import as_ablations
    from interp.sweeps import sweep
    from interp.tasks import twins

    out = None if options.dry_run and options.out is None else required_out(options)
    refuse_early(options)
    tasks = named_tasks(options)
    model = loaded(options.model, options)
    named = [f"patches:{site}@{where}" for site in options.sites for where in options.positions]
    ablations = as_ablations(model, list(dict.fromkeys(named)))
    pairs = [
        twins(model, task, by=options.by, limit=options.limit, seed=options.seed) for task in tasks
    ]
    # the limit is of pairs, and each of them has two rows
    options.limit = None
    if announced(model, pairs, ablations, options) or out is None:
        return
    result = sweep(model, pairs, ablations, out=out, seed=options.seed, **execution(options))
    if options.shard:
        print(f"next: interp merge {out}")
        return
    print(result.summary())
    _write(result, options.sites)


def _write(result: "Sweep", sites: list[str]) -> None:
    """The table of recovery and its maps, in the folder of the run."""
    from interp import figures
    from interp.records import write_whole
    from interp.results import csv_text

    folder, table = result.folder, result.recovery()
    write_whole(folder / "recovery.csv", csv_text(table).encode())
    print(folder / "recovery.csv")
    kinds: list[Literal["positions", "heads"]] = []
    kinds += ["positions"] if set(sites) - {"heads"} else []
    kinds += ["heads"] if "heads" in sites else []
    for over in kinds:
        drawn = figures.recovery_map(table, over=over)
        print(*figures.save(drawn, folder / "figures" / f"recovery-{over}"), sep="\n")
