"""Checks of a model's folder before any file is opened: no pickles, code or outside paths."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from interp.errors import UserError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
INDEX = "model.safetensors.index.json"
"""The file that names the shard of every tensor of a checkpoint in several files."""


def read_configuration(name: str, folder: Path) -> dict[str, Any]:
    """The contents of a model's `config.json`.

    Args:
        name: the name of the model, for messages.
        folder: the folder with `config.json`.

    Returns:
        Its entries; only the name of the family is checked.

    Raises:
        UserError: the file is missing or not a JSON object, its family is not a name, or it says
            that the model has an encoder.
    """
    configuration = _json(name, folder / "config.json")
    if configuration.get("is_encoder_decoder") is True:
        raise UserError(f"model {name}: encoder-decoder models are not supported")
    for entries in (configuration, configuration.get("text_config")):
        family = entries.get("model_type") if isinstance(entries, dict) else None
        if family is not None and not isinstance(family, str):
            raise UserError(
                f"model {name}: config.json says model_type {family!r:.80}; allowed is the name of "
                "a family of models"
            )
    return configuration


def check_files(
    name: str,
    folder: Path,
    configuration: Mapping[str, Any],
    *,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> None:
    """Refuse a folder without safetensors of its own, or with code of its own.

    Args:
        name: the name of the model, for messages.
        folder: the folder with the weights.
        configuration: from `read_configuration`.
        allow_pickle: whether pickled weights are allowed.
        trust_remote_code: whether code is allowed.

    Raises:
        UserError: the weights are pickles or missing, there is code, or an index names files
            elsewhere.
    """
    known = (
        configuration.get("model_type")
        in transformers.models.auto.configuration_auto.CONFIG_MAPPING
    )
    if "auto_map" in configuration and not known and not trust_remote_code:
        raise UserError(
            f"model {name}: it comes with Python code of its own, which is not run unless "
            "trust_remote_code=True"
        )
    if not allow_pickle and not list(folder.glob("*.safetensors")):
        pickles = [p.name for pattern in PICKLES for p in sorted(folder.glob(pattern))]
        files_held = f"only pickles ({', '.join(pickles[:3])})" if pickles else "no weights"
        raise UserError(
            f"model {name}: {files_held} in {folder}; allowed are *.safetensors, or pickles with "
            "allow_pickle=True (a pickle can run any code)"
        )
    if (folder / INDEX).is_file():
        _check_index(name, _json(name, folder / INDEX).get("weight_map"))


def _check_index(name: str, places: Any) -> None:
    """Check that the files named in an index are safetensors in the folder itself."""
    if not isinstance(places, dict):
        raise UserError(f"model {name}: {INDEX} has no weight_map")
    for place in places.values():
        plain = isinstance(place, str) and not set(place) & set("/\\\0")
        if not plain or not place.endswith(".safetensors"):
            shown = " ".join(str(place).split())[:80]
            raise UserError(
                f"model {name}: {INDEX} names {shown}; allowed are *.safetensors in the folder"
            )


def _json(name: str, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model {name}: its {path.name} cannot be read ({reason})") from error
