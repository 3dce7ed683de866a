"""The trace of one example: where chosen heads attend while the answer is written."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.attention.interactive import View, attention_view
from interp.attention.prompts import KeyValuePrompt, locate
from interp.attention.rows import attention_rows, check_heads, token_texts
from interp.errors import UserError
from interp.models import model_name
from interp.tasks import Task, load_task


@dataclass(frozen=True, eq=False)
class ExampleTrace:
    """The attention from the positions of one example that predict the answer.

    Attributes:
        model: name of the model.
        prompt: the example's tokens, with the positions of its gold key and value.
        texts: its tokens as text, including those of the answer.
        heads: (layer, head) of each row.
        rows: `[head, query, pos]`.
    """

    model: str
    prompt: KeyValuePrompt
    texts: tuple[str, ...]
    heads: tuple[tuple[int, int], ...]
    rows: Float[Tensor, "head query pos"]

    def table(self) -> pd.DataFrame:
        """One row per head, answering position and token: the token's role and the attention."""
        roles = dict.fromkeys(self.prompt.gold_value, "gold value")
        roles |= dict.fromkeys(self.prompt.gold_key, "gold key")
        roles |= dict.fromkeys(self.prompt.other_values, "other value")
        roles |= dict.fromkeys(self.prompt.other_keys, "other key")
        rows = []
        for (layer, head), by_query in zip(self.heads, self.rows.tolist(), strict=True):
            for query, attention in zip(self.prompt.queries, by_query, strict=True):
                common = {"layer": layer, "head": head, "answer_token": query + 1}
                rows += [
                    common | {"position": p, "text": text, "attention": attention[p]}
                    | {"role": "answer" if p > self.prompt.queries[0] else roles.get(p, "other")}
                    for p, text in enumerate(self.texts)
                ]  # fmt: skip
        return pd.DataFrame(rows)

    def show(self) -> View:
        """The interactive view of circuitsvis, in a notebook.

        Raises:
            UserError: as `attention_view`.
        """
        return attention_view(
            self.rows, queries=self.prompt.queries, texts=self.texts, heads=self.heads
        )

    def __repr__(self) -> str:
        names = ", ".join(f"L{layer}H{head}" for layer, head in self.heads)
        return f"ExampleTrace({self.model}, row {self.prompt.doc_id}: {names})"


def trace_example(
    model: TransformerBridge,
    task: str | Task,
    doc_id: int,
    heads: Sequence[tuple[int, int]],
) -> ExampleTrace:
    """Where some heads attend while the right answer of one example is written.

    Args:
        model: a bridge.
        task: a key-value task.
        doc_id: the number of the row of the task.
        heads: (layer, head) of each, such as `top_heads(scores, 3)`.

    Returns:
        The prompt's tokens, and for each head the attention row of each answer token.
        `interp.figures.example` draws it.

    Raises:
        UserError: the row or a head does not exist; or as `locate`.
    """
    decoder, loaded = models.decoder(model), task if isinstance(task, Task) else load_task(task)
    count = len(loaded.documents())
    if not 0 <= doc_id < count:
        raise UserError(f"row {doc_id}: task {loaded.name} has rows 0-{count - 1}")
    check_heads(heads, decoder.n_layers, decoder.n_heads)
    prompt = locate(loaded, doc_id, decoder)
    # as in scoring, the answer's last token is predicted but not run
    run = prompt.tokens[: max(prompt.queries) + 1]
    attention = attention_rows(model, run, queries=prompt.queries)
    layers, numbers = [layer for layer, _ in heads], [head for _, head in heads]
    rows = pad(attention.rows[layers, numbers], (0, len(prompt.tokens) - len(run)))
    texts = token_texts(decoder, prompt.tokens)
    return ExampleTrace(model_name(model), prompt, texts, tuple(heads), rows)
