"""The result of an experiment, how it is written, and the command of every experiment.

The contract of a module of this folder, `experiments.NAME`:

- `QUESTION`: one sentence.
- `jobs(preset) -> list[Job]`: what it runs, for the estimate; shared jobs are run once.
- `run(preset, out) -> Section`: the tables, the figures and the findings; sweeps through
  `experiments.runs.finished`, so that a second call finishes at once.
- at its end `if __name__ == "__main__": command(__name__ ...)`, which writes the section.

All files are written to `OUT/results`: `NAME.md`, `NAME-FIGURE.{pdf,svg,png,csv}`,
`NAME-TABLE-table.csv`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments.presets import Preset, add_options, chosen_preset
from experiments.runs import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Section:
    """The result of one experiment.

    Attributes:
        name: the name of the module.
        question: its `QUESTION`.
        findings: sentences, in which each number has its n and its interval.
        figures: for each name a figure and its caption.
        tables: for each name a table, which is written as CSV.
        shown: a table of words for the page; its column names are the header.
        note: the note under `shown`: n, interval, test and correction.
        further: further tables of words, each with its note.
        not_to_conclude: paragraphs on what the result does not show.
    """

    name: str
    question: str
    findings: Sequence[str]
    figures: Mapping[str, "tuple[Figure, str]"]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shown: pd.DataFrame | None = None
    note: str = ""
    further: Sequence[tuple[pd.DataFrame, str]] = ()
    not_to_conclude: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Section({self.name}: {len(self.figures)} figures, {len(self.tables)} tables)"


def write(section: Section, out: Path) -> list[Path]:
    """Write a section's tables, figures and page.

    Returns:
        The paths of the files, the page first.
    """
    from interp import figures

    folder = out / "results"
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, (figure, _) in section.figures.items():
        written += figures.save(figure, folder / f"{section.name}-{name}")
    for name, table in section.tables.items():
        path = folder / f"{section.name}-{name}-table.csv"
        table.to_csv(path, index=False)
        written.append(path)
    page = folder / f"{section.name}.md"
    page.write_text(markdown(section))
    return [page, *written]


def markdown(section: Section) -> str:
    """A section as Markdown, with a heading of the second level."""
    lines = [f"## {section.question}", "", f"`python -m experiments.{section.name}`", ""]
    lines += [f"- {sentence}" for sentence in section.findings]
    shown = [] if section.shown is None else [(section.shown, section.note)]
    for table, note in (*shown, *section.further):
        lines += ["", *table_lines(table), "", note]
    for name, (_, caption) in section.figures.items():
        lines += ["", f"![{caption}]({section.name}-{name}.png)", "", f"*{caption}*"]
    if section.not_to_conclude:
        lines += ["", "### What not to conclude"]
        lines += [line for words in section.not_to_conclude for line in ("", words)]
    files = [f"[{name}]({section.name}-{name}.csv)" for name in section.figures]
    files += [f"[{name} (table)]({section.name}-{name}-table.csv)" for name in section.tables]
    return "\n".join([*lines, "", f"Data: {', '.join(files)}.", ""])


def table_lines(table: pd.DataFrame) -> list[str]:
    """A table of words in Markdown."""
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in table.to_numpy()]
    head = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    return [f"| {row} |" for row in [*head, *(" | ".join(cells) for cells in rows)]]


def command(
    name: str,
    run: Callable[[Preset, Path], Section],
    jobs: Callable[[Preset], list[Job]],
    *,
    about: str | None = None,
) -> None:
    """The command of one experiment: estimate, run, write, and print where the files are.

    Args:
        name: the name of the module.
        run: its `run`.
        jobs: its `jobs`.
        about: the text of `--help`.
    """
    from experiments.hours import announce
    from interp.errors import UserError

    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=about)
    add_options(parser)
    options = parser.parse_args()
    began = time.monotonic()
    try:
        preset = chosen_preset(options)
        announce(preset, jobs(preset))
        if options.dry_run:
            return
        written = write(run(preset, options.out), options.out)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(written[0].read_text())
    for path in written:
        if path.suffix in (".png", ".md"):
            print(path)
    print(f"{time.monotonic() - began:.0f} seconds; records: {options.out / 'sweeps'}")
