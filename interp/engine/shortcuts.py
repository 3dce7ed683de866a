"""Which shortcuts the scoring engine takes, and which of them are exact for a model.

Every shortcut is on by default because it changes no answer; each can be turned off, which is how
the tests show that. Whether an architecture can be given a mask and positions of its own is not
looked up in a list: it is tried on the model itself, once.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformer_lens.model_bridge import TransformerBridge

from interp.engine.capabilities import capabilities
from interp.models import model_name


@dataclass(frozen=True)
class Shortcuts:
    """What the engine may share and leave out; all of it is exact.

    Attributes:
        replay: run an ablated model from its first edited layer on.
        prefixes: run tokens that examples start with once for each ablation.
        options: run tokens that the rows of one example share once, examples side by side.
        sublayers: take the attention of the first edited layer from the baseline where the
            ablation changes only what comes after it.
        last_block_positions: whether to compute, in the last block, what follows the attention only
            where logits are read.
        stacked: run ablations of one layer through the layers after it together, where
            batches are small.
        token_budget: most tokens of one batch, padding counted; by default from free memory.
    """

    replay: bool = True
    prefixes: bool = True
    options: bool = True
    sublayers: bool = True
    last_block_positions: bool = True
    stacked: bool = True
    token_budget: int | None = None


EVERY = Shortcuts()
"""All shortcuts, before any is tried on a model."""
NONE = Shortcuts(
    replay=False,
    prefixes=False,
    options=False,
    sublayers=False,
    last_block_positions=False,
    stacked=False,
)

log = logging.getLogger("interp")


def exact_shortcuts(model: TransformerBridge, wanted: Shortcuts, longest: int) -> Shortcuts:
    """The wanted shortcuts without those that are not exact for this model, and says which.

    Args:
        model: a bridge.
        wanted: what the caller allows.
        longest: tokens of the longest row.

    Returns:
        Shortcuts that are on only where they are wanted and exact. The others are named in a
        warning.
    """
    can, exact, reasons = capabilities(model), wanted, []
    if wanted.replay and not can.replays:
        exact = replace(exact, replay=False)
        reasons.append(
            "its blocks depend on more than their arguments, so that nothing is replayed"
        )
    if wanted.options and not can.packs(longest):
        exact = replace(exact, options=False)
        reasons.append(
            "it takes no mask and positions from outside, so that options run in rows of their own"
        )
    if exact.replay and wanted.prefixes and not can.shares_prefixes(longest):
        exact = replace(exact, prefixes=False)
        reasons.append("what rows start with cannot be cached for them, so that each runs whole")
    if exact.replay and wanted.sublayers and not can.reuses_attention:
        exact = replace(exact, sublayers=False)
        reasons.append("its attention adds more than a projection of z, so that it is never reused")
    if not exact.replay:
        exact = replace(exact, prefixes=False, sublayers=False)
    # half a block of many: too little to report
    last = exact.last_block_positions and exact.replay and can.narrows_last_block
    exact = replace(exact, last_block_positions=last)
    for reason in reasons:
        if reason not in can.said:
            can.said.add(reason)
            log.warning("model %s: %s (slower, the same results)", model_name(model), reason)
    return exact


def segments(model: TransformerBridge, lengths: Sequence[int]) -> list[list[int]]:
    """Rows that may share a batch: numbers of the given lengths, in parts.

    Rows on two sides of a length at which the model changes are kept apart where it matters, so
    that the short ones keep their shortcuts. Where even long rows of different lengths disturb
    each other, only rows of equal length are together.

    Args:
        model: a bridge.
        lengths: tokens that the model runs on, of each row.

    Returns:
        Numbers of rows, each of them in one list.
    """
    can = capabilities(model)
    longest = max(lengths, default=0)
    ends = [at for at in can.changes if at < longest and not can.crosses(at)]
    parts: dict[tuple[int, int], list[int]] = {}
    for number, length in enumerate(lengths):
        above = sum(length > at for at in ends)
        alone = length if above and not can.pads_beyond(ends[above - 1]) else 0
        parts.setdefault((above, alone), []).append(number)
    return [parts[key] for key in sorted(parts)]


def runs_in_pieces(model: TransformerBridge, longest: int) -> bool:
    """Whether rows of at most so many tokens can run piece by piece over a cache of their own.

    Not where the first tokens are computed otherwise once the row has grown (LongRoPE).

    Args:
        model: a bridge.
        longest: tokens of the longest row.

    Returns:
        True where a cache gives the same answers as a whole row.
    """
    caching = capabilities(model).caching(longest)
    return caching.cached and not caching.rebuilt_beyond
