"""The page: sections are put into a template and written as one file."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from interp.errors import UserError, folder_given, path_given
from interp.labels import model_label, task_label
from interp.records import write_whole
from interp.report.sections import MOST_EXAMPLES, Choice, Run, section, together
from interp.results import Sweep

QUESTION = (
    "Which layers and heads of a language model carry knowledge, retrieval and reasoning, and does "
    "the answer depend on how you measure?"
)
"""The question that every report opens with."""


@dataclass(frozen=True)
class Script:
    """A script of the page, and the hash by which the page's policy lets it run."""

    text: Markup
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """A script as it stands in the page."""
        # an HTML parser reads on after "<!--" in a script
        text = text.replace("\r\n", "\n").replace("<!--", r"<\!--")
        assert "</script" not in text.lower()
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return cls(Markup(text), f"sha256-{digest}")


def write_report(
    runs: Sequence[Sweep],
    path: str | Path,
    *,
    choice: Choice | None = None,
    title: str | None = None,
    question: str = QUESTION,
) -> Path:
    """Write one self-contained HTML page about finished runs.

    Args:
        runs: finished runs, in the order of the page.
        path: the path of the page; its folder is made.
        choice: metric, number of examples, and where the tasks' rows are.
        title: by default the models' names.
        question: what the page is about, in a sentence.

    Returns:
        The path.

    Raises:
        UserError: no run, an unfinished run, a metric that is not there; before anything is
            written.
    """
    target = path_given("out", path)
    if target.is_dir():
        raise UserError(f"out {target}: a folder; give the page a name, such as {target}/page.html")
    folder_given("out", target.parent)
    page = render(runs, choice=choice, title=title, question=question)
    target.parent.mkdir(parents=True, exist_ok=True)
    # rows of a task can hold half a surrogate pair, which no file can
    write_whole(target, page.encode("utf-8", "replace"))
    return target


def render(
    runs: Sequence[Sweep],
    *,
    choice: Choice | None = None,
    title: str | None = None,
    question: str = QUESTION,
) -> str:
    """The page as a string; the same runs give the same page. Arguments as for `write_report`.

    Args:
        runs: as for `write_report`.
        choice: as for `write_report`.
        title: as for `write_report`.
        question: as for `write_report`.

    Returns:
        HTML that needs no other file.

    Raises:
        UserError: no run is given, or one twice.
    """
    if not runs:
        raise UserError("report: no run given")
    folders = [run.folder.resolve() for run in runs]
    double = next((folder for folder in folders if folders.count(folder) > 1), None)
    if double:
        raise UserError(f"run {double}: given twice")
    choice = choice or Choice()
    loaded = [Run.of(run) for run in runs]
    pairs = sum(run.pairs for run in loaded)
    sections = [
        section(run, choice, name=f"run-{number}", budget=MOST_EXAMPLES * run.pairs // pairs)
        for number, run in enumerate(loaded, start=1)
    ]
    models = list(dict.fromkeys(model_label(run.manifest.model) for run in runs))
    scripts = [Script.of(_bundle("js")), Script.of(_source("sort.js"))]
    return _environment().get_template("page.html").render(
        title=title or f"Ablations of {_listed(models)}",
        question=question,
        sections=sections,
        together=together(loaded, choice),
        scripts=scripts,
        styles=[Markup(_bundle("css")), Markup(_source("page.css"))],
        version=version("interp"),
        task_label=task_label,
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("interp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


@cache
def _bundle(suffix: str) -> str:
    """DataTables and its style, from the files that itables ships for pages without network."""
    import itables.options

    return Path(itables.options.dt_bundle).with_suffix(f".{suffix}").read_text(encoding="utf-8")
