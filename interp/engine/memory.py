"""How many tokens a batch may have: from free memory, and halved when that was too many."""

import gc
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import psutil
import torch

from interp.models import Decoder

log = logging.getLogger("interp")

T = TypeVar("T")
SMALLEST, MOST_ON_CPU, MOST_ON_GPU = 64, 4096, 65536
# a CPU is fastest while what a batch computes stays in its last cache, as long as the matrices are
# not narrow: at width 512, batches of 512 tokens took three quarters of the time of 4,096
CACHE, WIDE_ENOUGH = 2**25, 512
SHARE = 0.25  # of the free memory that one batch may take
# what torch says when memory is gone, besides its own exception on a GPU
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def token_budget(decoder: Decoder, prefix: int) -> int:
    """Most tokens of one batch, padding counted, from the memory that is free now.

    Args:
        decoder: the modules of the model.
        prefix: shared tokens in front, whose keys and values every row reads.

    Returns:
        A number of tokens, at least `SMALLEST`.
    """
    config = decoder.root.config.get_text_config()
    on_gpu = decoder.device.type == "cuda"
    # a list where layers differ (Gemma 3n)
    width = int(np.max(getattr(config, "intermediate_size", None) or 4 * decoder.d_model))
    # residuals, normed inputs, q, k, v, z and the MLP's inner width are alive together; a token's
    # row of the mask, and the keys and values copied after the prefix, are added
    numbers = 10 * decoder.d_model + 4 * width + 4 * decoder.n_heads * decoder.d_head
    numbers += 2 * (prefix + 256) + 8 * decoder.n_kv_heads * decoder.d_head
    bytes_each = next(decoder.root.parameters()).element_size()
    cached = max(WIDE_ENOUGH, CACHE // (numbers * bytes_each))
    most = MOST_ON_GPU if on_gpu else min(MOST_ON_CPU, cached)
    return max(SMALLEST, min(most, int(SHARE * _free(decoder) / (numbers * bytes_each))))


def most_caches(decoder: Decoder, prefix: int, layers: int) -> int:
    """How many keys and values of a prefix may be kept at once, from the memory that is free now.

    Args:
        decoder: the modules of the model.
        prefix: tokens that each of them is of.
        layers: the number of layers in which each is its own.

    Returns:
        A number of caches, at least 1.
    """
    numbers = 2 * prefix * layers * decoder.n_kv_heads * decoder.d_head
    bytes_each = next(decoder.root.parameters()).element_size()
    return max(1, int(SHARE * _free(decoder) / max(1, numbers * bytes_each)))


def fits(decoder: Decoder, size: int) -> bool:
    """Whether so many bytes may be kept beside what batches take.

    Args:
        decoder: the modules of the model.
        size: bytes on its device.

    Returns:
        True where they are at most a quarter of the memory that is free now.
    """
    return size <= SHARE * _free(decoder)


def _free(decoder: Decoder) -> int:
    """Free bytes on the device of the model."""
    if decoder.device.type == "cuda":
        return free_on_gpus(decoder)
    return int(psutil.virtual_memory().available)


def free_on_gpus(decoder: Decoder) -> int:
    """Free bytes on the fullest of the GPUs that hold a model."""
    return min(torch.cuda.mem_get_info(device)[0] for device in decoder.devices)


def halving(work: Callable[[int], Iterator[T]], budget: int) -> Iterator[T]:
    """What `work(budget)` yields; from the start again with half the budget when memory runs out.

    What was yielded before is yielded again, so that it must not matter to the caller how often.

    Yields:
        What the last try of `work` yields, after what earlier tries did.

    Raises:
        RuntimeError: memory runs out even at the smallest budget.
    """
    while True:
        try:
            yield from work(budget)
            return
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or budget <= SMALLEST:
                raise
        budget //= 2
        release_memory()
        log.warning("out of memory; going on with batches of at most %d tokens", budget)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device.

    Args:
        error: what was raised.

    Returns:
        True for PyTorch's own error and for those that name it only in their text.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in OUT_OF_MEMORY)


def release_memory() -> None:
    """Give back what failed work held; outside the handler, whose traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
