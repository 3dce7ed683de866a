"""Models of several modalities, of which only the text part is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformer_lens.model_bridge.sources.transformers import source


@contextmanager
def no_processor() -> Iterator[None]:
    """Inside the context TransformerLens looks for no processor of images or sounds.

    It would ask the hub for one by the model's name and, where that fails, run `pip install
    torchvision`, which can exchange torch itself.

    Yields:
        Nothing.
    """

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        pass

    before = source.load_modality_processor
    source.load_modality_processor = nothing
    try:
        yield
    finally:
        source.load_modality_processor = before
