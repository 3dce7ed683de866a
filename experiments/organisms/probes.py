"""How much of each kind of document a model in training gets right."""

import random

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organisms.packing import Source, encode_document

PROBES = 12  # fresh documents of each kind that a line of the log is measured on
WRITTEN_OUT = ("arithmetic_steps", "teacher_answers", "gold_steps", "listing")
ANSWER_WEIGHT = 0.5  # tokens of this weight and more are answers


@torch.no_grad()
def probe(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, source: Source, *, seed: int
) -> dict[str, float]:
    """How many answers the model gets right on fresh documents of each kind.

    Args:
        model: the model in training.
        tokenizer: its tokenizer.
        source: world, kinds of document and difficulty.
        seed: the seed of the fresh documents.

    Returns:
        By kind, the share of answer tokens that are the model's first choice given the right text
        before them; for answers of many tokens the share of documents with all of them.
    """
    model.eval()
    rng = random.Random(seed)
    right = {}
    for kind in source.mix:
        texts = [source.makers[kind](rng, source.world, source.stage) for _ in range(PROBES)]
        encoded = [encode_document(tokenizer, text, {}) for text in texts]
        width = max(len(row.ids) for row in encoded)
        padded = [
            [tokenizer.bos_token_id, *row.ids] + [tokenizer.pad_token_id] * (width - len(row.ids))
            for row in encoded
        ]
        answer = [[0.0, *row.weights] + [0.0] * (width - len(row.weights)) for row in encoded]
        ids = torch.tensor(padded, device=model.device)
        wanted: Bool[Tensor, "batch pos"] = (
            torch.tensor(answer, device=model.device)[:, 1:] >= ANSWER_WEIGHT
        )
        hit = model(ids, use_cache=False).logits[:, :-1].argmax(-1) == ids[:, 1:]
        if kind in WRITTEN_OUT:
            share = (hit | ~wanted).all(-1).float().mean()
        else:
            share = (hit & wanted).sum() / wanted.sum()
        right[kind] = round(share.item(), 3)
    model.train()
    return right
