"""What a trial of a shortcut compares by: its tokens, and which differences are rounding."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from interp.engine.replay import record
from interp.models import Decoder

# largest difference of a residual vector, relative to its length, that is rounding
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
# of logits, relative to the largest: rounding is three orders of magnitude below, a wrong mask
# above
LARGEST = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
# what a model raises that cannot be called so
CANNOT = (TypeError, ValueError, RuntimeError, LookupError, AttributeError)


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether residual vectors `[..., d_model]` differ by rounding only."""
    tolerance = TOLERANCE.get(found.dtype, 1e-4)
    difference = (found - expected).float().norm(dim=-1)
    return bool((difference <= tolerance * expected.float().norm(dim=-1)).all())


def same_logits(found: Tensor, expected: Tensor) -> bool:
    """Whether logits differ by rounding only."""
    largest = LARGEST.get(expected.dtype, 1e-4)
    difference = (found.float() - expected.float()).abs().max()
    return bool(difference <= largest * expected.float().abs().max())


def holds(same: Callable[[], bool]) -> bool:
    """What a trial says; False where the model cannot be called so."""
    try:
        with torch.no_grad():
            return same()
    except CANNOT:
        return False


def around(at: int, most: int, short: int, long: int) -> tuple[int, int]:
    """Lengths of two rows, one on each side of a change; two lengths of ours where it is 0."""
    if not at:
        return min(short, most - 1), min(long, most)
    return max(1, at - 1), min(at + 4, most)


def random_tokens(dec: Decoder, *shape: int) -> Tensor:
    """The same random tokens each time."""
    generator = torch.Generator().manual_seed(0)
    most = dec.root.config.get_text_config().vocab_size
    return torch.randint(most, shape, generator=generator).to(dec.device)


def projects(dec: Decoder, ids: Tensor, layers: Sequence[int]) -> bool:
    """Whether attentions give out what their output projections do, and nothing else."""
    seen: dict[tuple[int, str], Any] = {}

    def keeper(layer: int, name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: Any, out: Any) -> None:
            seen[layer, name] = out

        return keep

    with ExitStack() as stack:
        for layer in layers:
            modules = {"z": dec.output_projections[layer], "attention": dec.attentions[layer]}
            for name, module in modules.items():
                handle = module.register_forward_hook(keeper(layer, name))
                stack.callback(handle.remove)
        record(dec, ids, use_cache=False)

    def same(layer: int) -> bool:
        out = seen.get((layer, "attention"))
        out = out[0] if isinstance(out, tuple) else out
        return isinstance(out, Tensor) and torch.equal(out, seen[layer, "z"].view(out.shape))

    return all(map(same, layers))
