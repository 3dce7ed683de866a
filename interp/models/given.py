"""A model in any form that a user may give, as a bridge."""

from pathlib import Path
from typing import Any

import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models.loading import load_model
from interp.models.native_blocks import bridge_over

# the attribute of a Hugging Face model that holds its bridge as long as the model exists
_BRIDGE = "_interp_bridge"


def given_model(
    model: TransformerBridge | transformers.PreTrainedModel | str | Path,
) -> TransformerBridge:
    """The bridge of a model that is given as a bridge, by name, or as a Hugging Face model.

    Args:
        model: a bridge, which is returned as it is; a hub name or a folder, which is loaded in
            float32; or a Hugging Face model in memory, which becomes part of the bridge (see
            `load_model`). Its tokenizer is loaded from the name or folder that the model was loaded
            from.

    Returns:
        A bridge that every public function takes.

    Raises:
        UserError: the model is none of these, or no tokenizer is found for it.
    """
    if isinstance(model, TransformerBridge):
        return model
    if isinstance(model, str | Path):
        return load_model(model)
    if isinstance(model, transformers.PreTrainedModel):
        attributes = vars(model)
        # if wrapped a second time, the weights and configuration would have other names
        if _BRIDGE not in attributes:
            attributes[_BRIDGE] = bridge_over(model) or load_model(
                model, tokenizer=_tokenizer_of(model)
            )
        bridge: TransformerBridge = attributes[_BRIDGE]
        return bridge
    raise UserError(
        f"model {type(model).__name__}: allowed are a name, a folder, a Hugging Face model, and a "
        "model from interp.load_model"
    )


def _tokenizer_of(model: transformers.PreTrainedModel) -> Any:
    name = str(model.config._name_or_path or "")
    advice = "give interp.load_model(hf_model, tokenizer=...)"
    if not name:
        raise UserError(f"model {type(model).__name__}: it names no tokenizer; {advice}")
    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except Exception:  # errors of files and of the hub have no common base class
        raise UserError(
            f"model {type(model).__name__}: no tokenizer is found in {name}; {advice}"
        ) from None
