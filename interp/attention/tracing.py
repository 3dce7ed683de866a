"""Where every head attends while the model copies a value: attention by target, retrieval score.

The retrieval score (Wu et al., arXiv 2404.15574) asks whether the strongest attention of a head,
while a token is copied, lies on that token in the context. Here it is the share of the answer's
tokens for which this holds, over the examples that the model answers correctly. It cannot exceed 1;
the sum over steps in the published code can.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.attention.prompts import KeyValuePrompt, locate
from interp.attention.rows import PIECE, scan_rows
from interp.attention.writing import QueryInputs, writes
from interp.engine import unembed
from interp.errors import UserError
from interp.labels import typed
from interp.models import Decoder, capture_z, model_name, weights_kept
from interp.tasks import Task, cluster_units, load_task, select_examples

TOKEN_KINDS = ("gold_value", "gold_key", "other_values", "other_keys", "first_token")
"""The kinds of tokens over which attention is summed; the rest is on other tokens."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The attention from the positions that predict the answer, example by example.

    Attributes:
        model: name.
        task: name.
        examples: one row per example: `doc_id`, `unit` (its cluster, or itself), `gold_position`,
            `n_pairs`, `n_tokens`, `n_answer`, and `copied` (whether the model, given the answer so
            far, predicts each of its tokens).
        retrieval: `[example, layer, head]`, the share of the answer's tokens on which the head's
            strongest attention lies while they are predicted.
        published: the same by the rule of the published code: the strongest attention lies anywhere
            in the gold value on a token that equals the predicted one.
        written: the share of the answer's tokens that count in `retrieval` and that the head's own
            output promotes above all others; NaN where heads enter the stream through a norm.
        attention: for each kind of token (`TOKEN_KINDS`) `[example, layer, head]`, the attention on
            all tokens of this kind, averaged over the positions that predict the answer.
        dtype: the dtype of the model's weights; empty in results of earlier versions.
    """

    model: str
    task: str
    examples: pd.DataFrame
    retrieval: Float[np.ndarray, "example layer head"]
    published: Float[np.ndarray, "example layer head"]
    written: Float[np.ndarray, "example layer head"]
    attention: dict[str, Float[np.ndarray, "example layer head"]]
    dtype: str = ""

    def table(self) -> pd.DataFrame:
        """One row per example, layer and head."""
        n, layers, heads = self.retrieval.shape
        example, layer, head = (a.ravel() for a in np.indices((n, layers, heads)))
        scores = ("retrieval", "published", "written")
        columns = {name: getattr(self, name).ravel() for name in scores}
        columns |= {target: values.ravel() for target, values in self.attention.items()}
        table = self.examples.iloc[example].reset_index(drop=True)
        return table.assign(layer=layer, head=head, **columns)

    def __repr__(self) -> str:
        right = int(self.examples["copied"].sum())
        return (
            f"Trace({typed(self.model, self.dtype)}, {self.task}: {len(self.examples)} examples, "
            f"{right} answered rightly)"
        )


def trace(
    model: TransformerBridge,
    task: str | Task,
    *,
    limit: int | None = None,
    seed: int = 0,
    piece: int = PIECE,
) -> Trace:
    """Trace a key-value task: every head, at the positions that predict the answer's tokens.

    The right answer is written after the prompt, so every example takes one pass. An example is
    *copied* where the model itself would have written the same.

    Args:
        model: a bridge.
        task: a key-value task that is answered with the value (`world-kv:generate`, or one from
            `interp.tasks.key_value.key_value_task`).
        limit: at most this many examples: those that a sweep with this limit and seed runs.
        seed: seed of the draw.
        piece: the number of tokens that run at a time; memory grows with it.

    Returns:
        For each example and head, the retrieval score and the attention on each kind of token.

    Raises:
        UserError: as `locate` and `scan_rows`; or the limit is below 1.
    """
    decoder, loaded = models.decoder(model), task if isinstance(task, Task) else load_task(task)
    doc_ids = select_examples(loaded, limit, seed=seed)
    prompts = [locate(loaded, doc_id, decoder) for doc_id in doc_ids]
    shape = (len(prompts), decoder.n_layers, decoder.n_heads)
    scores = np.zeros((3, *shape))
    attention = {target: np.zeros(shape) for target in TOKEN_KINDS}
    copied = []
    for number, prompt in enumerate(tqdm(prompts, unit="example", desc=f"{loaded.name} trace")):
        hits, masses, right = _trace_one(model, decoder, prompt, piece)
        scores[:, number] = hits.numpy()
        for target, mass in masses.items():
            attention[target][number] = mass.numpy()
        copied.append(right)
    examples = pd.DataFrame(
        {
            "doc_id": [p.doc_id for p in prompts],
            "unit": cluster_units(loaded, doc_ids),
            "gold_position": [p.gold_position for p in prompts],
            "n_pairs": [p.n_pairs for p in prompts],
            "n_tokens": [len(p.tokens) for p in prompts],
            "n_answer": [len(p.answer) for p in prompts],
            "copied": copied,
        }
    )
    return Trace(
        model_name(model),
        loaded.name,
        examples,
        scores[0],
        scores[1],
        scores[2],
        attention,
        weights_kept(model),
    )


def _trace_one(
    model: TransformerBridge, decoder: Decoder, prompt: KeyValuePrompt, piece: int
) -> tuple[Tensor, dict[str, Tensor], bool]:
    """The three scores `[layer, head]`, attention by target, and whether the model copies."""
    of_query = torch.zeros(2, len(prompt.queries), decoder.n_layers, decoder.n_heads)
    masses = {target: torch.zeros(decoder.n_layers, decoder.n_heads) for target in TOKEN_KINDS}
    places = {
        "gold_value": prompt.gold_value,
        "gold_key": prompt.gold_key,
        "other_values": prompt.other_values,
        "other_keys": prompt.other_keys,
        "first_token": (0,),
    }
    share = 1 / len(prompt.queries)

    def take(layer: int, numbers: list[int], rows: Tensor) -> None:
        strongest = rows.argmax(dim=-1).cpu()
        for place, number in enumerate(numbers):
            strongest_position = strongest[:, place]
            of_query[0, number, layer] = torch.isin(
                strongest_position, torch.tensor(prompt.copied[number])
            )
            same = torch.tensor(prompt.tokens)[strongest_position] == prompt.answer[number]
            in_value = torch.isin(strongest_position, torch.tensor(prompt.gold_value))
            of_query[1, number, layer] = same & in_value
        for target, positions in places.items():
            masses[target][layer] += share * rows[..., list(positions)].sum(dim=(1, 2)).cpu()

    # as in scoring, the answer's last token is predicted but not run
    run = prompt.tokens[: max(prompt.queries) + 1]
    z = QueryInputs(prompt.queries)
    with capture_z(decoder, range(decoder.n_layers), z.keep):
        resid = scan_rows(model, run, prompt.queries, take, piece=piece)
    predicted = []
    for logits in unembed(decoder, resid):
        if not logits.isfinite().all():
            raise UserError(
                f"example {prompt.doc_id}: logits of {model_name(model)} are not finite; a number "
                "format of a wider range (bfloat16, float32) may hold them"
            )
        predicted.append(logits.argmax(dim=-1))
    answer = torch.tensor(prompt.answer)
    wrote = writes(decoder, resid, z.at_queries, of_query[0].bool(), answer)
    scores = torch.stack([*of_query, wrote]).mean(dim=1)
    return scores, masses, torch.cat(predicted).tolist() == list(prompt.answer)
