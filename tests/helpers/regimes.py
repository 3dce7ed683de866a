"""Tiny models that compute differently beyond a length, of 16 to 24 tokens.

In the models that are published the lengths are thousands.
"""

import torch
import transformers as hf

from tests.helpers.families import D_VOCAB

SIZE = {
    "vocab_size": D_VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SWITCH = 20


def llama4(**more):
    return hf.Llama4TextConfig(
        **SIZE, intermediate_size_mlp=48, head_dim=8, num_local_experts=4, num_experts_per_tok=1,
        interleave_moe_layer_step=2, moe_layers=None, **more,
    )  # fmt: skip


REGIMES = {
    "longrope": lambda: hf.Phi3Config(
        **SIZE,
        original_max_position_embeddings=SWITCH,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0, 1.0, 1.05, 1.1],
            "long_factor": [1.5, 3.0, 6.0, 12.0],
            "original_max_position_embeddings": SWITCH,
        },
    ),
    "chunks": lambda: llama4(attention_chunk_size=SWITCH),
    "query scales": lambda: llama4(
        attention_chunk_size=8192, attn_temperature_tuning=True, floor_scale=SWITCH, attn_scale=0.5
    ),
    "window": lambda: hf.MistralConfig(**SIZE, sliding_window=SWITCH),
    "recurrence": lambda: hf.FalconH1Config(
        **SIZE,
        mamba_d_ssm=32,
        mamba_n_heads=4,
        mamba_d_head=8,
        mamba_d_state=8,
        mamba_n_groups=1,
        mamba_chunk_size=16,
    ),
    "shared keys": lambda: hf.Gemma4TextConfig(
        **SIZE,
        head_dim=8,
        global_head_dim=8,
        num_kv_shared_layers=2,
        sliding_window=SWITCH,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=D_VOCAB,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ),
}


def model_of(regime):
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(REGIMES[regime](), attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return model.eval()
