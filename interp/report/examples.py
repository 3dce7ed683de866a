"""Which examples of an ablation are shown, and what changed in their answers."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.report.asked import Asked
from interp.results import Sweep
from interp.stats import BASELINE

OUTCOMES = ("harmed", "helped", "other", "same", "failed")
"""What an ablation did to an example, in the order in which examples are shown."""

AT_ONCE = 32
"""Ablations whose responses are held in memory together."""

LONGEST_ANSWER = 1_000
"""Characters of an answer that are shown."""


@dataclass(frozen=True)
class Answer:
    """What the model answered, cut where the two answers part.

    Attributes:
        common: what both answers begin with.
        rest: the words from the first on that differs.
        note: log-likelihoods, or that the answer was cut.
    """

    common: str
    rest: str
    note: str


@dataclass(frozen=True)
class Example:
    """One example under one ablation.

    Attributes:
        doc_id: row of the task.
        outcome: one of `OUTCOMES`.
        words: the outcome in words.
        target: the right answer.
        baseline: the whole model's answer.
        ablated: the ablated model's answer.
    """

    doc_id: int
    outcome: str
    words: str
    target: str
    baseline: Answer
    ablated: Answer


@dataclass(frozen=True)
class Shown:
    """The examples of one ablation and task that the page holds.

    Attributes:
        counts: examples of the run by outcome.
        examples: those that are shown: changed ones first.
    """

    counts: dict[str, int]
    examples: tuple[Example, ...]


def shown_examples(
    run: Sweep,
    task: str,
    *,
    metric: str,
    ablations: Sequence[str],
    asked: Asked,
    most: int,
) -> Iterator[tuple[str, Shown]]:
    """For each ablation a bounded number of examples, drawn with the run's seed.

    Harmed and helped examples take turns, in random order; then come those with another answer and
    the same outcome, then unchanged ones. The draw depends on the seed, the task and the ablation
    alone.

    Args:
        run: a finished run.
        task: name of the task.
        metric: the metric by which an example is harmed or helped.
        ablations: text forms.
        asked: the task's rows.
        most: examples per ablation.

    Yields:
        Text form, and what is shown of it.
    """
    base = run.responses(tasks=task, ablations=BASELINE).set_index("doc_id").sort_index()
    for start in range(0, len(ablations), AT_ONCE):
        part = list(ablations[start : start + AT_ONCE])
        rows = run.responses(tasks=task, ablations=part)
        for text, of_ablation in rows.groupby("ablation", sort=False):
            ablated = of_ablation.set_index("doc_id").sort_index()
            outcomes = _outcomes(base, ablated, metric)
            seed = [run.manifest.seed, zlib.crc32(f"{task} {text}".encode())]
            chosen = choose(outcomes, most, seed=seed)
            yield (
                str(text),
                Shown(
                    {name: int((outcomes == name).sum()) for name in OUTCOMES},
                    tuple(
                        _example(doc_id, str(outcomes[doc_id]), metric, (base, ablated), asked)
                        for doc_id in chosen
                    ),
                ),
            )


def choose(outcomes: pd.Series, most: int, *, seed: Sequence[int]) -> list[int]:
    """At most `most` examples: harmed and helped by turns, then other answers, then the same.

    Args:
        outcomes: one of `OUTCOMES` for each example; the index is their rows of the task.
        most: how many.
        seed: the seed of the draw within an outcome.

    Returns:
        Their rows: grouped by outcome, in the order of `OUTCOMES`, and ascending within.
    """
    rng = np.random.default_rng(list(seed))
    drawn = {name: rng.permutation(outcomes.index[outcomes == name]) for name in OUTCOMES}
    turns = [
        (turn, place, doc_id)
        for place, name in enumerate(OUTCOMES[:2])
        for turn, doc_id in enumerate(drawn[name].tolist())
    ]
    queue = [doc_id for _, _, doc_id in sorted(turns)]
    queue += [doc_id for name in OUTCOMES[2:] for doc_id in drawn[name].tolist()]
    chosen = queue[:most]
    return sorted(chosen, key=lambda doc_id: (OUTCOMES.index(outcomes[doc_id]), doc_id))


def first_difference(one: str, other: str) -> int:
    """The character at which the first word that differs begins; the length of equal texts."""
    if one == other:
        return len(one)
    shorter = min(len(one), len(other))
    place = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    while place and not one[place - 1].isspace():
        place -= 1
    return place


def _outcomes(base: pd.DataFrame, ablated: pd.DataFrame, metric: str) -> pd.Series:
    change = ablated[metric].astype(float) - base[metric].astype(float)
    moved = _answers(base).ne(_answers(ablated))
    failed = _failed(base) | _failed(ablated)
    names = np.select(
        [failed, change < 0, change > 0, moved], ["failed", *OUTCOMES[:3]], default="same"
    )
    return pd.Series(names, index=base.index)


def _failed(rows: pd.DataFrame) -> pd.Series:
    """Which examples have no outcome."""
    if "failure" not in rows:
        return pd.Series(False, index=rows.index)
    return rows["failure"].fillna("").ne("")


def _answers(rows: pd.DataFrame) -> pd.Series:
    """What can be compared of an answer: its text, its draws, or which option is the likeliest."""
    columns = (rows[name] for name in ("text", "draws", "loglikelihoods"))
    answers: list[Any] = []
    for text, draws, scores in zip(*columns, strict=True):
        if text is None and scores is None:
            answers.append(None)
        elif draws is not None:
            answers.append(tuple(draws))
        else:
            answers.append(text if isinstance(text, str) else int(np.argmax(scores)))
    return pd.Series(answers, index=rows.index, dtype=object)


def _example(
    doc_id: int,
    outcome: str,
    metric: str,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    asked: Asked,
) -> Example:
    rows = [table.loc[doc_id].to_dict() for table in tables]
    whole = [_answer(doc_id, row, asked) for row in rows]
    place = first_difference(whole[0][0], whole[1][0])
    if not isinstance(rows[0]["text"], str) and whole[0][0] != whole[1][0]:
        place = 0  # two options are two answers, whatever they begin with
    answers = [_cut(text, place, note) for text, note in whole]
    # a failed example has no value
    values = [float("nan") if row[metric] is None else float(row[metric]) for row in rows]
    return Example(doc_id, outcome, _words(outcome, values), str(rows[0]["target"]), *answers)


def _answer(doc_id: int, row: Mapping[Any, Any], asked: Asked) -> tuple[str, str]:
    """The answer as text, and a note on it."""
    if row.get("failure"):
        return "", str(row["failure"])
    notes = _cut_prompt(row)
    if isinstance(row["text"], str):
        notes += [] if row["finished"] else ["cut by the token limit"]
        if row["draws"] is not None and len(row["draws"]) > 1:
            notes = [*_cut_prompt(row), f"the first of {len(row['draws'])} draws"]
            notes += [] if row["finished"] else ["some were cut by the token limit"]
        return row["text"], "; ".join(notes)
    scores = np.asarray(row["loglikelihoods"], dtype=float)
    if len(scores) == 1:
        likely = "is" if row["greedy"][0] else "is not"
        notes.append(_nats("target", scores[0]))
        return f"(the target {likely} what greedy decoding writes)", "; ".join(notes)
    options, gold = asked.options(doc_id), asked.gold(doc_id)
    count = len(options) if options is not None else len(scores)
    best = int(np.argmax(scores[:count]))
    text = options[best] if options is not None else f"option {best + 1} of {count}"
    notes.append(_nats("this option", scores[best]))
    if gold and best not in gold:
        notes.append(_nats("the right one", scores[gold].max()))
    return text, "; ".join(notes)


def _cut_prompt(row: Mapping[Any, Any]) -> list[str]:
    """That the model did not read the whole prompt, where it did not."""
    cut = int(row.get("cut_tokens") or 0)
    return [f"the first {cut} tokens of the prompt were cut to fit the context"] if cut else []


def _nats(what: str, value: float) -> str:
    return f"log-likelihood of {what} {value:.2f} nats".replace("-0.00", "0.00").replace(
        " -", " \N{MINUS SIGN}"
    )


def _cut(text: str, place: int, note: str) -> Answer:
    """An answer with its difference in sight; what is left out is said."""
    if len(text) <= LONGEST_ANSWER:
        return Answer(text[:place], text[place:], note)
    start = max(0, min(place - LONGEST_ANSWER // 2, len(text) - LONGEST_ANSWER))
    end = start + LONGEST_ANSWER
    left = f"characters {start + 1} to {end} of {len(text)}"
    before = "\N{HORIZONTAL ELLIPSIS}" if start else ""
    after = "\N{HORIZONTAL ELLIPSIS}" if end < len(text) else ""
    middle = min(place, end)
    notes = "; ".join(part for part in (note, left) if part)
    return Answer(before + text[start:middle], text[middle:end] + after, notes)


def _words(outcome: str, values: Sequence[float]) -> str:
    """The outcome for a reader."""
    if outcome == "failed":
        return "no outcome"
    if not set(values) <= {0.0, 1.0}:
        change = " \N{RIGHTWARDS ARROW} ".join(f"{value:.3g}" for value in values)
        return f"score {change}" if values[0] != values[1] else f"score {values[0]:.3g}"
    before, after = ("right" if value else "wrong" for value in values)
    if before != after:
        return f"{before} \N{RIGHTWARDS ARROW} {after}"
    return f"another answer, still {after}" if outcome == "other" else f"same answer, {after}"
