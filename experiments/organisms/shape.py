"""The shape of an organism: made afresh, or grown from one that is there."""

import copy

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def fresh_model(vocab_size: int, n_layers: int) -> LlamaForCausalLM:
    """Make a model with the weights of torch's current seed."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=n_layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def grow(
    model: LlamaForCausalLM, copies: tuple[int, ...], *, first: bool = False
) -> LlamaForCausalLM:
    """Put copies of some layers behind the last or before the first, so that little changes.

    Args:
        model: the model to grow; it is left as it is.
        copies: the layers to copy, in order.
        first: the copies stand before the first layer, and add nothing to the stream: their
            attention and MLP outputs are zero until they learn. What the model predicts is
            unchanged. Behind the last, attention outputs of the copies are halved and MLP outputs
            divided by ten.

    Returns:
        A model with `len(copies)` more layers.
    """
    config = copy.deepcopy(model.config)
    n_layers = config.num_hidden_layers
    config.num_hidden_layers = n_layers + len(copies)
    config.layer_types = None
    larger = LlamaForCausalLM(config)
    own = range(n_layers) if not first else range(len(copies), config.num_hidden_layers)
    new = range(n_layers, config.num_hidden_layers) if not first else range(len(copies))
    attention_share, mlp_share = (0.0, 0.0) if first else (0.5, 0.1)
    others = {k: v for k, v in model.state_dict().items() if ".layers." not in k}
    larger.load_state_dict(others, strict=False)
    layers = larger.model.layers
    with torch.no_grad():
        for place, source in zip((*own, *new), (*range(n_layers), *copies), strict=True):
            layers[place].load_state_dict(model.model.layers[source].state_dict())
        for place in new:
            layers[place].self_attn.o_proj.weight.mul_(attention_share)
            layers[place].mlp.down_proj.weight.mul_(mlp_share)
    larger.tie_weights()
    return larger


def make_model(
    *,
    seed: int,
    vocab_size: int,
    n_layers: int,
    start: str | None,
    copies: tuple[int, ...],
    copies_first: bool = False,
) -> LlamaForCausalLM:
    """Make a model from the folder `start`, grown by `copies`, or fresh from a seed."""
    torch.manual_seed(seed)
    if start is None:
        return fresh_model(vocab_size, n_layers)
    model = LlamaForCausalLM.from_pretrained(start)
    return grow(model, copies, first=copies_first) if copies else model
