"""One question read in several ways: by likelihood or greedily, among few or many candidates.

What a protocol changes are several things at once: how the answer is read, among what, and whether
steps are written first. Here the same prompt is read in all ways. Every candidate, and every
beginning of one (word by word), is an option whose log-likelihood is taken; from these follow

- `likelihood_options`, `likelihood_type`: the candidate of the highest log-likelihood, among the
  row's options or among all values of the type (all cities, all numbers, all values of the pairs);
- `likelihood_vocabulary`: whether every token of the right answer is the likeliest of the whole
  vocabulary, the right tokens before it given;
- `greedy_options`, `greedy_type`: decoding that may only write candidates: word by word the
  likeliest that one of those left goes on with.

Where every candidate is one word, the likeliest and the greedy candidate are the same. Free
greedy decoding is a task of its own (`...:generate`), with the same prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]
Responses = Sequence[tuple[float, bool]]


def with_values_of_relation(rows: datasets.Dataset) -> datasets.Dataset:
    """Rows with all values of their relation, as far as any row of the split names them."""
    return _with_values(rows, lambda row: str(row["relation"]))


def with_all_values(rows: datasets.Dataset) -> datasets.Dataset:
    """Rows with all values that any row of the split names."""
    return _with_values(rows, lambda row: "")


def with_values_of_pairs(rows: datasets.Dataset) -> datasets.Dataset:
    """Rows with the values of all their pairs."""
    return rows.map(lambda row: {"values": sorted(value for _, value in row["pairs"])})


def with_letters(rows: datasets.Dataset) -> datasets.Dataset:
    """MMLU's rows: the letters of its options, all letters, the options under their letters."""

    def one(row: Row) -> dict[str, Any]:
        letters = list(ALPHABET[: len(row["choices"])])
        shown = zip(letters, row["choices"], strict=True)
        return {
            "options": letters,
            "values": list(ALPHABET),
            "answer": letters[row["answer"]],
            "listing": "".join(f"{letter}. {text}\n" for letter, text in shown),
            "subject_words": str(row["subject"]).replace("_", " "),
        }

    return rows.map(one)


def beginnings(row: Row) -> list[str]:
    """Every beginning of every candidate, word by word, each once; whole candidates are among them.

    Args:
        row: the row, with `values` and `options`.

    Returns:
        Texts, in the order in which they first occur.
    """
    distinct = dict.fromkeys(
        " ".join(words[:count])
        for words in map(str.split, _candidates(row))
        for count in range(1, len(words) + 1)
    )
    return list(distinct)


def read_in_all_ways(row: Row, results: Responses) -> dict[str, float]:
    """Whether each way of reading gives the right answer.

    Args:
        row: the row, with `values`, `options` and `answer`.
        results: for each of `beginnings`, its log-likelihood and whether its tokens are likeliest.

    Returns:
        Metric to 0 or 1.
    """
    scored = dict(zip(beginnings(row), results, strict=True))
    totals = {text: float(total) for text, (total, _) in scored.items()}
    answer, scores = str(row["answer"]), dict[str, float]()
    for name, among in (("options", row["options"]), ("type", _candidates(row))):
        likeliest = max(among, key=lambda text: totals[text])
        scores[f"likelihood_{name}"] = float(likeliest == answer)
        scores[f"greedy_{name}"] = float(written(list(among), totals) == answer)
    scores["likelihood_vocabulary"] = float(scored[answer][1])
    return scores


def written(among: Sequence[str], totals: Mapping[str, float]) -> str:
    """What greedy decoding writes that may only write one of some texts.

    Args:
        among: the texts.
        totals: the log-likelihood of every beginning of each.

    Returns:
        One of the texts; it goes on as long as one of those left does.
    """
    so_far, left, place = "", [text.split() for text in among], 0
    while left := [words for words in left if len(words) > place]:
        place += 1
        so_far = max(sorted({" ".join(words[:place]) for words in left}), key=totals.__getitem__)
        left = [words for words in left if " ".join(words[:place]) == so_far]
    return so_far


def _candidates(row: Row) -> list[str]:
    return list(dict.fromkeys([*row["values"], *row["options"]]))


def _with_values(rows: datasets.Dataset, group: Callable[[Row], str]) -> datasets.Dataset:
    known: dict[str, set[str]] = {}
    for row in rows:
        known.setdefault(group(row), set()).update([*row["options"], row["answer"]])
    values = {name: sorted(kind_values) for name, kind_values in known.items()}
    return rows.map(lambda row: {"values": values[group(row)]})
