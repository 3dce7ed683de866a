"""How many floating-point operations a sweep cannot do without, given what the engine shares.

Counted are the tokens that are computed (no padding), the keys that each query sees (none that are
masked), what the last block computes after its attention where it is read, and the logits at
scored positions: the least that this way of sharing needs. Models are of Llama's shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from experiments.operations import LayerShape, attention, products
from interp.ablations import Edits
from interp.engine import EVERY, Answer, Group, exact_shortcuts, group_examples, shared_length
from interp.models import Decoder, decoder
from interp.tasks import GenerationRequest, OptionRequest


def remaining_operations(
    model: TransformerBridge, requests: Sequence[OptionRequest], edits: Sequence[Edits]
) -> float:
    """Operations of scoring all requests under all ablations.

    Args:
        model: the model of Llama's shape.
        requests: as for `score_requests`.
        edits: the edits of every ablation; `Edits()` is the baseline, and is counted once anyway.

    Returns:
        Floating-point operations, a multiplication and an addition counted as two.
    """
    dec = decoder(model)
    longest = max(len(r.context) + len(r.continuation) for r in requests)
    shortcuts = exact_shortcuts(model, EVERY, longest)
    shape = _shape(dec)
    total = 0.0
    for group in group_examples(requests, prefixes=shortcuts.prefixes, trees=shortcuts.options):
        tokens, prefix = sum(len(t.tokens) for t in group.trees), len(group.prefix)
        scored = _scored_positions(group)
        read = scored if shortcuts.last_block_positions else tokens
        rows = _Blocks.of_tokens(shape, tokens, keys=_keys_seen(group), read=read)
        # of the prefix nothing is read, so that its last block ends with its attention
        prefix_read = 0 if shortcuts.last_block_positions else prefix
        shared = _Blocks.of_tokens(shape, prefix, keys=prefix**2 / 2, read=prefix_read)
        unembedding = products(scored, shape.d_model * dec.root.config.vocab_size)
        total += rows.last_of(dec.n_layers) + dec.n_layers * shared.whole + unembedding
        for edit in edits:
            rest = dec.n_layers - min(edit, default=dec.n_layers)
            if edit and edit[min(edit)].skip:
                total += rows.last_of(rest - 1) + shared.last_of(rest - 1) + unembedding
            elif edit:
                # the attention of the first edited layer is the baseline's
                first = products(read if rest == 1 else tokens, shape.after_attention)
                total += rows.last_of(rest - 1) + first + shared.last_of(rest) + unembedding
    return total


def generation_operations(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    edits: Sequence[Edits],
    answers: Sequence[Sequence[Answer]],
) -> float:
    """Operations of generation under skipped layers.

    Under each ablation every token of an answer is run once through all layers that are left (a
    draft that agrees saves steps and no operation), and what is in front of it from the first
    edited layer on: the tokens that all prompts share once, the rest for each request.

    Args:
        model: the model of Llama's shape.
        requests: as for `generate`.
        edits: the edits of every ablation.
        answers: for each ablation, one answer per request.

    Returns:
        Floating-point operations, counted as those of scoring.
    """
    dec = decoder(model)
    shape = _shape(dec)
    shared = shared_length([r.prompt for r in requests])

    def layer(tokens: int, before: int) -> float:
        """One layer over consecutive tokens after others; a token sees those up to itself."""
        keys = tokens * before + tokens * (tokens + 1) / 2
        return products(tokens, shape.numbers) + attention(shape.d_query, keys)

    total = 0.0
    for edit, written in zip(edits, answers, strict=True):
        skipped = sum(one.skip for one in edit.values())
        rest = dec.n_layers - min(edit, default=0) - skipped
        total += rest * layer(shared, 0)
        for request, answer in zip(requests, written, strict=True):
            prompt = len(request.prompt)
            total += rest * layer(prompt - shared, shared)
            total += (dec.n_layers - skipped) * layer(answer.n_tokens, prompt)
            total += products(answer.n_tokens, shape.d_model * dec.root.config.vocab_size)
    return total


@dataclass(frozen=True)
class _Blocks:
    """Operations of a block, and of the last one, which computes less.

    Attributes:
        whole: operations of a whole block.
        last: operations of the last block.
    """

    whole: float
    last: float

    @classmethod
    def of_tokens(cls, shape: LayerShape, tokens: int, *, keys: float, read: int) -> "_Blocks":
        """Those of tokens whose queries see so many keys; `read` of them leave the last block."""
        through_attention = products(tokens, shape.before_attention)
        through_attention += attention(shape.d_query, keys)
        return cls(
            through_attention + products(tokens, shape.after_attention),
            through_attention + products(read, shape.after_attention),
        )

    def last_of(self, count: int) -> float:
        """Operations of the last `count` blocks."""
        return (count - 1) * self.whole + self.last if count else 0.0


def _shape(dec: Decoder) -> LayerShape:
    config = dec.root.config
    return LayerShape(
        d_model=dec.d_model,
        d_query=dec.n_heads * dec.d_head,
        d_key=dec.n_kv_heads * dec.d_head,
        d_mlp=config.intermediate_size,
    )


def _keys_seen(group: Group) -> int:
    """Keys seen by all queries of a group: the prefix and each token's own path."""
    prefix = len(group.prefix)
    return sum(prefix + depth + 1 for tree in group.trees for depth in tree.depths)


def _scored_positions(group: Group) -> int:
    return sum(len({node for _, nodes, _ in tree.scored for node in nodes}) for tree in group.trees)
