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


def grow(model: LlamaForCausalLM, copies: tuple[int, ...]) -> LlamaForCausalLM:
    """Put copies of some layers behind the last, with outputs so small that little changes.

    Args:
        model: the model to grow; it is left as it is.
        copies: the layers to copy, in order.

    Returns:
        A model with `len(copies)` more layers; attention outputs of the copies are halved, MLP
        outputs divided by ten.
    """
    config = copy.deepcopy(model.config)
    n_layers = config.num_hidden_layers
    config.num_hidden_layers = n_layers + len(copies)
    config.layer_types = None
    larger = LlamaForCausalLM(config)
    larger.load_state_dict(model.state_dict(), strict=False)
    layers = larger.model.layers
    with torch.no_grad():
        for layer, source in zip(layers[n_layers:], copies, strict=True):
            layer.load_state_dict(layers[source].state_dict())
            layer.self_attn.o_proj.weight.mul_(0.5)
            layer.mlp.down_proj.weight.mul_(0.1)
    larger.tie_weights()
    return larger


def make_model(
    *, seed: int, vocab_size: int, n_layers: int, start: str | None, copies: tuple[int, ...]
) -> LlamaForCausalLM:
    """Make a model from the folder `start`, grown by `copies`, or fresh from a seed."""
    torch.manual_seed(seed)
    if start is None:
        return fresh_model(vocab_size, n_layers)
    model = LlamaForCausalLM.from_pretrained(start)
    return grow(model, copies) if copies else model
