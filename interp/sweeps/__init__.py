"""The plan of a sweep, its work units, what identifies it, and how it is carried out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
