"""Attention rows as the interactive view of circuitsvis, for notebooks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import UserError

MOST_TOKENS = 512
"""The view draws squares of the whole prompt; more tokens would make notebooks too large."""


@dataclass(frozen=True)
class View:
    """HTML that a notebook displays, without access to the network.

    Attributes:
        html: the numbers and the program that draws them, 1.3 MB.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"View({len(self.html) / 1e6:.1f} MB of HTML)"


def attention_view(
    rows: Float[Tensor, "head query pos"],
    *,
    queries: Sequence[int],
    texts: Sequence[str],
    heads: Sequence[tuple[int, int]],
) -> View:
    """One attention pattern per head in circuitsvis; rows that were not traced stay empty.

    circuitsvis itself loads its program from unpkg.com when there is a network, which it finds out
    by asking google.com. Here the copy that comes with the package is always used, so that a saved
    notebook works offline and shows the same everywhere.

    Args:
        rows: the attention of the queries.
        queries: the position of each row.
        texts: the prompt's tokens.
        heads: (layer, head) of each pattern.

    Returns:
        A view that a notebook shows as HTML.

    Raises:
        UserError: circuitsvis is not installed, or the prompt is longer than `MOST_TOKENS`.
    """
    size = len(texts)
    if size > MOST_TOKENS:
        raise UserError(
            f"interactive view of {size} tokens: it draws whole squares, so at most {MOST_TOKENS} "
            "are allowed; interp.figures draws longer prompts"
        )
    try:
        from circuitsvis.attention import attention_heads
    except ImportError:
        raise UserError(
            "the interactive view needs circuitsvis, which is not installed: pip install "
            "'interp[notebooks]'; interp.figures draws the same for print"
        ) from None
    square = torch.zeros(len(heads), size, size)
    square[:, list(queries)] = rows.float()
    names = [f"L{layer}H{head}" for layer, head in heads]
    # the text of a token must not end the script element that holds it
    shown = [text.replace("</", "<\u200b/") for text in texts]
    drawn = attention_heads(square, shown, attention_head_names=names, max_value=1.0)
    return View(drawn.local_src)
