"""Tasks are lm-evaluation-harness tasks: a name's YAML, its rows, its requests and its metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
