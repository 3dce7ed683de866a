"""A kind of `fuzz.py`: public calls, one of whose arguments is of another type, size or name.

Each call is good but for that argument. It succeeds, or a line of `UserError` says what is allowed.
"""

import inspect
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.store.plain_kinds import Attempt, Check, Draw, anything

Doors = Mapping[str, tuple[Callable[..., Any], dict[str, Any]]]
# these would load, draw or write for long where they are good
HEAVY = {("load_model", "name"), ("save", "figure")}


def kind(
    bridge: Any, model: Path, task: Path, finished: Any, folder: Path, attempt: Attempt
) -> tuple[Draw, Check]:
    """What draws a call, and what tries it.

    Args:
        bridge: a model in memory.
        model: its folder.
        task: YAML of a task with options.
        finished: a run.
        folder: for files; calls are made from within it.
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        An input is the name of a door, a parameter and its value.
    """
    doors = {
        **_values(bridge), **_tables(finished), **_figures(finished, folder),
        **_calls(bridge, model, task),
    }  # fmt: skip
    os.mkfifo(folder / "fifo")
    (folder / "empty").touch()
    paths = [folder, folder / "fifo", folder / "empty", folder / "missing", task, model]
    places: list[Any] = [f(path) for path in paths for f in (str, Path)]

    def draw(rng: random.Random) -> tuple[str, str, Any]:
        name = rng.choice(sorted(doors))
        call, given = doors[name]
        parameters = inspect.signature(call).parameters.values()
        named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        free = sorted(n for n in named | set(given) if (name, n) not in HEAVY)
        value = rng.choice(places) if rng.random() < 0.1 else anything(rng)
        return name, rng.choice(free), value

    def check(drawn: tuple[str, str, Any]) -> bool:
        name, parameter, value = drawn
        call, given = doors[name]
        return attempt(lambda: call(**given | {parameter: value}))

    return draw, check


def _values(bridge: Any) -> Doors:
    import interp

    one = {name: (getattr(interp, name), {"layer": 1}) for name in
           ("SkipLayer", "SkipAttention", "SkipMLP")}  # fmt: skip
    families = ("each_layer", "each_attention", "each_mlp", "each_head", "each_kv_group",
                "each_exchange", "each_repeat", "cumulative")  # fmt: skip
    return {
        **one,
        **{name: (getattr(interp, name), {"model": bridge}) for name in families},
        "AblateHead": (interp.AblateHead, {"layer": 1, "head": 0}),
        "AblateKVGroup": (interp.AblateKVGroup, {"layer": 1, "group": 0}),
        "SkipLayers": (interp.SkipLayers, {"first": 0, "last": 1}),
        "hooked": (interp.hooked, {"name": "x", "fwd_hooks": []}),
        "parse": (interp.parse, {"text": "layer:1"}),
        "sliding_blocks": (interp.sliding_blocks, {"model": bridge, "size": 2}),
    }


def _tables(finished: Any) -> Doors:
    methods = ("scores", "importance", "table", "summary", "responses", "values", "ties",
               "kinds_of_error", "lost_together")  # fmt: skip
    return {
        **{f"Sweep.{name}": (getattr(finished, name), {}) for name in methods},
        "Sweep.equivalence": (finished.equivalence, {"margin": 5.0}),
    }


def _figures(finished: Any, folder: Path) -> Doors:
    from interp import figures

    names = ("layers", "drops", "heatmap")
    return {f"figures.{name}": (_closed(getattr(figures, name)), {"source": finished}) for name in
            names}  # fmt: skip


def _closed(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A figure that is closed as soon as it is drawn; its parameters are the drawing's."""

    def drawn(**options: Any) -> None:
        import matplotlib.pyplot as plt

        draw(**options)
        plt.close("all")

    drawn.__signature__ = inspect.signature(draw)  # type: ignore[attr-defined]
    return drawn


def _calls(bridge: Any, model: Path, task: Path) -> Doors:
    import interp
    from interp.ablations import prune

    loaded = interp.load_task(str(task))
    return {
        "open_run": (interp.open_run, {"folder": "missing"}),
        "load_model": (interp.load_model, {"name": "missing"}),
        "load_task": (interp.load_task, {"name": str(task)}),
        "with_draws": (interp.with_draws, {"task": loaded, "temperature": 0.5}),
        "prune": (prune, {"name": "missing", "ablation": "layer:1", "out": "pruned"}),
        "generate": (interp.generate, {"model": bridge, "prompt": "w5", "max_new_tokens": 1}),
        "logit_lens": (interp.logit_lens, {"model": bridge, "task": "missing"}),
        "retrieval_heads": (interp.retrieval_heads, {"model": bridge, "task": "missing"}),
        "layer_similarity": (interp.layer_similarity, {"model": bridge, "source": "missing"}),
        "compare": (interp.compare, {"models": {"a": bridge}, "tasks": ["missing"], "out": "out"}),
        "sweep": (interp.sweep, {"model": bridge, "tasks": "missing", "ablations": "layer:1"}),
    }
