"""Which heads retrieve, does retrieval need just these, and what else do they do?

    python -m experiments.heads --preset organisms

It traces every head on the key-value task, ablates the best retrieval heads and random heads of the
same layers, and sweeps every head of the base over tasks of every skill.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from interp.attention import RetrievalHeads
    from interp.results import Sweep

QUESTION = "Which heads retrieve, is it they and no others, and what else do they do?"
NUMBERS = (1, 2, 4, 8)
DRAWS = 20
TOP = 8
SHOWN = 5
ALPHA = 0.05
GROUP = "best head as the study's script: its KV group, zero"
FAMILIES = ("heads", "attentions", "layers")


def jobs(preset: Preset) -> list[Job]:
    """The trace and the removals; heads, attentions and layers of the base on every task."""
    (task,) = preset.task_names("retrieval")
    removals = len(NUMBERS) * (1 + DRAWS) + 4
    found = []
    for role in preset.roles("base", "distilled"):
        found += [Job(role, task, "trace", ablations=0)]
        found += [Job(role, task, "removal", ablations=removals)]
    return found + _skill_jobs(preset)


def _skill_jobs(preset: Preset) -> list[Job]:
    tasks = preset.task_names("skills", "protocols")
    return [Job("base", task, family) for task in tasks for family in FAMILIES]


def run(preset: Preset, out: Path) -> Section:
    """Retrieval heads and their ablation in two models, and the heads of each skill in the base."""
    from interp import figures
    from interp.attention import by_gold_position, overlap
    from interp.labels import model_label
    from interp.results import choose_metric

    roles = preset.roles("base", "distilled")
    found = {role: retrieval(preset, out, role) for role in roles}
    heads, curve, more, replaced = (
        pd.concat([one[name] for one in found.values()], ignore_index=True)
        for name in ("heads", "removal", "contrasts", "replacements")
    )
    drops = choose_metric(runs.importance(preset, out, _skill_jobs(preset)))
    metric = dict(zip(drops["task"], drops["metric"], strict=True))
    heads_only = [job for job in _skill_jobs(preset) if job.family == "heads"]
    values = choose_metric(runs.values(preset, out, heads_only))
    shared = overlap(values, k=TOP, seed=preset.seed)
    parts = _explained(drops, metric)
    drawn = {
        "map": (figures.retrieval_map(heads, mark=TOP), "Retrieval score of every head."),
        "depth": (figures.depth(heads), "Retrieval score by layer."),
        "removal": (
            figures.removal(curve),
            "Key-value retrieval without the best retrieval heads, and without random ones.",
        ),
        "skills": (
            figures.importance_map(drops),
            f"Drop without each head of {model_label(preset.models['base'])}, by task.",
        ),
    }
    for role, one in found.items():
        name = model_label(preset.models[role])
        drawn[f"position-{role}"] = (
            figures.gold_position(by_gold_position(one["positions"], one["documents"])),
            f"Key-value retrieval of {name} by the place of the gold pair.",
        )
        drawn[f"example-{role}"] = (
            figures.example(one["example"]),
            f"What the best heads of {name} look at in one example.",
        )
    return Section(
        name="heads",
        question=QUESTION,
        findings=[*_removal_sentences(curve, more), *_overlap_sentences(shared)],
        figures=drawn,
        tables={
            "replacements": replaced,
            "contrasts": more,
            "overlap": shared,
            "layers-explained": parts,
        },
        shown=_best(heads),
        note=f"The best {SHOWN} heads of each model. Score: share of the answer's tokens on which "
        "the head's strongest attention lies while they are copied; n rightly answered examples; "
        "95% interval over examples (Student, Hall). Induction, previous token: TransformerLens' "
        "head detectors on repeated random tokens.",
    )


def retrieval(preset: Preset, out: Path, role: str) -> dict[str, pd.DataFrame]:
    """The heads of a model with their scores, their ablation, and the trace of one example.

    Returns:
        Tables heads, removal, contrasts, replacements, positions, documents, example.
    """
    (task,) = preset.task_names("retrieval")
    asked = {
        "model": preset.models[role],
        "task": task,
        "traced": preset.limit(task, "trace"),
        "removed": preset.limit(task, "removal"),
        "numbers": NUMBERS,
        "draws": DRAWS,
        "group": GROUP,
    }
    name = f"heads-{preset.models[role]}"
    return runs.reading(preset, out, name, asked, lambda: _traced(preset, out, role, task))


def _traced(preset: Preset, out: Path, role: str, task_name: str) -> dict[str, pd.DataFrame]:
    import interp
    from interp.attention import (
        detector_scores,
        removal_contrasts,
        removal_curve,
        removals,
        top_heads,
        trace_example,
    )
    from interp.results import choose_metric

    model, (task,) = preset.load(role), preset.load_tasks("retrieval")
    heads = interp.retrieval_heads(
        model, task, limit=preset.limit(task_name, "trace"), seed=preset.seed
    )
    print(heads)
    table = heads.table()
    places = (table["layer"].to_numpy(), table["head"].to_numpy())
    kinds = {kind: scores[places] for kind, scores in detector_scores(model).items()}
    plan = removals(heads, NUMBERS, draws=DRAWS, nearest=True, by="zero")
    ablations = [ablation for ablation, *_ in plan]
    ablations += [heads.top(TOP, by=by) for by in ("mean", "resample")]
    ablations.append(heads.keep(TOP, by="zero"))
    ablations.append(heads.top(1, by="group"))
    folder = out / "sweeps" / runs.plain(preset.models[role]) / f"{runs.plain(task_name)}-removal"
    limit = preset.limit(task_name, "removal")
    swept = interp.sweep(model, task, ablations, out=folder, limit=limit, seed=preset.seed)
    metric = choose_metric(swept.scores())["metric"].iloc[0]
    right = heads.trace.examples[heads.trace.examples["copied"]]["doc_id"]
    example = trace_example(model, task, int(right.iloc[0]), top_heads(heads.scores, 3))
    rows = task.documents()
    positions = {"doc_id": range(len(rows)), "gold_position": [r["gold_position"] for r in rows]}
    return {
        "heads": table.assign(**kinds),
        "removal": removal_curve(swept.scores(), plan, metric=metric),
        "contrasts": removal_contrasts(swept.gains(), plan, metric=metric, seed=preset.seed),
        "replacements": _replacements(swept, heads, metric),
        "positions": _positions(swept, heads, metric),
        "documents": pd.DataFrame(positions),
        "example": example.table(),
    }


def _replacements(swept: "Sweep", heads: "RetrievalHeads", metric: str) -> pd.DataFrame:
    """Zero, mean and resample ablation of the same heads and of all others, side by side."""
    names = {heads.top(TOP, by=by).text: f"top {TOP}, {by}" for by in ("zero", "mean", "resample")}
    names[heads.keep(TOP, by="zero").text] = f"upper layers, all but the best {TOP}"
    names |= {heads.top(1, by="zero").text: "best head, zero", heads.top(1, by="group").text: GROUP}
    table = swept.importance()
    table = table[(table["metric"] == metric) & table["ablation"].isin(names)]
    return table.assign(what=table["ablation"].map(names)).drop(columns="ablation")


def _positions(swept: "Sweep", heads: "RetrievalHeads", metric: str) -> pd.DataFrame:
    """Whether each example is right, in the unablated model and without the best heads."""
    names = {"baseline": "baseline", heads.top(1, by="zero").text: "Best head removed"}
    names[heads.top(TOP, by="zero").text] = f"Best {TOP} removed"
    chosen = swept.responses(ablations=list(names))
    chosen = chosen.assign(correct=chosen[metric], label=chosen["ablation"].map(names))
    return chosen[["model", "task", "doc_id", "ablation", "label", "correct"]]


def _explained(drops: pd.DataFrame, metric: dict[Any, Any]) -> pd.DataFrame:
    from interp.attention import explained

    parts = [explained(drops[drops["task"] == task], metric[task]) for task in metric]
    return pd.concat(parts, ignore_index=True)


def _best(heads: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import model_label

    best = heads.groupby("model", sort=False).head(SHOWN)
    return pd.DataFrame(
        {
            "Model": [model_label(model) for model in best["model"]],
            "Head": [f"L{n}H{h}" for n, h in zip(best["layer"], best["head"], strict=True)],
            "Score": [
                summary.interval(r["score"], r["low"], r["high"], 3)
                if r["low"] == r["low"]
                else f"{r['score']:.3f} [no spread]"
                for r in best.to_dict("records")
            ],
            "n": best["n"],
            "Attention to the gold value": best["gold_value"].map("{:.3f}".format),
            "Induction": best["induction_head"].map("{:.2f}".format),
            "Previous token": best["previous_token_head"].map("{:.2f}".format),
        }
    )


def _removal_sentences(curve: pd.DataFrame, more: pd.DataFrame) -> list[str]:
    from interp.labels import model_label

    found = []
    for model, rows in curve.groupby("model", sort=False):
        whole = rows[rows["k"] == 0].iloc[0]
        parts = []
        for k in sorted(set(rows["k"]) - {0}):
            top = rows[(rows["k"] == k) & (rows["kind"] == "top")].iloc[0]
            other = rows[(rows["k"] == k) & (rows["kind"] == "random")].iloc[0]
            own = more[(more["model"] == model) & (more["k"] == k)]
            parts.append(f"k = {k}: {_score(top)} against {_apart(own, other)}")
        found.append(
            f"{model_label(str(model))}, exact match (%) with the k best retrieval heads removed "
            f"[95% Wilson] against other sets from the same layers (mean [lowest, highest set], or "
            f"lowest to highest where the sets are not alike): whole model {_score(whole)}; "
            f"{'; '.join(parts)} (n = {int(whole['n'])} examples; the "
            "other sets are matched controls, all there are where fewer than asked; the intervals "
            "are over examples and hold for these sets, one at a time)."
        )
    return found


def _apart(own: pd.DataFrame, others: pd.Series) -> str:
    """What the other sets leave, and how much more the best heads cost.

    A mean stands for sets that are alike, and says little of sets that cost all or nothing. They
    are not alike where the intervals of the least and the largest difference do not overlap. Then
    the range is of the sets than which the best heads are shown to cost more.

    Args:
        own: the contrasts of one model and number of heads, a row per other set and their mean.
        others: the mean score of the other sets, and the lowest and highest of them.
    """
    from interp.attention import ALL

    sets, mean = own[own["control"] != ALL], own[own["control"] == ALL].iloc[0]
    ordered = sets.sort_values("difference")
    least, most = ordered.iloc[0], ordered.iloc[-1]
    if least["high"] < most["low"]:
        lost = ordered[ordered["low"] > 0]
        by = f": by {_span(lost)} points" if len(lost) else ""
        return (
            f"{others['low']:.0f} to {others['high']:.0f}, shown to lose more than {len(lost)} of "
            f"{len(sets)} other sets{by}{_not_shown(ordered)}"
        )
    named = "one other set" if len(sets) == 1 else f"mean of the {len(sets)} others"
    return f"{_draws(others)}, {_difference(mean)} points more lost than with the {named}"


def _span(ordered: pd.DataFrame) -> str:
    """The least and the largest difference of some sets, or the one there is."""
    ends = ordered if len(ordered) == 1 else ordered.iloc[[0, -1]]
    return " to ".join(_difference(row) for _, row in ends.iterrows())


def _not_shown(ordered: pd.DataFrame) -> str:
    """The sets of which it is not shown that the best heads cost more, with their differences."""
    rest = ordered[~(ordered["low"] > 0)]
    if rest.empty:
        return ""
    which = f"the other {len(rest)}"
    if len(rest) == 1:
        which = re.sub(r"head:(\d+)\.(\d+)", r"L\1H\2", f"{rest['control'].iloc[0]}")
    return f", not shown of {which}: {_span(rest)}"


def _difference(row: "pd.Series") -> str:
    return summary.interval(row["difference"], row["low"], row["high"])


def _draws(row: "pd.Series") -> str:
    """The mean and the range of the draws; a single draw has no range."""
    if row["low"] != row["low"]:
        return f"{row['value']:.0f}"
    return _score(row)


def _score(row: "pd.Series") -> str:
    return summary.interval(row["value"], row["low"], row["high"])


def _overlap_sentences(shared: pd.DataFrame) -> list[str]:
    """The pairs of tasks that share more heads than by chance, by a corrected p-value."""
    from interp.labels import task_label
    from interp.stats import adjust

    known = shared[shared["p"].notna()]
    if known.empty:
        return []
    tested = known[can_be_shown(known["least_p"])]
    tested = tested.assign(p_adjusted=adjust(tested["p"].to_numpy()))
    chosen = tested[tested["p_adjusted"] < ALPHA].sort_values("p_adjusted")
    words = [
        f"{task_label(r['task'])} and {task_label(r['other'])} ({r['shared']} of {r['n_task']} and "
        f"{r['n_other']}, n = {r['n_examples']}, p = {r['p_adjusted']:.2g})"
        for r in chosen.to_dict("records")
    ]
    return [
        f"Of {len(shared)} pairs of tasks of the base {len(tested)} can be tested for sharing more "
        f"important heads (p < 0.05, Holm over all heads; at most {TOP} a task) than tasks would "
        "that need as many heads anywhere in the same layers (hypergeometric layer by layer, Holm "
        f"over these pairs); shown to share more: {'; '.join(words) or 'none'}. Not testable: "
        f"{len(known) - len(tested)} pairs with so few important heads that even sharing as many "
        f"as possible would not be rare enough, and {len(shared) - len(known)} of which one has no "
        "important head."
    ]


def can_be_shown(least: pd.Series) -> pd.Series:
    """The tests that can reject with the correction for those that can (Tarone 1990).

    Args:
        least: the least p-value that each test can give.

    Returns:
        True for the tests to correct for; a test that can never reject costs the others nothing.
    """
    count = 1
    while (least <= ALPHA / count).sum() > count:
        count += 1
    return least <= ALPHA / count


if __name__ == "__main__":
    command("heads", run, jobs, about=QUESTION)
