"""The manifest of a run: written once, and compared with every later request."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from interp.errors import UserError, first_line
from interp.records.files import remove_parts, write_whole
from interp.records.schema import SCHEMA_VERSION

MANIFEST = "manifest.json"
UNITS = "units"
# what may differ between two calls of the same run
INCIDENTAL = ("command", "created", "device", "platform", "allowed")
# what may differ where the user says so: the answers are still of the same model and examples
ALLOWABLE = ("libraries.*", "model", "tasks.*.version")

SOURCE = "interp-source"
"""Under `libraries`: the hash of this package's own code."""

# what a manifest of the same schema may lack, because it was written before there was such an entry
LATER = (f"libraries.{SOURCE}",)

Difference = tuple[str, Any, Any]


def open_store(
    folder: Path, manifest: dict[str, Any], *, allow: Sequence[str] = ()
) -> dict[str, Any]:
    """Make a run's folder, or check that the one that is there holds this very run.

    Args:
        folder: of the run.
        manifest: what is asked.
        allow: names of differences that are accepted (`libraries.torch`); each is written to the
            manifest under `allowed`.

    Returns:
        The manifest that is on disk.

    Raises:
        UserError: the folder holds another run, or something that is no run.
        OSError: the folder cannot be written.
    """
    asked: dict[str, Any] = json.loads(json.dumps(manifest))
    path = folder / MANIFEST
    if not path.is_file():
        ours = (UNITS, MANIFEST)
        foreign = not folder.is_dir() or any(
            p.name not in ours and not p.name.startswith((".lock", f".{MANIFEST}."))
            for p in folder.iterdir()
        )
        if folder.exists() and foreign:
            raise UserError(f"out {folder}: it is not empty and holds no run; give another folder")
        (folder / UNITS).mkdir(parents=True, exist_ok=True)
        remove_parts(folder, MANIFEST)
        # another process of the same run may have been first: then its manifest is compared
        if write_whole(path, json.dumps(asked, indent=2).encode(), replace=False):
            return asked
    kept = read_manifest(folder)
    found = list(differences(kept, asked))
    accepted = [d for d in found if d[0] in allow]
    _refuse(folder, [d for d in found if d not in accepted])
    _refuse_forbidden(folder, accepted)
    if accepted:
        kept = _with_allowed(kept, accepted)
        write_whole(path, json.dumps(kept, indent=2).encode())
    return kept


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        UserError: no manifest, not readable, or of another schema version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"run {folder}: no {MANIFEST} there")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        version = manifest["schema"]
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise UserError(
            f"run {folder}: its {MANIFEST} cannot be read ({first_line(error)})"
        ) from error
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        advice = "a newer interp wrote it" if newer else "run the sweep again in another folder"
        raise UserError(
            f"run {folder}: schema {_short(version)}; this version reads {SCHEMA_VERSION} "
            f"({advice})"
        )
    problem = _problem(manifest)
    if problem:
        raise UserError(f"run {folder}: its {MANIFEST} cannot be read ({problem})")
    return manifest


def fingerprint(manifest: dict[str, Any]) -> str:
    """SHA-256 of all in a manifest that decides the records."""
    kept = {k: v for k, v in manifest.items() if k not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def differences(kept: Any, asked: Any, where: str = "") -> Iterator[Difference]:
    """Every place at which two manifests differ: its name, what is there, what is asked.

    An entry that came later, and that one of them lacks, says nothing and is no difference.
    """
    if isinstance(kept, dict) and isinstance(asked, dict):
        for key in sorted(kept.keys() | asked.keys()):
            if not where and key in INCIDENTAL:
                continue
            name = f"{where}.{key}" if where else key
            yield from differences(kept.get(key), asked.get(key), name)
    elif _both_rows(kept, asked):
        for number, (one, other) in enumerate(zip(kept, asked, strict=True)):
            yield from differences(one, other, f"{where}.{number}")
    elif kept != asked and not (where in LATER and None in (kept, asked)):
        yield where, kept, asked


def _refuse(folder: Path, found: Sequence[Difference]) -> None:
    """Name what differs; the cut into units follows from the rest and is named only alone."""
    if not found:
        return
    telling = [d for d in found if not d[0].startswith("units")] or list(found)
    shown = "; ".join(_in_words(d) for d in telling[:3])
    more = f"; and {len(telling) - 3} more" if len(telling) > 3 else ""
    allowable = [d[0] for d in telling if _may_be_allowed(d[0])]
    advice = f", or --allow {' '.join(allowable)}" if len(allowable) == len(telling) else ""
    raise UserError(
        f"out {folder}: it holds another run ({shown}{more}); give another folder{advice}"
    )


def _refuse_forbidden(folder: Path, accepted: Sequence[Difference]) -> None:
    for name, _, _ in accepted:
        if not _may_be_allowed(name):
            raise UserError(
                f"out {folder}: --allow {name}: answers would be mixed; allowed to differ are "
                f"{', '.join(ALLOWABLE)}"
            )


def _may_be_allowed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in ALLOWABLE)


def _with_allowed(kept: dict[str, Any], accepted: Sequence[Difference]) -> dict[str, Any]:
    noted = [*kept.get("allowed", [])]
    for name, there, asked in accepted:
        note = {"name": name, "there": there, "asked": asked}
        if note not in noted:
            noted.append(note)
    return kept | {"allowed": noted}


def _both_rows(kept: Any, asked: Any) -> bool:
    """Two lists of as many descriptions, which are compared one by one."""
    return (
        isinstance(kept, list)
        and isinstance(asked, list)
        and len(kept) == len(asked)
        and all(isinstance(row, dict) for row in (*kept, *asked))
    )


def _in_words(difference: Difference) -> str:
    where, kept, asked = difference
    if isinstance(kept, list) and isinstance(asked, list):
        odd = [x for x in kept if x not in asked] or [x for x in asked if x not in kept]
        return f"{where}: {_short(kept)} there, {_short(asked)} asked; differs in {_short(odd)}"
    return f"{where}: {_short(kept)} there, {_short(asked)} asked"


# what every reader of a manifest relies on
_KEYS = {
    "model": str,
    "weights_sha256": str,
    "dtype": str,
    "seed": int,
    "created": str,
    "libraries": dict,
    "tasks": list,
    "ablations": list,
    "units": list,
}


def _problem(manifest: dict[str, Any]) -> str:
    """What keeps a manifest from being used, in words; empty where nothing does."""
    for key, kind in _KEYS.items():
        value = manifest.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{key} is missing or no {kind.__name__}"
    if not manifest["tasks"] or not manifest["units"]:
        return "it has no tasks or no units"
    if manifest["seed"] < 0:
        return "seed is negative"
    if not isinstance(manifest["libraries"].get("torch"), str):
        return "libraries name no torch"
    for task in manifest["tasks"]:
        if not isinstance(task, dict) or not isinstance(task.get("name"), str):
            return "a task has no name"
        ids = task.get("doc_ids")
        if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
            return f"task {_short(task['name'])} has no doc_ids"
        if not _says_how_drawn(task.get("sampling")):
            return f"sampling of task {_short(task['name'])} is no description of draws"
    for unit in manifest["units"]:
        name = unit.get("name") if isinstance(unit, dict) else None
        # a name is a file's name: nothing that leads out of the folder
        if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name[0] == ".":
            return f"unit {_short(name)} is no name of a unit"
    if not all(isinstance(text, str) for text in manifest["ablations"]):
        return "an ablation is no text"
    noted = manifest.get("allowed", [])
    if not isinstance(noted, list) or not all(
        isinstance(note, dict) and {"name", "there", "asked"} <= note.keys() for note in noted
    ):
        return "allowed is no list of differences"
    return ""


def _says_how_drawn(sampling: Any) -> bool:
    """Whether it is what a manifest says of draws; None where answers are not drawn."""
    numbers = ("draws", "temperature", "top_k", "top_p")
    return sampling is None or (
        isinstance(sampling, dict) and all(type(sampling.get(n)) in (int, float) for n in numbers)
    )


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
