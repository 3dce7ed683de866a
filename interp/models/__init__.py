"""Models, given by name, folder or object, as bridges with native blocks over the same weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
