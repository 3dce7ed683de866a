"""Key-value retrieval: rows of any size from a seed, and where their keys and values stand.

The JSON form is that of Liu et al., "Lost in the Middle" (arXiv 2307.03172): version-4 UUIDs as
keys and values, one JSON object, one key asked for, the gold pair at a chosen position.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, overload

from interp.errors import UserError, check_seed, check_whole
from interp.tasks.building import build

LETTERS = "ABCD"
UUID_BITS = 128
PROMPT = (
    "Extract the value corresponding to the specified key in the JSON object below.\n\n"
    'JSON data:\n{{pairs_text}}\n\nKey: "{{key}}"\nCorresponding value:'
)
JSON_TASK: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": PROMPT,
    "doc_to_target": '"{{answer}}"',
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 64},
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "regexes_to_ignore": ['["\\s]'],
        }
    ],
}
Pair = tuple[str, str]
Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True)
class Layout:
    """How pairs are written: opening, key, between, value, separator, key ..., closing."""

    opening: str
    between: str
    separator: str
    closing: str

    def write(self, pairs: Sequence[Pair]) -> tuple[str, list[tuple[Span, Span]]]:
        """The text of the pairs, and the places of each key and value in it."""
        text, spans = self.opening, []
        for number, (key, value) in enumerate(pairs):
            text += self.separator if number else ""
            start = len(text)
            middle = start + len(key)
            text += key + self.between + value
            spans.append(((start, middle), (middle + len(self.between), len(text))))
        return text + self.closing, spans


JSON = Layout('{"', '": "', '",\n "', '"}')
WORLD = Layout("Pairs: ", " ", ", ", ".")
WORLD2 = Layout("Pairs: ", " ", ", ", ".\n")
PLAIN = Layout("", " ", " ", "")
"""Keys and values with spaces between them, and nothing else."""
LAYOUTS = (JSON, WORLD, WORLD2, PLAIN)


def pair_spans(document: dict[str, Any], task: str) -> list[tuple[Span, Span]]:
    """Where the keys and values of a row stand in its field `pairs_text`.

    The text is written again from the row's `pairs`, so no place is ever searched for.

    Args:
        document: a row of a key-value task.
        task: name of the task, for the message.

    Returns:
        For each pair its key's and its value's first character and end, counted in `pairs_text`.

    Raises:
        UserError: the row has no pairs, or its text is none of the layouts.
    """
    fields = ("pairs", "pairs_text", "key", "answer", "gold_position")
    missing = [field for field in fields if field not in document]
    if missing:
        raise UserError(
            f"task {task}: its rows hold no key-value pairs (no field {missing[0]}); needed are "
            f"{', '.join(fields)}"
        )
    return layout_of(document, task).write(_pairs(document))[1]


def layout_of(document: Mapping[str, Any], task: str) -> Layout:
    """The layout in which a row's pairs stand in its field `pairs_text`.

    Args:
        document: a row with both fields.
        task: name of the task, for the message.

    Returns:
        One of `LAYOUTS`.

    Raises:
        UserError: the text is none of the layouts.
    """
    for layout in LAYOUTS:
        if layout.write(_pairs(document))[0] == document["pairs_text"]:
            return layout
    raise UserError(f"task {task}: pairs_text is not the row's pairs in any layout known here")


def _pairs(document: Mapping[str, Any]) -> list[Pair]:
    return [(key, value) for key, value in document["pairs"]]


class KeyValueRows(Sequence[dict[str, Any]]):
    """Rows in the JSON form, each made when it is asked for; the same for the same seed.

    Attributes:
        features: the fields of a row.
        made_when_asked: tells such rows from a list of rows.
    """

    made_when_asked = True

    def __init__(
        self, n_pairs: int, *, rows: int, seed: int = 0, gold_position: int | None = None
    ) -> None:
        self._n_pairs, self._gold_position = n_pairs, gold_position
        self._rng = random.Random(f"{seed}-{n_pairs}")
        # evenly spread also where there are fewer rows than positions
        spread = [i * n_pairs // rows if rows < n_pairs else i % n_pairs for i in range(rows)]
        self._rng.shuffle(spread)
        self._spread = spread
        self._states = [self._rng.getstate()]
        self._rows: dict[int, dict[str, Any]] = {}
        self.features = dict.fromkeys(self[0])

    def __len__(self) -> int:
        return len(self._spread)

    @overload
    def __getitem__(self, number: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, number: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, number: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(number, slice):
            return [self[i] for i in range(len(self))[number]]
        number = range(len(self))[number]
        if number not in self._rows:
            self._rows[number] = self._make(number)
        return self._rows[number]

    def _make(self, number: int) -> dict[str, Any]:
        rng, n_pairs = self._rng, self._n_pairs
        while len(self._states) <= number:
            # as much of the stream as a row takes, without making it
            rng.setstate(self._states[-1])
            rng.getrandbits(2 * UUID_BITS * n_pairs)
            self._choices(rng)
            self._states.append(rng.getstate())
        rng.setstate(self._states[number])
        # drawn alike whatever the gold position, so that positions are compared on the same pairs
        pairs = [(_uuid(rng), _uuid(rng)) for _ in range(n_pairs)]
        wrong, order = self._choices(rng)
        spread = self._spread[number]
        position = spread if self._gold_position is None else self._gold_position
        wanted, others = pairs[spread], pairs[:spread] + pairs[spread + 1 :]
        options = [wanted[1], *(others[i][1] for i in wrong)]
        return _row(
            number,
            [*others[:position], wanted, *others[position:]],
            position,
            [options[i] for i in order],
        )

    def _choices(self, rng: random.Random) -> tuple[list[int], list[int]]:
        """Which other values are the wrong options, and the order of the options."""
        wrong = rng.sample(range(self._n_pairs - 1), len(LETTERS) - 1)
        return wrong, rng.sample(range(len(LETTERS)), len(LETTERS))


def key_value_rows(
    n_pairs: int, *, rows: int, seed: int = 0, gold_position: int | None = None
) -> KeyValueRows:
    """Rows in the JSON form, the same for the same seed.

    Args:
        n_pairs: pairs per row; 75, 140 and 300 in the paper.
        rows: how many.
        seed: the seed of the UUIDs, the gold positions and the wrong options.
        gold_position: the place of the right key, from 0; by default positions are spread evenly
            over the rows.

    Returns:
        Rows with the fields of the shipped key-value task: `pairs`, `pairs_text`, `key`, `answer`,
        `gold_position`, four `options` with `options_text`, `gold` and `letter`.

    Raises:
        UserError: fewer than 4 pairs, no rows, or a gold position outside the pairs.
    """
    check_whole("pairs", n_pairs, len(LETTERS))
    check_whole("rows", rows, 1)
    check_seed(seed)
    inside = isinstance(gold_position, Integral) and not isinstance(gold_position, bool)
    if gold_position is not None and not (inside and 0 <= gold_position < n_pairs):
        raise UserError(
            f"gold position {gold_position!r:.80}: {n_pairs} pairs have 0-{n_pairs - 1}"
        )
    return KeyValueRows(n_pairs, rows=rows, seed=seed, gold_position=gold_position)


def key_value_task(
    n_pairs: int, *, rows: int = 500, seed: int = 0, gold_position: int | None = None
) -> Any:
    """The JSON task under the `generate` protocol, its rows made here.

    Args:
        n_pairs: pairs per row.
        rows: how many; 500 in the paper.
        seed: as for `key_value_rows`.
        gold_position: as for `key_value_rows`.

    Returns:
        A task for `interp.sweep` and the tracer. An answer counts with or without its quotes; the
        paper's looser metric counts any answer that contains the value.
    """
    made = key_value_rows(n_pairs, rows=rows, seed=seed, gold_position=gold_position)
    where = "" if gold_position is None else f"-at-{gold_position}"
    name = f"kv-{n_pairs}{where}:generate"
    return task_of_rows(name, made, JSON_TASK)


def task_of_rows(
    name: str,
    rows: Sequence[dict[str, Any]],
    config: dict[str, Any],
    *,
    num_fewshot: int | None = None,
) -> Any:
    """A task over rows that were made here, not read from a file.

    Args:
        name: the name of the task; its suffix (`:generate`, `:continuation`, `:default`) is its
            protocol.
        rows: the rows of its only split.
        config: lm-evaluation-harness keys (`output_type`, `doc_to_text`, ...).
        num_fewshot: few-shot examples in the prompt; by default what the configuration says.

    Returns:
        A `Task` that can be swept like any other.

    Raises:
        UserError: the name, the rows or the configuration are not of the allowed kind.
    """
    from interp.tasks.task import Task

    if not isinstance(name, str) or not name:
        raise UserError(f"name {name!r:.80}: allowed is the name of a task")
    if not isinstance(config, Mapping):
        raise UserError(f"task {name}: config {config!r:.80}; allowed are keys, each with a value")
    listed = isinstance(rows, Sequence) and not isinstance(rows, str | bytes)
    # rows that are made when they are asked for are our own, and may be gigabytes together
    looked_at = [] if getattr(rows, "made_when_asked", False) else rows
    if not listed or not rows or not all(isinstance(row, Mapping) for row in looked_at):
        raise UserError(f"task {name}: rows {rows!r:.80}; allowed is a list of rows, at least one")
    whole = {"task": name, "test_split": "test", **config}
    return Task(name, build(whole, num_fewshot=num_fewshot, made={"test": rows}))


def _row(number: int, pairs: list[Pair], position: int, options: list[str]) -> dict[str, Any]:
    key, value = pairs[position]
    gold = options.index(value)
    return {
        "id": f"kv-{len(pairs)}-{number:04d}",
        "pairs": [list(pair) for pair in pairs],
        "pairs_text": JSON.write(pairs)[0],
        "key": key,
        "gold_position": position,
        "answer": value,
        "options": options,
        "options_text": "".join(f"{LETTERS[i]}. {text}\n" for i, text in enumerate(options)),
        "gold": gold,
        "letter": LETTERS[gold],
    }


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(UUID_BITS), version=4))
