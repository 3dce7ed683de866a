"""Results in folders: written whole, opened without the model, never two in one folder.

A folder holds one result: `result.json` says what was asked and whether it is finished, Parquet
files and `arrays.npz` hold the numbers, and CSV files repeat the tables for other programs.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import UserError, first_line, folder_given, path_given
from interp.records import read_regular, write_whole
from interp.results.cells import csv_text

FILE = "result.json"
ARRAYS = "arrays.npz"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Saved:
    """A result as it is in a folder.

    Attributes:
        kind: `lens`, `retrieval heads` or `similarity`.
        request: everything that decides the result: model, task, options, versions.
        facts: further facts about the result, as plain data.
        tables: the tables, by name.
        arrays: the arrays, by name.
    """

    kind: str
    request: dict[str, Any]
    facts: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    arrays: dict[str, np.ndarray]


def claim_folder(folder: Path, kind: str, request: Mapping[str, Any]) -> bool:
    """Make a folder ready for a result, and say whether it already holds this result.

    Args:
        folder: a folder that is new or empty, or holds this result, finished or not.
        kind: the kind of the result.
        request: everything that decides the result.

    Returns:
        Whether the finished result is there.

    Raises:
        UserError: the folder holds something else; nothing is written.
    """
    asked = _plain({"kind": kind, **request})
    if (folder / FILE).exists():
        kept = _head(folder)
        differing = list(_differences({"kind": kept["kind"], **kept["request"]}, asked))
        if differing:
            raise UserError(
                f"out {folder}: it holds another result ({'; '.join(differing[:3])}); give another "
                "folder"
            )
        if not kept["finished"]:
            folder_given("out", folder)
        return bool(kept["finished"])
    folder_given("out", folder)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"out {folder}: it is not empty; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write_head(folder, kind, request, finished=False)
    return False


@contextmanager
def released_if_refused(folder: Path | None) -> Iterator[None]:
    """Release a claimed folder again where the request cannot be carried out.

    Otherwise the folder would refuse the corrected request that the message advises.

    Args:
        folder: the folder that was claimed; None where nothing is kept.

    Yields:
        None. The result is computed inside the context.
    """
    try:
        yield
    except UserError:
        if folder is not None and [path.name for path in folder.iterdir()] == [FILE]:
            (folder / FILE).unlink()
            folder.rmdir()
        raise


def save_result(
    folder: Path,
    kind: str,
    request: Mapping[str, Any],
    *,
    facts: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    for_reading: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write a result into the folder that `claim_folder` made ready; `result.json` is written last.

    Args:
        folder: the folder of the result.
        kind: as for `claim_folder`.
        request: as for `claim_folder`.
        facts: further facts about the result, as plain data.
        tables: the tables that the result is made of, written as Parquet.
        arrays: the arrays that the result is made of.
        for_reading: tables derived from the result, written as CSV for other programs.
    """
    contents: dict[str, bytes] = {}
    for name, table in (tables or {}).items():
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        contents[f"{name}.parquet"] = buffer.getvalue()
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
        contents[ARRAYS] = buffer.getvalue()
    for name, content in contents.items():
        write_whole(folder / name, content)
    for name, table in (for_reading or {}).items():
        write_whole(folder / f"{name}.csv", csv_text(table).encode())
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    _write_head(folder, kind, request, finished=True, facts=facts or {}, files=files)


def read_result(folder: str | Path, kind: str) -> Saved:
    """Read a finished result; every file is checked against its hash.

    Args:
        folder: the folder of the result.
        kind: the kind that is wanted.

    Returns:
        Request, facts, tables and arrays of the result.

    Raises:
        UserError: there is no result, it is of another kind or unfinished, or a file is damaged.
    """
    folder = path_given("folder", folder)
    head = _head(folder)
    if head["kind"] != kind:
        raise UserError(f"{folder}: it holds a result of {head['kind']}, not of {kind}")
    if not head["finished"]:
        raise UserError(f"{folder}: its {kind} is not finished; the same command computes it")
    tables, arrays = {}, {}
    for name, digest in head["files"].items():
        path = folder / Path(name).name
        try:
            content = read_regular(path)
        except OSError as error:
            raise UserError(f"{path}: it cannot be read ({error.strerror})") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{path}: it is damaged; compute the result again in another folder")
        try:
            if name == ARRAYS:
                with np.load(io.BytesIO(content), allow_pickle=False) as file:
                    arrays = {key: file[key] for key in file.files}
            else:
                tables[path.stem] = pd.read_parquet(io.BytesIO(content))
        except Exception as error:  # a file of unknown origin can raise any exception
            raise UserError(f"{path}: it cannot be read ({first_line(error)})") from error
    return Saved(kind, head["request"], head["facts"], tables, arrays)


def kind_of(folder: str | Path) -> str | None:
    """The kind of the result in a folder, finished or not; None where there is none.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        A word such as `lens`, or None.

    Raises:
        UserError: its `result.json` cannot be read.
    """
    place = path_given("folder", folder)
    return str(_head(place)["kind"]) if (place / FILE).exists() else None


def _write_head(
    folder: Path, kind: str, request: Mapping[str, Any], *, finished: bool, **rest: Any
) -> None:
    head = {"version": VERSION, "kind": kind, "finished": finished, "request": _plain(request)}
    text = json.dumps(head | rest, indent=2, ensure_ascii=False)
    write_whole(folder / FILE, text.encode())


def _head(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        head: dict[str, Any] = json.loads(read_regular(path))
        checked = {name: head[name] for name in ("version", "kind", "finished", "request")}
        checked |= {"facts": head.get("facts", {}), "files": head.get("files", {})}
        whole = all(isinstance(checked[name], dict) for name in ("request", "facts", "files"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no {FILE} there") from None
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise UserError(f"{folder}: its {FILE} cannot be read ({first_line(error)})") from error
    if not whole or checked["version"] != VERSION:
        raise UserError(f"{folder}: its {FILE} is of another version; this one reads {VERSION}")
    return checked


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as it is after writing and reading, so that two requests can be compared."""
    plain: dict[str, Any] = json.loads(json.dumps(request, default=str, sort_keys=True))
    return plain


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """What differs, in words; hashes are named only where no plain option differs."""
    kept_leaves, asked_leaves = dict(_leaves(kept)), dict(_leaves(asked))
    names = [
        name
        for name in {**kept_leaves, **asked_leaves}
        if kept_leaves.get(name) != asked_leaves.get(name)
    ]
    plain = [n for n in names if not n.endswith(("_sha256", "doc_ids", "interp-source"))]
    for name in plain:
        yield f"{name} {_word(kept_leaves.get(name))} there, {_word(asked_leaves.get(name))} asked"
    if not plain:
        yield from (f"another {name}" for name in names)


def _leaves(value: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(inner, dict):
            yield from _leaves(inner, name)
        else:
            yield name, inner


def _word(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
