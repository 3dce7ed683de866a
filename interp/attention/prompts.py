"""A key-value prompt with its right answer as tokens, and the positions of key and value."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from interp.errors import UserError
from interp.models import Decoder
from interp.tasks import (
    MARK,
    Task,
    covering,
    encode_with_offsets,
    pair_spans,
    prompt_text,
)


@dataclass(frozen=True)
class KeyValuePrompt:
    """One example of a key-value task, with its right answer written after the prompt.

    Attributes:
        doc_id: the number of the row of the task.
        tokens: token ids of prompt and answer.
        queries: the positions that predict the answer, one token of the value each.
        answer: the tokens that they should predict.
        copied: for each of these tokens, the positions in the context that it is copied from.
        gold_value: positions of the gold value's tokens.
        gold_key: positions of the gold key's tokens, in the pairs.
        other_values: positions of all other values' tokens.
        other_keys: positions of all other keys' tokens.
        n_pairs: number of pairs.
        gold_position: the number of the requested pair, from 0.
    """

    doc_id: int
    tokens: tuple[int, ...]
    queries: tuple[int, ...]
    answer: tuple[int, ...]
    copied: tuple[tuple[int, ...], ...]
    gold_value: tuple[int, ...]
    gold_key: tuple[int, ...]
    other_values: tuple[int, ...]
    other_keys: tuple[int, ...]
    n_pairs: int
    gold_position: int


def locate(task: Task, doc_id: int, decoder: Decoder) -> KeyValuePrompt:
    """Find the tokens of one example, with the tokenizer's offsets.

    Args:
        task: a key-value task whose answer is the value itself (not an option's letter).
        doc_id: the number of the row of the task.
        decoder: the model's modules; its tokenizer must give offsets.

    Returns:
        The tokens, and the positions of the answer, of the gold key and value, and of the other
        pairs.

    Raises:
        UserError: the rows hold no pairs, the answer is not the value, the tokenizer gives no
            offsets, or the example is longer than the context.
    """
    document = task.documents()[doc_id]
    spans = pair_spans(document, task.name)
    prompt, at = _prompt_and_pairs(task, document)
    answer, value_at = _answer(task, document)
    text = prompt + answer
    tokens, offsets = encode_with_offsets(text, decoder)
    if len(tokens) > decoder.max_length:
        raise UserError(
            f"task {task.name}, row {doc_id}: {len(tokens)} tokens with its answer; the model's "
            f"context holds {decoder.max_length}"
        )

    def positions(wanted: Iterable[tuple[int, int]]) -> tuple[int, ...]:
        return tuple(sorted({p for span in wanted for p in covering(offsets, span)}))

    placed = [((a + at, b + at), (c + at, d + at)) for (a, b), (c, d) in spans]
    gold = int(document["gold_position"])
    (gold_start, _), start = placed[gold][1], len(prompt) + value_at
    written = covering(offsets, (start, start + len(document["answer"])))
    copied = []
    for position in written:
        first, last = offsets[position]
        # a token may also hold a space or a quotation mark before the value
        first, last = max(first, start), min(last, start + len(document["answer"]))
        shift = gold_start - start
        copied.append(tuple(covering(offsets, (first + shift, last + shift))))
    return KeyValuePrompt(
        doc_id=doc_id,
        tokens=tuple(tokens),
        queries=tuple(position - 1 for position in written),
        answer=tuple(tokens[position] for position in written),
        copied=tuple(copied),
        gold_value=positions([placed[gold][1]]),
        gold_key=positions([placed[gold][0]]),
        other_values=positions(value for n, (_, value) in enumerate(placed) if n != gold),
        other_keys=positions(key for n, (key, _) in enumerate(placed) if n != gold),
        n_pairs=len(placed),
        gold_position=gold,
    )


def _prompt_and_pairs(task: Task, document: dict[str, Any]) -> tuple[str, int]:
    """The prompt with its few-shot examples, and the place where the row's pairs begin in it."""
    prompt, question = prompt_text(task, document), task.question(document)
    marked = task.question({**document, "pairs_text": MARK})
    at = marked.find(MARK)
    whole = at >= 0 and question == marked.replace(MARK, document["pairs_text"])
    if not whole or not prompt.endswith(question):
        raise UserError(
            f"task {task.name}: its prompt does not end with the row's own text, pairs_text in it "
            "as it is"
        )
    return prompt, len(prompt) - len(question) + at


def _answer(task: Task, document: dict[str, Any]) -> tuple[str, int]:
    """The text after the prompt, and the place where the value begins in it."""
    delimiter, target = task.target_delimiter, task.target_text(document)
    marked = task.target_text({**document, "answer": MARK})
    at = marked.find(MARK) if MARK in marked else 0
    if target[at : at + len(document["answer"])] != document["answer"]:
        raise UserError(
            f"task {task.name}: its answer {target!r} is not the value; the tracer needs a task "
            "that writes the value, such as the generate protocol"
        )
    return delimiter + target, len(delimiter) + at
