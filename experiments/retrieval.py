"""Which layers and heads retrieve, and does a passage with the answer make a layer dispensable?

    python -m experiments.retrieval --preset organisms

Key-value retrieval without each layer and without each head; and questions alone and after a
passage that states the answer. `study`: 75 pairs of UUIDs; OpenBookQA without and with its fact.
For the organisms: 16 pairs of words; the questions about facts, alone and after the fact itself
(`passages/`), which the organisms have also learnt.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Which layers and heads retrieve, and what does a passage with the answer change?"
MOST_ALONE = 99.0
"""The score without the passage, in percent, from which on a gain has no room to show."""


def jobs(preset: Preset) -> list[Job]:
    """Layers and heads on key-value retrieval; layers on the pairs of questions."""
    kv, passage = preset.task_names("retrieval"), preset.task_names("passage")
    roles = preset.roles("base", "other")
    layers = [Job(role, task, "layers") for role in roles for task in (*kv, *passage)]
    return layers + [Job(role, task, "heads") for role in roles for task in kv]


def run(preset: Preset, out: Path) -> Section:
    """Retrieval by layer and by head, and the drop of each layer with and without the passage."""
    from interp import figures
    from interp.results import choose_metric

    kv, passage = preset.task_names("retrieval"), preset.task_names("passage")
    layers = [job for job in jobs(preset) if job.family == "layers"]
    by_task = {name: [j for j in layers if j.task in group] for name, group in
               (("kv", kv), ("passage", passage))}  # fmt: skip
    scores = {name: runs.scores(preset, out, asked) for name, asked in by_task.items()}
    drops = {name: runs.importance(preset, out, asked) for name, asked in by_task.items()}
    heads = [job for job in jobs(preset) if job.family == "heads"]
    head_drops = choose_metric(runs.importance(preset, out, heads))
    gains = passage_gain(runs.values(preset, out, by_task["passage"]), seed=preset.seed)
    tables = {f"{name}-layers": table for name, table in scores.items()}
    tables |= {"kv-heads": head_drops, "passage-gain": gains}
    matters = [
        summary.what_matters(scores["kv"], drops["kv"]),
        summary.what_matters(scores["passage"], drops["passage"]),
        summary.what_matters(runs.scores(preset, out, heads), head_drops),
    ]
    return Section(
        name="retrieval",
        question=QUESTION,
        findings=_gain_sentences(gains),
        figures={
            "kv-layers": (
                figures.compared.by_model(scores["kv"]),
                "Key-value retrieval without one layer.",
            ),
            "kv-heads": (
                figures.importance_map(head_drops),
                "Key-value retrieval without one head: drop in points.",
            ),
            "passage-layers": (
                figures.layers(scores["passage"]),
                "The same questions alone and behind a passage that states the answer.",
            ),
        },
        tables=tables,
        shown=pd.concat(matters, ignore_index=True),
        note=summary.note(
            pd.concat([drops["kv"], drops["passage"], head_drops], ignore_index=True),
            "layers or heads",
        ),
    )


def passage_gain(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The gain from the passage under each ablation in points, paired over the questions.

    Args:
        values: the values of the two tasks of the pair under the same ablations; their rows are the
            same questions in the same order.
        seed: the seed of the bootstrap.

    Returns:
        Columns model, ablation, alone, given, gain, low, high, p, p_adjusted, n, interval, test,
        correction. A gain is positive if the passage helps.
    """
    from interp.results import choose_metric
    from interp.stats import adjust, importance

    chosen = choose_metric(values)
    alone, given = dict.fromkeys(chosen["task"])
    tables = []
    for (model, ablation), group in chosen.groupby(["model", "ablation"], sort=False):
        # under each ablation, the drop from adding the passage is minus its gain
        named = group.assign(
            task="pair", metric="right", ablation=group["task"].map({alone: "baseline", given: "x"})
        )
        row = importance(named, seed=seed, correction="none")
        tables.append(row.assign(model=str(model), ablation=str(ablation)))
    table = pd.concat(tables, ignore_index=True)
    adjusted = table.groupby("model")["p"].transform(lambda p: adjust(p.to_numpy()))
    return pd.DataFrame(
        {
            "model": table["model"], "ablation": table["ablation"], "alone": table["baseline"],
            "given": table["ablated"], "gain": -table["drop"], "low": -table["high"],
            "high": -table["low"], "p": table["p"], "p_adjusted": adjusted, "n": table["n"],
            "interval": table["interval"], "test": table["test"], "correction": "holm",
        }
    )  # fmt: skip


def _gain_sentences(gains: pd.DataFrame) -> list[str]:
    from interp.labels import model_label

    found = []
    for model, rows in gains.groupby("model", sort=False):
        whole = rows[rows["ablation"] == "baseline"].iloc[0]
        found.append(
            f"{model_label(str(model))}, gain by the passage in points: {_of_whole(whole)}; "
            f"{_of_layers(rows[rows['ablation'] != 'baseline'])} (adjusted p < 0.05, "
            f"{' or '.join(dict.fromkeys(rows['test']))}, Holm over {len(rows)} comparisons; "
            f"n = {whole['n']}; 95% intervals, paired)."
        )
    return found


def _of_whole(whole: pd.Series) -> str:
    """The whole model's gain; where it is right without the passage, that it cannot have one."""
    if whole["alone"] < MOST_ALONE:
        return f"whole model {_gain(whole)}"
    return (
        f"none is possible for the whole model, which is right in {whole['alone']:.0f}% without "
        "the passage (at the ceiling)"
    )


def _of_layers(rows: pd.DataFrame) -> str:
    """The layers without which the passage is shown to help; otherwise the largest estimate."""
    strong = rows[rows["p_adjusted"] < 0.05]
    if len(strong):
        return "; ".join(f"{_without(row)} {_gain(row)}" for row in strong.to_dict("records"))
    largest: dict[Any, Any] = rows.iloc[int(rows["gain"].argmax())].to_dict()
    return (
        f"no gain is shown without any one layer, the largest estimate {_without(largest)} "
        f"{_gain(largest)}, adjusted p {largest['p_adjusted']:.2g}"
    )


def _without(row: dict[Any, Any]) -> str:
    return f"without {row['ablation'].replace(':', ' ')}"


def _gain(row: "pd.Series | dict[Any, Any]") -> str:
    return summary.interval(row["gain"], row["low"], row["high"])


if __name__ == "__main__":
    command("retrieval", run, jobs, about=QUESTION)
