"""Answers under a user's own TransformerLens hooks: whole rows, token by token, without a cache.

Before each token the bridge runs on the prompts and all that was written, in rows that are padded
on the right, so that hooks see what they would see in `model.run_with_hooks` on the whole text. A
hook that asks for it is told what each position is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Activations, Edits, Means, Places, bridge_edited, text_labels
from interp.engine.generation.grouping import pass_batches, stops_of
from interp.engine.generation.sampling import choosing
from interp.engine.generation.stopping import Answer
from interp.engine.shortcuts import segments
from interp.tasks import GenerationRequest


def hooked_answers(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    edits: Edits,
    means: Means | None,
    finished: Callable[[int, Answer], Any],
) -> list[Answer]:
    """The answer to each request under an ablation with hooks.

    Args:
        model: a bridge.
        requests: prompts.
        edits: an ablation with hooks, and whatever else it changes.
        means: what `@mean` puts (`mean_outputs`).
        finished: told the number of a request and its answer, as it is finished.

    Returns:
        One answer per request, in their order.
    """
    places, answers = Places(), dict[int, Answer]()
    longest = {i: (*r.prompt, *[0] * r.max_gen_toks) for i, r in enumerate(requests)}
    order = sorted(longest, key=lambda i: (-len(longest[i]), i))
    stops = stops_of(models.decoder(model), requests)
    with torch.no_grad(), bridge_edited(model, edits, Activations(means, places=places)):
        for numbers in pass_batches(order, longest):
            choose = choosing([requests[i] for i in numbers])
            written: list[list[int]] = [[] for _ in numbers]
            going = [n for n, i in enumerate(numbers) if requests[i].max_gen_toks > 0]
            while going:
                prompts = [requests[numbers[n]].prompt for n in going]
                logits = _next(model, places, prompts, [written[n] for n in going])
                tokens = choose(logits, going, len(written[going[0]]))
                for n, token in zip(going, tokens.tolist(), strict=True):
                    written[n].append(token)
                going = [n for n in going if not stops[numbers[n]].done(written[n])]
            for n, i in enumerate(numbers):
                answers[i] = stops[i].answer(written[n])
                finished(i, answers[i])
    return [answers[i] for i in range(len(requests))]


def _next(
    model: TransformerBridge,
    places: Places,
    prompts: Sequence[Sequence[int]],
    written: Sequence[Sequence[int]],
) -> Float[Tensor, "row d_vocab"]:
    """The logits that predict the next token of each row."""
    lengths = [len(p) + len(w) for p, w in zip(prompts, written, strict=True)]
    next_logits: dict[int, Tensor] = {}
    for numbers in segments(model, lengths):
        rows_and_lengths = [([*prompts[n], *written[n]], len(prompts[n])) for n in numbers]
        logits = _last(model, places, rows_and_lengths)
        for n, row, one in zip(numbers, rows_and_lengths, logits, strict=True):
            # alone where it fails: zero times NaN is NaN, so that padding can spoil a row
            failed = len(rows_and_lengths) > 1 and not bool(one.isfinite().all())
            next_logits[n] = _last(model, places, [row])[0] if failed else one
    return torch.stack([next_logits[n] for n in range(len(prompts))])


def _last(
    model: TransformerBridge, places: Places, rows: Sequence[tuple[Sequence[int], int]]
) -> Float[Tensor, "row d_vocab"]:
    """The logits at the last token of each row; rows are tokens, and how many are the prompt's."""
    width = max(len(tokens) for tokens, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (tokens, prompt) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, : len(tokens)] = text_labels(prompt, len(tokens))[0]
    places.at(labels)
    ends = torch.tensor([len(tokens) - 1 for tokens, _ in rows])
    logits: Tensor = model(ids.to(models.decoder(model).device))
    return logits[torch.arange(len(rows)), ends.to(logits.device)]
