"""Small configurations of every architecture that TransformerLens maps and transformers builds.

A configuration class says itself under which names it keeps its sizes; only what has to fit
together (the kinds of layers, the widths of recurrent states) is written down by architecture.
"""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

D_VOCAB = 101
N_LAYERS = 4
WINDOW = 8
SWITCH = 16
"""Tokens beyond which LongRoPE computes otherwise."""

_ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# what configuration classes call the same sizes
_SIZES = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), N_LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 64),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("n_group", "topk_group", "n_groups"), 1),
    "vocab_size": D_VOCAB,
    "vocab_size_per_layer_input": D_VOCAB,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rotary_dim": 4,
    "sliding_window": WINDOW,
    **_ENDS,
}
# of the towers of images and sounds, which no text reaches
_TOWER = {
    **dict.fromkeys(("hidden_size", "d_model", "embed_dim", "out_hidden_size"), 16),
    **dict.fromkeys(("intermediate_size", "mlp_dim"), 24),
    **dict.fromkeys(("num_hidden_layers", "depth", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads"), 2),
    "image_size": 28,
    "patch_size": 14,
}
_TOWERS: Mapping[str, dict[str, Any]] = {}
# of the wrapper around the text part and the towers
_WRAPPERS: Mapping[str, dict[str, Any]] = {
    "Emu3ForConditionalGeneration": {"vocabulary_map": {"<image>": 3, "<|extra_200|>": 4}},
}
_ROTARY = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
}
_MLA = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 12, "head_dim": 8, "num_key_value_heads": 4, "first_k_dense_replace": 1,
}  # fmt: skip
_MAMBA = {
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1,
    "mamba_chunk_size": 16, "mamba_expand": 2,
}  # fmt: skip
_DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}  # fmt: skip
_GEMMA4 = {
    "global_head_dim": 16, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}  # fmt: skip

SPECIAL: Mapping[str, dict[str, Any]] = {
    "BambaForCausalLM": _MAMBA | {"attn_layer_indices": [1, 3]},
    "DeepseekV2ForCausalLM": _MLA,
    "DeepseekV3ForCausalLM": _MLA,
    "FalconH1ForCausalLM": _MAMBA | {"mamba_d_ssm": 64},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 2]], "window_size": WINDOW},
    "Gemma3nForConditionalGeneration": {
        "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "laurel_rank": 4,
        "altup_num_inputs": 2, "activation_sparsity_pattern": [0.0] * N_LAYERS,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "Gemma4ForCausalLM": _GEMMA4,
    "Gemma4ForConditionalGeneration": _GEMMA4,
    "Glm4MoeLiteForCausalLM": _MLA,
    "Glm4vForConditionalGeneration": _ROTARY,
    "GlmMoeDsaForCausalLM": _MLA
    | {"index_topk": 4, "index_n_heads": 16, "index_head_dim": 16, "qk_nope_head_dim": 8},
    "GraniteMoeHybridForCausalLM": _MAMBA
    | {
        "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 24,
        "position_embedding_type": "nope",
    },
    "HrmTextForCausalLM": {"num_layers_per_stack": 2},
    "JambaForCausalLM": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
    },
    "JetMoeForCausalLM": {"kv_channels": 8, "num_key_value_heads": 2},
    "LagunaForCausalLM": {
        "num_attention_heads_per_layer": [4] * N_LAYERS,
    },
    "Lfm2ForCausalLM": {"layer_types": ["conv", "full_attention"] * 2},
    "Lfm2MoeForCausalLM": {
        "layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1,
    },
    "Llama4ForCausalLM": {
        "intermediate_size_mlp": 48, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
        "moe_layers": None, "attention_chunk_size": WINDOW,
    },
    "Mamba2ForCausalLM": {
        "num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16,
    },
    "NemotronHForCausalLM": {
        "layers_block_type": ["mamba", "mlp", "attention", "moe"], "mamba_num_heads": 8,
        "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16,
        "moe_shared_expert_intermediate_size": 24,
    },
    "OlmoHybridForCausalLM": _DELTA | {"layer_types": ["linear_attention", "full_attention"] * 2},
    "Phi3ForCausalLM": {
        "original_max_position_embeddings": SWITCH,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0,
            "original_max_position_embeddings": SWITCH,
            "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
        },
    },
    "Qwen2MoeForCausalLM": {"mlp_only_layers": [0]},
    "Qwen2_5_VLForConditionalGeneration": _ROTARY,
    "Qwen3MoeForCausalLM": {"mlp_only_layers": [0]},
    "Qwen3NextForCausalLM": _DELTA | {"layer_types": ["linear_attention", "full_attention"] * 2},
    "Qwen3_5ForCausalLM": _DELTA | {"layer_types": ["linear_attention", "full_attention"] * 2},
    "Qwen3_5MoeForCausalLM": _DELTA | {"layer_types": ["linear_attention", "full_attention"] * 2},
    "RecurrentGemmaForCausalLM": {
        "lru_width": 32, "attention_window_size": WINDOW,
        "block_types": ["recurrent", "attention"],
    },
    "YoutuForCausalLM": _MLA,
    "Zamba2ForCausalLM": _MAMBA | {
        "mamba_ngroups": 1, "mamba_headdim": 8, "mamba_d_state": 8, "n_mamba_heads": 8,
        "chunk_size": 16, "num_mem_blocks": 1, "use_shared_attention_adapter": False,
        "adapter_rank": 4, "use_mem_rope": True, "num_key_value_heads": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
    },
}  # fmt: skip
"""What has to fit together, by architecture."""


def registered() -> tuple[str, ...]:
    """The architectures that the installed TransformerLens maps, in the order of its registry."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    return tuple(SUPPORTED_ARCHITECTURES)


def built_by_transformers() -> dict[str, str]:
    """The architectures that predict text, and the model type of each in transformers."""
    found: dict[str, str] = {}
    for names in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES):
        for model_type, classes in names.items():
            for one in (classes,) if isinstance(classes, str) else classes:
                found.setdefault(one, model_type)
    return {
        name: found[name]
        for name in registered()
        if name in found and not _encoder_decoder(found[name])
    }


@functools.cache
def _encoder_decoder(model_type: str) -> bool:
    return bool(getattr(CONFIG_MAPPING[model_type](), "is_encoder_decoder", False))


def small_configuration(architecture: str) -> Any:
    """A configuration of a few layers of width 32.

    Args:
        architecture: name of a class of transformers.

    Returns:
        A configuration object; of a model of several modalities one of all of them.
    """
    kind = CONFIG_MAPPING[built_by_transformers()[architecture]]
    whole = kind()
    text = type(whole.get_text_config())
    small = text(**(_small(text, _SIZES) | SPECIAL.get(architecture, {})))
    if text is kind or not architecture.endswith("ForConditionalGeneration"):
        return small
    others = {
        name: _small(type(getattr(whole, name)), _TOWER) | _TOWERS.get(architecture, {})
        for name in ("vision_config", "audio_config", "vq_config")
        if name in kind.sub_configs and getattr(whole, name, None) is not None
    }
    return kind(text_config=small.to_dict(), **others, **_WRAPPERS.get(architecture, {}))


def n_experts(config: Any) -> int:
    """How many experts the configuration of a model has; 0 of a dense one."""
    text = config.get_text_config().to_dict()
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    return max((text.get(name) or 0 for name in names), default=0)


def _small(kind: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
    fields = set(kind().to_dict()) | set(inspect.signature(kind.__init__).parameters)
    return {name: size for name, size in sizes.items() if name in fields}


def small_model(architecture: str, *, seed: int = 0) -> Any:
    """A random model, float32, in evaluation mode, with weights far from zero."""
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(small_configuration(architecture))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                # the usual 0.02 leaves a block of width 32 almost without effect
                parameter.normal_(std=0.15)
            elif "bias" in name:
                parameter.normal_(std=0.1)
    return model.eval()
