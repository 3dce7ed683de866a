"""A Llama whose facts are written by one MLP at a known layer, by hand.

Every token has an orthogonal direction of the residual stream, and a subject's fact another: the
MLP of the planted layer has one neuron a subject, which fires on the subject's direction and
writes the fact's. All other attentions and MLPs add nothing.
"""

import json
from pathlib import Path

import torch
import transformers as hf
from transformer_lens.model_bridge import TransformerBridge

from interp.models import wrap
from tests.helpers.families import D_VOCAB, tiny_tokenizer
from tests.helpers.task_files import write_task

SUBJECTS, FACTS = range(10, 20), range(30, 40)
STRENGTH = 30.0


def planted_model(layer: int, *, n_layers: int = 5) -> hf.LlamaForCausalLM:
    """A model that answers w30 behind w10, w31 behind w11 ...; known from `layer` on."""
    width = 128
    config = hf.LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=width,
        intermediate_size=len(SUBJECTS),
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    basis = torch.eye(width)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.zero_()
        model.model.embed_tokens.weight.copy_(basis[:D_VOCAB])
        # unembedding: a token that is only passed on is weakly predicted again
        model.lm_head.weight.copy_(basis[:D_VOCAB])
        mlp = model.model.layers[layer].mlp
        for neuron, (subject, fact) in enumerate(zip(SUBJECTS, FACTS, strict=True)):
            mlp.gate_proj.weight[neuron, subject] = 1.0
            mlp.up_proj.weight[neuron, subject] = 1.0
            mlp.down_proj.weight[fact, neuron] = STRENGTH / width
    return model


def planted_bridge(layer: int, *, n_layers: int = 5) -> TransformerBridge:
    """The planted model as a bridge."""
    return wrap(planted_model(layer, n_layers=n_layers), tiny_tokenizer(), name=f"fact-at-{layer}")


def write_planted(folder: Path, *, kind: str) -> Path:
    """A task that asks for the planted facts; returns the path of its YAML."""
    path = write_task(folder, kind=kind, rows=len(SUBJECTS))
    rows = [
        {
            "question": f"w50 w{subject}",
            "choices": [f"w{fact}", "w60", "w61", "w62"],
            "gold": 0,
            "answer": f"w{fact}",
        }
        for subject, fact in zip(SUBJECTS, FACTS, strict=True)
    ]
    (folder / f"{kind}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path
