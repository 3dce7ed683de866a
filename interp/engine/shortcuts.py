"""Which shortcuts the scoring engine takes, and which of them are exact for a model.

Every shortcut is on by default because it changes no answer; each can be turned off, which is how
the tests show that. Whether an architecture can be given a mask and positions of its own is not
looked up in a list: it is tried on the model itself, once.
"""

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.engine.last_block import close, narrows
from interp.engine.prefix import Prefix, calls_behind, record_prefix
from interp.engine.replay import record, replay
from interp.models import Decoder, decoder, model_name


@dataclass(frozen=True)
class Shortcuts:
    """What the engine may share and leave out; all of it is exact.

    Attributes:
        replay: run an ablated model from its first edited layer on.
        prefixes: run tokens that examples start with once for each ablation.
        options: run tokens that the rows of one example share once, examples side by side.
        sublayers: take the attention of the first edited layer from the baseline where the
            ablation changes only what comes behind it.
        places: in the last block, compute behind the attention only where logits are read.
        stacked: run ablations of one layer through the layers behind it together, where
            batches are small.
        token_budget: most tokens of one batch, padding counted; by default from free memory.
    """

    replay: bool = True
    prefixes: bool = True
    options: bool = True
    sublayers: bool = True
    places: bool = True
    stacked: bool = True
    token_budget: int | None = None


EVERY = Shortcuts()
NONE = Shortcuts(
    replay=False, prefixes=False, options=False, sublayers=False, places=False, stacked=False
)

_packs: "WeakKeyDictionary[Decoder, dict[bool, bool]]" = WeakKeyDictionary()
_replays: "WeakKeyDictionary[Decoder, bool]" = WeakKeyDictionary()
_said: "WeakKeyDictionary[Decoder, set[str]]" = WeakKeyDictionary()
_projects: "WeakKeyDictionary[Decoder, bool]" = WeakKeyDictionary()


def exact_shortcuts(model: TransformerBridge, wanted: Shortcuts, longest: int) -> Shortcuts:
    """The wanted shortcuts without those that are not exact for this model, and says which.

    Args:
        model: a bridge.
        wanted: what the caller allows.
        longest: tokens of the longest row.
    """
    parts = decoder(model)
    exact, why = wanted, []
    if wanted.replay and not replays(parts):
        exact = replace(exact, replay=False, prefixes=False, sublayers=False)
        why.append("its blocks depend on more than their arguments, so that nothing is replayed")
    if wanted.options and not packs(parts, longest):
        exact = replace(exact, options=False)
        why.append(
            "it takes no mask and positions of ours, so that options run in rows of their own"
        )
    if wanted.sublayers and not projects(parts):
        exact = replace(exact, sublayers=False)
        why.append("its attention adds more than a projection of z, so that it is never reused")
    # half a block of many: too little to tell anybody
    exact = replace(exact, places=exact.places and exact.replay and narrows(parts))
    said = _said.setdefault(parts, set())
    for reason in why:
        if reason not in said:
            said.add(reason)
            tqdm.write(f"model {model_name(model)}: {reason} (slower, the same results)")
    return exact


def window(parts: Decoder) -> int | None:
    """Tokens that a sliding-window layer sees, itself included; None where every layer sees all."""
    config = parts.root.config.get_text_config()
    types = getattr(config, "layer_types", None)
    if types is not None and "sliding_attention" not in types:
        return None
    size = getattr(config, "sliding_window", None)
    return int(size) if size else None


def mask_arguments(
    parts: Decoder, sees: np.ndarray, depths: np.ndarray, prefix: int
) -> dict[str, Any]:
    """The arguments with which a model runs packed rows behind a prefix.

    Args:
        parts: the modules of the model.
        sees: `[batch, pos, pos]` which keys of its row a query sees.
        depths: `[batch, pos]` positions behind the prefix.
        prefix: tokens in front, which every query sees.

    Returns:
        `attention_mask` (`[batch, 1, pos, prefix + pos]` in the model's type, added to the scores;
        one a kind of layer where layers differ) and `position_ids` (`[batch, pos]`).
    """
    device, dtype = parts.device, next(parts.root.parameters()).dtype
    positions = torch.from_numpy(depths).to(device) + prefix
    inside = torch.from_numpy(sees).to(device)
    whole = torch.cat([inside.new_ones(*inside.shape[:2], prefix), inside], dim=-1)
    size, masks = window(parts), _added(whole, dtype)
    if size is not None and int(positions.max()) >= size:
        before = torch.arange(prefix, device=device).expand(len(positions), -1)
        keys = torch.cat([before, positions], dim=1)
        near = positions[:, :, None] - keys[:, None, :] < size
        near_only = _added(whole & near, dtype)
        types = getattr(parts.root.config.get_text_config(), "layer_types", None) or ()
        if "full_attention" in types:
            both = {"full_attention": masks, "sliding_attention": near_only}
            return {"attention_mask": both, "position_ids": positions}
        masks = near_only
    return {"attention_mask": masks, "position_ids": positions}


def _added(sees: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    return mask.masked_fill_(~sees, torch.finfo(dtype).min)[:, None]


def packs(parts: Decoder, longest: int) -> bool:
    """Whether packed rows give this model's own residual streams: tried once, on random tokens.

    Args:
        parts: the modules of the model.
        longest: tokens of the longest row; where it is longer than the model's window, what is
            tried is longer too.
    """
    size = window(parts)
    beyond = size is not None and longest > size
    known = _packs.setdefault(parts, {})
    if beyond not in known:
        known[beyond] = _packs_exactly(parts, (size or 0) + 3 if beyond else 5)
    return known[beyond]


def _packs_exactly(parts: Decoder, n_prefix: int) -> bool:
    """Two questions of two options each in one row, against four rows of their own."""
    if n_prefix + 8 > parts.max_length:
        return False
    drawn = _random_tokens(parts, n_prefix + 12)
    prefix, tokens = drawn[:n_prefix], drawn[n_prefix:]
    parents, ends = [-1, 0, 1, 2, 1, 4, -1, 6, 7, 8, 7, 10], [3, 5, 9, 11]
    sees = np.eye(12, dtype=bool)
    depths = np.zeros(12, dtype=np.int64)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] |= sees[parent]
            depths[node] = depths[parent] + 1
    # the four paths have the same length
    paths = torch.stack([torch.cat([prefix, tokens[np.flatnonzero(sees[end])]]) for end in ends])
    try:
        with torch.no_grad():
            shared = record_prefix(parts, prefix.tolist())
            arguments = mask_arguments(parts, sees[None], depths[None], n_prefix)
            packed = _last_residuals(parts, tokens[None], shared, **arguments)[0, ends]
            plain = _last_residuals(parts, paths)[:, -1]
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError):
        return False
    return close(packed, plain)


def _last_residuals(
    parts: Decoder, ids: Tensor, prefix: Prefix | None = None, **arguments: Any
) -> Tensor:
    return replay(parts, calls_behind(parts, ids, prefix, **arguments), 0)


def _random_tokens(parts: Decoder, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    most = parts.root.config.get_text_config().vocab_size
    return torch.randint(most, shape, generator=generator).to(parts.device)


def replays(parts: Decoder) -> bool:
    """Whether blocks called one by one give what the model gives: tried once, on random tokens."""
    if parts not in _replays:
        ids = _random_tokens(parts, 2, 5)
        whole = record(parts, ids, use_cache=False).residuals[-1]
        _replays[parts] = torch.equal(_last_residuals(parts, ids), whole)
    return _replays[parts]


def projects(parts: Decoder) -> bool:
    """Whether each attention's output is its output projection of z and nothing else.

    Then an ablated head's attention follows from the baseline's z. Tried once, on random tokens.
    """
    if parts not in _projects:
        ids = _random_tokens(parts, 1, 5)
        _projects[parts] = all(
            _projects_here(parts, ids, layer) for layer in {0, parts.n_layers - 1}
        )
    return _projects[parts]


def _projects_here(parts: Decoder, ids: Tensor, layer: int) -> bool:
    seen: dict[str, Any] = {}
    attention, projection = parts.attentions[layer], parts.output_projections[layer]
    handles = [
        projection.register_forward_hook(lambda _m, _a, out: seen.update(projected=out)),
        attention.register_forward_hook(lambda _m, _a, out: seen.update(out=out)),
    ]
    try:
        with torch.no_grad():
            parts.root(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    out = seen.get("out")
    out = out[0] if isinstance(out, tuple) else out
    return isinstance(out, Tensor) and torch.equal(out, seen["projected"].view(out.shape))
