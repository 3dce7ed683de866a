"""Doors of `doors.py` that take a model, and the values that describe ablations."""

from pathlib import Path
from typing import Any

import yaml

from experiments.store.doors import OUT, Doors

HOOK = ("blocks.1.hook_mlp_out", lambda value, hook: value)
LISTED = "{{choices[0]}} w4 {{choices[1]}} w5 {{choices[2]}} w6 {{choices[3]}} {{question}}"
TEXTS = ["w5 w6 w7 w8", "w7 w8 w9 w10", "w10 w11 w12 w13 w14"]
PAIRS = [("w5 w6", "w20"), ("w7", "w21"), ("w8", "w22"), ("w9 w10", "w23")]
COPYING = {
    "output_type": "generate_until",
    "doc_to_text": "w60 {{pairs_text}} w61 {{key}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["w62"], "max_gen_toks": 2},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def copying_task(rows: int = 8) -> Any:
    """A key-value task in the words of `tiny_model`."""
    from interp.tasks import PLAIN, task_of_rows

    made = []
    for n in range(rows):
        pairs = PAIRS[n % 4 :] + PAIRS[: n % 4]
        gold = n % 3
        made.append({"pairs": pairs, "pairs_text": PLAIN.write(pairs)[0], "key": pairs[gold][0],
                     "gold_position": gold, "answer": pairs[gold][1]})  # fmt: skip
    return task_of_rows("tiny-kv:generate", made, COPYING)


def listed_task(task: Path) -> Path:
    """The task with its options in the prompt, so that their order can be changed."""
    path = task.with_name("listed.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(task.read_text()) | {"doc_to_text": LISTED}))
    return path


def values(bridge: Any) -> Doors:
    """Ablations as values, as text, and whole families of them."""
    import interp

    one = {"layer": 1}
    families = ("each_layer", "each_attention", "each_mlp", "each_head", "each_kv_group",
                "each_exchange", "each_repeat", "each_parallel", "each_back_patch", "each_window",
                "each_replaced", "cumulative")  # fmt: skip
    return {
        **{name: (getattr(interp, name), one) for name in
           ("SkipLayer", "SkipAttention", "SkipMLP", "Replace", "Exchange", "SwapLayer")},
        **{name: (getattr(interp, name), {"first": 0, "last": 1}) for name in
           ("SkipLayers", "Repeat", "Reverse", "Parallel")},
        **{name: (getattr(interp, name), {"model": bridge}) for name in families},
        "AblateHead": (interp.AblateHead, one | {"head": 0}),
        "StreamingHead": (interp.StreamingHead, one | {"head": 0}),
        "AblateExpert": (interp.AblateExpert, one | {"expert": 0}),
        "AblateKVGroup": (interp.AblateKVGroup, one | {"group": 0}),
        "Order": (interp.Order, {"order": (2, 1, 0)}),
        "Patch": (interp.Patch, one | {"site": "resid"}),
        "BackPatch": (interp.BackPatch, {"source": 2, "target": 0}),
        "Cut": (interp.Cut, {"first": 0, "last": 1, "queries": "last", "keys": "gold"}),
        "Scoped": (interp.Scoped, {"ablation": interp.SkipLayer(1), "scope": "prompt"}),
        "hooked": (interp.hooked, {"name": "x", "fwd_hooks": [HOOK]}),
        "parse": (interp.parse, {"text": "layer:1"}),
        "sliding_blocks": (interp.sliding_blocks, {"model": bridge, "size": 2}),
        "each_patch": (interp.each_patch, {"model": bridge, "site": "resid"}),
        "each_cut": (interp.each_cut, {"model": bridge, "width": 2}),
        "each_swap": (interp.each_swap, {"model": bridge, "donor": bridge}),
        "as_ablation": (interp.ablations.as_ablation, {"given": ["layer:1"]}),
        "as_ablations": (interp.ablations.as_ablations, {"model": bridge, "given": "layers"}),
        "family": (interp.ablations.family, {"text": "layers", "model": bridge}),
        "every_pair": (interp.ablations.every_pair, {"model": bridge}),
        "checked_edits": (
            interp.ablations.checked_edits, {"model": bridge, "ablation": "layer:1"},
        ),
        "cumulative_swaps": (
            interp.ablations.cumulative_swaps, {"model": bridge, "donor": bridge},
        ),
    }  # fmt: skip


def calls(bridge: Any, model: Path, task: Path, finished: Any) -> Doors:
    """Calls that load or run a model of three layers on a task of four examples."""
    import interp

    return {
        **_files(model, task, finished),
        **_runs(bridge, task),
        **_readings(bridge),
        **_on_texts(bridge, model, task),
        "twins": (interp.twins, {"model": bridge, "task": copying_task()}),
        "generate": (interp.generate, {"model": bridge, "prompt": "w5", "max_new_tokens": 1}),
        "stream": (
            lambda **given: list(interp.stream(**given)),
            {"model": bridge, "prompt": "w5", "max_new_tokens": 1},
        ),
        "ablate": (_entered, {"model": bridge, "ablation": "layer:1"}),
    }


def _entered(
    model: Any, ablation: Any, donor: Any = None, reference: Any = None
) -> None:  # the parameters of `interp.ablate`
    import interp

    with interp.ablate(model, ablation, donor=donor, reference=reference):
        pass


def _files(model: Path, task: Path, finished: Any) -> Doors:
    import interp
    from interp.ablations import prune, rearrange

    loaded = interp.load_task(str(task))
    return {
        "open_run": (interp.open_run, {"folder": finished.folder}),
        "results.open_run": (interp.results.open_run, {"folder": finished.folder}),
        "kind_of": (interp.results.kind_of, {"folder": finished.folder}),
        "load_model": (interp.load_model, {"name": model, "device": "cpu"}),
        "load_task": (interp.load_task, {"name": str(task)}),
        "with_draws": (interp.with_draws, {"task": copying_task(), "temperature": 0.5}),
        "with_budget": (interp.tasks.with_budget, {"task": copying_task(), "max_gen_toks": 3}),
        "task_of_rows": (
            interp.tasks.task_of_rows,
            {"name": "x:generate", "rows": copying_task().documents(), "config": COPYING},
        ),
        "key_value_task": (interp.tasks.key_value_task, {"n_pairs": 4, "rows": 4}),
        "halves_of_pairs": (interp.tasks.halves_of_pairs, {"pairs": _pairs(loaded)}),
        "prune": (prune, {"name": model, "ablation": "layer:1", "out": OUT}),
        "rearrange": (rearrange, {"name": model, "program": "exchange:0", "out": OUT}),
        "write_report": (
            interp.report.write_report,
            {"runs": [finished], "path": Path("report.html")},
        ),
        "export_harness": (interp.results.export_harness, {"run": finished, "folder": OUT}),
        "export_tables": (interp.results.export_tables, {"run": finished, "folder": OUT}),
    }


def _pairs(loaded: Any) -> Any:
    from interp.tasks import task_of_rows

    rows = [{"prompt": f"w5 w{n}", "twin": f"w6 w{n}", "options": ["w7", "w8"], "gold": 0}
            for n in range(10, 20)]  # fmt: skip
    config = {"output_type": "multiple_choice", "doc_to_text": "{{prompt}}",
              "doc_to_choice": "options", "doc_to_target": "gold"}  # fmt: skip
    return task_of_rows("twins-x", rows, config)


def _runs(bridge: Any, task: Path) -> Doors:
    import interp
    from interp import similarity

    on, chosen = {"model": bridge, "tasks": str(task), "out": OUT}, {"ablations": "layer:1"}
    two = {"a": bridge, "b": bridge}
    pairs = interp.twins(bridge, copying_task())
    return {
        "sweep": (interp.sweep, on | chosen),
        "vary": (interp.vary, on | chosen | {"tasks": listed_task(task), "option_orders": 2}),
        "compare": (interp.compare, {"models": two, "tasks": [str(task)], "out": OUT} | chosen),
        "swap_sweep": (
            interp.comparison.swap_sweep,
            on | {"donor": bridge, "parts": ["mlp"], "limit": 2},
        ),
        "swap_ablations": (
            interp.comparison.swap_ablations, {"model": bridge, "donor": bridge},
        ),
        "greedy_removal": (similarity.greedy_removal, on | {"most": 1}),
        "layer_shapley": (similarity.layer_shapley, on | {"orders": 3}),
        "pruning_curves": (
            similarity.pruning_curves, on | {"orders": [similarity.deepest_first(3, 1)]},
        ),
        "patch_search": (
            interp.sweeps.patch_search, {"model": bridge, "pairs": pairs, "out": OUT},
        ),
        "patched": (interp.sweep, on | {"tasks": pairs, "ablations": "patches:mlp@last"}),
        "cuts": (interp.sweep, on | {"tasks": pairs, "ablations": "cuts:1@last/prompt"}),
    }  # fmt: skip


_METHODS_OF_HEADS: dict[str, dict[str, Any]] = {
    "table": {}, "by": {"column": "n_pairs"}, "top": {"k": 1}, "keep": {"k": 1}, "summary": {},
    "random": {"k": 1, "draws": 1, "seed": 0},
}  # fmt: skip


def _readings(bridge: Any) -> Doors:
    import interp
    from interp import attention, lens

    task = copying_task()
    on = {"model": bridge, "task": task}
    found = interp.retrieval_heads(**on, copied_only=False)
    return {
        "logit_lens": (interp.logit_lens, on | {"limit": 2, "out": OUT}),
        "direct_logit_attribution": (lens.direct_logit_attribution, on | {"limit": 2}),
        "lens.self_repair": (lens.self_repair, on | {"limit": 3, "ablations": "mlp:1"}),
        "prompt_grid": (lens.prompt_grid, {"model": bridge, "prompt": "w5 w6"}),
        "patchscope": (lens.patchscope, {"model": bridge, "source": "w5 w6", "target": "w7 w8"}),
        "depths": (lens.depths, {"n_layers": 3}),
        "train_tuned_lens": (
            lens.train_tuned_lens,
            {"model": bridge, "texts": ["w5 w6 w7 w8 w9"] * 12, "source": "x",
             "training": lens.Training(steps=1)},
        ),
        "Training": (lens.Training, {}),
        "retrieval_heads": (interp.retrieval_heads, on | {"copied_only": False, "out": OUT}),
        "detector_scores": (
            attention.detector_scores, {"model": bridge, "length": 4, "sequences": 2},
        ),
        "trace_example": (
            attention.trace_example, on | {"doc_id": 0, "heads": [(0, 0)]},
        ),
        "query_focused_heads": (
            attention.query_focused_heads, on | {"queries": "last", "keys": "gold"},
        ),
        "attention_rows": (interp.attention_rows, {"model": bridge, "prompt": "w5 w6"}),
        "removals": (attention.removals, {"heads": found, "numbers": [1], "draws": 2}),
        "head_agreement": (attention.head_agreement, {"one": found, "other": found, "top": 2}),
        **{f"RetrievalHeads.{name}": (getattr(found, name), given) for name, given in
           _METHODS_OF_HEADS.items()},
    }  # fmt: skip


def _on_texts(bridge: Any, model: Path, task: Path) -> Doors:
    import interp
    from interp import comparison, similarity

    texts = {"model": bridge, "texts": TEXTS}
    two = {"a": bridge, "b": bridge}
    return {
        "layer_similarity": (
            interp.layer_similarity,
            {"model": bridge, "source": TEXTS, "out": OUT},
        ),
        "cka_between": (
            similarity.cka_between,
            {"model": bridge, "other": bridge, "source": str(task)},
        ),
        "downstream_effects": (similarity.downstream_effects, texts),
        "influence_by_part": (similarity.influence_by_part, texts),
        "study_angular_distance": (similarity.study_angular_distance, texts),
        "at_random": (similarity.at_random, {"n_layers": 3, "most": 2}),
        "deepest_first": (similarity.deepest_first, {"n_layers": 3, "most": 2}),
        "weights_between": (comparison.weights_between, {"models": two}),
        "weight_distances": (comparison.weight_distances, {"model": bridge, "other": bridge}),
        "swaps_between": (
            comparison.swaps_between,
            {"models": two, "tasks": [str(task)], "out": OUT, "limit": 2},
        ),
    }
