"""Rows of benchmarks, brought to one form that the YAML files beside this one share.

Each function maps a data set as it is on the hub to one with the fields `question`, `options`,
`gold` (number of the right option), `letters`, `letter` (of the right option) and `listing` (the
options under their letters). In the forms with evidence, a line `Fact: ...`, `Facts: ...` or
`Document: ...` precedes the question, in the field `passage`; nothing else changes.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]


def hellaswag(rows: datasets.Dataset) -> datasets.Dataset:
    """HellaSwag (Zellers et al., arXiv 1905.07830): which ending follows?"""
    from lm_eval.tasks.hellaswag.utils import process_docs

    made = process_docs(rows)
    return _mapped(made, lambda row: _options(row["query"], row["choices"], row["gold"]))


def mathqa(rows: datasets.Dataset) -> datasets.Dataset:
    """MathQA (Amini et al., arXiv 1905.13319); options cut apart as the harness cuts them."""
    from lm_eval.tasks.mathqa.utils import doc_to_choice

    def one(row: Row) -> dict[str, Any]:
        return _options(
            f"Question: {row['Problem']}", doc_to_choice(row), _place("abcde", row["correct"])
        )

    return _mapped(rows, one)


def arc(rows: datasets.Dataset) -> datasets.Dataset:
    """ARC (Clark et al., arXiv 1803.05457); options named by numbers get letters."""
    return _mapped(rows, lambda row: _labelled(f"Question: {row['question']}", row))


def openbookqa(rows: datasets.Dataset) -> datasets.Dataset:
    """OpenBookQA (Mihaylov et al., arXiv 1809.02789), closed book."""
    return _mapped(rows, lambda row: _labelled(row["question_stem"], row))


def openbookqa_with_fact(rows: datasets.Dataset) -> datasets.Dataset:
    """OpenBookQA with the core fact that its question was written from."""
    return _mapped(
        rows,
        lambda row: _labelled(row["question_stem"], row) | {"passage": f"Fact: {row['fact1']}\n"},
    )


def qasc(rows: datasets.Dataset) -> datasets.Dataset:
    """QASC (Khot et al., arXiv 1910.11473), closed book."""
    return _mapped(rows, lambda row: _labelled(row["question"], row))


def qasc_with_facts(rows: datasets.Dataset) -> datasets.Dataset:
    """QASC with the two facts that together answer the question."""

    def one(row: Row) -> dict[str, Any]:
        facts = " ".join(row[key].strip().rstrip(".") + "." for key in ("fact1", "fact2"))
        return _labelled(row["question"], row) | {"passage": f"Facts: {facts}\n"}

    return _mapped(rows, one)


def nq(rows: datasets.Dataset) -> datasets.Dataset:
    """NQ-open, closed book; the wording is that of the harness' nq_open."""
    return _mapped(rows, lambda row: _answers(f"Q: {row['question']}?\nA:", row))


def nq_with_document(rows: datasets.Dataset) -> datasets.Dataset:
    """NQ-open with the document that holds the answer."""

    def one(row: Row) -> dict[str, Any]:
        gold = next(c for c in row["ctxs"] if c.get("isgold", True))
        document = f"Document: {gold['title']}. {gold['text']}\n"
        return _answers(f"Q: {row['question']}?\nA:", row) | {"passage": document}

    return _mapped(rows, one)


def answer_metrics(row: Row, results: Sequence[str]) -> dict[str, float]:
    """Whether an answer is one of the right ones, and whether it contains one.

    Both sides lose case, punctuation and articles (SQuAD; Rajpurkar et al., arXiv 1606.05250).
    `contains_answer` is the measure of Lost in the Middle (`best_subspan_em`).

    Returns:
        `exact_match` and `contains_answer`, 0 or 1 each.
    """
    written = plain(results[0])
    right = [plain(answer) for answer in row["answers"]]
    return {
        "exact_match": float(written in right),
        "contains_answer": float(any(answer in written for answer in right if answer)),
    }


def plain(text: str) -> str:
    """A text without case, punctuation, articles and repeated spaces."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _answers(question: str, row: Row) -> dict[str, Any]:
    return {"question": question, "first_answer": f" {row['answers'][0]}"}


def _labelled(question: str, row: Row) -> dict[str, Any]:
    options, labels = row["choices"]["text"], row["choices"]["label"]
    return _options(question, options, _place(labels, row["answerKey"].strip()))


def _place(labels: Sequence[str], label: str) -> int:
    return list(labels).index(label)


def _options(question: str, options: Sequence[str], gold: int) -> dict[str, Any]:
    letters = list(ALPHABET[: len(options)])
    listing = "".join(f"{a}. {text}\n" for a, text in zip(letters, options, strict=True))
    return {
        "question": question,
        "options": list(options),
        "letters": letters,
        "gold": gold,
        "letter": letters[gold] if gold < len(letters) else "",
        "listing": listing,
    }


def _mapped(rows: datasets.Dataset, one: Callable[[Row], dict[str, Any]]) -> datasets.Dataset:
    # not `rows.map`: it hashes the function and writes to a cache, for a few thousand short rows
    return datasets.Dataset.from_list([dict(row) | one(row) for row in rows])
