"""A hub name, a local folder or a shipped organism, as a plain TransformerBridge."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError, did_you_mean, first_line
from interp.models.checks import check_loaded, check_n_layers
from interp.models.devices import without_accelerate
from interp.models.files import check_files
from interp.models.native_blocks import wrap
from interp.models.placement import asked_device, fitting, placed
from interp.models.shipped import organisms

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def load_model(
    name: str | Path | transformers.PreTrainedModel,
    *,
    tokenizer: Any = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a plain TransformerBridge, with native blocks behind it.

    Args:
        name: a hub name, a folder with `config.json` and safetensors, `organism:NAME`, or a Hugging
            Face model in memory. Such a model becomes the bridge's, which replaces its submodules
            in place; it stays where it is and in its type, and the options below do not apply.
        tokenizer: of a model in memory; without one it is fed token ids only.
        dtype: `float32`, `bfloat16` or `float16`.
        device: where to put it; by default (`cuda`, `auto`) a GPU that has room for it, or whole
            layers over all GPUs (your hooks then see their layer's), or the CPU without any.
        revision: branch, tag or commit on the hub.
        allow_pickle: also read pickled weights (`pytorch_model.bin`), which can run code.
        trust_remote_code: run Python that comes with the model.

    Returns:
        A raw bridge in evaluation mode: logits equal Hugging Face's. Do not call
        `enable_compatibility_mode()` on it: that rewrites the weights in place.

    Raises:
        UserError: the model is not found, does not fit, is no decoder, its weights are pickles, or
            some of them are missing, spare or of another shape than its configuration says.
    """
    if isinstance(name, transformers.PreTrainedModel):
        return _in_memory(name, tokenizer)
    if tokenizer is not None:
        raise UserError(f"model {name}: its tokenizer is its own; tokenizer= is for an object")
    torch_dtype = _dtype(dtype)
    folder = model_folder(str(name), revision)
    check_files(str(name), folder, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    check_n_layers(str(name), folder)
    asked = asked_device(str(name), device)
    one = fitting(folder, torch_dtype, asked, str(name))
    places = None if one else placed(folder, torch_dtype, str(name), trust_remote_code)
    try:
        root, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch_dtype,
            attn_implementation="eager",
            use_safetensors=None if allow_pickle else True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            device_map=places,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
        )
        check_loaded(str(name), info)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        root = root.eval().to(one) if one else without_accelerate(root.eval())
    except UserError:
        raise
    except Exception as error:  # broken files and missing devices raise anything
        raise UserError(f"model {name}: {first_line(error)}") from error
    shown = Path(name).expanduser().name if Path(name).expanduser().is_dir() else str(name)
    return wrap(root, tokenizer, name=shown)


def _in_memory(root: transformers.PreTrainedModel, tokenizer: Any) -> TransformerBridge:
    """A bridge over a model that somebody has made or loaded."""
    known = str(getattr(root, "name_or_path", "") or "")
    name = known or type(root).__name__
    if known and Path(known).is_dir():
        name = Path(known).resolve().name
    if not root.can_generate():
        raise UserError(f"model {name}: {type(root).__name__} is no model that predicts tokens")
    root.set_attn_implementation("eager")
    return wrap(root.eval(), tokenizer, name=name)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype}: allowed are {', '.join(DTYPES)}")
    return DTYPES[dtype]


def model_folder(name: str, revision: str | None = None) -> Path:
    """The local folder of a model, downloading it from the hub where needed.

    Raises:
        UserError: there is no such model, or a revision of a folder is asked for.
    """
    if revision is not None and (name.startswith("organism:") or Path(name).expanduser().is_dir()):
        raise UserError(f"revision {revision}: {name} is a local folder; only hub models have any")
    if name.startswith("organism:"):
        shipped = organisms()
        if name not in shipped:
            raise UserError(
                f"model {name}: the shipped organisms are {', '.join(shipped)}"
                f"{did_you_mean(name, shipped)}"
            )
        return shipped[name]
    folder = Path(name).expanduser()
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
    except Exception as error:  # httpx, requests and OS errors share no base class
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
    """A shipped organism that is spelt nearly so, with its prefix or without."""
    shipped = organisms()
    exact = f"organism:{name}"
    return f"; did you mean {exact}?" if exact in shipped else did_you_mean(name, shipped)
