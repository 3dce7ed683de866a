"""Does a layer's cost in perplexity predict what it costs on a task?

    python -m experiments.text_loss --preset organisms

Every layer is skipped on plain texts, scored by their loss, and on one benchmark under all
protocols. The rank correlations of the profiles over layers are disattenuated, with intervals.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Does a layer's cost in perplexity predict what it costs on a task?"
TEXTS = 40
NOT_TO_CONCLUDE = (
    "A rank correlation over the layers of one model is over few layers, and the first or last of "
    "them often carry it alone: look at the two profiles. That it is high says that the same "
    "layers stand at the top, not that a layer which costs no perplexity costs no task.",
    "The texts are those of the preset, not a sample of all text. Their loss is a mean over "
    "tokens, most of which are easy; a layer that matters for the few tokens that carry an answer "
    "hardly moves it. A task near its floor has no profile that anything could predict.",
)


def jobs(preset: Preset) -> list[Job]:
    """The sweeps of every layer that other experiments share, and the texts."""
    tasks = preset.task_names("protocols")
    return [Job("base", task, "layers") for task in tasks]


def run(preset: Preset, out: Path) -> Section:
    """Loss by skipped layer, and its correlation with the drops under each protocol."""
    import interp
    from interp import figures
    from interp.results import choose_metric
    from interp.stats import compare_profiles

    texts, what = texts_of(preset, TEXTS)
    file = out / "readings" / f"texts-{preset.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    folder = out / "sweeps" / runs.plain(preset.models["base"]) / "text-loss"
    sweep = interp.sweep(preset.load("base"), f"text:{file}", "layers", out=folder)
    loss = nats_a_token(sweep.values())
    tasks = choose_metric(runs.gains(preset, out, jobs(preset)))
    (name,) = set(loss["task"])
    one = {key: str(loss[key].iloc[0]) for key in ("model", "task", "metric")}
    pairs = [(one, other) for other in summary.profiles(tasks)]
    both = pd.concat([loss, tasks], ignore_index=True)
    agreement = compare_profiles(both, pairs, seed=preset.seed)
    drops = with_all_together(sweep.importance, metric="loss")
    return Section(
        name="text_loss",
        question=QUESTION,
        findings=[_sentence(drops, what)],
        figures={
            "loss": (
                figures.drops(drops, labels={str(name): "Loss on text"}),
                "Loss that skipping each layer adds, nats a token.",
            )
        },
        tables={"loss": drops, "agreement": agreement},
        shown=summary.agreement(agreement, runs.importance(preset, out, jobs(preset))),
        note=summary.AGREEMENT,
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def nats_a_token(values: pd.DataFrame) -> pd.DataFrame:
    """The log-likelihood per token of each text, in which larger is better.

    Args:
        values: the values of a sweep over texts (`Sweep.values`).

    Returns:
        The long table of `interp.stats` with one metric, `loss`.
    """
    keys = ["model", "task", "ablation", "doc_id"]
    total, tokens = (
        values[values["metric"] == f"loss,{name}"].set_index(keys)["value"]
        for name in ("log-likelihood", "weight")
    )
    return (total / tokens).rename("value").reset_index().assign(metric="loss")


def with_all_together(
    measure: Callable[..., pd.DataFrame], *, metric: str, confidence: float = 0.95
) -> pd.DataFrame:
    """The drops of one metric, with intervals that hold for all ablations together (Bonferroni).

    A drop of a mean over tokens is a ratio, of which `interp.stats.importance` gives no such band.

    Args:
        measure: `importance` of the sweep.
        metric: the metric to keep.
        confidence: the coverage of all intervals together.
    """
    drops = measure(confidence=confidence)
    drops = drops[drops["metric"] == metric].reset_index(drop=True)
    wide = measure(confidence=1 - (1 - confidence) / max(1, len(drops)))
    wide = wide[wide["metric"] == metric].reset_index(drop=True)
    return drops.assign(low_all=wide["low"], high_all=wide["high"])


def _sentence(drops: pd.DataFrame, what: str) -> str:
    first = drops.sort_values("drop", ascending=False).iloc[0]
    least = drops.sort_values("drop").iloc[0]
    cells = [
        f"{row['ablation'].replace(':', ' ')} "
        f"{summary.interval(row['drop'], row['low_all'], row['high_all'], 3)}"
        for row in (first, least)
    ]
    return (
        f"On {what}, skipping one layer adds between {cells[1]} and {cells[0]} nats a token "
        f"(whole model {abs(first['baseline']):.2f}; n = {first['n']} texts; the 95% intervals "
        f"hold for all {len(drops)} layers together)."
    )


if __name__ == "__main__":
    command("text_loss", run, jobs, about=QUESTION)
