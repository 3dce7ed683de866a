"""Attention while a model answers: retrieval scores of heads, traced examples, control sets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
