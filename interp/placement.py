"""Whether a model fits where it shall go, told from its files before any weight is read."""

import math
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError, safe_open

from interp.errors import UserError

# what the embedding of one batch, its logits and the libraries take beside the weights
ROOM = 1.1


def weight_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Bytes of a model's weights in a type, from the headers of its safetensors files."""
    count = 0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="pt") as tensors:
                names = list(tensors.keys())
                count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
        except (SafetensorError, OSError):
            continue  # not safetensors: loading says so
    return count * dtype.itemsize


def refuse_too_large(folder: Path, dtype: torch.dtype, device: torch.device, name: str) -> None:
    """Refuse a model whose weights do not fit into the free memory of the device.

    Raises:
        UserError: with the number of bytes that it needs, and that are free.
    """
    if device.type == "cuda":
        free, where = torch.cuda.mem_get_info(device)[0], str(device)
    elif device.type == "cpu":
        free, where = psutil.virtual_memory().available, "the memory of this machine"
    else:
        return
    needed = int(ROOM * weight_bytes(folder, dtype))
    if needed > free:
        smaller = "" if dtype.itemsize < 4 else "; dtype bfloat16 halves it"
        raise UserError(
            f"model {name}: it needs {needed:,} bytes as {str(dtype).removeprefix('torch.')}, and "
            f"{free:,} are free in {where}{smaller}"
        )
