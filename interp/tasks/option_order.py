"""Options of a question in another order, wherever a row keeps them, and the right one with them.

lm-evaluation-harness does not say which fields of a row hold the options and their order. The
fields are looked for, and what is found is tried: the prompt must list the options in their new
order, and the right option must be the same one at its new place.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interp.errors import UserError
from interp.tasks.metrics import gold_options

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def rotated_options(
    harness: Any, rows: Sequence[dict[str, Any]], by: int, *, task: str
) -> list[dict[str, Any]]:
    """Rows whose options are turned by some places, the last ones to the front.

    Args:
        harness: lm-evaluation-harness' task.
        rows: the rows of the task.
        by: places.
        task: its name, for messages.

    Returns:
        New rows, in their order.

    Raises:
        UserError: the task scores no options, its prompts do not list them, or the fields that
            hold them are not found.
    """
    if harness.OUTPUT_TYPE != "multiple_choice" or harness.multiple_input:
        raise UserError(f"task {task}: option-order is for tasks that score options")
    return [_rotated(harness, row, by, f"task {task}, row {n}") for n, row in enumerate(rows)]


def _rotated(harness: Any, row: dict[str, Any], by: int, place: str) -> dict[str, Any]:
    gold, number = gold_options(harness, row), len(harness.doc_to_choice(row))
    if len(gold) != 1:
        raise UserError(f"{place}: {len(gold)} right options; option-order needs one")
    if not 0 < by < number:
        raise UserError(
            f"{place}: {number} options have {number} orders; option-order-{by} is none of them"
        )
    wanted = (gold[0] + by) % number
    for field in row:
        for turned, texts in _turned(row, str(field), number, by):
            for new in _with_gold(turned, gold[0], wanted):
                if _is_right(harness, row, new, texts, wanted):
                    return new
    raise UserError(
        f"{place}: the order of its options cannot be changed: the prompt must list them from a "
        "list in the row, and a field must name the right one"
    )


def _turned(
    row: Mapping[str, Any], field: str, number: int, by: int
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The row with one list of options turned, and the texts in their new order."""
    value = row[field]
    inner = value.get("text") if isinstance(value, dict) else value
    if not isinstance(inner, list) or len(inner) != number or not all(map(_is_text, inner)):
        return
    texts = inner[-by:] + inner[:-by]
    # labels (`{"text": [...], "label": [...]}`) stay where they are
    yield {**row, field: {**value, "text": texts} if isinstance(value, dict) else texts}, texts


def _with_gold(row: dict[str, Any], gold: int, wanted: int) -> Iterator[dict[str, Any]]:
    """The row as it is, and with each field that may name the right option changed."""
    yield row
    labels = [v["label"] for v in row.values() if isinstance(v, dict) and "label" in v]
    for names in (*labels, LETTERS, LETTERS.lower()):
        if wanted < len(names) and gold < len(names):
            yield from _replaced(row, names[gold], names[wanted])
    for start in (0, 1):
        yield from _replaced(row, gold + start, wanted + start)
        yield from _replaced(row, str(gold + start), str(wanted + start))


def _replaced(row: dict[str, Any], old: str | int, new: str | int) -> Iterator[dict[str, Any]]:
    for field, value in row.items():
        if type(value) is type(old) and value == old:
            yield {**row, field: new}


def _is_right(
    harness: Any, old: dict[str, Any], new: dict[str, Any], texts: list[str], wanted: int
) -> bool:
    """Whether the prompt lists the options anew and the right one moved with them."""
    try:
        if gold_options(harness, new) != [wanted]:
            return False
        prompt, options = str(harness.doc_to_text(new)), list(harness.doc_to_choice(new))
    except Exception:  # a template or function that finds no such value
        return False
    before = list(harness.doc_to_choice(old))
    if options not in (before, texts) or prompt == str(harness.doc_to_text(old)):
        return False
    place = 0
    for text in texts:
        place = prompt.find(text.strip(), place)
        if place < 0:
            return False
        place += len(text.strip())
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
