"""The hash by which a run checks that it continues with the same weights."""

import hashlib

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.models.native_blocks import decoder


def weights_hash(model: TransformerBridge) -> str:
    """SHA-256 over the names, shapes, types and bytes of a model's parameters and buffers.

    Buffers count if they are part of the model's state, such as the balance of its experts.

    Args:
        model: a bridge.

    Returns:
        64 hexadecimal digits.
    """
    root, digest = decoder(model).root, hashlib.sha256()
    # rotary tables and masks are computed again at every load
    transient = {
        f"{place}.{name}" if place else name
        for place, module in root.named_modules()
        for name in module._non_persistent_buffers_set
    }
    named = dict((*root.named_parameters(), *root.named_buffers()))
    # scales of quantised weights are part of the state but neither parameters nor buffers
    more = {k: v for k, v in root.state_dict().items() if k not in named and torch.is_tensor(v)}
    seen = {tensor.data_ptr() for tensor in named.values()}
    more = {
        k: v for k, v in more.items() if v.data_ptr() not in seen
    }  # tied weights have several names
    for name, tensor in (*named.items(), *more.items()):
        if name not in transient:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
