"""Where a run comes from, in words and hashes: what its manifest says."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from interp.ablations import AblateHead, Combination, parsed_or_none
from interp.records import Manifest
from interp.results import Sweep
from interp.tasks import how_drawn

MOST_NAMES = 6
"""Ablations that are named; more are cut in the middle."""


def pairs(run: Sweep) -> list[tuple[str, str]]:
    """What decides the answers of a run, and how it was made: name and value."""
    manifest = run.manifest
    facts = [
        ("Model", manifest.model),
        ("Weights (SHA-256)", manifest.weights_sha256),
        ("Configuration (SHA-256)", manifest.config_sha256),
        ("Tokenizer (SHA-256)", manifest.tokenizer_sha256),
        ("Precision", manifest.dtype),
        ("Ablations", f"{len(manifest.ablations)}: {named(manifest.ablations)}"),
        *_references(manifest),
        *_draws(manifest),
        ("Seed", str(manifest.seed)),
        ("Libraries", ", ".join(f"{k} {v}" for k, v in manifest.libraries.items())),
        ("Device", manifest.origin.device),
        ("Platform", manifest.origin.platform),
        ("Command", shlex.join(manifest.origin.command)),
        ("Begun", manifest.origin.created),
        ("Manifest (SHA-256)", manifest.fingerprint()),
    ]
    for note in manifest.allowed:
        facts.append(("Accepted difference", f"{note.name}: {note.there}, {note.asked}"))
    return [(name, str(value)) for name, value in facts if value]


def tasks(run: Sweep) -> list[tuple[str, ...]]:
    """Each task: name, version, few-shot examples, examples, clusters, hashes of what it asks."""
    return [
        (
            entry.name,
            entry.version,
            str(entry.num_fewshot),
            str(len(entry.doc_ids)),
            entry.cluster or "none",
            entry.rows_sha256,
            entry.fewshot_sha256,
            entry.config_sha256,
        )
        for entry in run.manifest.tasks
    ]


def named(texts: Sequence[str]) -> str:
    """Ablations by name, cut in the middle where they are many."""
    if len(texts) <= MOST_NAMES:
        return ", ".join(texts)
    return f"{', '.join(texts[: MOST_NAMES - 1])}, ..., {texts[-1]}"


def _references(manifest: Manifest) -> Iterable[tuple[str, str]]:
    """What replaces something, where anything is replaced."""
    swaps: dict[tuple[str, str], list[str]] = {}
    for text, donors in manifest.donors.items():
        for donor in donors.items():
            swaps.setdefault(donor, []).append(text)
    for (name, weights), texts in swaps.items():
        yield "Donor", f"{name} (weights {weights}) in {named(texts)}"
    parts = [part for text in manifest.ablations for part in _parts(text)]
    by = {part.by for part in parts if isinstance(part, AblateHead)}
    if "mean" in by:
        yield "Mean over", manifest.mean_reference
    if "resample" in by:
        yield "Resampled from", manifest.resample_donors


def _draws(manifest: Manifest) -> Iterable[tuple[str, str]]:
    """Which tasks' answers were drawn, and how."""
    for task in manifest.tasks:
        if task.sampling:
            yield "Answers", f"{how_drawn(task.sampling.as_dict())}, in {task.name}"


def _parts(text: str) -> Sequence[Any]:
    one = parsed_or_none(text)
    return one.parts if isinstance(one, Combination) else (one,)
