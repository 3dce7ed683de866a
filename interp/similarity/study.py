"""Angular distance as the study's own script computes it, for comparison only.

The script that the study published ("Demystifying the Roles of LLM Layers in Retrieval, Knowledge,
and Reasoning", arXiv 2510.02091) differs from `layer_similarity` in five ways: it reads three
texts; it pads each on the right to 256 tokens with the end-of-text token and reads the last
position, which is padding for every shorter text; it takes the state after the final norm as the
last depth; it rescales every block size separately to [0, 1], after clipping at the 1st and 99th
percentile of a row in which unused cells count as zeros; and it leaves out the distances that end
after the last layer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.errors import UserError, names_given
from interp.models import model_name
from interp.similarity.measures import cosine

STUDY_TEXTS = 3
STUDY_TOKENS = 256


def study_angular_distance(
    model: TransformerBridge, texts: Sequence[str], *, rescaled: bool = True
) -> pd.DataFrame:
    """Angular distance as the study's script computes it, at the model's own precision.

    Args:
        model: the model; the script loads it in float16.
        texts: texts, of which the first three are read.
        rescaled: whether to return the values that the script draws, or the averages before
            rescaling.

    Returns:
        Columns `model source layer block value padding_read`; the last is the share of the texts
        that were read at a padding token.

    Raises:
        UserError: there are fewer than three texts.
    """
    texts = names_given("texts", texts, "a list of texts")
    if len(texts) < STUDY_TEXTS:
        raise UserError(f"texts: {len(texts)} given; the study's script reads {STUDY_TEXTS}")
    decoder = models.decoder(model)
    length = min(STUDY_TOKENS, decoder.max_length)
    sums = np.zeros((decoder.n_layers - 1, decoder.n_layers))
    short = 0
    for text in texts[:STUDY_TEXTS]:
        tokens = list(decoder.tokenizer.encode(text))[:length]
        short += len(tokens) < length
        sums += _of_text(model, tokens, length)
    raw = sums / STUDY_TEXTS
    drawn = _rescaled(raw) if rescaled else raw
    rows = [
        {"layer": layer, "block": block, "value": float(drawn[block - 1, layer])}
        for block in range(1, decoder.n_layers)
        for layer in range(decoder.n_layers - block)
    ]
    table = pd.DataFrame(rows).assign(padding_read=short / STUDY_TEXTS)
    table.insert(0, "model", model_name(model))
    table.insert(1, "source", "texts, as the study's script")
    return table


def _of_text(
    model: TransformerBridge, tokens: list[int], length: int
) -> Float[np.ndarray, "blocks layer"]:
    """The distances of one text, with a row for each block size from 1; unused cells are zero."""
    decoder = models.decoder(model)
    pad = decoder.tokenizer.eos_token_id
    ids = torch.tensor([tokens + [pad] * (length - len(tokens))], device=decoder.device)
    mask = torch.zeros_like(ids)
    mask[0, : len(tokens)] = 1
    with torch.no_grad():
        hidden = decoder.root(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        ).hidden_states
    last = torch.stack([state[0, -1].to(decoder.device) for state in hidden])
    distances = np.zeros((decoder.n_layers - 1, decoder.n_layers))
    for block in range(1, decoder.n_layers):
        angles = cosine(last[:-block], last[block:]).arccos() / torch.pi
        distances[block - 1, : len(angles)] = angles.cpu().double().numpy()
    return distances


def _rescaled(distances: Float[np.ndarray, "blocks layer"]) -> Float[np.ndarray, "blocks layer"]:
    """Each row clipped at its 1st and 99th percentile and stretched to [0, 1]."""
    low, high = np.percentile(distances, [1, 99], axis=1, keepdims=True)
    clipped = np.clip(distances, low, high)
    least = clipped.min(axis=1, keepdims=True)
    span = clipped.max(axis=1, keepdims=True) - least
    return np.divide(clipped - least, span, out=np.zeros_like(clipped), where=span > 0)
