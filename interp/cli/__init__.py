"""The command line: one module per command, each with `add(commands)`; `program.py` runs one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
