"""`interp models` and `interp tasks`: what comes with the package."""

import argparse

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    models = commands.add_parser("models", help="list the shipped models")
    models.set_defaults(run=_models)
    tasks = commands.add_parser("tasks", help="list the shipped tasks")
    tasks.set_defaults(run=_tasks)


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
    print("Any hub name can be given, too, or a folder with config.json, tokenizer, *.safetensors.")


def _tasks(_options: argparse.Namespace) -> None:
    from interp.tasks import protocols

    benchmarks = sorted(protocols().items())
    widest = max(len(benchmark) for benchmark, _ in benchmarks)
    for benchmark, (available, source) in benchmarks:
        print(f"{benchmark:<{widest}} {', '.join(available):<33} {source}")
    print(
        "A task is named BENCHMARK:PROTOCOL, such as mmlu:default. Any lm-evaluation-harness task"
    )
    print(
        "or group can be named, too, and the path of a task YAML. Rows come from the hub, or from"
    )
    print("local files (--data DIR).")
