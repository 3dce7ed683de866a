"""The command line: `interp sweep`, `interp figures`, `interp models`, `interp tasks`.

Imports of torch and of the rest of the package wait until a command runs, so that help comes at
once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = (
    "Which layers and heads of a language model carry knowledge, retrieval and reasoning, and "
    "does the answer depend on how you measure?"
)
FAMILIES = ("layers", "attentions", "mlps", "heads", "kvgroups", "cumulative", "swaps")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 for a request that cannot be carried out."""
    options = _parser().parse_args(arguments)
    # the hub's own progress bars and advice are not about what was asked for
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from interp.errors import UserError

    try:
        options.run(options)
    except UserError as error:
        print(f"interp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interp: interrupted; the same command continues", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"interp: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interp", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _sweep_parser(commands)
    figures = commands.add_parser("figures", help="draw the figures of one or more runs")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    figures.add_argument("--out", metavar="DIR", help="where to write (RUN/figures)")
    figures.set_defaults(run=_figures)
    models = commands.add_parser("models", help="list the shipped models")
    models.set_defaults(run=_models)
    tasks = commands.add_parser("tasks", help="list the shipped tasks")
    tasks.set_defaults(run=_tasks)
    return parser


def _sweep_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sweep = commands.add_parser(
        "sweep",
        help="run the baseline and every ablation over the same examples",
        description="Run the baseline and every ablation over the same examples. The same "
        "command continues a run that was interrupted.",
    )
    sweep.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    sweep.add_argument(
        "--tasks", nargs="+", required=True, metavar="TASK", help="see `interp tasks`"
    )
    sweep.add_argument(
        "--ablate",
        nargs="+",
        required=True,
        metavar="WHAT",
        help=f"families ({', '.join(FAMILIES)}, blocks:N) or single ablations (layer:7, attn:7, "
        "mlp:7, head:7.3, head:7.3@mean, kvgroup:7.1, layers:20-27, swap:7, layer:3+head:7.2)",
    )
    sweep.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    sweep.add_argument("--limit", type=int, metavar="N", help="at most N examples a task")
    sweep.add_argument("--seed", type=int, default=0, help="of the draw of examples (0)")
    sweep.add_argument("--fewshot", type=int, metavar="N", help="worked examples in the prompt")
    sweep.add_argument("--donor", metavar="MODEL", help="the other model, for swaps")
    sweep.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    sweep.add_argument("--device", help="cpu, cuda, cuda:1 (a GPU if there is one)")
    sweep.add_argument("--revision", help="branch, tag or commit on the hub")
    sweep.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> None:
    from interp.models import load_model
    from interp.sweeps import sweep
    from interp.tasks import load_task

    tasks = [load_task(name, num_fewshot=options.fewshot) for name in options.tasks]
    device, dtype = options.device, options.dtype
    model = load_model(options.model, dtype=dtype, device=device, revision=options.revision)
    donor = load_model(options.donor, dtype=dtype, device=device) if options.donor else None
    ablations = [a for text in options.ablate for a in _family(text, model, donor)]
    result = sweep(
        model,
        tasks,
        ablations,
        out=options.out,
        limit=options.limit,
        seed=options.seed,
        donor=donor,
    )
    print(result)
    print(f"figures: interp figures {options.out}")


def _family(text: str, model, donor) -> list:  # type: ignore[no-untyped-def]
    """A family by its name, or the one ablation that a text form stands for."""
    from interp.ablations import parse
    from interp.ablations.families import FAMILIES as families
    from interp.ablations.families import each_swap, sliding_blocks
    from interp.errors import UserError

    if text in families:
        return families[text](model)
    if text == "swaps":
        if donor is None:
            raise UserError("--ablate swaps: a swap needs a donor; give --donor MODEL")
        return each_swap(model, donor)
    if text.startswith("blocks:"):
        size = text.removeprefix("blocks:")
        if not size.isdigit():
            raise UserError(f"--ablate {text}: allowed is blocks:N, N a number of layers")
        return sliding_blocks(model, int(size))
    return [parse(text)]


def _figures(options: argparse.Namespace) -> None:
    from interp import figures
    from interp.sweeps import open_run

    runs = [open_run(run) for run in options.runs]
    folder = Path(options.out) if options.out else Path(options.runs[0]) / "figures"
    for path in figures.save_all(runs, folder):
        print(path)


def _models(_options: argparse.Namespace) -> None:
    import json

    from interp.models import organisms

    for name, folder in organisms().items():
        config = json.loads((folder / "config.json").read_text())
        size = (folder / "model.safetensors").stat().st_size / 1e6
        print(
            f"{name:<20} {config['num_hidden_layers']} layers, {config['num_attention_heads']} "
            f"heads over {config['num_key_value_heads']} KV heads, {size:.1f} MB"
        )
    print("and any hub name, or a folder with config.json, tokenizer and *.safetensors")


def _tasks(_options: argparse.Namespace) -> None:
    from interp.tasks import shipped_tasks

    for name, path in sorted(shipped_tasks().items()):
        print(f"{name:<28} {path.name}")
    print("and any lm-evaluation-harness task name, or the path of a task YAML")


if __name__ == "__main__":
    raise SystemExit(main())
