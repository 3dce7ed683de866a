"""Which requests share a pass, and which ablations a batch."""

from collections.abc import Mapping, Sequence

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, LayerEdit, Means, edited
from interp.engine.capabilities import capabilities
from interp.engine.generation.ragged import SharedKeys
from interp.engine.generation.row_edits import can_share_batch
from interp.engine.generation.stopping import Stopping, end_tokens
from interp.engine.prefix import Prefix, prefix_cache
from interp.models import Decoder
from interp.tasks import GenerationRequest

# columns of one baseline pass that is kept for replay
PASS_COLUMNS = 16_384


def stops_of(decoder: Decoder, requests: Sequence[GenerationRequest]) -> list[Stopping]:
    """The end of each request; equal ones are one object and share what they have decoded."""
    ends, made = end_tokens(decoder), dict[tuple[tuple[str, ...], int], Stopping]()
    for r in requests:
        until = tuple(stop for stop in r.until if stop)
        made.setdefault(
            (r.until, r.max_gen_toks), Stopping(decoder.tokenizer, ends, until, r.max_gen_toks)
        )
    return [made[r.until, r.max_gen_toks] for r in requests]


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts start with, leaving at least one to each.

    Args:
        prompts: token ids of each prompt.

    Returns:
        A number of tokens, at least 0.
    """
    shortest, longest = min(map(tuple, prompts)), max(map(tuple, prompts))
    equal = next(
        (i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b),
        min(len(shortest), len(longest)),
    )
    return min(equal, min(len(prompt) for prompt in prompts) - 1)


def prefix_keys(
    model: TransformerBridge, prefix: Prefix | None, edits: Edits, means: Means | None
) -> tuple[SharedKeys, ...]:
    """The keys and values of a shared prefix under an ablation, layer by layer."""
    if prefix is None:
        return ()
    with edited(model, edits, means) as decoder:
        last_block = capabilities(model).narrows_last_block
        ablated = prefix_cache(
            decoder, prefix, edits.first_layer(decoder.n_layers), last_block=last_block
        )
    kept = []
    for layer_of_ablated, baseline in zip(ablated.layers, prefix.cache.layers, strict=True):
        # a skipped layer has nothing of its own; rows that skip it ignore what they are given
        layer = layer_of_ablated if layer_of_ablated.keys.shape == baseline.keys.shape else baseline
        kept.append(SharedKeys(layer.keys[0], layer.values[0]))
    return tuple(kept)


def pass_batches(order: Sequence[int], texts: Mapping[int, tuple[int, ...]]) -> list[list[int]]:
    """Consecutive requests, as many as a pass holds."""
    result: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, len(texts[i]))
        if result and (len(result[-1]) + 1) * longest <= PASS_COLUMNS:
            result[-1].append(i)
        else:
            result.append([i])
            longest = len(texts[i])
    return result


def shared_batches(
    numbers: Sequence[int], ablations: Sequence[Edits], mix: bool
) -> list[list[int]]:
    """Numbers of the ablations whose rows are decoded together, in their order.

    Args:
        numbers: the numbers of the ablations that are asked for.
        ablations: what changes in each.
        mix: whether different ablations may share a batch at all.

    Returns:
        Lists of ablation numbers; each number is in one of them.
    """
    batches: list[list[int]] = []
    for number in numbers:
        mixed = mix and can_share_batch(ablations[number])
        if mixed and batches and can_share_batch(ablations[batches[-1][0]]):
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def donor_edits(edits: Edits) -> Edits:
    """The swaps of an ablation: they hold for a whole batch."""
    return Edits({layer: LayerEdit(swaps=edit.swaps) for layer, edit in edits.items()})
