"""Where a model's weights are placed, decided from its files before any weight is read.

They are placed on one device if they fit. If no single GPU has room, whole blocks are placed over
the visible GPUs. Embedding, final norm and unembedding, tied or not, stay together on the first GPU
that is used, so that token ids and logits are on the same device. Nothing is ever placed on the CPU
or on disk beside GPUs: such a sweep would silently take weeks.
"""

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn

from interp.errors import UserError, first_line
from interp.models.devices import devices_of

LOG = logging.getLogger("interp")

# memory for the embedding of one batch, its logits and the libraries, relative to the weights
ROOM = 1.1


# bits of the types named in safetensors' headers; all others have eight
STORED_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16,
               "BF16": 16, "I16": 16, "U16": 16, "F4": 4}  # fmt: skip
QUANTISED_BITS = {"4bit": 4.5, "8bit": 8.1}
"""Bits per weight with its scales; embedding, unembedding, norms and biases are not changed."""


def weight_bytes(
    folder: Path, dtype: torch.dtype, *, stored: bool = False, quantize: str | None = None
) -> int:
    """The bytes of a model's weights in memory, from the headers of its safetensors files.

    Args:
        folder: the folder with the model's files.
        dtype: type of the weights.
        stored: whether to count the bytes as stored, because the weights are quantised there.
        quantize: `4bit` or `8bit`, if matrices are quantised when they are loaded.

    Returns:
        Bytes, without those of activations and the KV cache.
    """
    bits = 0.0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                    header = tensors.get_slice(name)
                    shape, bits_per_number = header.get_shape(), 8 * dtype.itemsize
                    inner = len(shape) > 1 and not ("embed" in name or "lm_head" in name)
                    if stored:
                        bits_per_number = STORED_BITS.get(header.get_dtype(), 8)
                    bits += math.prod(shape) * (
                        QUANTISED_BITS.get(quantize or "", bits_per_number)
                        if inner
                        else bits_per_number
                    )
        except (SafetensorError, OSError):
            continue  # not safetensors: loading says so
    return math.ceil(bits / 8)


def asked_device(name: str, device: str | torch.device | None) -> torch.device:
    """The device that a user gave; `cuda` without a number leaves the choice of GPUs open.

    Args:
        name: the name of the model, for the message.
        device: the device as given to `load_model`; None and `auto` are the GPUs if there are any.

    Returns:
        An existing device.

    Raises:
        UserError: there is no such device.
    """
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"model {name}: {first_line(error)}") from error
    if parsed.type == "meta":
        raise UserError(
            f"device {parsed}: nothing is computed there; allowed are cpu, cuda and mps"
        )
    if parsed.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {parsed}: this torch sees no GPU; allowed is cpu")
    if parsed.type == "mps":
        if not torch.backends.mps.is_available():
            raise UserError(f"device {parsed}: this torch sees no GPU of Apple's; allowed is cpu")
        LOG.warning(
            "model %s: on MPS torch has computed wrongly without saying so (TransformerLens issue "
            "1178); compare a few answers with device cpu",
            name,
        )
    return parsed


def fitting(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    name: str,
    *,
    stored: bool = False,
    quantize: str | None = None,
) -> torch.device | None:
    """The one device that has room for a model's weights; None if only several GPUs may have.

    Args:
        folder: the folder with the model's files.
        dtype: type of the weights.
        device: the device, from `asked_device`.
        name: the name of the model, for the message.
        stored: as for `weight_bytes`.
        quantize: as for `weight_bytes`.

    Returns:
        The given device, or the GPU with the most free memory.

    Raises:
        UserError: the given device is too small. The message states the needed and the free bytes.
    """
    needed = int(ROOM * weight_bytes(folder, dtype, stored=stored, quantize=quantize))
    if device.type == "cuda" and device.index is None:
        if needed <= torch.cuda.mem_get_info(device)[0]:
            return device
        # only now, because it takes memory for a context on every GPU
        free = free_bytes()
        roomiest = max(free, key=lambda one: free[one])
        if needed <= free[roomiest]:
            return torch.device(roomiest)
        if len(free) > 1:
            return None
        # one GPU: the same message as for a named device
    if device.type == "cuda":
        left, where = torch.cuda.mem_get_info(device)[0], str(device)
    elif device.type == "cpu":
        left, where = psutil.virtual_memory().available, "the memory of this machine"
    else:
        return device
    if needed > left:
        raise UserError(
            f"model {name}: it needs {needed:,} bytes as {_shown(dtype)}, and {left:,} are free "
            f"in {where}{_smaller(dtype)}"
        )
    return device


def free_bytes() -> dict[str, int]:
    """The free memory of every visible GPU in bytes, by name (`cuda:0`, ...)."""
    return {f"cuda:{i}": torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())}


def placed(
    folder: Path, dtype: torch.dtype, name: str, trust_remote_code: bool = False
) -> dict[str, str]:
    """The `device_map` of a model over the visible GPUs, from its configuration alone.

    Args:
        folder: the folder with the model's files.
        dtype: type of the weights.
        name: the name of the model, for the message.
        trust_remote_code: whether to run Python that comes with the model.

    Returns:
        For each name of a module or parameter, its device.

    Raises:
        UserError: as `device_map`; or no model can be built from the configuration.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                config, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # remote code can raise any exception
        raise UserError(f"model {name}: {first_line(error)}") from error
    n_layers = int(config.get_text_config().num_hidden_layers)
    return device_map(model, n_layers, dtype, free_bytes(), name)


def put_over_gpus(root: transformers.PreTrainedModel, name: str) -> None:
    """Move a model in memory to the visible GPUs, whole layers at a time.

    Args:
        root: the model, on any device; its parameters stay the same objects.
        name: the name of the model, for the message.

    Raises:
        UserError: as `device_map`.
    """
    n_layers = int(root.config.get_text_config().num_hidden_layers)
    dtype = next(root.parameters()).dtype
    places = device_map(root, n_layers, dtype, free_bytes(), name)
    for key, tensor in (*root.named_parameters(), *root.named_buffers()):
        fitting_keys = [place for place in places if key == place or key.startswith(f"{place}.")]
        tensor.data = tensor.data.to(places[max(fitting_keys, key=len)])
    # the attribute in which accelerate leaves it and TransformerLens expects it
    root.hf_device_map = places


def fewest_gpus(roots: Sequence[transformers.PreTrainedModel]) -> int:
    """The number of GPUs, like those of the first model, that several models need at once.

    Args:
        roots: the models in memory, the first of them on GPUs.

    Returns:
        The smallest number, with whole layers on each; 1 if no model is on several GPUs.
    """
    devices = [devices_of(root) for root in roots]
    if all(len(places) == 1 for places in devices):
        return 1
    least_memory = min(torch.cuda.mem_get_info(device)[1] for device in devices[0])
    sizes = [_sizes(root) for root in roots]
    return next(
        count for count in itertools.count(1) if _all_fit(sizes, count, int(least_memory / ROOM))
    )


def _all_fit(models: Sequence[Sequence[int]], count: int, each: int) -> bool:
    """Whether `count` equal GPUs have room; one GPU per layer always counts as enough."""
    room = {str(number): each for number in range(count)}
    for sizes in models:
        places = place(sizes, room)
        if places is None:
            return count >= sum(map(len, models))
        for size, device in zip(sizes, places, strict=True):
            room[device] -= size
    return True


def _sizes(root: transformers.PreTrainedModel) -> list[int]:
    """The bytes of embedding and unembedding together, and of each block."""
    dtype = next(root.parameters()).dtype
    stack = block_stack(root, int(root.config.get_text_config().num_hidden_layers))
    blocks = [_bytes(block, dtype) for block in root.get_submodule(stack).children()]
    return [_bytes(root, dtype) - sum(blocks), *blocks]


def device_map(
    model: nn.Module, n_layers: int, dtype: torch.dtype, free: Mapping[str, int], name: str
) -> dict[str, str]:
    """The device of each module or parameter, in the form that accelerate takes.

    `accelerate.infer_auto_device_map` is not used. It reserves room for offloading; it fills the
    first GPU completely, which then limits the size of every batch; and it places the unembedding
    after the last block.

    Args:
        model: the model, without memory for its weights (device `meta`).
        n_layers: the number of its blocks.
        dtype: type of the weights.
        free: the free bytes of each device, in the order in which blocks are placed.
        name: the name of the model, for the message.

    Returns:
        For each name of a module or parameter, its device. Embedding and unembedding are named,
        too.

    Raises:
        UserError: there is no room even over all devices. The message states the needed and the
            free bytes.
    """
    stack = block_stack(model, n_layers)
    blocks = [_bytes(block, dtype) for block in model.get_submodule(stack).children()]
    ends = _bytes(model, dtype) - sum(blocks)
    room = {device: int(count / ROOM) for device, count in free.items()}
    places = place([ends, *blocks], room)
    if places is None:
        total = int(ROOM * (ends + sum(blocks)))
        free_words = ", ".join(f"{count:,} in {device}" for device, count in free.items())
        raise UserError(
            f"model {name}: it needs {total:,} bytes as {_shown(dtype)} (undivided: a layer's "
            f"{int(ROOM * max(blocks)):,}, embedding and unembedding's {int(ROOM * ends):,}), and "
            f"{free_words} are free{_smaller(dtype)}"
        )
    mapped = dict.fromkeys(_around(model, stack), places[0])
    return mapped | {f"{stack}.{layer}": place for layer, place in enumerate(places[1:])}


def block_stack(model: nn.Module, n_layers: int) -> str:
    """The name of a model's list of blocks: the list of that length with the most parameters."""
    stacks = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    }
    return max(stacks, key=lambda name: stacks[name])


def place(sizes: Sequence[int], room: Mapping[str, int]) -> list[str] | None:
    """A device for each item, with neighbours together; None if the items do not fit.

    Of all ways to go through the devices in order, it takes the one that leaves the most room on
    the fullest device in use, because the free memory there limits every batch.

    Args:
        sizes: the bytes of the items, in the order in which they run.
        room: the bytes that each device can hold.

    Returns:
        One device per item, in the order of the items, or None.
    """

    def filled(spare: int) -> list[str] | None:
        places: list[str] = []
        for device, left in room.items():
            left -= spare
            while len(places) < len(sizes) and sizes[len(places)] <= left:
                left -= sizes[len(places)]
                places.append(device)
        return places if len(places) == len(sizes) else None

    best, low, high = filled(0), 0, max(room.values(), default=0)
    # keeping more room free never lets more items fit
    while best is not None and low < high:
        middle = (low + high + 1) // 2
        devices = filled(middle)
        if devices is None:
            high = middle - 1
        else:
            best, low = devices, middle
    return best


def _around(model: nn.Module, stack: str) -> Iterator[str]:
    """The names of modules and single tensors that are not blocks and contain none."""
    pieces = stack.split(".")
    above = [".".join(pieces[:depth]) for depth in range(len(pieces))]
    for name in above:
        module, front = model.get_submodule(name), f"{name}." if name else ""
        tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        yield from (front + key for key, _ in tensors)
        children = (front + key for key, _ in module.named_children())
        yield from (child for child in children if child not in (*above, stack))


def _bytes(module: nn.Module, dtype: torch.dtype) -> int:
    """The bytes of the parameters in a dtype (tied ones once) and of the buffers in theirs."""
    buffers = sum(b.numel() * b.element_size() for b in module.buffers())
    return sum(p.numel() for p in module.parameters()) * dtype.itemsize + buffers


def _shown(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _smaller(dtype: torch.dtype) -> str:
    return "" if dtype.itemsize < 4 else "; dtype bfloat16 halves it"
