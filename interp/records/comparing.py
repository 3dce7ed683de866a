"""In what two manifests differ, in words that say what to change."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from interp.records.manifest import Manifest, TaskEntry, shortened

# what may differ where the user says so: the answers are still of the same model and examples
ALLOWABLE = ("libraries.*", "model", "tasks.*.version")
"""Patterns of the fields of a manifest that `allow` may name."""

_MODEL = {
    "weights_sha256": "the model's weights are others",
    "config_sha256": "the model's configuration or its end tokens are others",
    "code_sha256": "the model's code is another",
    "tokenizer_sha256": "the tokenizer is another, or behaves otherwise",
}
_TASK = {
    "rows_sha256": "its rows have changed",
    "sources_sha256": "the rows that ablations take from have changed",
    "fewshot_sha256": "its few-shot examples have changed",
    "config_sha256": "its definition has changed",
    "code_sha256": "the code of its functions has changed",
}
_REQUESTS = "its prompts, stop strings or limits have changed"


@dataclass(frozen=True)
class Difference:
    """One thing in which a run differs from what is asked.

    Attributes:
        name: the name of the entry, such as `libraries.torch`.
        there: its value in the folder.
        asked: its value in the request.
        words: the difference in words.
    """

    name: str
    there: Any
    asked: Any
    words: str

    @property
    def allowable(self) -> bool:
        """Whether the user may accept it."""
        return any(fnmatch(self.name, pattern) for pattern in ALLOWABLE)


def differences(kept: Manifest, asked: Manifest) -> list[Difference]:
    """Every entry that decides answers and in which two manifests differ.

    What follows from something else is left out: a smaller limit changes the rows, and the rows
    their hash.

    Args:
        kept: the manifest of a run.
        asked: the manifest of a request.

    Returns:
        The entries with both values; empty where the manifests are of one run.
    """
    return [
        *_model_differences(kept, asked),
        *_task_differences(kept, asked),
        *_ablation_differences(kept, asked),
    ]


def _model_differences(kept: Manifest, asked: Manifest) -> Iterator[Difference]:
    for name in ("model", "dtype"):
        yield from _changed(name, getattr(kept, name), getattr(asked, name))
    for name, words in _MODEL.items():
        yield from _changed(name, getattr(kept, name), getattr(asked, name), f"{words} ({name})")
    for name in sorted(kept.libraries.keys() | asked.libraries.keys()):
        yield from _changed(
            f"libraries.{name}", kept.libraries.get(name), asked.libraries.get(name)
        )


def _task_differences(kept: Manifest, asked: Manifest) -> Iterator[Difference]:
    yield from _changed(
        "seed", kept.seed, asked.seed, f"seed {kept.seed} there, {asked.seed} asked"
    )
    kept_names, asked_names = ([task.name for task in manifest.tasks] for manifest in (kept, asked))
    yield from _listed("tasks", kept_names, asked_names)
    # a place is a number of the run that is there: `tasks.0.version`
    for number, task in enumerate(kept.tasks):
        other = next((candidate for candidate in asked.tasks if candidate.name == task.name), None)
        if other is not None and other != task:
            limits = (kept.limit, asked.limit) if kept.seed == asked.seed else None
            yield from _one_task(f"tasks.{number}", task, other, limits)


def _one_task(
    place: str, kept: TaskEntry, asked: TaskEntry, limits: tuple[int | None, int | None] | None
) -> Iterator[Difference]:
    """What differs in one task; the hashes of requests and of rows only where nothing explains it.

    Args:
        place: name of the entry.
        kept: the task in the folder.
        asked: the task in the request.
        limits: examples that were asked for; None where the seed chose others.
    """
    name = f"task {kept.name}"
    differing = []
    if kept.doc_ids != asked.doc_ids:
        differing += list(_other_rows(place, kept, asked, limits))
    else:
        differing += _changed(f"{place}.rows_sha256", kept.rows_sha256, asked.rows_sha256,
                         f"{name}: {_TASK['rows_sha256']} (rows_sha256)")  # fmt: skip
        differing += _changed(f"{place}.sources_sha256", [*kept.source_ids, kept.sources_sha256],
                         [*asked.source_ids, asked.sources_sha256],
                         f"{name}: {_TASK['sources_sha256']} (sources_sha256)")  # fmt: skip
        differing += _changed(f"{place}.cluster", kept.cluster, asked.cluster,
                         f"{name}: clusters {kept.cluster or 'none'} there, "
                         f"{asked.cluster or 'none'} asked")  # fmt: skip
    for entry in ("version", "num_fewshot", "variant", "sampling", "metrics"):
        one, other = (getattr(task, entry) for task in (kept, asked))
        if entry == "metrics":
            # only one side has some of them (--divergence), which says more than all of them
            only_kept, only_asked = (
                [n for n in a if n not in b] for a, b in ((one, other), (other, one))
            )
            if only_kept or only_asked:
                one, other = only_kept, only_asked
        sentence = f"{name}: {entry} {_plain(one)} there, {_plain(other)} asked"
        differing += _changed(f"{place}.{entry}", one, other, sentence)
    shown = any(d.name.endswith(("num_fewshot", "variant", "sampling")) for d in differing)
    for entry in ("fewshot_sha256", "config_sha256", "code_sha256"):
        if not shown:
            sentence = f"{name}: {_TASK[entry]} ({entry})"
            differing += _changed(
                f"{place}.{entry}", getattr(kept, entry), getattr(asked, entry), sentence
            )
    seeded = limits is None and kept.sampling is not None  # requests to draw carry the seed
    explained = kept.doc_ids != asked.doc_ids or seeded or any(not d.allowable for d in differing)
    if not explained:
        differing += _changed(
            f"{place}.requests_sha256",
            kept.requests_sha256,
            asked.requests_sha256,
            f"{name}: {_REQUESTS} (requests_sha256)",
        )
        differing += _changed(f"{place}.clusters", kept.clusters, asked.clusters,
                         f"{name}: its examples belong to other clusters")  # fmt: skip
    yield from differing


def _other_rows(
    place: str, kept: TaskEntry, asked: TaskEntry, limits: tuple[int | None, int | None] | None
) -> Iterator[Difference]:
    if limits is None:
        return  # the seed has been named
    only_kept, only_asked = limits
    if only_kept != only_asked:
        words = f"limit {only_kept or 'none'} there, {only_asked or 'none'} asked"
        yield Difference("limit", only_kept, only_asked, words)
    else:
        yield Difference(
            f"{place}.doc_ids",
            len(kept.doc_ids),
            len(asked.doc_ids),
            f"task {kept.name}: {len(kept.doc_ids)} rows there, "
            f"{'other ones' if len(kept.doc_ids) == len(asked.doc_ids) else len(asked.doc_ids)} "
            "asked",
        )


def _ablation_differences(kept: Manifest, asked: Manifest) -> Iterator[Difference]:
    yield from _listed("ablations", list(kept.ablations), list(asked.ablations))
    for text in sorted(kept.hooks.keys() & asked.hooks.keys()):
        words = f"{text}: the code of its hooks, or a value they use, has changed"
        yield from _changed(f"hooks.{text}", kept.hooks[text], asked.hooks[text], words)
    for text in sorted(kept.donors.keys() & asked.donors.keys()):
        one, other = kept.donors[text], asked.donors[text]
        names = one.keys() != other.keys()
        words = f"{text}: donors {_plain(list(one))} there, {_plain(list(other))} asked"
        changed = f"{text}: the weights of its donor {_plain(list(one))} are others (donors)"
        yield from _changed(f"donors.{text}", one, other, words if names else changed)
    for name in ("mean_reference", "resample_donors"):
        yield from _changed(name, getattr(kept, name), getattr(asked, name))


def _listed(what: str, there: list[str], asked: list[str]) -> Iterator[Difference]:
    """What one list has and the other lacks: the name of a single entry, else their number."""
    if there == asked:
        return
    more = [name for name in asked if name not in set(there)]
    fewer = [name for name in there if name not in set(asked)]
    parts = []
    if more:
        parts.append(f"{_named(more)} more than there")
    if fewer:
        parts.append(f"{_named(fewer)} there and not asked")
    words = f"{what}: {', '.join(parts) or 'the same in another order'}"
    yield Difference(what, there, asked, words)


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)}"


def _changed(name: str, there: Any, asked: Any, words: str = "") -> Iterator[Difference]:
    if there != asked:
        sentence = words or f"{name}: {shortened(there)} there, {shortened(asked)} asked"
        yield Difference(name, there, asked, sentence)


def _plain(value: Any) -> str:
    """An entry in words: `none`, or its fields."""
    if value in (None, {}, (), []):
        return "none"
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        value = ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return shortened(value)
