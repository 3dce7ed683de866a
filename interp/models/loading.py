"""Loading a hub name, a folder or a shipped organism as a plain TransformerBridge."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from interp.errors import UserError, did_you_mean, first_line, home_expanded
from interp.models.adapters import check_adapter, with_adapter
from interp.models.checks import check_loaded, check_n_layers
from interp.models.devices import without_accelerate
from interp.models.files import check_files, read_configuration
from interp.models.native_blocks import wrap
from interp.models.placement import asked_device, fitting, placed
from interp.models.quantised import Quantization, quantization_config
from interp.models.shipped import organisms

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LOG = logging.getLogger("interp")

HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def load_model(
    name: str | Path | transformers.PreTrainedModel,
    *,
    tokenizer: Any = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    revision: str | None = None,
    adapter: str | Path | None = None,
    merge_adapter: bool = True,
    quantize: Quantization | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a plain TransformerBridge, with native blocks over the same weights.

    Args:
        name: a hub name, a folder with `config.json` and safetensors, `organism:NAME`, or a Hugging
            Face model in memory. A model in memory becomes part of the bridge, which replaces its
            submodules in place. It keeps its device and its dtype, and the options below do not
            apply.
        tokenizer: the tokenizer of a model in memory; without one, it takes token ids only.
        dtype: `float32`, `bfloat16`, `float16`, or `auto` for the type that the checkpoint is in.
        device: the device. By default (also `cuda`, `auto`) a GPU that has room for the model; if
            none has, all GPUs, with whole layers on each (your hooks then run on their layer's
            device); without GPUs, the CPU.
        revision: branch, tag or commit on the hub.
        adapter: a folder that `peft` has saved (LoRA and similar methods). The model's name then
            ends in `+` and the folder's name.
        merge_adapter: whether to add the adapter to the weights. Otherwise its matrices stay beside
            them, which is the only way with quantised weights.
        quantize: `4bit` or `8bit`, to quantise matrices with bitsandbytes while loading.
        allow_pickle: whether to read pickled weights (`pytorch_model.bin`), which can run code.
        trust_remote_code: whether to run Python that comes with the model.

    Returns:
        A raw bridge in evaluation mode, whose logits equal those of Hugging Face. Do not call
        `enable_compatibility_mode()` on it, which rewrites the weights in place.

    Raises:
        UserError: the model is not found, does not fit into memory, or is not a decoder; its
            weights are pickles, or some are missing, spare or of another shape than its
            configuration says; the adapter is for another model; or a library that an option needs
            is not installed.
    """
    if isinstance(name, transformers.PreTrainedModel):
        return _in_memory(name, tokenizer)
    if tokenizer is not None:
        raise UserError(f"model {name}: its tokenizer is its own; tokenizer= is for an object")
    folder = model_folder(str(name), revision)
    config = read_configuration(str(name), folder)
    torch_dtype = _dtype(dtype, config)
    check_files(
        str(name), folder, config, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code
    )
    check_n_layers(str(name), folder, config)
    bits = quantization_config(str(name), quantize, torch_dtype)
    few_bits = (stored := bool(config.get("quantization_config"))) or bits is not None
    beside = _adapter_folder(str(name), adapter, few_bits and merge_adapter)
    if bits is not None and stored:
        raise UserError(f"model {name}: quantize {quantize}: its weights are quantised already")
    device_asked = asked_device(str(name), device)
    one = fitting(folder, torch_dtype, device_asked, str(name), stored=stored, quantize=quantize)
    places = None if one else _places(folder, torch_dtype, str(name), trust_remote_code, few_bits)
    try:
        root, info = _model_class(config).from_pretrained(
            folder,
            dtype=torch_dtype,
            attn_implementation="eager",
            use_safetensors=None if allow_pickle else True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            device_map={"": one} if one and few_bits else places,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, with their names
            **({} if bits is None else {"quantization_config": bits}),
        )
        check_loaded(str(name), info)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        if beside is not None:
            root = with_adapter(root, beside, name=str(name), merge=merge_adapter)
        # quantised weights are already in place, and some of them cannot be moved
        root = without_accelerate(root.eval()) if few_bits or not one else root.eval().to(one)
    except UserError:
        raise
    except Exception as error:  # broken files and missing devices can raise any exception
        raise UserError(f"model {name}: {first_line(error)}") from error
    return wrap(root, tokenizer, name=_shown(name, beside, merge_adapter))


def _model_class(configuration: Mapping[str, Any]) -> Any:
    """The class that loads a model; for several modalities that of the whole, not its text part."""
    model_type = str(configuration.get("model_type"))
    wrapper = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(model_type)
    text_alone = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    # for some families (Emu3) there are checkpoints of both
    named = configuration.get("architectures") or []
    if wrapper and (not text_alone or (wrapper in named and wrapper != text_alone)):
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def _shown(name: Any, adapter: Path | None, merged: bool) -> str:
    """The name of a model in results, which includes its adapter."""
    folder = home_expanded("model", name)
    shown = folder_name(folder) if folder.is_dir() else str(name)
    if adapter is not None:
        shown = f"{shown}+{folder_name(adapter)}"
        LOG.info("model %s: adapter %s", shown, "merged" if merged else "beside the weights")
    return shown


def folder_name(folder: Path) -> str:
    """The name of a model's folder: its last part, or in the hub's cache the model's name.

    Args:
        folder: an existing folder; `.` and `..` are resolved.

    Returns:
        `model` for `/data/model`, `owner/model` for `.../models--owner--model/snapshots/0a1b`.
    """
    path = Path(os.path.abspath(folder))
    owner, _, name = path.parent.parent.name.removeprefix("models--").partition("--")
    cached = path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--")
    return (f"{owner}/{name}" if name else owner) if cached else path.name


def _adapter_folder(name: str, adapter: str | Path | None, lossy: bool) -> Path | None:
    if adapter is None:
        return None
    folder = home_expanded("adapter", adapter)
    check_adapter(name, folder)
    if lossy:
        raise UserError(
            f"model {name}: adapter {folder}: merged into quantised weights it would be rounded "
            "with them; give merge_adapter=False"
        )
    return folder


def _places(
    folder: Path, dtype: torch.dtype, name: str, trust_remote_code: bool, few_bits: bool
) -> dict[str, str]:
    if few_bits:
        raise UserError(f"model {name}: no GPU has room for it; quantised models run on one device")
    return placed(folder, dtype, name, trust_remote_code)


def _in_memory(root: transformers.PreTrainedModel, tokenizer: Any) -> TransformerBridge:
    """A bridge over a Hugging Face model in memory."""
    known = str(getattr(root, "name_or_path", "") or "")
    name = known or type(root).__name__
    if known and Path(known).is_dir():
        name = folder_name(Path(known))
    if not root.can_generate():
        raise UserError(f"model {name}: {type(root).__name__} is no model that predicts tokens")
    root.set_attn_implementation("eager")
    return wrap(root.eval(), tokenizer, name=name)


def _dtype(dtype: str | torch.dtype, configuration: Mapping[str, Any]) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return _stored_dtype(configuration)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UserError(f"dtype {dtype}: allowed are {', '.join(DTYPES)} and auto")
    return DTYPES[dtype]


def _stored_dtype(configuration: Mapping[str, Any]) -> torch.dtype:
    """The dtype that a checkpoint's configuration names; float32 if that is not in `DTYPES`."""
    for part in (configuration, configuration.get("text_config")):
        if isinstance(part, dict):
            for key in ("dtype", "torch_dtype"):
                named = part.get(key)
                if isinstance(named, str) and named in DTYPES:
                    return DTYPES[named]
    return torch.float32


def model_folder(name: str, revision: str | None = None) -> Path:
    """The local folder of a model, which is downloaded from the hub if needed.

    Args:
        name: a hub name, a folder, or `organism:NAME`.
        revision: branch, tag or commit on the hub.

    Returns:
        A folder with configuration, weights and tokenizer.

    Raises:
        UserError: there is no such model, or a revision is given for a folder.
    """
    folder = home_expanded("model", name)
    if revision is not None and (name.startswith("organism:") or folder.is_dir()):
        raise UserError(f"revision {revision}: {name} is a local folder; only hub models have any")
    if name.startswith("organism:"):
        shipped = organisms()
        if name not in shipped:
            raise UserError(
                f"model {name}: the shipped organisms are {', '.join(shipped)}"
                f"{did_you_mean(name, shipped)}"
            )
        return shipped[name]
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"model {name}: the folder has no config.json")
        return folder
    return _hub_folder(name, revision)


def _hub_folder(name: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    ignored = ["original/*", "consolidated*"]
    reason = "the hub could not be reached"
    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=10)
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=info.sha, allow_patterns=HUB_FILES, ignore_patterns=ignored
            )
        )
    except HFValidationError:
        raise UserError(
            f"model {name}: no such folder, and not a hub name (OWNER/NAME); shipped are "
            f"{', '.join(organisms()) or 'none'}{_near(name)}"
        ) from None
    except huggingface_hub.errors.GatedRepoError:
        reason = "the hub asks for a token that has access (HF_TOKEN)"
    except huggingface_hub.errors.RepositoryNotFoundError:
        reason = "the hub has no model of this name"
    except huggingface_hub.errors.RevisionNotFoundError:
        reason = f"the hub has no revision {revision} of it"
    except Exception as error:  # errors of httpx, requests and the OS have no common base class
        reason = f"the hub could not be reached ({type(error).__name__})"
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=HUB_FILES, local_files_only=True
            )
        )
    except Exception:
        raise UserError(
            f"model {name}: no folder of this name in {Path.cwd()}, not in the cache "
            f"{HF_HUB_CACHE}, and {reason}; give the path of a folder with config.json, "
            f"tokenizer and *.safetensors, or one of {', '.join(organisms()) or 'no organisms'}"
            f"{_near(name)}"
        ) from None


def _near(name: str) -> str:
    """A shipped organism with a similar name, with its prefix or without."""
    shipped = organisms()
    exact = f"organism:{name}"
    return f"; did you mean {exact}?" if exact in shipped else did_you_mean(name, shipped)
