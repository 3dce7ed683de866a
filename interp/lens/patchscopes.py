"""Patchscopes: a hidden state of one prompt, decoded by another prompt.

Ghandeharioui et al., "Patchscopes" (arXiv 2401.06102): the residual stream before a layer, at one
position of a source prompt, replaces that before a layer, at one position of a target prompt. The
model's continuation of the target prompt is then read. A target such as `"cat -> cat; 135 -> 135;
x"` makes the model repeat what the state represents.
"""

import logging
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import outputs_on
from interp.engine import record, refuse_several_streams, run_block
from interp.errors import UserError, check_whole, names_given
from interp.lens.readout import NO_TOKEN, logits_of
from interp.models import Decoder, model_name
from interp.tasks import encode

log = logging.getLogger("interp")


def patchscope(
    model: TransformerBridge,
    source: str,
    target: str,
    *,
    answers: Sequence[str] = (),
    position: int = -1,
    at: int = -1,
    layers: Sequence[int] | None = None,
    into: int | None = None,
) -> pd.DataFrame:
    """How a target prompt continues, given the state of a source prompt at each layer.

    One state of one prompt is read. Nothing is sampled, so there is no interval. If you count over
    several sources, count those that share a wording as one.

    Args:
        model: the model.
        source: the prompt whose states are read; BOS is added as for a task.
        target: the prompt that decodes them.
        answers: texts that may follow the target prompt; the log-probability of each one's first
            token is also given. A leading space is part of a text.
        position: the position in the source whose states are taken; -1 is its last token.
        at: the position in the target at which they are put; -1 is its last token.
        layers: the layers before which states are taken; all by default.
        into: the layer of the target before which they are put; by default the same layer.

    Returns:
        Columns `model layer into top_token top_id probability`, and `logprob:ANSWER` in nats for
        each of the answers. The first row is the target prompt alone, with layer -1; then follows
        one row per layer.

    Raises:
        UserError: a prompt is empty or longer than the context, a position or layer does not exist,
            or an answer has no token.
    """
    decoder = models.decoder(model)
    n_layers = decoder.n_layers
    taken, read = (_tokens(name, text, decoder) for name, text in
                   (("source", source), ("target", target)))  # fmt: skip
    for name, place, tokens in (("position", position, taken), ("at", at, read)):
        check_whole(name, place, -len(tokens), len(tokens) - 1)
    if layers is not None and (isinstance(layers, str) or not isinstance(layers, Iterable)):
        raise UserError(f"layers {layers!r:.80}: allowed are numbers of layers")
    chosen = list(range(n_layers)) if layers is None else list(layers)
    answers = names_given("answers", answers, "a list of texts") if answers != () else ()
    for layer in (*chosen, *(() if into is None else (into,))):
        check_whole("layer", layer, 0, n_layers - 1)
    firsts = {text: _first(text, target, read, decoder) for text in answers}
    states = outputs_on(model, taken, [(layer, "resid") for layer in chosen])
    baseline = record(decoder, torch.tensor([read], device=decoder.device), use_cache=False)
    refuse_several_streams(baseline.residuals, "patchscope")
    rows = [{"layer": -1, "into": -1, **_said(decoder, baseline.residuals[-1], firsts)}]
    for layer in chosen:
        first = layer if into is None else into
        resid = baseline.residuals[first].clone()
        resid[0, at] = states[layer, "resid"][position].to(resid)
        for block in range(first, n_layers):
            resid = run_block(decoder, block, resid, baseline)
        rows.append({"layer": layer, "into": first, **_said(decoder, resid, firsts)})
    table = pd.DataFrame(rows)
    failed = int((table["top_id"] == NO_TOKEN).sum())
    if failed:
        log.warning("model %s: logits are not finite in %d of %d rows; they have no token",
                    model_name(model), failed, len(table))  # fmt: skip
    table.insert(0, "model", model_name(model))
    return table


def _tokens(name: str, text: str, decoder: Decoder) -> list[int]:
    if not isinstance(text, str):
        raise UserError(f"{name} {text!r:.80}: allowed is a text")
    tokens = encode(text, decoder)
    if not 1 <= len(tokens) <= decoder.max_length:
        raise UserError(f"{name}: {len(tokens)} tokens; allowed are 1-{decoder.max_length}")
    return list(tokens)


def _first(text: str, target: str, read: Sequence[int], decoder: Decoder) -> int:
    """The first token of an answer as it follows the target prompt."""
    whole = encode(target + text, decoder)
    if len(whole) <= len(read) or list(whole[: len(read)]) != list(read):
        raise UserError(f"answer {text!r:.40}: it has no token of its own after the target")
    return int(whole[len(read)])


def _said(decoder: Decoder, resid: torch.Tensor, firsts: dict[str, int]) -> dict[str, object]:
    """The likeliest next token, and the log-probabilities of the answers."""
    logprobs = logits_of(decoder, resid[:, -1:]).log_softmax(dim=-1)[0, 0]
    if not bool(logprobs.max().isfinite()):
        named = dict.fromkeys((f"logprob:{text}" for text in firsts), float("nan"))
        return {"top_token": "", "top_id": NO_TOKEN, "probability": float("nan"), **named}
    top = int(logprobs.argmax())
    return {
        "top_token": decoder.tokenizer.decode([top]),
        "top_id": top,
        "probability": float(logprobs[top].exp()),
        **{f"logprob:{text}": float(logprobs[token]) for text, token in firsts.items()},
    }
