"""The same circuits in a Llama: RMSNorm, rotary positions, grouped-query heads, gated MLPs.

The parts of the stream are those of `planted`, and one more number is 1 at every token. The head
that copies the token before asks for the position one back: its query and its key are constant,
and rotated against each other by one step in the fastest pairs of dimensions. Induction heads
compare tokens in the slowest pairs, which hardly turn within a prompt.
"""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from experiments.validity.planted import (
    ANSWER,
    BEFORE,
    D_HEAD,
    D_MODEL,
    D_VOCAB,
    KEYS,
    N_HEADS,
    N_LAYERS,
    N_POSITIONS,
    RESULT,
    TOKEN,
    Facts,
    Plan,
    facts_of,
    tokenizer,
)
from interp.models import wrap

N_KV_HEADS = 2
CONSTANT = 250
THETA = 10_000.0
FAST, SLOW = range(4), range(16, 32)
"""Pairs of dimensions of a head, the fastest first."""

SHARP = 1.2
"""Weights of queries and keys of planted heads."""


def build_llama(plan: Plan, facts: Facts | None = None) -> TransformerBridge:
    """The model of a plan, as a bridge with native blocks behind it.

    Args:
        plan: what is built in; null heads are not.
        facts: what it knows; by default the facts of the plan.

    Returns:
        The bridge.
    """
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB, hidden_size=D_MODEL, intermediate_size=D_HEAD,
        num_hidden_layers=N_LAYERS, num_attention_heads=N_HEADS, num_key_value_heads=N_KV_HEADS,
        head_dim=D_HEAD, max_position_embeddings=2 * N_POSITIONS, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    root = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        _write(root, plan, facts or facts_of(plan))
    return wrap(root.eval(), tokenizer(), name=f"planted-llama-{plan.seed}")


def _write(root: Any, plan: Plan, facts: Facts) -> None:
    generator = torch.Generator().manual_seed(plan.seed)

    def noise(weight: Tensor, size: float) -> None:
        weight.copy_(size * torch.randn(weight.shape, generator=generator))

    root.model.embed_tokens.weight.zero_()
    root.model.embed_tokens.weight[:, TOKEN] = torch.eye(D_VOCAB)
    root.model.embed_tokens.weight[:, CONSTANT] = 1
    root.lm_head.weight.zero_()
    root.lm_head.weight[:, ANSWER] = 2 * torch.eye(D_VOCAB)
    for block in root.model.layers:
        attention, mlp = block.self_attn, block.mlp
        for part in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj,
                     mlp.up_proj):  # fmt: skip
            noise(part.weight, D_MODEL**-0.5)
        for part in (attention.o_proj, mlp.down_proj):
            noise(part.weight, plan.noise * D_HEAD**-0.5)
    if plan.previous_token:
        _previous_token(root, *plan.previous_token)
    for layer, head in plan.induction:
        _induction(root, layer, head)
    if plan.fact is not None:
        look_up(root, plan.fact, (TOKEN, ANSWER), facts.objects, first_neuron=0)
    if plan.chain:
        look_up(root, plan.chain[0], (TOKEN, RESULT), facts.results, first_neuron=16)
        look_up(root, plan.chain[1], (RESULT, ANSWER), facts.ends, first_neuron=32)


def _parts(root: Any, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v `[d_head, d_model]` and o `[d_model, d_head]` of one head, as views set to zero.

    Its keys and values are those of its group.

    Args:
        root: the Llama model.
        layer: the layer of the head.
        head: the number of the head in its layer.

    Returns:
        The four views.
    """
    attention = root.model.layers[layer].self_attn
    own, group = (slice(n * D_HEAD, (n + 1) * D_HEAD) for n in (head, head // _per_group()))
    views = (
        attention.q_proj.weight[own],
        attention.k_proj.weight[group],
        attention.v_proj.weight[group],
        attention.o_proj.weight[:, own],
    )
    for view in views:
        view.zero_()
    return views


def _per_group() -> int:
    return N_HEADS // N_KV_HEADS


def _previous_token(root: Any, layer: int, head: int) -> None:
    q, k, v, o = _parts(root, layer, head)
    for pair in FAST:
        step = torch.tensor(THETA ** (-2 * pair / D_HEAD))
        q[pair, CONSTANT] = SHARP
        # the key is one step ahead, so that it meets the query of the position after it
        k[pair, CONSTANT] = SHARP * torch.cos(step)
        k[pair + D_HEAD // 2, CONSTANT] = SHARP * torch.sin(step)
    v[:, TOKEN] = torch.eye(D_HEAD)
    o[BEFORE] = 0.1 * torch.eye(D_HEAD)


def _induction(root: Any, layer: int, head: int) -> None:
    q, k, v, o = _parts(root, layer, head)
    for pair, key in zip(SLOW, KEYS, strict=True):
        q[pair, TOKEN.start + key] = SHARP
        k[pair, BEFORE.start + key] = SHARP
    v[:, TOKEN] = torch.eye(D_HEAD)
    o[ANSWER] = 0.1 * torch.eye(D_HEAD)


def look_up(
    root: Any,
    layer: int,
    places: tuple[slice, slice],
    pairs: dict[int, int],
    *,
    first_neuron: int,
) -> None:
    """One gated neuron a pair: it fires where its input stands, and writes its output."""
    (reads, writes), mlp = places, root.model.layers[layer].mlp
    for number, (given, answer) in enumerate(pairs.items()):
        neuron = first_neuron + number
        for part in (mlp.gate_proj, mlp.up_proj):
            part.weight[neuron] = 0
            part.weight[neuron, reads.start + given] = 0.5
        mlp.down_proj.weight[:, neuron] = 0
        mlp.down_proj.weight[writes.start + answer, neuron] = 0.04
