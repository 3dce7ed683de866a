"""`interp knockout`: in which layers the answer depends on attention to a part of the prompt."""

import argparse
from typing import TYPE_CHECKING

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out
from interp.cli.sweep import add_execution, announced, execution, named_tasks, refuse_early

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from interp.ablations import Ablation


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    knockout = commands.add_parser(
        "knockout",
        parents=[loads_a_model()],
        help="cut attention from the answer to a part of the prompt, in windows of layers",
        description="Attention knockout: in every window of consecutive layers, positions of one "
        "class cannot attend to those of another. The drop is drawn by first layer and size of "
        "the window; read it beside a control, such as --keys gold distractors.",
    )
    knockout.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    add_tasks(knockout, required=True)
    knockout.add_argument(
        "--queries",
        default="answering",
        metavar="CLASS",
        help="positions that cannot attend: answering, last, prompt, ... (answering)",
    )
    knockout.add_argument(
        "--keys",
        nargs="+",
        default=["gold"],
        metavar="CLASS",
        help="what they cannot see, a panel each: gold, distractors, passage, ... (gold)",
    )
    knockout.add_argument(
        "--windows",
        nargs="+",
        type=int,
        metavar="N",
        help="sizes of the windows, in layers (1, 2, 4 ... up to a quarter of the layers)",
    )
    knockout.add_argument("--fewshot", type=int, metavar="N", help="few-shot examples in front")
    knockout.add_argument(
        "--dry-run", action="store_true", help="say what it would cost here, and write nothing"
    )
    add_execution(knockout)
    knockout.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp import figures
    from interp.sweeps import sweep

    out = None if options.dry_run and options.out is None else required_out(options)
    refuse_early(options)
    tasks = named_tasks(options)
    model = loaded(options.model, options)
    ablations = _windows(model, options)
    if announced(model, tasks, ablations, options) or out is None:
        return
    result = sweep(
        model,
        tasks,
        ablations,
        out=out,
        limit=options.limit,
        seed=options.seed,
        **execution(options),
    )
    if options.shard:
        print(f"next: interp merge {out}")
        return
    print(result.summary())
    print(*figures.save(figures.knockout_map(result), out / "figures" / "knockout"), sep="\n")


def _windows(model: "TransformerBridge", options: argparse.Namespace) -> "list[Ablation]":
    from interp.ablations import each_cut

    sizes = options.windows or _sizes(model.cfg.n_layers)
    return [
        cut
        for keys in dict.fromkeys(options.keys)
        for size in dict.fromkeys(sizes)
        for cut in each_cut(model, size, queries=options.queries, keys=keys)
    ]


def _sizes(n_layers: int) -> list[int]:
    return [size for size in (1, 2, 4, 8, 16, 32, 64) if size == 1 or size <= n_layers / 4]
