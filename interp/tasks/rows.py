"""Rows of a task from local files: JSONL, JSON, CSV or Parquet with the hub's field names.

For a task that reads the hub's `OWNER/NAME`, configuration `CONFIG`, split `test`, these places
are looked at in a folder that the user gives, in this order, for each of the names that the data
may go by (the benchmark's, the configuration's, the hub's):

    NAME/CONFIG/test.jsonl     NAME/CONFIG_test.csv     NAME/test.jsonl     CONFIG/test.jsonl

Texts are UTF-8, with or without a byte-order mark; a line ends as on any system. Letter case, and
`-` against `_`, make no difference; `test-00000-of-00002.parquet` is a part of `test`; files may be
gzipped. Where one file holds several configurations, the rows whose `subject` is the configuration
are taken.
"""

import csv
import gzip
import io
import json
import re
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from interp.errors import UserError, first_line
from interp.models import data_folder

Rows = list[dict[str, Any]]


class FileRows(list[dict[str, Any]]):
    """Rows of files, each with every field that any of them has.

    Attributes:
        places: for each row, where it stands: `row 7 of FILE`, counted from 1.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], places: Sequence[str]) -> None:
        fields = dict.fromkeys(field for row in rows for field in row)
        super().__init__({field: row.get(field) for field in fields} for row in rows)
        self.places = tuple(places)

    @classmethod
    def read(cls, files: Sequence[Path]) -> "FileRows":
        """All rows of some files.

        Raises:
            UserError: a file is missing, or is not what its name says.
        """
        read = [(row, f"row {n} of {f}") for f in files for n, row in enumerate(read_rows(f), 1)]
        return cls([row for row, _ in read], [place for _, place in read])

    def only(self, kept: Sequence[bool]) -> "FileRows":
        """Some of the rows."""
        chosen = [i for i, keep in enumerate(kept) if keep]
        return FileRows([self[i] for i in chosen], [self.places[i] for i in chosen])


ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".csv.gz", ".json.gz")
SPLITS = {"validation": ("validation", "val", "valid"), "dev": ("dev",), "test": ("test",)}
# what a file calls the configuration that a row belongs to
CONFIGURATION_FIELD = "subject"


def local_rows(folder: Path, names: list[str], config: str | None, split: str) -> FileRows | None:
    """The rows of one split, or None where the folder has no file for it.

    Args:
        folder: the folder that the user gave.
        names: what the data may be called, best first.
        config: the hub's configuration (`anatomy` of MMLU).
        split: the hub's split.

    Returns:
        The rows and the file that they are from, or None.

    Raises:
        UserError: the folder is missing, or a file in it cannot be read.
    """
    for place, whole in _places(folder, names, config):
        files = _files(place, config if whole else None, split)
        if not files:
            continue
        rows = FileRows.read(files)
        if config is None or not whole or not rows or CONFIGURATION_FIELD not in rows[0]:
            return rows
        wanted = _plain(config)
        chosen = rows.only([_plain(str(row[CONFIGURATION_FIELD])) == wanted for row in rows])
        if chosen:
            return chosen
    return None


def read_rows(file: Path) -> Rows:
    """All rows of one file.

    Returns:
        One mapping per row. The list is the caller's own.

    Raises:
        UserError: the file is missing, or is not what its name says.
    """
    if not file.is_file():
        raise UserError(f"rows: no file {file}")
    status = file.stat()
    return list(_read(file, status.st_mtime_ns, status.st_size))


def shipped_rows(file: str, task: str) -> FileRows:
    """The rows of a file that a task names; `data/...` is the shipped data.

    Returns:
        The rows and the file that they are from.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    path = Path(file)
    if not path.is_file() and path.parts[0] == "data":
        path = data_folder().joinpath(*path.parts[1:])
    if not path.is_file():
        raise UserError(f"task {task}: its rows are missing ({file}; looked at {path.absolute()})")
    return FileRows.read([path])


def _places(folder: Path, names: list[str], config: str | None) -> list[tuple[Path, bool]]:
    """Folders to look in, and whether a file there may hold several configurations."""
    candidates: list[tuple[Path, bool]] = []
    for place in _named(folder, names):
        if config is not None:
            candidates += [(inner, False) for inner in _named(place, [config])]
        candidates += [(place, True), *((inner, True) for inner in _named(place, ["data"]))]
    if config is not None:
        candidates += [(place, False) for place in _named(folder, [config])]
    return candidates


def _named(folder: Path, names: list[str]) -> list[Path]:
    inside = sorted(p for p in folder.iterdir() if p.is_dir())
    return [p for name in names for p in inside if _plain(p.name) == _plain(name)]


def _files(place: Path, config: str | None, split: str) -> list[Path]:
    stems = [_plain(s) for s in SPLITS.get(split, (split,))]
    if config is not None:
        stems = [f"{_plain(config)}_{s}" for s in stems] + stems
    paths_of: dict[str, list[Path]] = {}
    for file in sorted(p for p in place.iterdir() if p.is_file()):
        ending = next((e for e in ENDINGS if file.name.endswith(e)), None)
        if ending is not None:
            stem = re.sub(r"-\d{5}-of-\d{5}$", "", file.name.removesuffix(ending))
            paths_of.setdefault(_plain(stem), []).append(file)
    return next((paths_of[stem] for stem in stems if stem in paths_of), [])


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


@lru_cache(maxsize=32)
def _read(file: Path, _modified: int, _size: int) -> tuple[dict[str, Any], ...]:
    try:
        called = file.name.lower()
        if called.endswith(".parquet"):
            import pyarrow.parquet as pq

            return tuple(pq.ParquetFile(file).read().to_pylist())
        content = file.read_bytes()
        content = gzip.decompress(content) if called.endswith(".gz") else content
        text, kind = content.decode("utf-8-sig"), called.removesuffix(".gz")
        if kind.endswith(".csv"):
            rows = _csv(text)
        elif kind.endswith(".json") and text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            # JSON holds no raw line feed or carriage return; texts may hold Unicode's line ends
            rows = [json.loads(line) for line in re.split(r"[\r\n]+", text) if line.strip()]
    except Exception as error:  # files of strangers, and what reads them, raise anything
        raise UserError(f"rows: {file} cannot be read ({first_line(error)})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"rows: {file}: each row must be one JSON object")
    return tuple(rows)


def _csv(text: str) -> Rows:
    """Rows of a CSV; a column is of numbers or of lists where every one of its cells is."""
    with _cells_of_any_length():
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if not table:
        return []
    header, cells = table[0], [row for row in table[1:] if row]
    if any(len(row) != len(header) for row in cells):
        line = next(i for i, row in enumerate(cells) if len(row) != len(header))
        raise ValueError(f"row {line} has {len(cells[line])} cells, the header {len(header)}")
    columns = [_typed([row[i] for row in cells]) for i in range(len(header))]
    return [dict(zip(header, row, strict=True)) for row in zip(*columns, strict=True)]


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _typed(column: list[str]) -> list[Any]:
    if column and all(re.fullmatch(r"-?(0|[1-9]\d*)", cell) for cell in column):
        return [int(cell) for cell in column]
    if column and all(cell.strip()[:1] in ("[", "{") for cell in column):
        parsed = [_literal(cell.strip()) for cell in column]
        if all(value is not None for value in parsed):
            return parsed
    return list(column)


def _literal(cell: str) -> list[Any] | dict[str, Any] | None:
    """A list or object as JSON, as Python or as numpy writes it; None for any other text.

    numpy writes `['a' 'b']`: read as Python that would be the one string 'ab'.
    """
    import ast

    try:
        value = json.loads(cell)
        return value if isinstance(value, list | dict) else None
    except ValueError:
        pass
    cell = re.sub(r"\barray\((\[.*?\])(?:,\s*dtype=\w+)?\)", r"\1", cell, flags=re.DOTALL)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(cell.replace("\n", " ")).readline))
        spaced: list[str] = []
        for before, token in zip([None, *tokens], tokens, strict=False):
            if before is not None and before.type == token.type == tokenize.STRING:
                spaced.append(",")
            spaced.append(token.string)
        value = ast.literal_eval(" ".join(spaced).strip())
    except (ValueError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list | dict) else None
