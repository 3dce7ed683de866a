"""A hub name, a local folder or a shipped organism, as a plain TransformerBridge.

Behind each loaded bridge the same weights are kept as native Hugging Face blocks with fused
attention: a second tree of modules over the same parameters, never a second copy. The
architecture of a model (where its blocks, attentions, MLPs and output projections are) is read
from TransformerLens' own component mapping; nothing else in the package knows architectures.
"""

import copy
import hashlib
import inspect
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
import transformers
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp.device_hooks import devices_of, join_blocks, without_accelerate
from interp.errors import UserError, first_line
from interp.model_files import check_files
from interp.placement import asked_device, fitting, placed

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True, eq=False)
class Decoder:
    """The modules of a decoder-only model, in the order in which they run.

    Attributes:
        root: called with `input_ids`; runs embedding, blocks, final norm and unembedding.
        blocks: one module a layer.
        attentions: the attention sublayer of each block.
        output_projections: inside each attention, the matrix that takes z
            `[batch, pos, head * d_head]` to the residual stream.
        mlps: the last module of each block whose output is the MLP's contribution.
        ln_final: the norm behind the last block.
        tokenizer: as saved with the model, not altered by TransformerLens.
        n_heads: query heads a layer.
        n_kv_heads: key/value heads a layer.
        d_head: width of a head, in numbers (not always d_model / n_heads).
        d_model: width of the residual stream.
        max_length: the longest context, in tokens.
        block_returns_tuple: whether a block returns `(residual, ...)` or the residual alone.
        attention_adds_residual: whether the attention returns the residual stream plus its
            output (BLOOM) and not its output alone.
        mlp_adds_residual: the same for the MLP.
    """

    root: Any
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    ln_final: nn.Module
    tokenizer: Any
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    max_length: int
    block_returns_tuple: bool
    attention_adds_residual: bool
    mlp_adds_residual: bool

    @property
    def n_layers(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """Where the input ids belong, and where logits come out."""
        return next(self.root.parameters()).device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices that hold weights."""
        return devices_of(self.root)

    def device_of(self, layer: int) -> torch.device:
        """Where a block is, and what it computes."""
        return next(self.blocks[layer].parameters()).device

    def __repr__(self) -> str:
        return (
            f"Decoder({type(self.root).__name__}: {self.n_layers} layers, {self.n_heads} heads "
            f"over {self.n_kv_heads} KV heads of width {self.d_head})"
        )


@dataclass(frozen=True, eq=False)
class _Native:
    """What `load_model` keeps behind a bridge."""

    root: Any
    tokenizer: Any
    name: str


_natives: "WeakKeyDictionary[TransformerBridge, _Native]" = WeakKeyDictionary()
_decoders: "WeakKeyDictionary[TransformerBridge, Decoder]" = WeakKeyDictionary()


def data_folder() -> Path:
    """The folder with the shipped organisms and their task rows."""
    package = Path(__file__).resolve().parent
    inside, beside = package / "data", package.parent / "data"
    return inside if inside.is_dir() else beside


def organisms() -> dict[str, Path]:
    """The shipped models: name (`organism:NAME`) to folder."""
    folder = data_folder() / "models"
    found = sorted(p.parent for p in folder.glob("*/config.json"))
    return {f"organism:{p.name}": p for p in found}


def load_model(
    name: str | Path,
    *,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a plain TransformerBridge, with native blocks behind it.

    Args:
        name: a hub name, a folder with `config.json` and safetensors, or `organism:NAME`.
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
        UserError: the model is not found, does not fit, is no decoder, or its weights are pickles.
    """
    torch_dtype = _dtype(dtype)
    folder = model_folder(str(name), revision)
    check_files(str(name), folder, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    asked = asked_device(str(name), device)
    one = fitting(folder, torch_dtype, asked, str(name))
    places = None if one else placed(folder, torch_dtype, str(name), trust_remote_code)
    try:
        root = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch_dtype,
            attn_implementation="eager",
            use_safetensors=None if allow_pickle else True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            device_map=places,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        root = root.eval().to(one) if one else without_accelerate(root.eval())
    except Exception as error:  # broken files and missing devices raise anything
        raise UserError(f"model {name}: {first_line(error)}") from error
    shown = Path(name).expanduser().name if Path(name).expanduser().is_dir() else str(name)
    return wrap(root, tokenizer, name=shown)


def wrap(root: Any, tokenizer: Any, *, name: str) -> TransformerBridge:
    """A bridge over a Hugging Face model, with native blocks of the same parameters behind it.

    Args:
        root: a `...ForCausalLM` in evaluation mode. It becomes the bridge's: its submodules are
            replaced in place.
        tokenizer: its tokenizer (None for models that are fed token ids only).
        name: shown in tables and figures.
    """
    # models made from a configuration, not from a checkpoint, do not name their own class
    root.config.architectures = root.config.architectures or [type(root).__name__]
    native = _second_tree(root)
    kwargs: dict[str, Any] = {"tokenizer": copy.deepcopy(tokenizer)} if tokenizer else {}
    level = logging.root.level
    try:
        if tokenizer is not None:
            bridge = TransformerBridge.boot_transformers(
                name, hf_model=root, dtype=next(root.parameters()).dtype, **kwargs
            )
        else:
            from transformer_lens.model_bridge.sources import build_bridge_from_module

            bridge = build_bridge_from_module(
                root, type(root).__name__, hf_config=copy.deepcopy(root.config), model_name=name
            )
    except ValueError as error:
        raise UserError(f"model {name}: {first_line(error)}") from error
    finally:
        logging.root.setLevel(level)
    bridge.eval()
    _natives[bridge] = _Native(native, tokenizer, name)
    if len(devices_of(native)) > 1:
        home = next(native.parameters()).device
        for blocks in (_native_blocks(bridge), tuple(bridge.blocks)):
            join_blocks(blocks, home)
    return bridge


def model_name(model: TransformerBridge) -> str:
    """The name of a model in records and figures: as it was asked for, or its folder's name."""
    behind = _natives.get(model)
    return behind.name if behind else str(getattr(model.cfg, "model_name", "model"))


def decoder(model: TransformerBridge) -> Decoder:
    """The native blocks behind a bridge, or the bridge's own where it was booted elsewhere.

    Raises:
        UserError: the model is not decoder-only, or its weights were rewritten by
            `enable_compatibility_mode()`.
    """
    if getattr(model, "compatibility_mode", False):
        raise UserError(
            f"model {model_name(model)}: enable_compatibility_mode() has rewritten its weights; "
            "load it again"
        )
    if model not in _decoders:
        behind = _natives.get(model)
        _decoders[model] = _native_decoder(model, behind) if behind else bridge_decoder(model)
    return _decoders[model]


def weights_hash(model: TransformerBridge) -> str:
    """SHA-256 over the names, shapes, types and bytes of a model's parameters."""
    digest = hashlib.sha256()
    for name, parameter in decoder(model).root.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype}: allowed are {', '.join(DTYPES)}")
    return DTYPES[dtype]


def model_folder(name: str, revision: str | None = None) -> Path:
    """The local folder of a model, downloading it from the hub where needed."""
    if name.startswith("organism:"):
        shipped = organisms()
        if name not in shipped:
            raise UserError(f"model {name}: the shipped organisms are {', '.join(shipped)}")
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
            f"{', '.join(organisms()) or 'none'}"
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
        ) from None


def _second_tree(root: Any) -> Any:
    """A deep copy of the modules that shares every parameter and buffer with the original."""
    memo = {id(tensor): tensor for tensor in (*root.parameters(), *root.buffers())}
    native = copy.deepcopy(root, memo)
    if getattr(native, "_supports_sdpa", False):
        native.set_attn_implementation("sdpa")
    return native


def _native_blocks(model: TransformerBridge) -> tuple[nn.Module, ...]:
    name = model.adapter.component_mapping["blocks"].name
    return tuple(_natives[model].root.get_submodule(name))


def _native_decoder(model: TransformerBridge, behind: _Native) -> Decoder:
    mapping = model.adapter.component_mapping
    block, blocks = mapping["blocks"], _native_blocks(model)
    attention, mlp = block.submodules["attn"], block.submodules["mlp"]
    # OPT keeps its two MLP matrices in the block itself: the second one's output is the MLP's.
    mlp_name = mlp.name or mlp.submodules["out"].name
    if len(devices_of(behind.root)) == 1:
        behind.root.to(next(model.parameters()).device)
    return _decoder(
        model,
        root=behind.root,
        tokenizer=behind.tokenizer,
        blocks=blocks,
        attentions=tuple(b.get_submodule(attention.name) for b in blocks),
        output_projections=tuple(
            b.get_submodule(f"{attention.name}.{attention.submodules['o'].name}") for b in blocks
        ),
        mlps=tuple(b.get_submodule(mlp_name) for b in blocks),
        ln_final=behind.root.get_submodule(mapping["ln_final"].name),
    )


def bridge_decoder(model: TransformerBridge) -> Decoder:
    """The bridge's own blocks, in which TransformerLens' hooks act."""
    blocks = tuple(model.blocks)
    return _decoder(
        model,
        root=model.original_model,
        tokenizer=model.tokenizer,
        blocks=blocks,
        attentions=tuple(b.attn for b in blocks),
        output_projections=tuple(b.attn.o for b in blocks),
        mlps=tuple(b.mlp if b.mlp.name else b.mlp.out for b in blocks),
        ln_final=model.ln_final,
    )


def _decoder(model: TransformerBridge, **modules: Any) -> Decoder:
    config = modules["root"].config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"model {model_name(model)}: encoder-decoder models are not supported")
    n_heads = int(model.cfg.n_heads)
    lengths = (getattr(config, key, None) for key in ("max_position_embeddings", "n_positions"))
    forward = modules["attentions"][0].forward
    original = getattr(modules["attentions"][0], "original_component", None)
    original_mlp = getattr(modules["mlps"][0], "original_component", None)
    return Decoder(
        **modules,
        n_heads=n_heads,
        n_kv_heads=int(getattr(model.cfg, "n_key_value_heads", None) or n_heads),
        d_head=int(model.cfg.d_head),
        d_model=int(model.cfg.d_model),
        max_length=next((int(n) for n in lengths if n), 2048),
        block_returns_tuple=_block_returns_tuple(modules["root"], modules["blocks"][0]),
        attention_adds_residual=_takes_residual(original.forward if original else forward),
        mlp_adds_residual=_takes_residual((original_mlp or modules["mlps"][0]).forward),
    )


def _takes_residual(forward: Any) -> bool:
    return "residual" in inspect.signature(forward).parameters


def _block_returns_tuple(root: nn.Module, block: nn.Module) -> bool:
    seen: list[bool] = []
    handle = block.register_forward_hook(lambda *call: seen.append(isinstance(call[2], tuple)))
    try:
        with torch.no_grad():
            root(
                input_ids=torch.zeros(1, 2, dtype=torch.long, device=next(root.parameters()).device)
            )
    finally:
        handle.remove()
    return seen[0]
