"""Order, place and scope of layers, and patches, against plain transformers; two ablations each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from experiments.families.in_place import (
    Part,
    adding,
    contributions,
    entering,
    in_order,
    stream_replaced,
)
from experiments.families.plain import Plain
from interp.ablations import Edits, Means, checked_edits, mean_outputs
from interp.engine import generate, refuse_impossible, score_requests, scores_by_example
from interp.errors import UserError
from interp.models import decoder
from interp.tasks import GenerationRequest, OptionRequest, Task, build_requests, task_of_rows

FURTHER = ("scopes", "programs", "replacements", "patches")
"""Uses beyond parts that are taken away."""
PROGRAMS = {"exchange:1": (0, 2, 1, 3), "repeat:1-2": (0, 1, 2, 1, 2, 3)}
PARTS: tuple[Part, ...] = ("layer", "attn", "mlp")
NEW = 3
"""Tokens of a generated answer."""
REFERENCE = [[1, *range(5 + n, 5 + 2 * n)] for n in (9, 14, 20)]
CONFIG = {
    "doc_to_text": "{{text}}", "output_type": "multiple_choice", "doc_to_choice": "options",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip
Edited = Callable[[Plain, str, int, int], AbstractContextManager[None]]
"""From a plain model, an ablation, a row of the task and the length of its prompt to a context."""


def differences(
    use: str, model: TransformerBridge, other: Plain
) -> tuple[float, int, tuple[str, ...]]:
    """The largest difference of one use to plain transformers.

    Args:
        use: one of `FURTHER`.
        model: the bridge.
        other: the plain model of the same weights.

    Returns:
        In nats, infinite where a generated token differs; how many ablations were tried; and the
        refusals of those that were not.

    Raises:
        UserError: all of them are refused.
    """
    texts, refusals = _allowed(model, _TEXTS[use](model))
    if not texts:
        raise UserError("; ".join(dict.fromkeys(refusals)))
    if use == "patches":
        worst = _by_example(model, other, texts, _patched)
    elif use == "replacements":
        worst = 0.0
        given = [text for text in texts if "@resample" not in text]
        if given:
            linear = [int(t[6]) for t in given if t.endswith("@linear")]
            means = mean_outputs(model, REFERENCE, linear=linear)
            worst = _everywhere(model, other, given, _replaced(means, other), means)
        drawn = [text for text in texts if "@resample" in text]
        if drawn:
            worst = max(worst, _by_example(model, other, drawn, _resampled))
    else:
        edited = {"scopes": _scoped, "programs": _program}[use]
        worst = _everywhere(model, other, texts, edited, None)
    return worst, len(texts), tuple(dict.fromkeys(refusals))


def _first_with(model: TransformerBridge, part: Part) -> int:
    """A layer that has a part; the second where it has."""
    name = {"attn": "attention"}.get(part, part)
    there = range(4) if part == "layer" else decoder(model).layers_with(name)  # type: ignore[arg-type]
    return next((n for n in (1, 2, 0, 3) if n in there), 1)


def _scopes(model: TransformerBridge) -> list[str]:
    attn, mlp = (_first_with(model, part) for part in PARTS[1:])
    return ["layer:1@@prompt", f"attn:{attn}@@answer", f"mlp:{mlp}@@last"]


def _replacements(model: TransformerBridge) -> list[str]:
    attn, mlp = (_first_with(model, part) for part in PARTS[1:])
    return ["layer:1@linear", "layer:2@mean", f"attn:{attn}@mean", f"mlp:{mlp}@resample"]


def _patches(model: TransformerBridge) -> list[str]:
    attn, mlp = (_first_with(model, part) for part in PARTS[1:])
    return ["patch:resid:2@last", f"patch:attn:{attn}@3-5", f"patch:mlp:{mlp}@last"]


_TEXTS: dict[str, Callable[[TransformerBridge], list[str]]] = {
    "scopes": _scopes,
    "programs": lambda model: list(PROGRAMS),
    "replacements": _replacements,
    "patches": _patches,
}


def _allowed(model: TransformerBridge, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    kept, refusals = list[str](), list[str]()
    for text in texts:
        try:
            refuse_impossible(model, [checked_edits(model, text)])
            kept.append(text)
        except UserError as error:
            refusals.append(str(error))
    return kept, refusals


def _rows() -> list[tuple[list[int], list[tuple[int, ...]]]]:
    """Prompts of 5 and 22 tokens that share a start, and two options of each."""
    start = [1, 50, 51, 52, 53]
    own = [start, [*start, *range(60, 77)]]
    return [(prompt, [(7,), (7, 12, 13)]) for prompt in own]


def _everywhere(
    model: TransformerBridge,
    other: Plain,
    texts: Sequence[str],
    edited: Edited,
    means: Means | None,
) -> float:
    """The largest difference of scores; infinite where a generated answer differs."""
    rows = _rows()
    asked = [
        OptionRequest(n, k, tuple(prompt), option)
        for n, (prompt, options) in enumerate(rows)
        for k, option in enumerate(options)
    ]
    prompts = [GenerationRequest(n, tuple(p), (), NEW) for n, (p, _) in enumerate(rows)]
    edits = [Edits(), *(checked_edits(model, text) for text in texts)]
    found = score_requests(model, asked, edits, means=means)[1:]
    answers = generate(model, prompts, edits, means=means).answers[1:]
    worst = 0.0
    for text, scores, written in zip(texts, found, answers, strict=True):
        for n, (prompt, options) in enumerate(rows):
            with edited(other, text, n, len(prompt)):
                expected = other.option_scores(prompt, options)
                tokens = list(written[n].tokens)
                same = tokens == other.greedy_after(prompt, tokens)
            own = [value for value, _ in scores[2 * n : 2 * n + 2]]
            worst = max(worst, _largest(own, expected), 0.0 if same else torch.inf)
    return worst


def _by_example(
    model: TransformerBridge, other: Plain, texts: Sequence[str], edited: Edited
) -> float:
    task = _pairs()
    requests: Any = build_requests(task, range(2), decoder(model))
    edits = {text: checked_edits(model, text) for text in texts}
    found: dict[Edits, dict[int, Any]] = {}
    for one, _, scores in scores_by_example(
        model, task, requests, list(edits.values()), donors={0: 1, 1: 0}
    ):
        found.setdefault(one, {}).update(scores)
    worst = 0.0
    for text, one in edits.items():
        for number, request in enumerate(requests):
            with edited(other, text, request.doc_id, len(request.context)):
                expected = other.option_scores(request.context, [request.continuation])
            worst = max(worst, _largest([found[one][number][0]], expected))
    return worst


def _largest(own: Sequence[float], expected: Sequence[float]) -> float:
    difference = (torch.tensor(own) - torch.tensor(expected)).abs()
    return float(difference.max()) if bool(difference.isfinite().all()) else torch.inf


def _pairs() -> Task:
    """Two rows, each the twin of the other, of equal length, longer than a window."""
    texts = [" ".join(f"w{n}" for n in range(first, first + 12)) for first in (10, 40)]
    rows = [
        {"text": own, "twin": twin, "options": ["w70", "w71 w72"], "gold": 1}
        for own, twin in (texts, texts[::-1])
    ]
    return task_of_rows("pairs:continuation", rows, CONFIG)


def _row_of_pairs(other: Plain, doc_id: int, *, answer: bool) -> list[int]:
    document = _pairs().documents()[doc_id]
    text = document["text"] + (" w71 w72" if answer else "")
    tokens: list[int] = other.decoder.tokenizer.encode(text)
    return tokens


def _named(text: str) -> tuple[Part, int]:
    part, _, layer = text.partition("@")[0].partition(":")
    return part, int(layer)  # type: ignore[return-value]


@contextmanager
def _scoped(other: Plain, text: str, row: int, prompt: int) -> Iterator[None]:
    part, layer = _named(text)

    def put(_: Tensor, added: Tensor) -> Tensor:
        at = torch.arange(len(added))
        inside = {"prompt": at < prompt, "answer": at >= prompt, "last": at == prompt - 1}
        return torch.where(inside[text.rpartition("@@")[2]][:, None], 0.0, added)

    with adding(other, part, layer, put):
        yield


def _program(other: Plain, text: str, row: int, prompt: int) -> AbstractContextManager[None]:
    return in_order(other, PROGRAMS[text])


def _replaced(means: Means, other: Plain) -> Edited:
    """Means are taken by plain hooks; a linear map is the fitted one, and it is put by hand."""

    def edited(plain: Plain, text: str, row: int, prompt: int) -> AbstractContextManager[None]:
        part, layer = _named(text)
        if text.endswith("@linear"):
            linear = means[layer, "linear"]
            return adding(
                plain, part, layer, lambda stream, _: stream @ linear[:, :-1].T + linear[:, -1]
            )
        if text not in averages:
            rows = [contributions(plain, [(part, layer)], tokens)[0] for tokens in REFERENCE]
            averages[text] = torch.cat(rows).double().mean(dim=0).float()
        mean = averages[text]
        return adding(plain, part, layer, lambda _, added: mean.expand_as(added))

    averages: dict[str, Tensor] = {}
    return edited


def _resampled(other: Plain, text: str, row: int, prompt: int) -> AbstractContextManager[None]:
    part, layer = _named(text)
    donor = _row_of_pairs(other, 1 - row, answer=True)
    (there,) = contributions(other, [(part, layer)], donor)
    return adding(other, part, layer, lambda _, added: there[: len(added)])


def _patched(other: Plain, text: str, row: int, prompt: int) -> AbstractContextManager[None]:
    _, site, rest = text.split(":")
    layer, _, where = rest.partition("@")
    twin = _row_of_pairs(other, 1 - row, answer=False)
    at = torch.arange(prompt)
    inside = at == prompt - 1 if where == "last" else (at >= 3) & (at <= 5)
    if site == "resid":
        return stream_replaced(other, int(layer), entering(other, int(layer), twin), inside)
    part: Part = "attn" if site == "attn" else "mlp"
    (there,) = contributions(other, [(part, int(layer))], twin)

    def put(_: Tensor, added: Tensor) -> Tensor:
        kept = added.clone()
        kept[: len(inside)][inside] = there[inside]
        return kept

    return adding(other, part, int(layer), put)
