"""What was run, as one value that is checked when it is made and when it is read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from interp.errors import UserError, first_line
from interp.records.files import read_regular

MANIFEST = "manifest.json"
"""The file of a run that says what it is."""
SCHEMA_VERSION = 4
"""Of the store; `schema.py` says what each version holds."""

UNITS = "units"
"""The folder of a run that holds a Parquet shard for each work unit."""
SOURCE = "interp-source"
"""Under `libraries`: the hash of this package's own code."""

Text = Annotated[str, Field(strict=True)]
# a unit's name is a file's name: nothing that leads out of the folder, nothing that is hidden
UnitName = Annotated[str, Field(pattern=r"^[^/\\\x00.][^/\\\x00]*$", max_length=200)]


class Entry(BaseModel):
    """A part of a manifest: immutable, and an unknown field is refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True
    )

    def as_dict(self) -> dict[str, Any]:
        """The entry as it is written; what was left out is left out here, too."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SamplingEntry(Entry):
    """How a task's answers are drawn.

    Attributes:
        draws: answers of each example.
        temperature: above 0.
        top_k: only among this many likeliest tokens; 0 for all.
        top_p: only among the likeliest tokens that together have this probability.
    """

    draws: PositiveInt
    temperature: float
    top_k: int
    top_p: float


class TaskEntry(Entry):
    """A task of a run: which rows of it, and hashes of all that makes its prompts and metrics.

    Attributes:
        name: the name of the task; the key in the records.
        version: the version that its definition states.
        num_fewshot: few-shot examples in each prompt.
        variant: how it was asked for: as a chat, with how many tokens, how often.
        doc_ids: its rows; those that an extension added follow the others.
        rows_sha256: hash of those rows.
        fewshot_sha256: hash of the rows that few-shot examples are taken from.
        config_sha256: hash of its definition.
        code_sha256: hash of the functions that its definition names, and of what they call.
        requests_sha256: hash of the requests themselves: tokens, stop strings, limits.
        cluster: field of the rows that names what examples share; empty for none.
        clusters: its value for each of `doc_ids`.
        source_ids: rows that ablations take from and that are not among `doc_ids`.
        sources_sha256: hash of those rows.
        sampling: how answers are drawn; None for greedy answers and for scored options.
        metrics: those that its definition declares, each with its aggregation and direction.
    """

    name: Text
    version: Text = ""
    num_fewshot: NonNegativeInt = 0
    variant: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    doc_ids: tuple[NonNegativeInt, ...]
    rows_sha256: Text = ""
    fewshot_sha256: Text = ""
    config_sha256: Text = ""
    code_sha256: Text = ""
    requests_sha256: Text = ""
    cluster: Text = ""
    clusters: tuple[Text, ...] = ()
    source_ids: tuple[NonNegativeInt, ...] = ()
    sources_sha256: Text = ""
    sampling: SamplingEntry | None = None
    metrics: dict[str, dict[str, bool | int | float | str | None]] = Field(default_factory=dict)


class UnitEntry(Entry):
    """A work unit: a block of one task's examples under a range of the ablations.

    Attributes:
        name: the name of its shard.
        task: number of the task.
        first: place of its first example among the task's `doc_ids`.
        examples: how many.
        ablations: first and last number, both included; the baseline is number 0.
        asked_sha256: hash of the rows of its examples and of what is asked about them.
    """

    name: UnitName
    task: NonNegativeInt
    first: NonNegativeInt
    examples: PositiveInt
    ablations: tuple[NonNegativeInt, NonNegativeInt]
    asked_sha256: Text = ""


class OriginEntry(Entry):
    """Where and when a run was begun; decides no answer and may differ between two calls.

    Attributes:
        command: the command as it was typed.
        created: date and time.
        device: where it ran.
        platform: the operating system.
    """

    command: tuple[Text, ...] = ()
    created: Text = ""
    device: Text = ""
    platform: Text = ""


class AcceptedDifference(Entry):
    """A difference between two calls of a run that the user allowed.

    Attributes:
        name: as it was given to `allow`.
        there: the value in the manifest.
        asked: the value of the later call.
    """

    name: Text
    there: Any = None
    asked: Any = None


class Manifest(Entry):
    """What a run is: everything that decides its answers, in words and hashes.

    Attributes:
        schema_version: the schema version of the store (`schema` in the file).
        model: name of the model.
        weights_sha256: hash of its parameters and buffers.
        config_sha256: hash of what it reads from its configuration, and of its end tokens.
        code_sha256: hash of its code, where that is no installed library.
        tokenizer_sha256: hash of the tokenizer's files and behaviour.
        dtype: the dtype of its weights, then how they are quantised, or that an adapter is beside
            them.
        tasks: what was asked.
        ablations: text forms, without the baseline.
        hooks: text of a user's hooks to the hash of their code.
        donors: text of a swap to the names of its donors and their weights' hashes.
        mean_reference: what means are taken over.
        resample_donors: where the activations of `@resample` come from.
        seed: the seed of all draws.
        limit: examples of each task that were asked for; None for all.
        units: the work, cut; each has a shard.
        libraries: version of each library, and the hash of this package's own code.
        origin: where and when it was begun.
        allowed: differences that were accepted later.
    """

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    model: Text
    weights_sha256: Text
    config_sha256: Text = ""
    code_sha256: Text = ""
    tokenizer_sha256: Text = ""
    dtype: Text
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    ablations: tuple[Text, ...]
    hooks: dict[Text, Text] = Field(default_factory=dict)
    donors: dict[Text, dict[Text, Text]] = Field(default_factory=dict)
    mean_reference: Text = ""
    resample_donors: Text = ""
    seed: NonNegativeInt
    limit: PositiveInt | None = None
    units: tuple[UnitEntry, ...] = Field(min_length=1)
    libraries: dict[Text, Text]
    origin: OriginEntry = OriginEntry()
    allowed: tuple[AcceptedDifference, ...] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> "Manifest":
        """Check that units cover each example under each ablation once; names must be unique."""
        _refuse_doubles("task", [task.name for task in self.tasks])
        _refuse_doubles("ablation", ["baseline", *self.ablations])
        _refuse_doubles("unit", [unit.name for unit in self.units])
        for task in self.tasks:
            _refuse_doubles(f"row of task {task.name}", task.doc_ids)
            if task.clusters and len(task.clusters) != len(task.doc_ids):
                raise ValueError(f"task {task.name} has not as many clusters as rows")
        blocks: dict[int, dict[tuple[int, int], list[tuple[int, int]]]] = {}
        for unit in self.units:
            examples = (unit.first, unit.first + unit.examples)
            ablations = (unit.ablations[0], unit.ablations[1] + 1)
            blocks.setdefault(unit.task, {}).setdefault(examples, []).append(ablations)
        whole = blocks.keys() == set(range(len(self.tasks))) and all(
            _covers(found, len(self.tasks[number].doc_ids))
            and all(_covers(ranges, 1 + len(self.ablations)) for ranges in found.values())
            for number, found in blocks.items()
        )
        if not whole:
            raise ValueError("its units are not all examples under all ablations, each once")
        return self

    @property
    def unit_names(self) -> list[str]:
        """Names of all work units, in the order of the records."""
        return [unit.name for unit in self.units]

    @property
    def texts(self) -> tuple[str, ...]:
        """Text forms by number: the baseline is number 0."""
        return ("baseline", *self.ablations)

    def task(self, name: str) -> TaskEntry:
        """The task of this name. Raises KeyError where there is none."""
        entry = next((task for task in self.tasks if task.name == name), None)
        if entry is None:
            raise KeyError(name)
        return entry

    def unit(self, name: str) -> UnitEntry:
        """The unit of this name. Raises KeyError where there is none."""
        entry = next((unit for unit in self.units if unit.name == name), None)
        if entry is None:
            raise KeyError(name)
        return entry

    def identity(self) -> dict[str, Any]:
        """All that decides the records, as plain data."""
        return {k: v for k, v in self.as_dict().items() if k not in INCIDENTAL}

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the records."""
        return _sha256(self.identity())

    def unit_fingerprints(self) -> Mapping[str, str]:
        """For each unit the SHA-256 of all that decides its records, and of nothing else.

        A run that is extended keeps the fingerprints of the units that it has.

        Returns:
            Name of a unit to 64 hexadecimal digits.
        """
        whole = self.as_dict()
        base = {k: v for k, v in whole.items() if k not in (*INCIDENTAL, *_OF_UNITS)}
        tasks = [{k: v for k, v in task.items() if k not in OF_ROWS} for task in whole["tasks"]]
        hashed = [_sha256([base, task]) for task in tasks]
        fingerprints, every = {}, self.texts
        for unit in self.units:
            texts = every[unit.ablations[0] : unit.ablations[1] + 1]
            doc_ids = self.tasks[unit.task].doc_ids[unit.first : unit.first + unit.examples]
            hooks_and_donors = [
                [texts_of.get(text) for text in texts] for texts_of in (self.hooks, self.donors)
            ]
            fingerprints[unit.name] = _sha256(
                [hashed[unit.task], unit.asked_sha256, doc_ids, texts, hooks_and_donors]
            )
        return fingerprints

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"


# what may differ between two calls of the same run; a limit decides by the rows that it leaves, and
# how the work is cut decides nothing
INCIDENTAL = ("origin", "allowed", "limit", "units")
# what an extension adds to, of a manifest and of one of its tasks
_OF_UNITS = ("tasks", "ablations", "hooks", "donors")
OF_ROWS = (
    "doc_ids", "rows_sha256", "requests_sha256", "clusters", "source_ids", "sources_sha256",
)  # fmt: skip
"""The fields of a task that are of its rows, and grow when a run is extended."""


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def shard_path(folder: Path, unit: str) -> Path:
    """Where a unit's shard is.

    Args:
        folder: the folder of the run.
        unit: name of the unit.

    Returns:
        A path inside the folder, whether the shard is there or not.
    """
    return folder / UNITS / f"{unit}.parquet"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run.

    Args:
        folder: the folder of the run.

    Returns:
        The manifest, every entry checked.

    Raises:
        UserError: no manifest, not readable, or of another schema version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise UserError(f"run {folder}: no {MANIFEST} there")
    try:
        content = read_regular(path)
        written = json.loads(content)
        version = written.get("schema", "none") if isinstance(written, dict) else "no object"
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise UserError(
            f"run {folder}: its {MANIFEST} cannot be read ({first_line(error)})"
        ) from error
    if type(version) is not int or version != SCHEMA_VERSION:
        raise UserError(f"run {folder}: {_other_schema(version)}")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise UserError(
            f"run {folder}: its {MANIFEST} cannot be used ({_first_problem(error)})"
        ) from error


def shortened(value: Any, most: int = 60) -> str:
    """A value on one line, cut where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _other_schema(version: Any) -> str:
    if type(version) is not int:
        return f"its {MANIFEST} names no schema ({shortened(version)})"
    if version > SCHEMA_VERSION:
        return f"a newer interp wrote it (schema {version}; this one reads {SCHEMA_VERSION})"
    return (
        f"an earlier interp wrote it (schema {version}; this one reads {SCHEMA_VERSION}); run the "
        "sweep again in another folder"
    )


def _first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, by its place in the file."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))
    reason = problem["msg"].removeprefix("Value error, ")
    return shortened(f"{place}: {reason}" if place else reason, 160)


def _refuse_doubles(what: str, names: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {shortened(name)} is there twice")
        seen.add(name)


def _covers(ranges: Iterable[tuple[int, int]], end: int) -> bool:
    """Whether ranges, their ends excluded, lie end to end from 0 to an end."""
    ordered = sorted(ranges)
    return (
        ordered[0][0] == 0
        and ordered[-1][1] == end
        and all(one[1] == other[0] for one, other in pairwise(ordered))
        and all(start < stop for start, stop in ordered)
    )
