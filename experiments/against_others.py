"""What others published about single layers, and what our runs say about the same layers.

python -m experiments.against_others              # runs of the study's preset, runs/experiments
python -m experiments.against_others RUN RUN ...  # these runs
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.presets import RUNS

if TYPE_CHECKING:
    from interp.results import Sweep

PAGE = Path(__file__).parent / "against-others.md"
NOT_RUN = "not run: no GPU was at hand"


@dataclass(frozen=True)
class Claim:
    """A published claim, and how our number is read from a run.

    Attributes:
        source: who published it, with an address.
        model: the model that was used, as the hub names it.
        task: the task of this toolkit that asks the same.
        says: the claim, in words.
        ours: a function from a run's table of drops and its baseline's score to what we found, in
            words.
        unlike: how their set-up differs from ours, or is unknown.
    """

    source: str
    model: str
    task: str
    says: str
    ours: Callable[[pd.DataFrame], str]
    unlike: str


def drops_of(*layers: int) -> Callable[[pd.DataFrame], str]:
    """The drops of some layers with their intervals, and their ranks among all."""

    def read(drops: pd.DataFrame) -> str:
        rank = drops["drop"].rank(ascending=False, method="min").astype(int)
        rows = {row["layer"]: row for row in drops.assign(rank=rank).to_dict("records")}
        said = [
            f"layer {n}: {_drop(rows[n])}, rank {rows[n]['rank']} of {len(rows)}"
            for n in layers
            if n in rows
        ]
        return f"baseline {drops['baseline'].iloc[0]:.1f}; {'; '.join(said) or 'no such layer'}"

    return read


def largest(number: int) -> Callable[[pd.DataFrame], str]:
    """The layers with the largest drops."""

    def read(drops: pd.DataFrame) -> str:
        rows = drops.sort_values("drop", ascending=False, kind="stable").head(number)
        said = "; ".join(f"layer {row['layer']:.0f}: {_drop(row)}" for _, row in rows.iterrows())
        return f"baseline {drops['baseline'].iloc[0]:.1f}; largest {said}"

    return read


def gains(first: int, last: int) -> Callable[[pd.DataFrame], str]:
    """How many layers of a range raise the score when skipped, by value and by interval."""

    def read(drops: pd.DataFrame) -> str:
        rows = drops[drops["layer"].between(first, last)]
        shown = rows[rows["high_all"] < 0]["layer"].tolist()
        certain = ", ".join(map(str, shown)) or "none"
        return (
            f"of layers {first}-{last}, {int((rows['drop'] < 0).sum())} of {len(rows)} raise the "
            f"score when skipped; shown (simultaneous intervals): {certain}"
        )

    return read


def _drop(row: Mapping[Any, Any] | pd.Series) -> str:
    return f"{row['drop']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


_LESS = "[When Less is More](https://trish-ai.github.io/2026-01-25/when-less-is-more), 2026"
_NEPAL = (
    "[Nepal et al., arXiv 2506.22638v2](https://arxiv.org/html/2506.22638v2), by its summary at "
    "[emergentmind.com](https://www.emergentmind.com/articles/2506.22638)"
)
_STUDY = "[Song et al., arXiv 2510.02091v4](https://arxiv.org/html/2510.02091v4)"
_LLAMA, _QWEN3, _QWEN = "meta-llama/Llama-3.1-8B", "Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B"
_UNSAID = "number of examples, few-shot examples and answer extraction are not known to us"

CLAIMS = (
    Claim(
        _LESS, _LLAMA, "gsm8k:generate", "without layer 28: 59%; whole: 48%", drops_of(28), _UNSAID,
    ),
    Claim(
        _LESS, _LLAMA, "gsm8k:generate",
        "layers 0 and 1 catastrophic, the last (31) critical", drops_of(0, 1, 31), _UNSAID,
    ),
    Claim(
        _LESS, _LLAMA, "gsm8k:generate", "layers 24 to 29 a cluster of gains", gains(24, 29),
        _UNSAID,
    ),
    Claim(
        _LESS, "mistralai/Mistral-7B-v0.1", "gsm8k:generate", "a gain without layer 29",
        drops_of(29), _UNSAID,
    ),
    Claim(
        _NEPAL, _LLAMA, "gsm8k:generate", "layers 15 and 18 are the critical ones for mathematics",
        drops_of(15, 18), "other prompts; layers are taken to be numbered from 0",
    ),
    Claim(
        _NEPAL, _QWEN, "gsm8k:generate", "layer 23 is the critical one for mathematics",
        drops_of(23), "other prompts; layers are taken to be numbered from 0",
    ),
    Claim(
        _STUDY + ", as another project's notes quote it", _QWEN3, "gsm8k:generate",
        "largest drops at layers 6, 23 and 35", drops_of(6, 23, 35),
        "second hand; few-shot counts and sample sizes are not known to us",
    ),
    Claim(
        _STUDY, _LLAMA, "mmlu:default",
        "by likelihood only the first few layers are critical (abstract)", largest(5),
        "no numbers in text; the figure was not read",
    ),
    Claim(
        _STUDY, _LLAMA, "mmlu:generate",
        "by generation middle and deeper layers are indispensable (abstract)", largest(5),
        "no numbers in text; the figure was not read",
    ),
)  # fmt: skip
"""Claims about layers that one sweep of layers can answer; each source was read, or is said to be
second hand."""


def found_runs(folder: Path) -> "list[Sweep]":
    """The finished sweeps of layers below a folder of experiments."""
    from interp.results import open_run

    runs = [open_run(path.parent) for path in sorted(folder.glob("sweeps/*/*/manifest.json"))]
    return [run for run in runs if not run.problems()]


def answer(claim: Claim, runs: "Iterable[Sweep]") -> str:
    """What our runs say about a claim; or why they say nothing."""
    for run in runs:
        asked = {task.name for task in run.manifest.tasks}
        layers = [text for text in run.manifest.ablations if text.startswith("layer:")]
        same = run.manifest.model.rstrip("/").endswith(claim.model.rpartition("/")[2])
        if not (same and claim.task in asked and layers):
            continue
        drops = run.importance(metric=None)
        drops = drops[(drops["task"] == claim.task) & (drops["kind"] == "layer")]
        if drops.empty:
            continue
        from interp.results import choose_metric

        chosen = choose_metric(drops)
        n, metric = int(chosen["n"].iloc[0]), chosen["metric"].iloc[0]
        return f"{claim.ours(chosen)} ({metric}, n = {n}, {run.manifest.dtype})"
    return NOT_RUN


def page(runs: "Sequence[Sweep]") -> str:
    """The comparison as Markdown."""
    lines = [
        "# Against what others published",
        "",
        "Made by `python -m experiments.against_others`, which reads finished sweeps; nothing in "
        "the last column is written by hand. Sweeps to fill it: `python -m experiments reasoning "
        "protocols --preset study`, and with `--model base=Qwen/Qwen3-8B` (or another of the "
        "models below) for those that the preset does not ask. A drop is baseline minus ablated, "
        "in points, with its 95% interval; a negative one is a gain.",
        "",
        "| source | model | claim | unknown of theirs, or unlike | ours |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.source} | {one.model} | {one.task}: {one.says} | {one.unlike} | "
        f"{answer(one, runs)} |"
        for one in CLAIMS
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the page."""
    from interp.errors import UserError
    from interp.results import open_run

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="sweeps; by default those below --out")
    parser.add_argument("--out", type=Path, default=RUNS, help=f"of the experiments ({RUNS})")
    options = parser.parse_args()
    try:
        runs = [open_run(run) for run in options.runs] or found_runs(options.out)
        PAGE.write_text(page(runs), encoding="utf-8")
    except UserError as error:
        sys.exit(f"error: {error}")
    print(PAGE)


if __name__ == "__main__":
    main()
