"""How many floating-point operations decoder layers need; a multiply-add is two.

All that is counted anywhere is counted here: the cost of the experiments by arithmetic
(`experiments.hours`) and the least that a sweep needs (`experiments.benchmarks.arithmetic`).
Operations of norms, of activations and of the softmax are left out; they are below a hundredth.
"""

from dataclasses import dataclass


def products(tokens: float, numbers: float) -> float:
    """Operations of multiplying each of `tokens` vectors by matrices of so many numbers."""
    return 2 * tokens * numbers


def attention(d_query: int, keys: float) -> float:
    """Operations of attention in one layer, without its projections.

    Args:
        d_query: width of all query heads together (heads x width of a head).
        keys: keys that all queries see together. Each costs a product for its score, and one for
            its value.
    """
    return 4 * d_query * keys


@dataclass(frozen=True)
class LayerShape:
    """The widths of one layer of a Llama-shaped model.

    Attributes:
        d_model: the width of the residual stream.
        d_query: the width of all query heads together.
        d_key: the width of all key heads together; that of the values is the same.
        d_mlp: the width of the MLP, which has three matrices.
    """

    d_model: int
    d_query: int
    d_key: int
    d_mlp: int

    @property
    def before_attention(self) -> int:
        """Numbers of the projections to queries, keys and values."""
        return self.d_model * (self.d_query + 2 * self.d_key)

    @property
    def after_attention(self) -> int:
        """Numbers of the output projection and of the MLP."""
        return self.d_model * self.d_query + 3 * self.d_model * self.d_mlp

    @property
    def numbers(self) -> int:
        """Numbers of all matrices of the layer."""
        return self.before_attention + self.after_attention


@dataclass(frozen=True)
class Size:
    """The shape of a decoder.

    Attributes:
        parameters: numbers in the model.
        block_parameters: those that multiply every token: the blocks', without embeddings.
        n_layers: blocks.
        n_heads: query heads a block.
        d_head: width of a head.
    """

    parameters: int
    block_parameters: int
    n_layers: int
    n_heads: int
    d_head: int

    def operations(self, tokens: float, context: float = 0.0) -> float:
        """Operations to run `tokens` through all blocks after `context` others.

        A token sees the context and, on average, half of the tokens that it is run with.
        """
        seen = context + tokens / 2
        each = attention(self.n_heads * self.d_head, seen) * self.n_layers
        return products(tokens, self.block_parameters) + tokens * each


def llama_size(
    *, layers: int, heads: int, kv_heads: int, d_head: int, d_model: int, d_mlp: int, vocab: int
) -> Size:
    """The size of a Llama-shaped model, norms left out."""
    layer = LayerShape(d_model, heads * d_head, kv_heads * d_head, d_mlp)
    blocks = layers * layer.numbers
    return Size(blocks + 2 * vocab * d_model, blocks, layers, heads, d_head)
