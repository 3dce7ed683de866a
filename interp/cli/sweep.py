"""`interp sweep`: run the baseline and every ablation over the same examples."""

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out
from interp.cli.varied import add_vary, numbers, run_varied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformer_lens.model_bridge import TransformerBridge

    from interp.ablations import Ablation
    from interp.tasks import Task

# options that go to interp.sweep as they are
EXECUTION = ("shard", "ray", "workers", "token_budget", "allow", "cluster")
FAMILIES = (
    "layers", "attentions", "mlps", "heads", "kvgroups", "experts", "cumulative", "blocks:N",
    "repeats", "exchanges", "parallels", "cuts:N@answering/gold", "patches:resid@last",
    "backpatches@last",
    "pairs:layers",
    "layers@mean", "layers@linear", "attentions@resample", "mlps@mean", "heads@zero",
    "swaps", "swaps-attn", "swaps-mlp", "swaps-up", "swaps-down", "swap-blocks:N",
)  # fmt: skip


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    sweep = commands.add_parser(
        "sweep",
        parents=[loads_a_model()],
        help="run the baseline and every ablation over the same examples",
        description="Run the baseline and every ablation over the same examples. The same "
        "command continues a run that was interrupted; one that asks for more (tasks, ablations, a "
        "larger limit) extends it.",
    )
    sweep.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    add_tasks(sweep, required=True)
    sweep.add_argument(
        "--ablate",
        nargs="+",
        required=True,
        metavar="WHAT",
        help=f"families ({', '.join(FAMILIES)}) or single ablations (layer:7, attn:7, "
        "mlp:7, layer:7@mean, layer:7@linear, mlp:7@resample, head:7.3, head:7.3@mean, "
        "head:7.3@resample, "
        "head:7.3@group, kvgroup:7.1, expert:7.3, expert:7.3@unnormalised, "
        "layers:20-27, repeat:20-26, exchange:7, reverse:3-5, parallel:10-15, "
        "order:0-9,11,10,12-31, cut:10-14@answering/gold, patch:resid:7@last, "
        "backpatch:7-3@last, "
        "swap:7, swap-attn:7, swap-mlp:7, swaps:0-3, layer:3+head:7.2), "
        "with @@prompt, @@answer or @@last after them for some positions only. Families put heads "
        "to their mean unless @zero is said; head:7.3 alone puts it to zero",
    )
    sweep.add_argument(
        "--dry-run", action="store_true", help="say what it would cost here, and write nothing"
    )
    sweep.add_argument("--fewshot", type=int, metavar="N", help="few-shot examples in the prompt")
    sweep.add_argument(
        "--chat-template", action="store_true", help="prompts through the model's chat template"
    )
    sweep.add_argument(
        "--max-gen-toks", type=int, metavar="N", help="at most N tokens a generated answer"
    )
    sweep.add_argument(
        "--temperature", type=float, metavar="T", help="draw the answers; greedy ones by default"
    )
    sweep.add_argument(
        "--draws", type=int, metavar="N", help="answers drawn an example (the task's own number)"
    )
    sweep.add_argument(
        "--divergence",
        action="store_true",
        help="also record how far predictions are from those of the whole model: metrics kl (nats) "
        "and top1_agreement",
    )
    add_vary(sweep)
    sweep.add_argument("--donor", metavar="MODEL", help="the other model, for swaps")
    add_execution(sweep)
    sweep.set_defaults(run=_run)


def add_execution(sweep: argparse.ArgumentParser) -> None:
    """Let a command say how its run is carried out; none of it changes an answer.

    Args:
        sweep: the parser.
    """
    group = sweep.add_argument_group("many machines, and continuing a run")
    group.add_argument(
        "--shard", metavar="K/N", help="only every N-th work unit, from the K-th on (3/16)"
    )
    group.add_argument(
        "--ray", metavar="ADDRESS", help="run the units on Ray (auto, or an address)"
    )
    group.add_argument(
        "--token-budget", type=int, metavar="N", help="most tokens of a batch (from free memory)"
    )
    group.add_argument("--workers", type=int, metavar="N", help="of Ray (one a GPU, or a core)")
    group.add_argument(
        "--allow",
        nargs="+",
        default=[],
        metavar="NAME",
        help="accept a difference to the run in the folder, by the name that the refusal gave it",
    )
    group.add_argument("--cluster", metavar="FIELD", help="of the rows: what examples share")


def execution(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of how the run is carried out, as `interp.sweep` takes it.

    Args:
        options: the options of a command with `add_execution`.

    Returns:
        Keyword arguments.
    """
    return {name: getattr(options, name) for name in EXECUTION}


def refuse_early(options: argparse.Namespace) -> None:
    """Refuse what no run allows before a model is loaded and a large sweep is calibrated.

    Args:
        options: the options of a command with `loads_a_model` and `add_execution`.

    Raises:
        UserError: an option is out of range.
    """
    from interp.sweeps import refuse_options

    refuse_options(
        limit=options.limit,
        seed=options.seed,
        shard=options.shard,
        ray=options.ray,
        workers=options.workers,
        token_budget=options.token_budget,
    )


def named_tasks(options: argparse.Namespace) -> "list[Task]":
    """The tasks of a command that has `--fewshot`.

    Args:
        options: the options of the command.

    Returns:
        Loaded tasks.
    """
    from interp.tasks import load_task

    return [
        load_task(
            name, num_fewshot=options.fewshot, data=options.data, allow_code=options.allow_code
        )
        for name in options.tasks
    ]


def _tasks(options: argparse.Namespace) -> "list[Task]":
    """The tasks that are named, sampled where that is asked."""
    from interp.errors import UserError
    from interp.tasks import with_draws

    if options.draws is not None and options.temperature is None:
        raise UserError(
            f"draws {options.draws}: greedy answers are all the same; give --temperature above 0"
        )
    tasks = named_tasks(options)
    if options.temperature is None:
        return tasks
    return [
        with_draws(task, temperature=options.temperature, draws=options.draws) for task in tasks
    ]


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import as_ablations
    from interp.models import load_model
    from interp.results import result_line
    from interp.sweeps import sweep
    from interp.tasks import as_chat, with_budget, with_divergence

    out = None if options.dry_run and options.out is None else required_out(options)
    execution_options = execution(options)
    refuse_early(options)
    ways, tasks = numbers(options.vary), _tasks(options)
    model = loaded(options.model, options)
    if options.max_gen_toks is not None:
        tasks = [with_budget(task, options.max_gen_toks) for task in tasks]
    if options.divergence and not ways:
        tasks = [with_divergence(task) for task in tasks]
    if options.chat_template and not ways:
        tasks = [as_chat(task, model) for task in tasks]
    placement = {"dtype": options.dtype, "device": options.device}
    donor = load_model(options.donor, **placement) if options.donor else None
    ablations = as_ablations(model, options.ablate, donor=donor)
    if announced(model, tasks, ablations, options) or out is None:
        return
    if ways:
        run_varied(model, tasks, ablations, options, donor=donor, **execution_options)
        return
    result = sweep(
        model,
        tasks,
        ablations,
        out=out,
        limit=options.limit,
        seed=options.seed,
        donor=donor,
        **execution_options,
    )
    print(result)
    if options.shard:
        print(f"next: interp merge {out}")
    else:
        print(f"for tables: interp show {out}; for figures: interp figures {out}")
        print(result_line(result))


def announced(
    model: "TransformerBridge",
    tasks: "Sequence[Task]",
    ablations: "Sequence[Ablation]",
    options: argparse.Namespace,
) -> bool:
    """Say what the sweep will cost, where that takes less than the sweep; True: that was all."""
    from interp.stats import before_running, family_of
    from interp.sweeps import WORTH_CALIBRATING, estimate
    from interp.tasks import select_examples

    counted = [len(select_examples(t, options.limit, seed=options.seed)) for t in tasks]
    pairs = sum(counted) * len(ablations)
    if options.dry_run or pairs >= WORTH_CALIBRATING:
        expected = estimate(model, tasks, ablations, limit=options.limit, seed=options.seed)
        print("\n".join(expected.lines))
    if varied := getattr(options, "vary", None):
        print(f"it is run once for each way of asking: {' '.join(varied)}")
    if options.dry_run:
        counts = Counter(family_of(ablation.text) for ablation in ablations)
        for number in sorted(set(counted)):
            print("\n".join(before_running(number, counts)))
    return bool(options.dry_run)
