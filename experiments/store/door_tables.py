"""Doors of `doors.py` that take tables and results: statistics, tables of runs, figures."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.store.door_calls import TEXTS, copying_task, listed_task
from experiments.store.doors import Doors

WIDE = ["layers", "mlps", "layers@mean", "layers@resample", "layers@linear", "pairs:layers",
        "layer:1@@prompt", "layer:1@@answer", "head:1.0", "heads@mean"]  # fmt: skip
LAYERS = {"a": 3, "b": 3}


def tables(bridge: Any, task: Path, finished: Any, folder: Path) -> Doors:
    """Calls without a model.

    Args:
        bridge: a model in memory; sweeps for the tables are made with it.
        task: YAML of a task with options.
        finished: a run.
        folder: the folder for the runs.

    Returns:
        Name of a function to the function and arguments that it accepts.
    """
    import interp

    wide = interp.sweep(bridge, str(task), WIDE, out=folder / "wide")
    going = interp.sweep(bridge, str(task), "cumulative", out=folder / "going")
    pairs = interp.twins(bridge, copying_task())
    patches = ["patches:resid@last", "patches:heads@last", "cuts:1@last/prompt"]
    patched = interp.sweep(bridge, pairs, patches, out=folder / "patched")
    swapped = interp.comparison.swap_sweep(
        bridge, bridge, str(task), parts=["mlp"], limit=2, out=folder / "swapped"
    )
    compared = {"a": wide, "b": wide}
    return {
        **_sweeps(finished, wide, patched, task),
        **_statistics(wide.values()),
        **_removals(going.values(), going.scores(resamples=200), wide.values()),
        **_results(wide, patched),
        **_comparisons(interp.comparison.comparison_of(compared, LAYERS), wide, swapped, bridge),
        **_profiles(wide, bridge),
        **_figures(finished, wide, patched, bridge, folder),
        **_opened(bridge, task, folder),
        **_of_heads(bridge, wide),
    }


def _named(
    functions: dict[Callable[..., Any], dict[str, Any]], before: str = ""
) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    return {before + function.__name__: (function, given) for function, given in functions.items()}


def _sweeps(finished: Any, wide: Any, patched: Any, task: Path) -> Doors:
    methods = ("scores", "importance", "table", "summary", "responses", "values", "ties",
               "lost_together", "truncation", "gains")  # fmt: skip
    return {
        **{f"Sweep.{name}": (getattr(finished, name), {}) for name in methods},
        "Sweep.equivalence": (finished.equivalence, {"margin": 5.0}),
        "Sweep.recovery": (patched.recovery, {}),
        "Sweep.design_effects": (
            wide.design_effects,
            {"fields": ["gold"], "given": [task]},
        ),
        "Sweep.importance by": (wide.importance, {"by": "gold", "given": [task]}),
    }


def _statistics(values: pd.DataFrame) -> Doors:
    from interp import stats

    two = pd.concat([values.assign(variant=name) for name in ("x", "y", "z")])
    both = pd.concat([values.assign(model=name) for name in ("a", "b")])
    damage = values[values["metric"] == "acc"]
    field = pd.Series([f"w{n % 2}" for n in range(4)], index=sorted(values["doc_id"].unique()))
    few = {"resamples": 200}
    answers = pd.Series(["A", "B", "A", "C"])
    return _named(
        {
            stats.scores: {"values": values} | few,
            stats.importance: {"values": values} | few,
            stats.equivalence: {"values": values, "margin": 5.0} | few,
            stats.variance_components: {"values": two},
            stats.removable: {"values": values, "steps": ["layer:0", "layer:1"], "margin": 5.0}
            | few,
            stats.removal_curve: {"values": damage, "steps": ["layer:0", "layer:1"]},
            stats.compare_profiles: {"values": both} | few,
            stats.measured_floor: {"answers": answers, "targets": answers},
            stats.examples_needed: {"drop": 5.0},
            stats.least_detectable: {"n": 100},
            stats.power: {"n": 100, "drop": 5.0},
            stats.power_table: {"ns": (50,), "drops": (5.0,)},
            stats.check_correction: {"correction": "holm"},
        },
        "stats.",
    ) | {"stats.design_effects": (stats.design_effects, _damage(damage, field))}


def _damage(values: pd.DataFrame, field: pd.Series) -> dict[str, Any]:
    wide = values.pivot(index="doc_id", columns="ablation", values="value")  # noqa: PD010
    damage = wide.drop(columns="baseline").rsub(wide["baseline"], axis=0)
    return {"damage": damage.iloc[:, :3], "field": field, "permutations": 99}


def _removals(values: pd.DataFrame, scores: pd.DataFrame, wide: pd.DataFrame) -> Doors:
    from interp import comparison

    single = pd.concat([wide.assign(model=name) for name in ("a", "b")])

    both = pd.concat([values.assign(model=name) for name in ("a", "b")])
    few = {"resamples": 200}
    return _named(
        {
            comparison.robustness: {"values": both, "n_layers": LAYERS} | few,
            comparison.robustness_differences: {"values": both} | few,
            comparison.removal_curves: {"scores": scores},
            comparison.differences: {"values": both} | few,
            comparison.centres: {"values": single, "n_layers": LAYERS},
            comparison.orders_of: {"texts": list(values["ablation"])},
        }
    )  # fmt: skip


def _results(wide: Any, patched: Any) -> Doors:
    from interp import results, stats

    values, responses = wide.values(), patched.responses()
    accuracies = values[values["metric"] == "acc"]
    return {
        **_named(
            {
                results.lost_examples: {"values": accuracies},
                results.lost_together: {"values": accuracies},
                results.interactions: {"values": values},
                results.scope_parts: {"values": values},
                results.recovery: {"responses": responses},
                results.recovery_by_example: {"responses": responses},
                results.replacement_table: {"importance": wide.importance(resamples=200)},
                results.choose_metric: {"table": wide.importance(resamples=200)},
                results.csv_text: {"table": wide.scores(resamples=200)},
                results.result_line: {"run": wide},
            }
        ),
        "near_ties": (stats.near_ties, {"responses": wide.responses()}),
    }


def _comparisons(found: Any, wide: Any, swapped: Any, bridge: Any) -> Doors:
    from interp import comparison

    methods = ("values", "gains", "scores", "importance", "differences", "table", "summary")
    distances = comparison.layer_distances(comparison.weight_distances(bridge, bridge))
    return {
        **{f"Comparison.{name}": (getattr(found, name), {}) for name in methods},
        "comparison_of": (
            comparison.comparison_of, {"sweeps": {"a": wide, "b": wide}, "n_layers": LAYERS},
        ),
        "comparison_figures": (_closed(comparison.comparison_figures), {"found": found}),
        "swap_curves": (comparison.swap_curves, {"run": swapped}),
        "layer_distances": (
            comparison.layer_distances,
            {"distances": comparison.weight_distances(bridge, bridge)},
        ),
        "distance_and_effect": (
            comparison.distance_and_effect,
            {"distances": distances, "values": _named_swaps(swapped)},
        ),
    }  # fmt: skip


def _named_swaps(run: Any) -> pd.DataFrame:
    """Values of a sweep of swaps of MLPs as if whole layers had been swapped."""
    gains: pd.DataFrame = run.gains()
    return gains.assign(ablation=gains["ablation"].str.replace("swap-mlp:", "swap:", regex=False))


def _opened(bridge: Any, task: Path, folder: Path) -> Doors:
    """Folders of every kind of result, and what opens them."""
    import interp
    from interp import attention, comparison, lens, similarity

    copying = copying_task()
    interp.retrieval_heads(bridge, copying, copied_only=False, out=folder / "heads")
    first = interp.logit_lens(bridge, copying, limit=4, out=folder / "lens")
    interp.layer_similarity(bridge, TEXTS, out=folder / "similarity")
    on: dict[str, Any] = {"ablations": "layer:1", "limit": 2}
    interp.compare({"a": bridge, "b": bridge}, [str(task)], out=folder / "compared", **on)
    varied = interp.vary(bridge, listed_task(task), option_orders=2, out=folder / "varied", **on)
    trained = lens.train_tuned_lens(
        bridge, TEXTS * 4, source="x", training=lens.Training(steps=1)
    ).save(folder / "tuned")
    opening = {
        attention.open_heads: "heads", lens.open_lens: "lens",
        similarity.open_similarity: "similarity", comparison.open_comparison: "compared",
        comparison.open_variation: "varied",
    }  # fmt: skip
    return {
        **{call.__name__: (call, {"folder": folder / name}) for call, name in opening.items()},
        "load_tuned_lens": (lens.load_tuned_lens, {"folder": trained}),
        "decision_difference": (lens.decision_difference, {"one": first, "other": first}),
        "Lens.table": (first.table, {}),
        "Lens.summary": (first.summary, {}),
        "Lens.decision_depth": (first.decision_depth, {}),
        **{f"Variation.{name}": (getattr(varied, name), {}) for name in
           ("importance", "components", "table", "summary")},
    }  # fmt: skip


def _of_heads(bridge: Any, wide: Any) -> Doors:
    import interp
    from interp import attention, lens, stats

    task = copying_task()
    run = interp.sweep(bridge, task, ["layer:0"])
    answers = run.responses()
    documents = pd.DataFrame(task.documents()).rename_axis("doc_id").reset_index()
    placed = answers.assign(correct=[n % 2 for n in range(len(answers))])
    heads = wide.values(ablations=["baseline", *_heads(wide)])
    both = pd.concat([heads.assign(task=name) for name in ("s", "t")])
    attribution = lens.direct_logit_attribution(bridge, task, limit=4)
    design = {"readout": ("x", "y")}
    factors = pd.concat([wide.values().assign(readout=name) for name in ("x", "y")])
    return {
        "by_gold_position": (
            attention.by_gold_position,
            {"responses": placed, "documents": documents[["doc_id", "gold_position"]]},
        ),
        "overlap": (attention.overlap, {"values": both[both["metric"] == "acc"], "k": 2}),
        "head_table": (lens.head_table, {"attribution": attribution}),
        "factorial_effects": (
            stats.factorial_effects,
            {"values": factors[factors["metric"] == "acc"], "design": design},
        ),
    }


def _heads(run: Any) -> list[str]:
    return [text for text in run.manifest.ablations if text.startswith("head:")]


def _profiles(wide: Any, bridge: Any) -> Doors:
    from interp import attention, comparison, similarity, stats

    values = wide.values()
    both = pd.concat([values.assign(model=name) for name in ("a", "b")])
    measures = similarity.layer_similarity(bridge, TEXTS)
    tables = {"measures": measures.influence.assign(measure="influence"), "values": values}
    angular, importance = measures.angular, wide.importance(resamples=200)
    of_one = importance[importance["metric"] == "acc"]
    return _named(
        {
            comparison.correlations: {"values": both},
            comparison.shifts: {"values": both, "n_layers": LAYERS},
            similarity.by_importance: {"importance": of_one, "most": 2},
            similarity.by_influence: {"influence": measures.influence, "most": 2},
            similarity.by_angular_distance: {"angular": angular, "most": 2},
            attention.explained: {"importance": importance, "metric": "acc"},
            similarity.curve_table: {
                "run": wide.scores(resamples=200),
                "orders": [similarity.deepest_first(3, 1)],
            },
        }
    ) | {"layer_correlations": (stats.layer_correlations, tables)}


def _figures(finished: Any, wide: Any, patched: Any, bridge: Any, folder: Path) -> Doors:
    import interp
    from interp import figures, lens, similarity

    downstream = similarity.downstream_effects(bridge, TEXTS)
    task = copying_task()
    heads = interp.retrieval_heads(bridge, task, copied_only=False)
    repaired = lens.self_repair(bridge, task, "mlps", limit=4).effects
    written = interp.sweep(bridge, task, "layers")
    sources: dict[Callable[..., Any], dict[str, Any]] = {
        figures.layers: {"source": finished},
        figures.drops: {"source": finished},
        figures.heatmap: {"source": wide},
        figures.importance_map: {"source": wide},
        figures.pairs: {"source": wide},
        figures.replacements: {"source": wide},
        figures.scopes: {"source": wide},
        figures.recovery_map: {"source": patched},
        figures.knockout_map: {"source": patched},
        figures.downstream: {"source": downstream},
        figures.drawings: {"source": wide},
        figures.retrieval_map: {"source": heads},
        figures.depth: {"source": heads},
        figures.self_repair: {"effects": repaired},
        figures.answer_kinds: {"source": written},
    }
    return {
        **{f"figures.{f.__name__}": (_closed(f), given) for f, given in sources.items()},
        "figures.save_all": (
            figures.save_all,
            {"source": finished, "folder": folder / "drawn", "formats": ["svg"]},
        ),
    }


def _closed(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A figure that is closed as soon as it is drawn; its parameters are the drawing's."""

    def drawn(**options: Any) -> None:
        import matplotlib.pyplot as plt

        draw(**options)
        plt.close("all")

    drawn.__signature__ = inspect.signature(draw)  # type: ignore[attr-defined]
    return drawn
