"""Block influence of each attention and each MLP: how much it changes the residual stream.

"What Matters in Transformers? Not All Attention is Needed" (He et al., arXiv 2406.15786) removes
attentions by the cosine of the stream before and after them. ShortGPT (arXiv 2403.03853) has the
same measure for whole layers.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Place, outputs_on
from interp.errors import check_share, names_given
from interp.models import Decoder, as_float64
from interp.similarity.measures import cosine
from interp.similarity.states import refuse_not_finite, selected_texts
from interp.stats import student_reach

PARTS: tuple[Literal["attention", "mlp", "layer"], ...] = ("attention", "mlp", "layer")


def influence_by_part(
    model: TransformerBridge, texts: Sequence[str], *, confidence: float = 0.95
) -> pd.DataFrame:
    """One minus the cosine of the residual stream before and after each attention, MLP and layer.

    The stream after an attention is the input of its layer plus what the attention adds. The stream
    before an MLP is the output of its layer minus what the MLP adds. So both are also defined where
    the two run in parallel.

    Args:
        model: the model.
        texts: at least one text; each is truncated where it is longer than the context.
        confidence: coverage of the intervals, by Student's t over texts. Texts have no clusters:
            join passages of one document, or the interval is too narrow.

    Returns:
        Columns `layer part value low high n interval`, one row for each layer and each of
        `attention`, `mlp` and `layer`. A value is the mean over the tokens of a text, averaged over
        texts. With a single text there is no interval.

    Raises:
        UserError: there is no text, or one is empty.
    """
    check_share("confidence", confidence)
    given = names_given("texts", texts, "a list of texts, at least one")
    examples, decoder = selected_texts(given), models.decoder(model)
    influences = [_of_text(model, decoder, n, examples.tokens(n, decoder)) for n in examples.ids]
    values, n = np.stack(influences), len(influences)
    error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1:], np.nan)
    half = float(student_reach(confidence, max(1, n - 1))) * error
    means = values.mean(axis=0)
    rows = [
        {"layer": layer, "part": part, "value": means[layer, place],
         "low": means[layer, place] - half[layer, place],
         "high": means[layer, place] + half[layer, place]}
        for layer in range(decoder.n_layers)
        for place, part in enumerate(PARTS)
    ]  # fmt: skip
    kind = f"{100 * confidence:g}% Student" if n > 1 else "none (one text)"
    return pd.DataFrame(rows).assign(n=n, interval=kind)


def _of_text(
    model: TransformerBridge, decoder: Decoder, number: int, tokens: Sequence[int]
) -> Float[np.ndarray, "layer part"]:
    layers = range(decoder.n_layers)
    wanted: list[Place] = [(layer, "resid") for layer in layers]
    wanted += [(layer, part) for layer in layers for part in PARTS]
    given = outputs_on(model, tokens, wanted)
    last = given[layers[-1], "resid"] + given[layers[-1], "layer"]
    refuse_not_finite(f"text {number}", [*(given[layer, "resid"] for layer in layers), last])
    influence = np.empty((decoder.n_layers, len(PARTS)))
    for layer in range(decoder.n_layers):
        before = given[layer, "resid"].float()
        after = before + given[layer, "layer"].to(before)
        ends = {
            "attention": (before, before + given[layer, "attention"].to(before)),
            "mlp": (after - given[layer, "mlp"].to(before), after),
            "layer": (before, after),
        }
        for place, part in enumerate(PARTS):
            influence[layer, place] = float(as_float64(1 - cosine(*ends[part])).mean())
    return influence
