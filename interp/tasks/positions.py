"""Which tokens of a prompt hold what: its few-shot examples, a field of its row, the gold value.

Places are found by writing the prompt again with a mark in a field's place, and by the tokenizer's
offsets; a field that is not in the prompt as it is has no place, which is said.

- `few-shot`: what stands before the row's own text.
- `gold`: of a key-value row the value that is asked for; else the right answer's text, where it
  stands in the row's own text (in its `passage`, where the row has one).
- `gold-key`, `distractors`, `distractor-keys`: of a key-value row the key of that value in the
  pairs, all other values, and their keys.
- Any field of the rows (`passage`, `question`, `key`): its text in the row's own text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from interp.errors import UserError
from interp.models import Decoder
from interp.tasks.key_value import Span, pair_spans
from interp.tasks.requests import encode, prompt_text
from interp.tasks.task import Task

MARK = "\ue000"
"""A character for private use, which no text holds: where it lands, a field of the row begins."""

SPANS = "spans"
"""A field of rows that were made here: class to its first and last characters in the prompt."""

OF_PAIRS = ("gold-key", "distractors", "distractor-keys")
OF_ROWS = ("few-shot", "gold", *OF_PAIRS)
"""Classes with a name of their own; all others are fields of the rows."""


def class_positions(
    task: Task, doc_id: int, names: Iterable[str], decoder: Decoder, *, context: Sequence[int]
) -> dict[str, frozenset[int]]:
    """The positions of classes of tokens in the prompt of one row.

    Args:
        task: the task.
        doc_id: row of the task.
        names: the names of the classes (see above).
        decoder: the decoder of the model, whose tokenizer must give offsets.
        context: the tokens of the prompt as they are run, perhaps cut on the left.

    Returns:
        Class to its positions, counted from the first token that is run; none is empty.

    Raises:
        UserError: the row has no such class, it has no token that is run, or the tokenizer gives
            no offsets.
    """
    names = tuple(names)
    if not names:
        return {}
    where, document = f"task {task.name}, row {doc_id}", task.documents()[doc_id]
    text = prompt_text(task, document)
    tokens, offsets = encode_with_offsets(text.rstrip() if _is_scored(task) else text, decoder)
    cut = len(tokens) - len(context)
    if cut < 0 or tuple(tokens[cut:]) != tuple(context):
        raise UserError(f"{where}: its prompt is not one text, so that no class of it is placed")
    spans = _spans(task, document, text, names, where)
    positions = {}
    for name in names:
        at = {p - cut for span in spans[name] for p in covering(offsets, span)}
        positions[name] = frozenset(p for p in at if p >= 0)
        if not positions[name]:
            raise UserError(f"{where}: no token of {name} is run (the prompt lost {cut} tokens)")
    return positions


def class_spans(task: Task, document: Mapping[str, Any], text: str) -> dict[str, list[Span]]:
    """Every class of a row, and its characters in the prompt.

    Args:
        task: the task.
        document: one of its rows.
        text: the row's prompt.

    Returns:
        Class to first characters and the ones after the last; classes without a place are left out.
    """
    spans = {}
    for name in (*OF_ROWS, *(field for field, value in document.items() if isinstance(value, str))):
        with suppress(UserError):
            spans.update(_spans(task, document, text, [name], ""))
    return spans


def _is_scored(task: Task) -> bool:
    return not task.generates


def _spans(
    task: Task, document: Mapping[str, Any], text: str, names: Sequence[str], where: str
) -> dict[str, list[Span]]:
    """Class to its characters in the prompt."""
    if SPANS in document:
        made = {name: [(a, b) for a, b in spans] for name, spans in document[SPANS].items()}
        missing = next((name for name in names if name not in made), None)
        if missing is not None:
            raise UserError(f"{where}: no class {missing}; it has {', '.join(made)}")
        return made
    question = task.question(document)
    start = text.rfind(question) if question else -1
    if start < 0:
        raise UserError(f"{where}: its prompt does not hold the row's own text as it is")
    by_class = {}
    for name in names:
        inside = _few_shot(start, where) if name == "few-shot" else None
        if inside is None:
            placed = _in_own(task, document, question, name, where)
            inside = [(a + start, b + start) for a, b in placed]
        by_class[name] = inside
    return by_class


def _few_shot(start: int, where: str) -> list[Span]:
    if not start:
        raise UserError(f"{where}: no few-shot example comes before its own text (class few-shot)")
    return [(0, start)]


def _in_own(task: Task, document: Mapping[str, Any], own: str, name: str, where: str) -> list[Span]:
    """The characters of a class in the row's own text."""
    is_pairs = "pairs" in document and "pairs_text" in document
    if name in OF_PAIRS or (name == "gold" and is_pairs):
        pairs = pair_spans(dict(document), task.name)
        ((at, _),) = _field(task, document, own, "pairs_text", where)
        gold = int(document["gold_position"])
        side = 0 if name.endswith(("-key", "-keys")) else 1
        wanted = [
            pair[side] for i, pair in enumerate(pairs) if (i == gold) == name.startswith("gold")
        ]
        return [(a + at, b + at) for a, b in wanted]
    if name == "gold":
        return _answer_in(task, document, own, where)
    if name not in document:
        allowed = ", ".join((*OF_ROWS, *(f for f, v in document.items() if isinstance(v, str))))
        raise UserError(f"{where}: no class {name}; allowed are {allowed}")
    return _field(task, document, own, name, where)


def _field(task: Task, document: Mapping[str, Any], own: str, name: str, where: str) -> list[Span]:
    """Where a field's text stands in the row's own text: each place that a mark lands in."""
    value = document[name]
    marked = task.question({**document, name: MARK})
    if not isinstance(value, str) or MARK not in marked or marked.replace(MARK, value) != own:
        raise UserError(f"{where}: its field {name} is not in its prompt as it is")
    spans, at = [], 0
    for piece in marked.split(MARK)[:-1]:
        at += len(piece)
        spans.append((at, at + len(value)))
        at += len(value)
    return spans


def answer_text(task: Task, document: Mapping[str, Any]) -> str:
    """The right answer in words, also where a letter stands for it.

    Args:
        task: the task.
        document: one of its rows.

    Returns:
        The row's `answer`, its right option, or what the task scores; without white space around.
    """
    answer, options = document.get("answer"), document.get("options")
    if isinstance(answer, str) and answer:
        return answer.strip()
    if isinstance(options, list) and isinstance(document.get("gold"), int):
        return str(options[document["gold"]]).strip()
    scored = task.options(document)
    right = task.gold_options(document) if scored else []
    return (scored[right[0]] if right else task.target_text(document)).strip()


def _answer_in(task: Task, document: Mapping[str, Any], own: str, where: str) -> list[Span]:
    """Where the right answer's text stands in the passage, or in the row's own text."""
    answer, inside = answer_text(task, document), [(0, len(own))]
    # as whole words: the answer 5 does not stand in 57
    whole = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)" if answer else r"(?!)")
    if "passage" in document:
        inside = _field(task, document, own, "passage", where)
    spans = []
    for first, last in inside:
        spans += [match.span() for match in whole.finditer(own, first, last)]
    if not spans:
        raise UserError(f"{where}: its prompt does not hold its answer {answer!r:.40} (class gold)")
    return spans


def encode_with_offsets(text: str, decoder: Decoder) -> tuple[list[int], list[Span]]:
    """Tokens as every request has them, and the characters that each one covers.

    Args:
        text: any text.
        decoder: the decoder of the model, whose tokenizer must give offsets.

    Returns:
        Token ids, and of each its first character and the one after the last; special tokens that
        are no part of the text have `(0, 0)`.

    Raises:
        UserError: the tokenizer gives no offsets.
    """
    tokenizer = decoder.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"tokenizer {type(tokenizer).__name__}: it gives no offsets, and positions are read "
            "from them; a fast tokenizer (tokenizer.json) is needed"
        )
    bos = tokenizer.bos_token or tokenizer.eos_token
    special = not (bos and text.startswith(bos))
    made = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    tokens = list(made["input_ids"])
    assert tokens == encode(text, decoder)
    return tokens, [(int(a), int(b)) for a, b in made["offset_mapping"]]


def covering(offsets: Sequence[Span], span: Span) -> list[int]:
    """Tokens that hold any character of a span.

    Args:
        offsets: first character and the one after the last, of each token.
        span: the same of the span.

    Returns:
        Positions, ascending.
    """
    return [p for p, (first, last) in enumerate(offsets) if first < span[1] and last > span[0]]
