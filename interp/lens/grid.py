"""The grid of the logit lens: every token of one prompt at every depth."""

import logging
from typing import Any

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Ablation, as_ablation, checked_edits
from interp.errors import UserError
from interp.lens.readout import NO_TOKEN, logits_of
from interp.lens.residual_stream import depths, refuse_programs, residual_stack
from interp.lens.tuned import TunedLens, check_tuned
from interp.models import model_name
from interp.tasks import encode

log = logging.getLogger("interp")

AT_ONCE = 8


def prompt_grid(
    model: TransformerBridge,
    prompt: str,
    *,
    ablation: str | Ablation = "baseline",
    tuned: TunedLens | None = None,
    sublayers: bool = False,
) -> pd.DataFrame:
    """The top token and its probability after every token of a prompt, at every depth.

    The result equals `transformer_lens.tools.analysis.logit_lens(..., positions=None, top_k=1)`.

    Args:
        model: the model.
        prompt: the text; BOS is added as for a task.
        ablation: what is taken away.
        tuned: a tuned lens; None is the plain lens.
        sublayers: whether to read also after each attention.

    Returns:
        Columns `model ablation lens position token depth layer after relative_depth top_token
        top_id probability entropy` (in nats), one row per position and depth.

    Raises:
        UserError: the prompt is empty or longer than the model's context, or the ablation is
            refused.
    """
    ablation_value = as_ablation(ablation)
    edits = checked_edits(model, ablation_value)
    refuse_programs(ablation_value, edits)
    if edits.uses_mean:
        raise UserError(f"ablation {ablation_value}: a prompt has no reference set for a mean")
    decoder = models.decoder(model)
    tokens = encode(prompt, decoder)
    if not 1 <= len(tokens) <= decoder.max_length:
        raise UserError(f"prompt: {len(tokens)} tokens; allowed are 1-{decoder.max_length}")
    check_tuned(tuned)
    sublayers = sublayers and (tuned is None or tuned.sublayers)
    translate = tuned.translator(model, sublayers=sublayers) if tuned else None
    positions = [(0, position) for position in range(len(tokens))]
    stack = residual_stack(model, [tokens], positions, edits=edits, sublayers=sublayers)
    rows, failed = [], 0
    for start in range(0, len(tokens), AT_ONCE):
        chunk = stack[:, start : start + AT_ONCE]
        chunk = translate(chunk) if translate else chunk
        logprobs = logits_of(decoder, chunk).log_softmax(dim=-1)
        top = logprobs.max(dim=-1)
        finite = top.values.isfinite()
        failed += int((~finite).any(dim=0).sum())
        # for an impossible token 0 times minus infinity is 0; else infinities have no entropy
        entropy = -(logprobs.exp() * logprobs).nan_to_num().sum(dim=-1)
        entropy = entropy.masked_fill(~finite, float("nan"))
        for place, depth in enumerate(depths(decoder.n_layers, sublayers=sublayers)):
            for offset in range(chunk.shape[1]):
                is_finite = bool(finite[place, offset])
                token = int(top.indices[place, offset]) if is_finite else NO_TOKEN
                rows.append(
                    {
                        "position": start + offset,
                        "token": _shown(decoder.tokenizer, tokens[start + offset]),
                        "depth": depth.number,
                        "layer": depth.layer,
                        "after": depth.after,
                        "relative_depth": depth.number / decoder.n_layers,
                        "top_token": _shown(decoder.tokenizer, token) if is_finite else "",
                        "top_id": token,
                        "probability": float(torch.exp(top.values[place, offset])),
                        "entropy": float(entropy[place, offset]),
                    }
                )
    if failed:
        log.warning("model %s: logits are not finite at %d of %d positions; the depths where they "
                    "are not have no token", model_name(model), failed, len(tokens))  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["position", "depth"], ignore_index=True)
    table.insert(0, "model", model_name(model))
    table.insert(1, "ablation", ablation_value.text)
    table.insert(2, "lens", "tuned lens" if tuned else "logit lens")
    return table


def _shown(tokenizer: Any, token: int) -> str:
    """A token as text, also if it is only part of a character."""
    return str(tokenizer.decode([token])) or str(tokenizer.convert_ids_to_tokens(token))
