"""Query-focused retrieval score: how much a question's tokens attend to the evidence.

Zhang et al., "Query-Focused Retrieval Heads" (arXiv 2506.09944, equation 1): the attention that a
head's query positions give to the tokens of the gold document, summed over the document and
averaged over the query. Nothing has to be copied, so it also serves for questions whose answer is
not a piece of the context. The retrieval score (`retrieval_heads`), in contrast, is measured while
a token is copied.
"""

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.attention.heads import RetrievalHeads, Scores, top_heads
from interp.attention.rows import scanned_rows
from interp.attention.skills import shared_heads
from interp.errors import UserError, check_whole
from interp.models import model_name
from interp.stats import check_options, compared, mean_intervals, sample_by
from interp.tasks import (
    Task,
    class_positions,
    cluster_units,
    encode,
    load_task,
    prompt_text,
    select_examples,
)

log = logging.getLogger("interp")


@dataclass(frozen=True, eq=False)
class QueryFocus:
    """The query-focused score of every head on every example.

    Attributes:
        model: name.
        task: name.
        queries: the class of the positions that attend.
        keys: the class of the positions that are attended to.
        doc_ids: the examples.
        by_example: `[example, layer, head]` scores in [0, 1].
        units: the independent unit of each example, its cluster where the task declares clusters;
            None where examples are independent.
    """

    model: str
    task: str
    queries: str
    keys: str
    doc_ids: tuple[int, ...]
    by_example: Float[np.ndarray, "example layer head"]
    units: tuple[int, ...] = ()

    @cached_property
    def scores(self) -> Scores:
        """`[layer, head]` scores in [0, 1]: the mean over examples."""
        mean_scores: np.ndarray = self.by_example.mean(axis=0)
        return mean_scores

    def table(self, *, confidence: float = 0.95, seed: int = 0) -> pd.DataFrame:
        """One row per head, best first: its score with an interval over examples or their clusters.

        Args:
            confidence: coverage of each interval.
            seed: seed of a bootstrap, where one is needed.

        Returns:
            Columns `model task queries keys layer head score low high n interval`.
        """
        n = len(self.by_example)
        sample = sample_by(self.by_example.reshape(n, -1), self.units or None)
        low, high, kind = mean_intervals(sample, False, confidence, 1000, seed)
        layer, head = (a.ravel() for a in np.indices(self.scores.shape))
        table = pd.DataFrame(
            {"model": self.model, "task": self.task, "queries": self.queries, "keys": self.keys,
             "layer": layer, "head": head, "score": self.scores.ravel(), "low": low, "high": high,
             "n": n, "interval": kind}
        )  # fmt: skip
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        best = ", ".join(
            f"L{layer}H{head} {self.scores[layer, head]:.2f}"
            for layer, head in top_heads(self.scores, min(4, self.scores.size))
        )
        return (
            f"QueryFocus({self.model}, {self.task}, {self.queries} to {self.keys}: {best}; "
            f"{len(self.doc_ids)} examples)"
        )


def query_focused_heads(
    model: TransformerBridge,
    task: str | Task,
    *,
    queries: str = "question",
    keys: str = "passage",
    limit: int | None = None,
    seed: int = 0,
) -> QueryFocus:
    """The share of the question's attention that lies on the evidence, for every head.

    Args:
        model: a bridge.
        task: a task whose rows have both classes of positions (`docs/how-to/cause.md`).
        queries: the class of the positions that attend: a field such as `"question"` or `"key"`, or
            `"last"`.
        keys: the class of the positions that are attended to: `"passage"`, `"gold"`, or several
            joined by a comma, such as `"gold,gold-key"` for the requested pair of a key-value row.
        limit: at most this many examples, drawn with the seed.
        seed: seed of the draw.

    Returns:
        The scores by example.

    Raises:
        UserError: a row lacks a class, or is longer than the model's context.
    """
    loaded = task if isinstance(task, Task) else load_task(task)
    decoder = models.decoder(model)
    doc_ids = select_examples(loaded, limit, seed=seed)
    by_example, failed = dict[int, Float[np.ndarray, "layer head"]](), list[int]()
    for doc_id in tqdm(doc_ids, desc=model_name(model), unit="example", leave=False):
        text = prompt_text(loaded, loaded.documents()[doc_id])
        tokens = encode(text if loaded.generates else text.rstrip(), decoder)
        looking, seen = (
            _positions(names, loaded, doc_id, tokens, decoder) for names in (queries, keys)
        )
        rows = scanned_rows(model, tokens, queries=looking).rows
        score = rows[..., seen].sum(dim=-1).mean(dim=-1).numpy().astype(float)
        if np.isfinite(score).all():
            by_example[doc_id] = score
        else:
            failed.append(doc_id)
    named = model_name(model)
    if failed:
        message = (
            f"model {named}, task {loaded.name}: attention is not finite in {len(failed)} of "
            f"{len(doc_ids)} examples (first: row {failed[0]})"
        )
        if not by_example:
            raise UserError(message)
        log.warning("%s; they are left out", message)
    scores, kept = np.stack(list(by_example.values())), list(by_example)
    units = tuple(cluster_units(loaded, kept))
    return QueryFocus(named, loaded.name, queries, keys, tuple(kept), scores, units)


def _positions(
    names: str, task: Task, doc_id: int, tokens: list[int], decoder: models.Decoder
) -> list[int]:
    """The positions of some classes in one prompt; every row has the class `last`."""
    class_names = set(names.split(","))
    placed = class_positions(task, doc_id, class_names - {"last"}, decoder, context=tokens)
    positions = {position for some in placed.values() for position in some}
    return sorted(positions | ({len(tokens) - 1} if "last" in class_names else set()))


def head_agreement(
    one: QueryFocus | RetrievalHeads,
    other: QueryFocus | RetrievalHeads,
    *,
    top: int = 8,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How far two scores, prompts or templates agree on the same heads.

    Args:
        one: the scores of every head of a model, by example.
        other: the same, for another score or another wording.
        top: the number of best heads of each that are compared as sets.
        confidence: coverage of the interval.
        resamples: bootstrap resamples over examples.
        seed: seed of the bootstrap and of the halves.

    Returns:
        One row. `spearman` is the correlation of the scores over heads; `ceiling`, `disattenuated`,
        `low` and `high` are as in `interp.stats.compare_profiles`. `shared` is the number of shared
        heads among the `top` of each, `jaccard` their Jaccard index, `expected` that of heads drawn
        at random within the same layers, `p` the exact probability of sharing so many by chance,
        and `least_p` that of sharing as many as there can be.

    Raises:
        UserError: the two differ in number of layers or heads.
    """
    for given in (one, other):
        if not isinstance(given, QueryFocus | RetrievalHeads):
            raise UserError(
                f"head agreement: {given!r:.80}; allowed is what query_focused_heads or "
                "interp.retrieval_heads gives"
            )
    check_options(confidence, resamples, seed)
    if one.scores.shape != other.scores.shape:
        raise UserError(
            f"head agreement: {one.scores.shape} and {other.scores.shape} layers and heads; give "
            "scores of one shape"
        )
    check_whole("top", top, 1, one.scores.size)
    pair = [_profile(one), _profile(other)]
    table = compared(
        *pair, paired=pair[0].index.equals(pair[1].index), points=False,
        confidence=confidence, resamples=resamples, seed=seed,
    )  # fmt: skip
    names = ("spearman", "ceiling", "disattenuated", "low", "high")
    layers = np.indices(one.scores.shape)[0].ravel()
    sets = [_best(result.scores, top) for result in (one, other)]
    named = {"model": _of(one, "model"), "task": _of(one, "task"), "other": _of(other, "task"),
             "top": top}  # fmt: skip
    return pd.DataFrame([{**named, **{name: table[name] for name in names}, "n": len(pair[0]),
                          "n_other": len(pair[1]),
                          **shared_heads(sets[0], sets[1], layers)}])  # fmt: skip


def _profile(result: QueryFocus | RetrievalHeads) -> pd.DataFrame:
    """The scores, one row per example and one column per head."""
    doc_ids = list(result.doc_ids) if isinstance(result, QueryFocus) else result.counted_doc_ids
    values = result.by_example
    layer, head = (a.ravel() for a in np.indices(values.shape[1:]))
    columns = [f"head:{a}.{b}" for a, b in zip(layer, head, strict=True)]
    units = list(result.units) if isinstance(result, QueryFocus) else result.counted_units
    index = pd.Index(doc_ids, name="doc_id")
    if units and len(set(units)) < len(doc_ids):
        index = pd.MultiIndex.from_arrays([doc_ids, units], names=["doc_id", "cluster"])
    return pd.DataFrame(values.reshape(len(values), -1), index=index, columns=columns)


def _of(result: QueryFocus | RetrievalHeads, name: str) -> str:
    return str(getattr(result if isinstance(result, QueryFocus) else result.trace, name))


def _best(scores: Scores, top: int) -> np.ndarray:
    chosen = np.zeros(scores.shape, dtype=bool)
    for layer, head in top_heads(scores, top):
        chosen[layer, head] = True
    return chosen.ravel()
