"""Adapters of `peft` (LoRA and similar methods) on a model's weights."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interp.errors import UserError, first_line

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
NOT_READ = {
    "megatron_config": "names a library that its author chose, which would be imported",
    "alora_invocation_tokens": "acts behind certain tokens only",
    "layer_replication": "changes the number of layers",
}
"""Entries of an adapter's configuration that make it more than weights to add."""


def check_adapter(name: str, folder: Path) -> None:
    """Refuse, before any weight is read, an adapter that cannot be used with a model.

    Args:
        name: the name of the model, for messages.
        folder: the folder of the adapter, as `peft` saves it.

    Raises:
        UserError: `peft` is not installed, the folder holds no adapter, its weights are pickles, or
            its configuration asks for more than weights that are added.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"model {name}: adapter {folder} has no {CONFIG}")
    if not (folder / WEIGHTS).is_file():
        # if only other files are there, peft would read a pickle
        raise UserError(f"model {name}: adapter {folder} has no weights; allowed is {WEIGHTS}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"model {name}: adapter {folder}/{CONFIG} is no JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise UserError(f"model {name}: adapter {folder}/{CONFIG} names no peft_type")
    if config.get("auto_mapping") and config.get("task_type") not in (None, "CAUSAL_LM"):
        raise UserError(
            f"model {name}: adapter {folder} is for {config['task_type']}; allowed is CAUSAL_LM"
        )
    for entry, setting_text in NOT_READ.items():
        if config.get(entry):
            raise UserError(
                f"model {name}: adapter {folder} {setting_text} ({entry} in {CONFIG}); "
                "allowed are LoRA and similar methods, which change weights alone"
            )
    if find_spec("peft") is None:
        raise UserError(
            f"model {name}: adapter {folder} needs peft; install it with pip install 'interp[peft]'"
        )


def with_adapter(root: Any, folder: Path, *, name: str, merge: bool) -> Any:
    """A Hugging Face model with an adapter in its weights, or beside them.

    Args:
        root: the model that the adapter was trained on.
        folder: the folder of the adapter.
        name: the name of the model, for messages.
        merge: whether to add the adapter to the weights, which are then dense again. Otherwise its
            matrices stay modules of their own, and each layer computes with both.

    Returns:
        The model; the one that was given, changed in place.

    Raises:
        UserError: the adapter does not fit: it is for other modules or shapes, lacks some of its
            tensors, or has no form that can be merged.
    """
    import peft

    try:
        wrapped = peft.PeftModel.from_pretrained(root, str(folder), local_files_only=True)
        before = set(peft.get_peft_model_state_dict(wrapped))
        tensor_names = _tensor_names(folder)
        if before != tensor_names:
            odd = sorted(before ^ tensor_names)
            raise UserError(
                f"model {name}: adapter {folder} does not fit: {odd[0]} is "
                f"{'missing' if odd[0] in before else 'spare'}"
            )
        if not hasattr(wrapped.base_model, "merge_and_unload"):
            raise UserError(
                f"model {name}: adapter {folder} is {wrapped.active_peft_config.peft_type.value}, "
                "which prepends tokens and changes no layer; allowed are LoRA and similar methods"
            )
        return wrapped.merge_and_unload(safe_merge=True) if merge else wrapped.base_model.model
    except UserError:
        raise
    except Exception as error:  # peft raises any exception for what it cannot read or place
        raise UserError(f"model {name}: adapter {folder}: {first_line(error)}") from error


def _tensor_names(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as tensors:
        return set(tensors.keys())
