"""One thread at a time ablates a model: hooks and weights are the model's, not a thread's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models import model_name

_lock = threading.Lock()
# model to the thread that ablates it, and how many contexts deep
_owners: "WeakKeyDictionary[TransformerBridge, tuple[int, int]]" = WeakKeyDictionary()


@contextmanager
def one_thread(model: TransformerBridge) -> Iterator[None]:
    """Inside the context, only this thread may ablate the model. Contexts nest.

    Yields:
        None; other threads may ablate the model afterwards.

    Raises:
        UserError: another thread is ablating the model.
    """
    this_thread = threading.get_ident()
    with _lock:
        thread, depth = _owners.get(model, (this_thread, 0))
        if thread != this_thread:
            raise busy(model)
        _owners[model] = this_thread, depth + 1
    try:
        yield
    finally:
        with _lock:
            _, depth = _owners[model]
            if depth > 1:
                _owners[model] = this_thread, depth - 1
            else:
                del _owners[model]


def busy(model: TransformerBridge) -> UserError:
    """What is said where a second thread uses a model that one ablates."""
    return UserError(
        f"model {model_name(model)}: another thread is ablating it; load the model once for each "
        "thread, or ablate in one thread"
    )
