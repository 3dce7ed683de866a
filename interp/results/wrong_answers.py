"""What a model writes in place of the right answer, by ablation, from the stored answers."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import UserError
from interp.stats import BASELINE, mean_intervals, sample_of

KINDS = (
    "right",
    "another value",
    "option letter",
    "another format",
    "loop",
    "cut off",
    "empty",
    "failed",
)
"""The kinds of answers, in the order of tables and figures."""

RESULT = "####"
"""The mark before the result of a written-out solution, as in GSM8K."""

LOOPS = 3
"""The number of repetitions up to the end of an answer that make a loop."""


@dataclass(frozen=True)
class Values:
    """What the right answers of a task look like.

    Attributes:
        known: the answers themselves.
        shapes: the shapes of the answers, from `shape_of`.
        marked: whether the mark `RESULT` precedes each.
        endings: what an answer may end with: each right answer after a space, single letters
            excepted.
    """

    known: frozenset[str]
    shapes: frozenset[str]
    marked: bool
    endings: tuple[str, ...]

    @classmethod
    def of(cls, targets: Collection[str]) -> "Values":
        """Make the values of a task from the right answers of its examples."""
        marked = bool(targets) and all(RESULT in target for target in targets)
        known = frozenset(_plain(_result(target) if marked else target) for target in targets)
        shapes = {value: shape_of(value) for value in known}
        endings = tuple(f" {value}" for value, shape in shapes.items() if shape != "letter")
        return cls(known, frozenset(shapes.values()), marked, endings)


def kind_of_answer(text: str, values: Values, *, finished: bool = True) -> str:
    """What kind of wrong answer a text is.

    - `another value`: it is, or ends with, the right answer of another example; or it has the shape
      of one (as many words, or a number where numbers are asked for).
    - `option letter`: a single letter where no right answer is one.
    - `another format`: none of the others; also a written-out solution without a result.
    - `loop`: it ends in the same words, or characters, repeated `LOOPS` times or more.
    - `cut off`: the token limit ended it.
    - `empty`: nothing but white space.

    Args:
        text: the answer.
        values: the values of the task.
        finished: False where the token limit cut the answer.

    Returns:
        One of the kinds above.
    """
    if not text.strip():
        return "empty"
    if loops(text):
        return "loop"
    if not finished:
        return "cut off"
    marked = RESULT in text
    answer = answer_of(text, values)
    shape = shape_of(answer)
    if shape == "letter" and "letter" not in values.shapes:
        return "option letter"
    if values.marked and not marked:
        return "another format"
    if answer in values.known or shape in values.shapes or answer.endswith(values.endings):
        return "another value"
    return "another format"


def answer_of(text: str, values: Values) -> str:
    """The answer in a text: what follows the task's mark, if it has one, without punctuation."""
    return _plain(_result(text) if values.marked and RESULT in text else text)


def shape_of(text: str) -> str:
    """The shape of an answer: `word word`, `number`, `letter`, or `code` of letters and digits."""
    return " ".join(_shape_of_word(word) for word in text.split())


def loops(text: str) -> bool:
    """Whether a text ends in repeated words, or in over a dozen characters of repetition."""
    words = text.split()
    for length in range(1, len(words) // LOOPS + 1):
        tail = words[-LOOPS * length :]
        if tail == LOOPS * tail[-length:]:
            return True
    repeated = re.search(r"(\S{1,8}?)\1{3,}$", text.rstrip())
    return repeated is not None and len(repeated[0]) >= 12


def kinds_of_error(
    answers: pd.DataFrame, ablations: Collection[str] | None = None, *, confidence: float = 0.95
) -> pd.DataFrame:
    """The share of each kind of answer under each ablation, with its interval.

    A drop says that answers are no longer right; this table says what they are instead. If the
    model answers with option letters when a layer is ablated, it has lost the format, not the
    knowledge.

    Args:
        answers: one task's generated answers: `model task ablation doc_id text finished target
            failure right`, and `cluster` where examples have one. `right` is whether the answer
            counts as right by the metric.
        ablations: only these and the baseline have rows; all by default.
        confidence: coverage of the intervals (Wilson 1927; with clusters as `interp.stats.scores`).

    Returns:
        Columns `model task ablation kind share low high baseline n interval`, one row per kind that
        occurs anywhere in the task. Shares are in percent; `baseline` is that of the unablated
        model.

    Raises:
        UserError: the baseline is missing.
    """
    if BASELINE not in set(answers["ablation"]):
        raise UserError("kinds of errors: no baseline to compare with")
    values = Values.of(set(answers["target"].astype(str)))
    kind_of = np.array([_kind(row, values) for row in answers.to_dict("records")], dtype=object)
    kinds = [kind for kind in KINDS if kind == "right" or (kind_of == kind).any()]
    is_kind = (kind_of[:, None] == np.array(kinds, dtype=object)).astype(float)
    doc_ids, places_of = answers["doc_id"].to_numpy(), answers.groupby("ablation").indices
    rows = []
    for ablation in answers["ablation"].unique():
        if ablations is not None and ablation not in (BASELINE, *ablations):
            continue
        places = places_of[ablation]
        first = answers.iloc[places[0]]
        clusters = None
        if "cluster" in answers:
            clusters = pd.Series(answers["cluster"].to_numpy()[places], doc_ids[places])
        sample = sample_of(pd.DataFrame(is_kind[places], doc_ids[places]), clusters)
        low, high, interval_name = mean_intervals(sample, True, confidence, 2000, 0)
        shares = 100 * sample.table.mean(axis=0)
        for place, kind in enumerate(kinds):
            rows.append(
                {"model": first["model"], "task": first["task"], "ablation": ablation}
                | {"kind": kind, "share": float(shares[place])}
                | {"low": 100 * low[place], "high": 100 * high[place]}
                | {"n": len(places), "interval": interval_name[place]}
            )
    table = pd.DataFrame(rows)
    whole = table[table["ablation"] == BASELINE].set_index("kind")["share"]
    table.insert(7, "baseline", table["kind"].map(whole))
    return table


def what_instead(table: pd.DataFrame) -> str:
    """In words: the commonest kinds of wrong answer under the ablations of `kinds_of_error`.

    Args:
        table: rows of `kinds_of_error` of one task, under the ablations that are to be named.

    Returns:
        The two commonest kinds of each ablation, with their shares; empty where no answer is wrong.
    """
    wrong: dict[str, list[dict[Any, Any]]] = {}
    for row in table.to_dict("records"):
        if row["kind"] != "right" and row["share"] > 0:
            wrong.setdefault(row["ablation"], []).append(row)
    parts = []
    for ablation, rows in wrong.items():
        largest = sorted(rows, key=lambda row: -row["share"])[:2]
        words = ", ".join(
            f"{row['kind']} {row['share']:.0f}% [{row['low']:.0f}, {row['high']:.0f}]"
            for row in largest
        )
        parts.append(f"{ablation} {words}")
    return "; ".join(parts)


def _kind(row: dict[object, object], values: Values) -> str:
    if row["failure"]:
        return "failed"
    if row["right"]:
        return "right"
    text = row["text"]
    return kind_of_answer(
        text if isinstance(text, str) else "", values, finished=row["finished"] is not False
    )


def _result(text: str) -> str:
    return text.rpartition(RESULT)[2]


def _plain(text: str) -> str:
    """The text without white space and punctuation around it."""
    return " ".join(text.split()).strip(" .,;:!?\"'()[]")


def _shape_of_word(word: str) -> str:
    if re.fullmatch(r"[-+$]?\d[\d.,]*%?", word):
        return "number"
    if re.fullmatch(r"[A-Za-z]", word):
        return "letter"
    return "code" if re.search(r"\d", word) and re.search(r"[A-Za-z]", word) else "word"
