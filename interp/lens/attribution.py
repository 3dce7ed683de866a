"""Direct logit attribution: what each part of the model adds to the answer's logit by itself.

The residual stream is a sum of the embedding, the attentions and the MLPs. With the scale of the
final norm held fixed, the logit is linear in that sum, so each part has a share of it (Elhage et
al., "A mathematical framework for transformer circuits", 2021). The decomposition is that of
`transformer_lens.tools.analysis.direct_logit_attribution`, which needs compatibility mode and so
rewrites the weights. Here the weight of the norm is folded into the direction only, and the
examples are streamed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.engine import (
    Pass,
    final_norm,
    head_outputs,
    held_norm,
    padded,
    record,
    refuse_several_streams,
    unembed,
    vectors_at,
)
from interp.errors import UserError
from interp.lens.answers import build_answers
from interp.lens.residual_stream import without_mlp
from interp.lens.right_answers import AnswerBatch, answer_batches
from interp.lens.tasks import CHUNK
from interp.models import Decoder, capture_z, model_name
from interp.stats import StreamingMean, check_columns, poisson_weights
from interp.tasks import Task, cluster_units, load_task, select_examples

KINDS = ("embedding", "attention", "mlp", "layer", "head", "bias")
QUANTITIES = ("logit", "margin")
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Component:
    """A part of the model: its kind, with its layer and head where it has them."""

    kind: str
    layer: int = -1
    head: int = -1

    @property
    def label(self) -> str:
        """`embedding`, `bias`, or the text of its ablation, such as `attn:7` or `head:7.3`."""
        if self.kind == "head":
            return f"head:{self.layer}.{self.head}"
        return (
            self.kind
            if self.layer < 0
            else f"{self.kind.replace('attention', 'attn')}:{self.layer}"
        )


def direct_logit_attribution(
    model: TransformerBridge,
    task: str | Path | Task,
    *,
    limit: int | None = None,
    heads: bool = True,
    follow: str = "target",
    seed: int = 0,
) -> pd.DataFrame:
    """The direct effect of every layer, attention, MLP and head on a task's right answers.

    For each token of the right answer two quantities are attributed: its logit, and its margin over
    its rival. The rival is the best wrong option where options are single tokens after the same
    context, otherwise the strongest other token of the vocabulary (both at the last depth). Values
    are means over the answer's tokens.

    Args:
        model: the model.
        task: as for `logit_lens`.
        limit: at most this many examples, drawn with the seed.
        heads: whether to include every query head.
        follow: as in `interp.lens.logit_lens`.
        seed: seed of the draw and of the bootstrap, which resamples the clusters that the task
            declares, or else examples.

    Returns:
        Columns `model task ablation kind layer head quantity value low high n interval`, in logits
        before any cap (Gemma 2). `embedding`, the `attention`s, the `mlp`s and `bias` (that of the
        unembedding and the final norm) add up to the whole logit. A `layer` is its attention plus
        its MLP.

    Raises:
        UserError: the task or the limit is refused; the heads enter the stream through a norm; the
            stream of an example is not finite; or the logits are not the final norm times the
            unembedding.
    """
    task = task if isinstance(task, Task) else load_task(task)
    decoder, drawn = models.decoder(model), select_examples(task, limit, seed=seed)
    decoder.check_told_apart("direct logit attribution")
    components = _components(decoder, heads)
    tally = StreamingMean((len(components), len(QUANTITIES)))
    with tqdm(total=len(drawn), unit="example", desc=f"attribution, {task.name}") as bar:
        for start in range(0, len(drawn), CHUNK):
            answers = build_answers(model, task, drawn[start : start + CHUNK], follow=follow)
            for batch in answer_batches(model, answers):
                units = cluster_units(task, [a.doc_id for a in batch.answers])
                weights = poisson_weights(units, seed=seed)
                tally.add(weights, _attributed(model, batch, components), units=units)
                bar.update(len(batch.answers))
    low, high = tally.interval()
    tables = [
        pd.DataFrame(
            {
                "model": model_name(model),
                "task": task.name,
                "ablation": [c.label for c in components],
                "kind": [c.kind for c in components],
                "layer": [c.layer for c in components],
                "head": [c.head for c in components],
                "quantity": quantity,
                "value": tally.mean[:, place],
                "low": low[:, place],
                "high": high[:, place],
                "n": tally.n,
                "interval": f"95% {tally.method}",
            }
        )
        for place, quantity in enumerate(QUANTITIES)
    ]
    return pd.concat(tables, ignore_index=True)


def head_table(
    attribution: pd.DataFrame,
    importance: pd.DataFrame | None = None,
    retrieval_scores: Float[np.ndarray, "layer head"] | None = None,
) -> pd.DataFrame:
    """Each head's direct effect, ablation effect and retrieval score side by side.

    Args:
        attribution: from `direct_logit_attribution`.
        importance: from `Sweep.importance()` of a sweep of heads, with one metric and one way of
            ablating heads; it is matched by task, layer and head.
        retrieval_scores: `[layer, head]`.

    Returns:
        Columns `task layer head direct_effect drop p_adjusted retrieval_score`; the last three only
        where their source is given.

    Raises:
        UserError: a column is missing, the importance has several metrics per task, or the scores
            are not of every head.
    """
    columns = ["kind", "quantity", "task", "ablation", "layer", "head"]
    check_columns("attribution", attribution, columns, ["value", "low", "high"])
    rows = attribution[(attribution["kind"] == "head") & (attribution["quantity"] == "margin")]
    table = rows[["task", "ablation", "layer", "head", "value", "low", "high"]].rename(
        columns={"value": "direct_effect", "low": "direct_low", "high": "direct_high"}
    )
    if importance is not None:
        check_columns("importance", importance, ["task", "ablation"], ["drop", "p_adjusted"])
        heads = importance["ablation"].str.extract(r"^(head:\d+\.\d+)(?:@\w+)?$")[0]
        effects = importance.assign(ablation=heads)[["task", "ablation", "drop", "p_adjusted"]]
        if effects.dropna(subset="ablation").duplicated(["task", "ablation"]).any():
            raise UserError(
                "importance: several rows per task and head; keep one metric, and one way of "
                "ablating heads (head:7.3@mean or head:7.3)"
            )
        table = table.merge(effects, on=["task", "ablation"], how="left")
    if retrieval_scores is not None:
        shape = np.shape(retrieval_scores)
        if len(shape) != 2 or (table[["layer", "head"]].max() >= np.array(shape)).any():
            raise UserError(f"retrieval_scores of shape {shape}: allowed is a score of every head")
        table["retrieval_score"] = retrieval_scores[table["layer"], table["head"]]
    return table.drop(columns="ablation").reset_index(drop=True)


def _components(decoder: Decoder, heads: bool) -> list[Component]:
    components = [Component("embedding")]
    for layer in range(decoder.n_layers):
        components += [Component(kind, layer) for kind in ("attention", "mlp", "layer")]
        if heads and decoder.parts[layer].has_heads:
            components += [Component("head", layer, head) for head in range(decoder.n_heads)]
    return [*components, Component("bias")]


def _attributed(
    model: TransformerBridge, batch: AnswerBatch, components: Sequence[Component]
) -> Float[np.ndarray, "examples components quantities"]:
    """The shares for a batch of examples, averaged over the tokens of each right answer."""
    decoder = models.decoder(model)
    heads = any(c.kind == "head" for c in components)
    vectors, final = component_vectors(model, batch.rows, batch.at, heads=heads)
    batch.refuse_not_finite(f"model {model_name(model)}", final)
    logits = torch.cat(list(unembed(decoder, final))).float()
    rivals = batch.rivals(logits)
    check_logits(decoder, final, logits, (batch.tokens, rivals))
    stacked = torch.stack([vectors[c] for c in components if c.kind != "bias"])
    shares = []
    for chosen in (batch.tokens, rivals):
        parts_of_logit, rest = logit_shares(decoder, stacked, final, chosen)
        shares.append(batch.means(torch.cat([parts_of_logit, rest[None]])).T)
    return torch.stack([shares[0], shares[0] - shares[1]], dim=2).cpu().double().numpy()


def component_vectors(
    model: TransformerBridge,
    rows: Sequence[Sequence[int]],
    at: tuple[Int[Tensor, " positions"], Int[Tensor, " positions"]],
    *,
    heads: bool = True,
) -> tuple[dict[Component, Float[Tensor, "positions d_model"]], Float[Tensor, "positions d_model"]]:
    """What each part adds to the residual stream at some positions, and the final stream.

    Args:
        model: the model.
        rows: token ids that may share a batch.
        at: row and position of each vector.
        heads: whether to include every query head.

    Returns:
        For each component its vectors `[positions, d_model]`; and the stream before the final norm.

    Raises:
        UserError: heads are included and their sum is not what the attention adds.
    """
    decoder = models.decoder(model)
    z: dict[int, Tensor] = {}

    def keep(layer: int, here: Tensor) -> None:
        # on the device of the projection that they go through
        z[layer] = vectors_at(here, at).to(here.device)

    headed = decoder.layers_with("heads") if heads else ()
    with capture_z(decoder, headed, keep):
        whole = record(decoder, padded(decoder, rows), use_cache=False)
    refuse_several_streams(whole.residuals, "attribution")
    vectors, final = part_vectors(model, whole, at)
    for layer in headed:
        adds = vectors[Component("attention", layer)]
        of_heads, bias = (x.to(adds.device) for x in head_outputs(decoder, layer, z[layer]))
        _check_heads(model, layer, of_heads.sum(dim=0) + bias, adds)
        vectors |= {Component("head", layer, h): one for h, one in enumerate(of_heads)}
    return vectors, final


def part_vectors(
    model: TransformerBridge,
    whole: Pass,
    at: tuple[Int[Tensor, " positions"], Int[Tensor, " positions"]],
    *,
    below: Mapping[Component, Tensor] | None = None,
    first: int = 0,
) -> tuple[dict[Component, Float[Tensor, "positions d_model"]], Float[Tensor, "positions d_model"]]:
    """What the embedding, each attention, MLP and layer add, from a recorded pass.

    Args:
        model: the model, with the same edits as in the pass.
        whole: the recorded pass.
        at: row and position of each vector.
        below: the vectors of another pass, which is the same below layer `first`.
        first: the first layer that is read.

    Returns:
        The same as `component_vectors`, without heads.
    """
    decoder = models.decoder(model)
    vectors = {
        part: vector
        for part, vector in (below or {}).items()
        if part.layer < first and part.kind != "head"
    }
    before = vectors_at(whole.residuals[first], at)
    if not first:
        vectors[Component("embedding")] = before
    for layer in range(first, decoder.n_layers):
        middle = vectors_at(without_mlp(model, whole, layer), at)
        after = vectors_at(whole.residuals[layer + 1], at)
        vectors[Component("attention", layer)] = middle - before
        vectors[Component("mlp", layer)] = after - middle
        vectors[Component("layer", layer)] = after - before
        before = after
    return vectors, before


def _check_heads(model: TransformerBridge, layer: int, total: Tensor, whole: Tensor) -> None:
    if not bool(whole.isfinite().all()):
        return  # whoever reads the final stream names the example
    if not torch.allclose(total, whole, atol=TOLERANCE * float(whole.abs().max() + 1e-6)):
        raise UserError(
            f"model {model_name(model)}, layer {layer}: its heads enter the residual stream "
            "through a norm, so their direct effects do not add up; give heads=False"
        )


def logit_shares(
    decoder: Decoder,
    vectors: Float[Tensor, "components positions d_model"],
    final: Float[Tensor, "positions d_model"],
    tokens: Int[Tensor, " positions"],
) -> tuple[Float[Tensor, "components positions"], Float[Tensor, " positions"]]:
    """The share of each component in each token's logit, and the rest, which biases add."""
    with torch.no_grad():
        _, bias = final_norm(decoder, final)
        embedding = decoder.root.get_output_embeddings()
        unembedding = embedding.weight[tokens].float()
        rest = (bias * unembedding).sum(dim=-1)
        if getattr(embedding, "bias", None) is not None:
            rest = rest + embedding.bias[tokens].float()
        shares = (held_norm(decoder, vectors, final) * unembedding).sum(dim=-1)
    return shares, rest


def check_logits(decoder: Decoder, final: Tensor, logits: Tensor, chosen: Sequence[Tensor]) -> None:
    """Refuse a model whose logits, before any cap, are not the final norm times the unembedding."""
    config = decoder.root.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        return
    embedding = decoder.root.get_output_embeddings()
    with torch.no_grad():
        normed, _ = final_norm(decoder, final)
        product = embedding(normed.to(embedding.weight.dtype)).float()
    for tokens in chosen:
        model_logits, summed_logits = (x.gather(-1, tokens[:, None]) for x in (logits, product))
        if not torch.allclose(
            model_logits, summed_logits, atol=TOLERANCE * float(model_logits.abs().max() + 1)
        ):
            raise UserError(
                f"{type(decoder.root).__name__}: its logits are not its final norm times its "
                "unembedding, so they have no direct attribution"
            )
