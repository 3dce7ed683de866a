"""How many floating-point operations a sweep cannot do without, given what the engine shares."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits
from interp.engine import EVERY, Answer, Group, exact_shortcuts, group_examples, shared_length
from interp.models import decoder
from interp.tasks import GenerationRequest, OptionRequest


def remaining_operations(
    model: TransformerBridge, requests: Sequence[OptionRequest], edits: Sequence[Edits]
) -> float:
    """Operations (a multiply-add is two) of a sweep over a model of Llama's shape.

    Counted are the tokens that are computed (no padding), the keys that each query sees (none that
    are masked), what the last block computes behind its attention where it is read, and logits at
    scored positions: the least that this way of sharing needs.
    """
    parts = decoder(model)
    longest = max(len(r.context) + len(r.continuation) for r in requests)
    shortcuts = exact_shortcuts(model, EVERY, longest)
    config = parts.root.config
    width, inner = parts.d_model, config.intermediate_size
    query, key = parts.n_heads * parts.d_head, parts.n_kv_heads * parts.d_head
    inputs = 2 * width * (query + 2 * key)  # of queries, keys and values
    behind = 2 * width * query + 2 * 3 * width * inner  # behind z: output projection and MLP
    total = 0.0
    for group in group_examples(requests, prefixes=shortcuts.prefixes, trees=shortcuts.options):
        tokens, prefix = sum(len(t.tokens) for t in group.trees), len(group.prefix)
        places = _places(group)
        attention = tokens * inputs + 4 * query * _seen(group)
        read = places if shortcuts.last_block_positions else tokens
        blocks = _Blocks(attention + tokens * behind, attention + read * behind)
        prefix_attention = prefix * inputs + 2 * query * prefix**2
        kept = 0 if shortcuts.last_block_positions else prefix
        of_prefix = _Blocks(prefix_attention + prefix * behind, prefix_attention + kept * behind)
        unembedding = 2 * width * config.vocab_size * places
        total += blocks.of(parts.n_layers) + parts.n_layers * of_prefix.whole + unembedding
        for edit in edits:
            rest = parts.n_layers - min(edit, default=parts.n_layers)
            if edit and edit[min(edit)].skip:
                total += blocks.of(rest - 1) + of_prefix.of(rest - 1)
            elif edit:
                reused = (read if rest == 1 else tokens) * behind
                total += blocks.of(rest - 1) + reused + of_prefix.of(rest)
            total += unembedding if edit else 0
    return total


def generation_operations(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    edits: Sequence[Edits],
    answers: Sequence[Sequence[Answer]],
) -> float:
    """Operations of generation under skipped layers, over a model of Llama's shape.

    Under each ablation every token of an answer is run once through all layers that are left (a
    draft that agrees saves steps and no operation), and what is in front of it from the first
    edited layer on: the tokens that all prompts share once, the rest for each request.
    """
    parts = decoder(model)
    config = parts.root.config
    width, query = parts.d_model, parts.n_heads * parts.d_head
    weights = 2 * query + 2 * parts.n_kv_heads * parts.d_head + 3 * config.intermediate_size
    shared = shared_length([r.prompt for r in requests])

    def block(tokens: int, before: int) -> float:
        """One layer over consecutive tokens behind others."""
        seen = tokens * before + tokens * (tokens + 1) / 2
        return 2.0 * tokens * width * weights + 4.0 * query * seen

    total = 0.0
    for edit, written in zip(edits, answers, strict=True):
        skipped = sum(one.skip for one in edit.values())
        rest = parts.n_layers - min(edit, default=0) - skipped
        total += rest * block(shared, 0)
        for request, answer in zip(requests, written, strict=True):
            prompt = len(request.prompt)
            total += rest * block(prompt - shared, shared)
            total += (parts.n_layers - skipped) * block(answer.n_tokens, prompt)
            total += 2.0 * width * config.vocab_size * answer.n_tokens
    return total


@dataclass(frozen=True)
class _Blocks:
    """Operations of a block, and of the last one, which computes less."""

    whole: float
    last: float

    def of(self, count: int) -> float:
        """Operations of the last `count` blocks."""
        return (count - 1) * self.whole + self.last if count else 0.0


def _seen(group: Group) -> int:
    """Keys seen by all queries of a group: the prefix and each token's own path."""
    prefix = len(group.prefix)
    return sum(prefix + depth + 1 for tree in group.trees for depth in tree.depths)


def _places(group: Group) -> int:
    return sum(len({node for _, nodes, _ in tree.scored for node in nodes}) for tree in group.trees)
