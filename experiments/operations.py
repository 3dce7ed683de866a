"""The floating-point operations of decoder layers; a multiply-add counts as two.

They are counted here for the cost of the experiments (`experiments.hours`) and for the least that a
sweep needs (`experiments.benchmarks.arithmetic`). Norms, activations and the softmax are left out;
they are below one percent.
"""

from dataclasses import dataclass


def products(tokens: float, numbers: float) -> float:
    """Operations of multiplying each of `tokens` vectors by matrices of `numbers` entries."""
    return 2 * tokens * numbers


def attention(d_query: int, keys: float) -> float:
    """Operations of attention in one layer, without its projections.

    Args:
        d_query: width of all query heads together (heads x width of a head).
        keys: the number of keys that all queries see together. Each costs one product for its score
            and one for its value.
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
        """The parameters of the projections to queries, keys and values."""
        return self.d_model * (self.d_query + 2 * self.d_key)

    @property
    def after_attention(self) -> int:
        """The parameters of the output projection and of the MLP."""
        return self.d_model * self.d_query + 3 * self.d_model * self.d_mlp

    @property
    def numbers(self) -> int:
        """The parameters of all matrices of the layer."""
        return self.before_attention + self.after_attention


@dataclass(frozen=True)
class Size:
    """The shape of a decoder.

    Attributes:
        parameters: the number of parameters of the model.
        block_parameters: the parameters of the blocks, which multiply every token.
        n_layers: the number of blocks.
        n_heads: the number of query heads per block.
        d_head: the width of a head.
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
    """The size of a Llama-shaped model, without norms."""
    layer = LayerShape(d_model, heads * d_head, kv_heads * d_head, d_mlp)
    blocks = layers * layer.numbers
    return Size(blocks + 2 * vocab * d_model, blocks, layers, heads, d_head)
