"""Quantised models: how they are loaded, recognised, and refused where they do not work.

A layer, attention, MLP or head of a quantised model is ablated as in any other model: skipping a
sublayer needs no weights, and a head is ablated at the input of the output projection. Only
ablations that read or exchange the weights themselves need full weights.
"""

from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models.native_blocks import decoder, model_name
from interp.models.replaced_matrices import has_adapter

Quantization = Literal["4bit", "8bit"]


def quantization_config(
    name: str, quantize: Quantization | None, dtype: torch.dtype
) -> transformers.BitsAndBytesConfig | None:
    """The quantisation that transformers should apply; None if the weights are loaded as they are.

    Args:
        name: the name of the model, for messages.
        quantize: `4bit` is NF4 (QLoRA, 2305.14314), `8bit` is LLM.int8 (2208.07339).
        dtype: the dtype in which products are computed.

    Returns:
        An argument for `from_pretrained`, or None.

    Raises:
        UserError: `quantize` is unknown, or bitsandbytes is not installed.
    """
    if quantize is None:
        return None
    if quantize not in get_args(Quantization):
        raise UserError(
            f"model {name}: quantize {quantize}: allowed are {', '.join(get_args(Quantization))}"
        )
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"model {name}: quantize {quantize} needs bitsandbytes; install it with "
            "pip install 'interp[quantized]'"
        )
    if quantize == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def quantization_of(model: TransformerBridge) -> str:
    """The method by which a model's weights are quantised (`bitsandbytes`, `gptq`, `fp8`, ...).

    Args:
        model: a bridge.

    Returns:
        The method in one or two words; empty if the weights are not quantised.
    """
    config: Any = decoder(model).root.config
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return ""
    if not isinstance(quantization, dict):
        quantization = quantization.to_dict()
    method = quantization.get("quant_method")
    method = str(getattr(method, "value", method))
    if method != "bitsandbytes":
        return method
    return "bitsandbytes 8bit" if quantization.get("load_in_8bit") else "bitsandbytes 4bit"


def weights_kept(model: TransformerBridge) -> str:
    """The dtype in which a model computes, and how its weights are kept if not in that dtype.

    Args:
        model: a bridge.

    Returns:
        `float32`, `bfloat16, bitsandbytes 4bit`, `float32, adapter beside the weights`, ...
    """
    found = [str(next(model.parameters()).dtype).removeprefix("torch."), quantization_of(model)]
    beside = "adapter beside the weights" if has_adapter(decoder(model).root) else ""
    return ", ".join(filter(None, [*found, beside]))


def refuse_quantised(model: TransformerBridge, what: str) -> None:
    """Refuse what needs full weights on a model that has none.

    Args:
        model: the model.
        what: what was requested, such as `swap:3`, for the message.

    Raises:
        UserError: the model is quantised.
    """
    quantization = quantization_of(model)
    if quantization:
        raise UserError(
            f"{what}: model {model_name(model)} is quantised ({quantization}), and this needs "
            "full weights; load it without quantisation"
        )
