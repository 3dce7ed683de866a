"""Text files as tasks, scored by their loss (`interp.tasks.rolling`).

`text:FILE` makes a task of a file of the user's own: a `.jsonl` whose rows have a field `text`, or
plain text, which is cut into passages.
"""

from pathlib import Path
from typing import Any

from interp.errors import UserError, home_expanded
from interp.records import read_regular
from interp.tasks.key_value import task_of_rows
from interp.tasks.rows import read_rows

TEXT = "text:"
PASSAGE = 2000
"""Characters of a passage of a plain text; it ends with a line, or at least with a word."""

TABLES = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")
MARKED = (".ndjson", ".tsv", ".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings of other tables and packed files: as plain text their markup would be scored."""

CONFIG: dict[str, Any] = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "text",
    "metric_list": [{"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    "metadata": {"version": 1.0},
}


def is_text(name: str) -> bool:
    """Whether a name is that of a text file as a task."""
    return name.startswith(TEXT)


def text_task(name: str, *, num_fewshot: int | None = None) -> Any:
    """The task that a text file makes.

    Args:
        name: `text:FILE`.
        num_fewshot: must be none: a text has no few-shot examples.

    Returns:
        The task object of lm-evaluation-harness, one row per passage of the file, or per
        row of a table.

    Raises:
        UserError: the file is missing, empty, not UTF-8, or a table of another kind; few-shot
            examples.
    """
    if num_fewshot:
        raise UserError(f"task {name}: a text has no few-shot examples")
    if name == TEXT:
        raise UserError(f"task {name}: it names no file; allowed is {TEXT}FILE")
    path = home_expanded("task", name.removeprefix(TEXT))
    called = path.name.lower()
    if called.endswith(TABLES):
        texts = [_field(row, name, number) for number, row in enumerate(read_rows(path), start=1)]
    elif called.endswith(MARKED):
        raise UserError(
            f"task {name}: allowed are plain text and rows with a field `text` "
            f"({', '.join(TABLES)})"
        )
    else:
        texts = passages(_read(path, name))
    if not texts:
        raise UserError(f"task {name}: the file has no text")
    return task_of_rows(f"{TEXT}{path.name}", [{"text": text} for text in texts], CONFIG)


def passages(text: str) -> list[str]:
    """A text in passages of about `PASSAGE` characters, none of them short.

    Each ends after the last line break in its second half, else after the last space there.

    Args:
        text: any text.

    Returns:
        The passages in their order. Joined, they are the text, without passages that are only white
        space.
    """
    pieces, rest = [], text
    while len(rest) > PASSAGE * 3 // 2:
        half = PASSAGE // 2
        end = rest.rfind("\n", half, PASSAGE)
        end = end if end >= 0 else rest.rfind(" ", half, PASSAGE)
        cut = end + 1 if end >= 0 else PASSAGE
        pieces.append(rest[:cut])
        rest = rest[cut:]
    return [piece for piece in (*pieces, rest) if piece.strip()]


def _read(path: Path, name: str) -> str:
    try:
        # a pipe or a device may have no end
        text = read_regular(path).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise UserError(f"task {name}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task {name}: the file cannot be read as UTF-8 ({error})") from error


def _field(row: dict[str, Any], name: str, number: int) -> str:
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"task {name}, row {number}: its field `text` holds no text")
    return text
