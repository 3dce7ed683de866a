"""Random models of the shapes that the GPU benchmark runs, made where they are used."""

from dataclasses import dataclass
from typing import Any

import torch
import transformers


@dataclass(frozen=True)
class Shape:
    """A Llama's sizes.

    Attributes:
        n_layers: transformer blocks.
        d_model: width of the residual stream.
        d_inner: width of the MLP.
        n_heads: query heads a layer.
        n_kv_heads: key/value heads a layer.
        d_vocab: rows of the embedding.
        tied: whether embedding and unembedding are one matrix.
        context: the longest prompt, in tokens.
    """

    n_layers: int
    d_model: int
    d_inner: int
    n_heads: int
    n_kv_heads: int
    d_vocab: int
    tied: bool
    context: int


SHAPES = {
    # LLaMA-3.1-8B and LLaMA-3.2-1B
    "8B": Shape(32, 4096, 14336, 32, 8, 128_256, False, 65_536),
    "1B": Shape(16, 2048, 8192, 32, 8, 128_256, True, 65_536),
    # of the self-test: every line in seconds, on a CPU
    "tiny": Shape(3, 64, 128, 4, 2, 4096, False, 1024),
}


def random_model(
    name: str, dtype: torch.dtype, device: str, *, seed: int = 0
) -> transformers.LlamaForCausalLM:
    """A random model of a shape; no copy of it is made elsewhere on the way.

    Args:
        name: the name of the shape.
        dtype: the dtype of its weights.
        device: where it is made.
        seed: the seed of the weights.

    Returns:
        The model, in evaluation mode.
    """
    shape = SHAPES[name]
    config = transformers.LlamaConfig(
        vocab_size=shape.d_vocab,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_inner,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model: Any = transformers.LlamaForCausalLM._from_config(
                config, attn_implementation="sdpa"
            )
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                # the usual 0.02 would leave a block almost without effect
                parameter.normal_(std=1.5 / shape.d_model**0.5)
    model.eval()
    found: transformers.LlamaForCausalLM = model
    return found


def synchronised(device: str) -> None:
    """Wait for what a GPU has been given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_bytes(device: str) -> int:
    """The most GPU memory that this process has held; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
