"""Ablations: values, their text form, families, and three ways to carry them out.

- `values.py`, `edits.py`, `text.py`, `families.py`: what an ablation is, and how it is written.
- `kinds.py`: the table of how each kind of edit is carried out.
- `on_bridge.py`, `on_blocks.py`, `on_disk.py`: the same value carried out by TransformerLens'
  hooks, on the native blocks, and in a checkpoint.
- `mean.py`, `resample.py`, `weights.py`, `user_hooks.py`: what stands in the ablated part's place.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
