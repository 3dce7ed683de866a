"""Tiny random models: every family the toolkit names, three layers, a word-level tokenizer."""

import functools

import pytest
import torch
import transformers as hf
from transformer_lens.model_bridge import TransformerBridge

from experiments.words import numbered_words, word_tokenizer
from interp.models import wrap

D_VOCAB = 101
N_LAYERS = 3

SIZES = {
    "vocab_size": D_VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

FAMILIES = {
    "llama": lambda: hf.LlamaConfig(**SIZES),
    # as LLaMA 3.1 and later stretch their rotary angles
    "llama3": lambda: hf.LlamaConfig(
        **SIZES,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "qwen2": lambda: hf.Qwen2Config(**SIZES),
    # the head width is not hidden_size / heads
    "qwen3": lambda: hf.Qwen3Config(**SIZES, head_dim=16),
    "mistral": lambda: hf.MistralConfig(**SIZES, sliding_window=8),
    "gemma2": lambda: hf.Gemma2Config(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=8
    ),
    "gemma3": lambda: hf.Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=8),
    "phi3": lambda: hf.Phi3Config(**SIZES),
    "olmo2": lambda: hf.Olmo2Config(**SIZES),
    "mixtral": lambda: hf.MixtralConfig(**SIZES, num_local_experts=4),
    # the first layer is dense, as in some of its checkpoints
    "qwen3_moe": lambda: hf.Qwen3MoeConfig(
        **SIZES,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        mlp_only_layers=[0],
    ),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=D_VOCAB, n_embd=32, n_layer=N_LAYERS, n_head=4, n_positions=64, **_ENDS
    ),
    "gpt_neox": lambda: hf.GPTNeoXConfig(
        vocab_size=D_VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=64,
        **_ENDS,
    ),
    "opt": lambda: hf.OPTConfig(
        vocab_size=D_VOCAB,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        **_ENDS,
    ),
    "bloom": lambda: hf.BloomConfig(
        vocab_size=D_VOCAB, hidden_size=32, n_layer=N_LAYERS, n_head=4, **_ENDS
    ),
}

IN_BOTH_HALVES = ("llama", "qwen3", "gpt2", "gpt_neox")
BY_HALF = [
    pytest.param(name, marks=() if name in IN_BOTH_HALVES else pytest.mark.slow)
    for name in sorted(FAMILIES)
]
"""All families as parameters of a test: the quick half of the gate tries four of them."""


def tiny_model(family: str, *, seed: int = 0) -> hf.PreTrainedModel:
    """A random Hugging Face model, float32, in evaluation mode, with weights far from zero."""
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(FAMILIES[family](), attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                # the usual 0.02 leaves a block of width 32 almost without effect
                parameter.normal_(std=0.15)
            elif "bias" in name:
                parameter.normal_(std=0.1)
    return model.eval()


def deleted(family: str, layers: list[int], *, seed: int = 0) -> hf.PreTrainedModel:
    """The same random model with layers deleted, as a plain Hugging Face model."""
    model = tiny_model(family, seed=seed)
    return delete_layers(model, layers)


def delete_layers(model: hf.PreTrainedModel, layers: list[int]) -> hf.PreTrainedModel:
    """Delete layers of a Hugging Face model in place, renumbering those that stay."""
    owner = next(m for m in model.modules() if _block_list(m) is not None)
    name = _block_list(owner) or ""
    kept = [b for i, b in enumerate(getattr(owner, name)) if i not in layers]
    for index, block in enumerate(kept):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    setattr(owner, name, torch.nn.ModuleList(kept))
    config = model.config
    if getattr(config, "layer_types", None):
        config.layer_types = [t for i, t in enumerate(config.layer_types) if i not in layers]
    config.num_hidden_layers = len(kept)
    return model


def _block_list(module: torch.nn.Module) -> str | None:
    for name in ("layers", "h"):
        if isinstance(getattr(module, name, None), torch.nn.ModuleList):
            return name
    return None


@functools.cache
def tiny_tokenizer() -> hf.PreTrainedTokenizerFast:
    """Words w4, w5, ... are tokens; BOS is added once; white space separates."""
    return word_tokenizer(numbered_words(D_VOCAB))


def tiny_bridge(family: str, *, seed: int = 0) -> TransformerBridge:
    """The random model as a bridge with native blocks over the same weights."""
    return wrap(tiny_model(family, seed=seed), tiny_tokenizer(), name=f"tiny-{family}")


def random_tokens(rows: int, positions: int, *, seed: int = 0) -> torch.Tensor:
    """Token ids `[rows, positions]` without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, D_VOCAB, (rows, positions), generator=generator)


def assert_logits(found: torch.Tensor, expected: torch.Tensor) -> None:
    """The contract of the toolkit: in float32, two ways of computing agree to 1e-4."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
