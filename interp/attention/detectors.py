"""Induction and previous-token scores, computed by TransformerLens' head detector."""

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm
from transformer_lens.head_detector import detect_head
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import refuse_hooks
from interp.errors import UserError, check_seed, check_whole
from interp.models import decoder, model_name

KINDS = ("previous_token_head", "induction_head", "duplicate_token_head")


def detector_scores(
    model: TransformerBridge, *, length: int = 24, sequences: int = 8, seed: int = 0
) -> dict[str, Float[np.ndarray, "layer head"]]:
    """The share of each head's attention that lies where a head of each kind attends.

    The model runs on random tokens, repeated once. An induction head attends to the token after the
    earlier copy of the current token (Olsson et al. 2022, "In-context learning and induction
    heads"). Attention to the first token and to the current one is left out.

    Args:
        model: a bridge. The detector caches whole patterns of `2 * length` tokens.
        length: random tokens per sequence, before they are repeated.
        sequences: the number of sequences that are averaged.
        seed: seed of the tokens.

    Returns:
        For each of `previous_token_head`, `induction_head` and `duplicate_token_head`, scores
        `[layer, head]`.

    Raises:
        UserError: a number is out of range, hooks are active, or logits are not finite.
    """
    check_whole("length", length, 1, decoder(model).max_length // 2)
    check_whole("sequences", sequences, 1)
    check_seed(seed)
    refuse_hooks(model, "the head detector")
    tokenizer = decoder(model).tokenizer
    generator = torch.Generator().manual_seed(seed)
    special = set(tokenizer.all_special_ids)
    vocabulary = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    texts = []
    for _ in range(sequences):
        drawn = vocabulary[torch.randint(len(vocabulary), (length,), generator=generator)]
        text = tokenizer.decode(drawn.tolist()).strip()
        texts.append(f"{text} {text}")
    with torch.no_grad():
        logits = model(texts[0])
    if not bool(logits.isfinite().all()):
        raise UserError(
            f"model {model_name(model)}: logits are not finite, so that its heads have no scores"
        )
    by_detector = {}
    for kind in tqdm(KINDS, desc="head detector", unit="kind"):
        every = [
            detect_head(model, text, kind, exclude_bos=True, exclude_current_token=True)
            for text in texts
        ]
        scores = torch.stack(every).float().cpu().numpy().astype(float)
        # a head that attends only to the first and the current token has nothing left: 0 / 0
        by_detector[kind] = np.nan_to_num(scores).mean(axis=0)
    return by_detector
