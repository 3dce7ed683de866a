"""The configuration of a model with fewer or more layers, or with layers in another order."""

import re
from collections.abc import Sequence
from typing import Any

NUMBERS = ("layer_idx", "_layer_idx", "layer_number", "layer_id", "layer_index", "block_idx")
"""The attributes in which modules of a block store the block's number."""

# lists whose entries are not layers, whatever their length
OTHER = re.compile(r"_ids?$|^architectures$|modules|label")
NUMBERED: dict[str, dict[str, Any]] = {
    "attn_layer_indices": {},
    "mlp_only_layers": {"decoder_sparse_step": 1},
}


def relist(config: Any, order: Sequence[int], n_layers: int) -> None:
    """Change a configuration so that it describes a model with these layers in this order.

    Lists with one entry per layer are reordered in the same way. Lists of layer numbers are
    renumbered, and counts are adjusted.

    Args:
        config: the configuration of a model; changed in place.
        order: the old numbers of layers in their new order; some may be missing, or occur twice.
        n_layers: the number of layers that the configuration has now.
    """
    text = config.get_text_config()
    changes: dict[str, Any] = {}
    for name, value in vars(text).items():
        if name in NUMBERED:
            dense = set(value or ())
            dense |= _between_experts(text, n_layers) if name == "mlp_only_layers" else set()
            new = [place for place, old in enumerate(order) if old in dense]
            changes |= {name: new, **NUMBERED[name]}
        elif isinstance(value, list | tuple) and len(value) == n_layers and not OTHER.search(name):
            changes[name] = [value[n] for n in order]
        elif isinstance(value, dict) and name not in ("quantization_config", "id2label"):
            changes[name] = _nested(value, order, n_layers)
    # layer_types already says at which layer windows begin
    if getattr(text, "max_window_layers", None) is not None:
        changes["max_window_layers"] = sum(n < text.max_window_layers for n in order)
    # these layers predict from the output of removed layers
    if getattr(text, "num_nextn_predict_layers", None):
        changes["num_nextn_predict_layers"] = 0
    for name, value in changes.items():
        setattr(text, name, value)
    text.num_hidden_layers = len(order)


def _nested(values: dict[str, Any], order: Sequence[int], n_layers: int) -> dict[str, Any]:
    """A nested dict of a configuration, in which only lists known to be of layers are reordered.

    Other lists can have the same length by chance, such as the factors of rotary angles.
    """
    nested = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _nested(value, order, n_layers)
        elif isinstance(value, list | tuple) and len(value) == n_layers and "layer" in str(name):
            value = [value[n] for n in order]
        nested[name] = value
    return nested


def _between_experts(text: Any, n_layers: int) -> set[int]:
    step = getattr(text, "decoder_sparse_step", None) or 1
    return {n for n in range(n_layers) if (n + 1) % step}
