"""Models for several modalities, of which only the text part is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformer_lens.model_bridge.sources.transformers import source


@contextmanager
def no_processor() -> Iterator[None]:
    """A context in which TransformerLens does not look for a processor of images or sounds.

    It would look for one on the hub by the model's name and, if that fails, run `pip install
    torchvision`, which can replace torch itself.

    Yields:
        None.
    """

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        pass

    before = source.load_modality_processor
    source.load_modality_processor = nothing
    try:
        yield
    finally:
        source.load_modality_processor = before
