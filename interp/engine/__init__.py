"""Internal: runs models under ablations, exactly and once for what many ablations share.

- `replay.py`, `prefix.py`, `last_block.py`, `shortcuts.py`, `memory.py`: one baseline pass, then
  only the layers from an ablation on.
- `scoring/`: log-likelihoods of options. `generation/`: greedy and sampled answers.
- `by_example.py`, `one_example.py`: ablations that differ from example to example.
- `reference.py`, `residuals.py`: what measures and sweeps share.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
