"""What skipping a layer changes in what every later layer contributes.

"Do Language Models Use Their Depth Efficiently?" (Csordas, Manning & Potts, arXiv 2505.13898): a
layer that builds on an earlier one contributes something else without it; a layer that only refines
the output contributes the same. The paper shows the largest effect over positions and prompts,
which grows with their number. Here it is the mean over positions, averaged over texts, with an
interval.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Places, checked_edits, edited
from interp.engine import Pass, record, run_block
from interp.errors import UserError, check_share, names_given
from interp.models import Decoder, as_float64
from interp.similarity.states import refuse_not_finite
from interp.stats import student_interval
from interp.tasks import encode


def downstream_effects(
    model: TransformerBridge,
    texts: Sequence[str],
    *,
    later_positions: bool = False,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The relative change of each later layer's contribution when a layer is skipped.

    A contribution is what a layer adds to the residual stream. Its relative change is the norm of
    the difference divided by the norm of its contribution in the unablated model.

    Args:
        model: the model.
        texts: at least one text; each is truncated on the left where it is longer than the context.
        later_positions: whether to skip the layer only in the first half of each text and measure
            in the second half. All effects there come through attention to the first half.
        confidence: coverage of the intervals, by Student's t over texts. Texts have no clusters:
            join passages of one document, or the interval is too narrow.

    Returns:
        Columns `skipped layer value low high low_all high_all n interval`, one row for each layer
        and each layer after it. With a single text there is no interval. `low_all` and `high_all`
        hold for all rows together (Bonferroni): read these where the largest of them is named.

    Raises:
        UserError: there is no text, or one has fewer than four tokens.
    """
    check_share("confidence", confidence)
    decoder, effects = models.decoder(model), list[np.ndarray]()
    for number, text in enumerate(names_given("texts", texts, "a list of texts, at least one")):
        tokens = encode(text, decoder)[-decoder.max_length :]
        if len(tokens) < 4:
            raise UserError(f"text {number}: {len(tokens)} tokens; four are needed")
        batch = torch.tensor([list(tokens)], device=decoder.device)
        whole = record(decoder, batch, use_cache=False)
        refuse_not_finite(f"text {number}", whole.residuals)
        effects.append(_of_text(model, decoder, whole, later=later_positions))
    values, n = np.stack(effects), len(effects)
    error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1:], np.nan)
    means = values.mean(axis=0)
    together = 1 - (1 - confidence) / max(1, decoder.n_layers * (decoder.n_layers - 1) // 2)
    parts = (
        means,
        *student_interval(means, error, n, confidence=confidence),
        *student_interval(means, error, n, confidence=together),
    )
    rows = [
        (skipped, layer, *(float(part[skipped, layer]) for part in parts))
        for skipped in range(decoder.n_layers)
        for layer in range(skipped + 1, decoder.n_layers)
    ]
    columns = ["skipped", "layer", "value", "low", "high", "low_all", "high_all"]
    table = pd.DataFrame(rows, columns=columns)
    kind = f"{100 * confidence:g}% Student" if n > 1 else "none (one text)"
    return table.assign(n=n, interval=kind)


def _of_text(
    model: TransformerBridge, decoder: Decoder, whole: Pass, *, later: bool
) -> Float[np.ndarray, "skipped layer"]:
    """Mean relative changes over the measured positions of one text; NaN where there are none."""
    length = whole.residuals[0].shape[1]
    middle = length // 2
    changes = np.full((decoder.n_layers, decoder.n_layers), np.nan)
    for skipped in range(decoder.n_layers):
        places = Places()
        places.of_text(middle, 0, length)
        edits = checked_edits(model, f"layer:{skipped}@@prompt" if later else f"layer:{skipped}")
        with edited(model, edits, places=places) as edited_model:
            of_layers = _relative(edited_model, whole, skipped)
        measured = of_layers[:, middle:] if later else of_layers
        changes[skipped, skipped + 1 :] = measured.mean(dim=1).cpu().numpy()
    return changes


def _relative(decoder: Decoder, whole: Pass, skipped: int) -> Float[Tensor, "layer pos"]:
    """Relative changes of the layers after a skipped one, position by position."""
    resid = run_block(decoder, skipped, whole.residuals[skipped], whole)
    changes = []
    for layer in range(skipped + 1, decoder.n_layers):
        after = run_block(decoder, layer, resid, whole)
        before = (whole.residuals[layer + 1] - whole.residuals[layer]).float()
        change = ((after - resid).float() - before).norm(dim=-1) / before.norm(dim=-1)
        changes.append(as_float64(change[0].to(resid.device)))
        resid = after
    return torch.stack(changes) if changes else torch.zeros(0, resid.shape[1])
