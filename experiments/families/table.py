"""The table of architectures: `table.csv`, and the page of the documentation."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

from experiments.families.checks import REGIMES, USES, Found
from experiments.families.configurations import (
    N_LAYERS,
    built_by_transformers,
    registered,
)
from experiments.families.further import FURTHER

TABLE = Path(__file__).parent / "table.csv"
PAGE = Path(__file__).parents[2] / "docs" / "method" / "models.md"
FAULTS = ("wrong", "raises")
SHOWN = {"exact": "yes", "refused": "no"}
COLUMNS = {
    "layers": ("layer scored", "layer generated"),
    "attentions": ("attn scored", "attn generated"),
    "MLPs": ("mlp scored", "mlp generated"),
    "heads": ("head scored", "head generated"),
    "experts": ("expert scored", "expert generated"),
    **{regime: (regime,) for regime in REGIMES},
    "lens": ("lens",),
    "attention rows": ("attention rows",),
    "pruned folder": ("pruned folder",),
    **{use: (use,) for use in FURTHER},
}
"""Columns of the page, and the uses that each stands for."""


def write_rows(rows: Iterable[Found]) -> None:
    """Write the table whole, in the order of the registry and of the uses."""
    places = {name: at for at, name in enumerate(registered())}
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Found)], lineterminator="\n")
        writer.writeheader()
        for row in sorted(rows, key=lambda row: (places[row.architecture], USES.index(row.use))):
            writer.writerow(asdict(row) | {"difference": f"{row.difference:.1e}"})


def read_rows() -> list[Found]:
    """The rows that are there."""
    if not TABLE.is_file():
        return []
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Found(
                row["architecture"],
                row["use"],
                row["outcome"],  # type: ignore[arg-type]
                float(row["difference"]),
                int(row["tried"]),
                row["reason"],
            )
            for row in csv.DictReader(file)
        ]


def write_page() -> None:
    """Write the page that says which models run, how far, and why not further."""
    PAGE.write_text(page(read_rows()), encoding="utf-8")


def page(rows: Sequence[Found]) -> str:
    """The page as Markdown."""
    by_name: dict[str, dict[str, Found]] = {}
    for row in rows:
        by_name.setdefault(row.architecture, {})[row.use] = row
    run = {name: uses for name, uses in by_name.items() if uses["load"].outcome == "exact"}
    left = {name: uses["load"] for name, uses in by_name.items() if name not in run}
    refused = {name: row for name, row in left.items() if row.outcome != "not built"}
    unbuilt = {name: row for name, row in left.items() if name not in refused}
    waiting = [name for name in built_by_transformers() if name not in by_name]
    others = [name for name in registered() if name not in built_by_transformers()]
    worst = max((row.difference for row in rows if row.outcome == "exact"), default=0.0)
    return "\n".join(
        [
            *_introduction(worst),
            f"| architecture | {' | '.join(COLUMNS)} |",
            f"| --- |{' --- |' * len(COLUMNS)}",
            *(
                f"| {name} | {' | '.join(_cell(uses, column) for column in COLUMNS.values())} |"
                for name, uses in run.items()
            ),
            "",
            "## Why not",
            "",
            *_reasons(run),
            "",
            *_not_tried(waiting, unbuilt),
            "## Refused as a whole",
            "",
            "| architecture | why |",
            "| --- | --- |",
            *(f"| {name} | {_plain(row.reason)} |" for name, row in refused.items()),
            "",
            "The following are in TransformerLens' registry, and transformers has no class of that "
            "name that predicts text: encoders, models of sounds and images, encoder-decoder "
            "models, and models that come with code of their own. `interp.load_model` refuses "
            f"them in one line: {', '.join(others)}.",
            "",
        ]
    )


def _introduction(worst: float) -> list[str]:
    """What the table says and how it was made."""
    return [
        "# Which models",
        "",
        "Made by `python -m experiments.families`; nothing in it is written by hand. Each "
        "architecture that TransformerLens maps and transformers builds is made from a small "
        f"random configuration ({N_LAYERS} layers, width 32, float32), saved, loaded by "
        "`interp.load_model`, and compared with plain transformers: edited weights and deleted "
        "layers, one row at a time, without a cache. All rows of a model are scored "
        "together: of 5 to 34 tokens, beside sliding windows of 8 and, in Phi-3, a rotary "
        "table that LongRoPE exchanges at 16; three of the four behind a shared start. The "
        "token of padding lies outside the embedding. An expert is compared with one of whose "
        "weights nothing is left (`expert:1.1@unnormalised`).",
        "",
        "*yes*: every log-likelihood, probability and attention weight within 1e-4 (largest "
        f"found: {worst:.0e}), every generated token the same. *some*: so in the layers that "
        "have such a part, refused in one line in the others. *no*: refused in one line before "
        "any work. "
        f"transformers {version('transformers')}, transformer-lens "
        f"{version('transformer-lens')}, torch {version('torch').partition('+')[0]}; all "
        "values stand in `experiments/families/table.csv`.",
        "",
    ]


def _not_tried(waiting: Sequence[str], unbuilt: Mapping[str, Found]) -> list[str]:
    """Of which architectures the table says nothing."""
    lines = []
    if waiting:
        lines.append(
            f"Mapped, and not tried yet (`python -m experiments.families --missing` tries them): "
            f"{', '.join(waiting)}. Nothing is said of these."
        )
    for name, row in unbuilt.items():
        lines.append(f"{name} could not be built where the table was made ({_plain(row.reason)}).")
    body = [part for line in lines for part in (line, "")]
    return ["## Not in the table", "", *body] if lines else []


def _cell(uses: dict[str, Found], columns: Sequence[str]) -> str:
    found = [uses[use] for use in columns if use in uses]
    if not found:
        return ""
    if any(row.outcome in FAULTS for row in found):
        return "**fault**"
    if all(row.outcome == "refused" for row in found):
        return "no"
    partly = any(row.outcome == "refused" or row.reason for row in found)
    return "some" if partly else "yes"


def _reasons(run: dict[str, dict[str, Found]]) -> list[str]:
    lines = []
    for name, uses in run.items():
        reasons = dict.fromkeys(
            _plain(uses[use].reason) for use in USES if use in uses and uses[use].reason
        )
        if reasons:
            lines.append(f"- {name}: {'. '.join(reasons)}.")
    return lines


def _plain(reason: str) -> str:
    """A refusal without the name of the folder, fit for a cell."""
    words = reason.split()
    text = " ".join(word for word in words if "/model" not in word and word != "model:")
    return text.removeprefix("model ").replace("|", "/").rstrip(".")
