"""Retrieval heads: their scores, the top heads, and control sets matched by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from math import comb, prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import AblateHead, Ablation, Replacement, as_ablation
from interp.attention.tracing import TOKEN_KINDS, Trace, trace
from interp.errors import UserError, check_flag, check_seed, check_share, check_whole, path_given
from interp.labels import three_digits, typed
from interp.results import claim_folder, read_result, released_if_refused, save_result
from interp.stats import mean_intervals, sample_by
from interp.sweeps import describe_measure
from interp.tasks import Task, load_task, select_examples

Scores = Float[np.ndarray, "layer head"]
Head = tuple[int, int]
KIND = "retrieval heads"
RULES = {"attends": "retrieval", "published": "published", "writes": "written"}
"""The rules by which a token counts for a head's score, and their names in `Trace`."""


@dataclass(frozen=True, eq=False)
class RetrievalHeads:
    """The retrieval scores of all heads on a traced task.

    Attributes:
        trace: the trace that the scores summarise.
        copied_only: whether only correctly answered examples count, as in Wu et al.
        rule: the rule by which a token counts, one of `RULES`.
    """

    trace: Trace
    copied_only: bool = True
    rule: str = "attends"

    @property
    def _of_example(self) -> Float[np.ndarray, "example layer head"]:
        return np.asarray(getattr(self.trace, RULES[self.rule]))

    @property
    def _counted(self) -> np.ndarray:
        copied = self.trace.examples["copied"].to_numpy(bool)
        return copied if self.copied_only else np.ones_like(copied)

    @property
    def by_example(self) -> Float[np.ndarray, "example layer head"]:
        """Scores of the counted examples."""
        return np.asarray(self._of_example[self._counted])

    @property
    def counted_doc_ids(self) -> list[int]:
        """The counted examples, in the order of `by_example`."""
        return [int(n) for n in self.trace.examples.loc[self._counted, "doc_id"]]

    @property
    def counted_units(self) -> list[int] | None:
        """The independent unit of each counted example; None in traces of earlier versions."""
        examples = self.trace.examples
        if "unit" not in examples:
            return None
        return [int(unit) for unit in examples.loc[self._counted, "unit"]]

    @cached_property
    def scores(self) -> Scores:
        """`[layer, head]` retrieval scores in [0, 1]: the mean over the counted examples."""
        return np.asarray(self.by_example.mean(axis=0))

    def table(self, *, confidence: float = 0.95, seed: int = 0) -> pd.DataFrame:
        """One row per head, best first: its score with an interval, and its attention by target.

        The interval is the wider of Student's and Hall's (Hall 1992) over examples, or over the
        clusters that the task declares, within the range of their scores. Where all examples agree
        the sample shows no spread, and it is NaN. In 1,000 simulated traces per setting it covered
        94.5 to 99.7% (scores of 0.05, 0.3 and 0.9, one or three tokens per answer, n 50 and 200).
        """
        check_share("confidence", confidence)
        check_seed(seed)
        values = self._of_example[self._counted]
        sample = sample_by(values.reshape(len(values), -1), self.counted_units)
        low, high, _ = mean_intervals(sample, False, confidence, 1000, seed)
        layer, head = (a.ravel() for a in np.indices(self.scores.shape))
        rows = {"model": self.trace.model, "task": self.trace.task, "layer": layer, "head": head}
        rows |= {"score": self.scores.ravel(), "low": low, "high": high}
        rows |= {"written": self.trace.written[self._counted].mean(axis=0).ravel()}
        rows |= {
            t: self.trace.attention[t][self._counted].mean(axis=0).ravel() for t in TOKEN_KINDS
        }
        by = " by cluster" if sample.clustered else ""
        # where every example has the same score the sample shows no spread
        kind = np.where(
            np.isnan(low), "none: all examples alike", f"{confidence:.0%} Student and Hall{by}"
        )
        table = pd.DataFrame({**rows, "n": len(values), "interval": kind})
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def by(self, column: str) -> pd.DataFrame:
        """Mean `score` and attention of every head by `gold_position`, `n_pairs` or `layer`."""
        allowed = ("gold_position", "n_pairs", "layer")
        if column not in allowed:
            raise UserError(f"by {column}: allowed are {', '.join(allowed)}")
        table = self.trace.table().rename(columns={RULES[self.rule]: "score"})
        table = table[table["copied"]] if self.copied_only else table
        keys = ["layer"] if column == "layer" else [column, "layer", "head"]
        means = table.groupby(keys)[["score", *TOKEN_KINDS]].mean()
        return means.assign(n=table.groupby(keys)["doc_id"].nunique()).reset_index()

    def top(self, k: int, *, by: Replacement = "mean") -> Ablation:
        """The ablation of the k heads with the highest scores, best first."""
        return as_ablation([AblateHead(*head, by) for head in top_heads(self.scores, k)])

    def random(
        self,
        k: int,
        *,
        draws: int,
        seed: int,
        by: Replacement = "mean",
        nearest: bool = False,
        fewer: bool = False,
    ) -> list[Ablation]:
        """`draws` distinct ablations of k other heads, as many in each layer as the top k have.

        The options are those of `random_heads`.
        """
        drawn = random_heads(self.scores, k, draws=draws, seed=seed, nearest=nearest, fewer=fewer)
        return [_ablation(heads, by) for heads in drawn]

    def keep(self, k: int, *, first_layer: int | None = None, by: Replacement = "mean") -> Ablation:
        """The ablation of all heads from `first_layer` on (the upper half), except the best k."""
        return _ablation(all_but_top_heads(self.scores, k, first_layer=first_layer), by)

    def summary(self, *, top: int = 8) -> str:
        """In words and numbers: the heads with the highest scores.

        Args:
            top: the most heads that are named.
        """
        check_whole("top", top, 0)
        shown = self._best(top).to_string(index=False, float_format=three_digits)
        return f"{self!r}\n{shown}"

    def _best(self, top: int) -> pd.DataFrame:
        shown = ["layer", "head", "score", "low", "high", "written", "gold_value", "first_token",
                 "n"]  # fmt: skip
        return self.table().head(top)[shown]

    def _repr_html_(self) -> str:
        table = self._best(8).to_html(index=False, float_format=three_digits)
        return f"<p><b>{escape(repr(self))}</b></p>{table}"

    def __repr__(self) -> str:
        best = ", ".join(
            f"L{layer}H{head} {self.scores[layer, head]:.2f}"
            for layer, head in top_heads(self.scores, min(4, self.scores.size))
        )
        counted, all_examples = int(self._counted.sum()), len(self._counted)
        which_examples = "rightly answered" if self.copied_only else "traced"
        return (
            f"RetrievalHeads({typed(self.trace.model, self.trace.dtype)}, {self.trace.task}: "
            f"{best}; {counted} of {all_examples} examples {which_examples})"
        )


def retrieval_heads(
    model: TransformerBridge,
    task: str | Task,
    *,
    limit: int | None = None,
    seed: int = 0,
    copied_only: bool = True,
    rule: str = "attends",
    out: str | Path | None = None,
) -> RetrievalHeads:
    """The retrieval score of every head on a key-value task (Wu et al., arXiv 2404.15574).

    Args:
        model: a bridge.
        task: a key-value task whose answer is the value.
        limit: at most this many examples, drawn with the seed.
        seed: seed of the draw.
        copied_only: whether only examples count that the model answers correctly.
        rule: when a token counts. `attends`: the head's strongest attention lies on the copied
            token. `published`: it lies on any token of the gold value that equals the written one,
            as in the authors' code. `writes`: as `attends`, and the head's own output raises that
            token's logit above all others; an output that only later layers read counts as 0.
        out: the folder in which the result is kept, with its tables as CSV. `interp.open_run` opens
            it again, and the same call returns the result that is there. By default nothing is
            written.

    Returns:
        The scores, in [0, 1], with an interval for each head.

    Raises:
        UserError: as `trace`; no example is answered correctly; or the folder holds something else.
    """
    if not isinstance(rule, str) or rule not in RULES:
        raise UserError(f"rule {rule!r:.80}: allowed are {', '.join(RULES)}")
    check_flag("copied_only", copied_only)
    task = task if isinstance(task, Task) else load_task(task)
    folder, request = None if out is None else path_given("out", out), dict[str, Any]()
    if folder:
        options = {"limit": limit, "seed": seed, "copied_only": copied_only, "rule": rule}
        request = describe_measure(model, task, select_examples(task, limit, seed=seed), options)
        if claim_folder(folder, KIND, request):
            return open_heads(folder)
    with released_if_refused(folder):
        traced = trace(model, task, limit=limit, seed=seed)
        _check_scored(traced, copied_only, rule)
    heads = RetrievalHeads(traced, copied_only, rule)
    if folder:
        _save(folder, heads, request)
    return heads


def _check_scored(traced: Trace, copied_only: bool, rule: str) -> None:
    if copied_only and not traced.examples["copied"].any():
        raise UserError(
            f"task {traced.task}: model {traced.model} answers none of {len(traced.examples)} "
            "examples rightly, so no head copies; copied_only=False scores them all the same"
        )
    if rule == "writes" and np.isnan(traced.written).any():
        raise UserError(
            f"model {traced.model}: its heads enter the residual stream through a norm, so what "
            "one of them writes is not defined; take rule attends or published"
        )


def open_heads(folder: str | Path) -> RetrievalHeads:
    """The heads that `retrieval_heads(..., out=folder)` wrote, without the model.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The heads, with the same tables.

    Raises:
        UserError: there are none, they are unfinished, or a file is damaged.
    """
    saved = read_result(folder, KIND)
    try:
        attention = {target: saved.arrays[target] for target in TOKEN_KINDS}
        traced = Trace(
            str(saved.facts["model"]),
            str(saved.facts["task"]),
            saved.tables["examples"],
            saved.arrays["retrieval"],
            saved.arrays["published"],
            saved.arrays["written"],
            attention,
            str(saved.facts.get("dtype", "")),
        )
        return RetrievalHeads(traced, bool(saved.facts["copied_only"]), str(saved.facts["rule"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}: its heads cannot be read (no {error})") from error


def _save(folder: Path, heads: RetrievalHeads, request: dict[str, Any]) -> None:
    traced = heads.trace
    facts = {
        "model": traced.model,
        "task": traced.task,
        "dtype": traced.dtype,
        "copied_only": heads.copied_only,
        "rule": heads.rule,
    }
    save_result(
        folder,
        KIND,
        request,
        facts=facts,
        tables={"examples": traced.examples},
        arrays={name: getattr(traced, name) for name in RULES.values()} | traced.attention,
        for_reading={"heads": heads.table(), "by-gold-position": heads.by("gold_position")},
    )


def top_heads(scores: Scores, k: int) -> list[Head]:
    """The k heads with the highest scores, best first; equal scores in order of layer and head.

    Args:
        scores: `[layer, head]`.
        k: the number of heads.

    Returns:
        The heads, each as (layer, head).

    Raises:
        UserError: the model has fewer heads.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= scores.size:
        raise UserError(f"{k!r:.80} heads: the model has 1-{scores.size}")
    order = np.argsort(-scores, axis=None, kind="stable")[:k]
    return [(int(i) // scores.shape[1], int(i) % scores.shape[1]) for i in order]


def random_heads(
    scores: Scores,
    k: int,
    *,
    draws: int,
    seed: int,
    nearest: bool = False,
    fewer: bool = False,
) -> list[list[Head]]:
    """Distinct random sets of k heads outside the top k, as many per layer as the top k have.

    Without matching by layer, the contrast to the top heads would measure depth.

    Args:
        scores: `[layer, head]`.
        k: the number of heads per set.
        draws: the number of sets.
        seed: seed of the draws.
        nearest: where a layer has too few other heads, whether to take the rest from the nearest
            layers that have some left. The match by layer is then looser. Otherwise it is an error.
        fewer: where there are fewer distinct sets than draws, whether to return those. Otherwise it
            is an error.

    Returns:
        `draws` sets of k heads (layer, head), each in order of layer and head; fewer where `fewer`
        allows it.

    Raises:
        UserError: a layer has too few other heads, or there are fewer distinct sets than draws.
    """
    n_layers, n_heads = scores.shape
    check_whole("draws", draws, 1)
    check_seed(seed)
    top = set(top_heads(scores, k))
    if scores.size - k < k:
        raise UserError(f"{k} heads: only {scores.size - k} others are left to draw from")
    free = [[(n, h) for h in range(n_heads) if (n, h) not in top] for n in range(n_layers)]
    wanted = [n_heads - len(heads) for heads in free]
    for layer, heads in enumerate(free):
        if len(heads) < wanted[layer] and not nearest:
            raise UserError(
                f"{k} heads: layer {layer} holds {wanted[layer]} of the top ones and only "
                f"{len(heads)} others; take fewer, or nearest=True to draw from near layers"
            )
    if not nearest and not fewer:
        distinct = prod(comb(len(o), n) for o, n in zip(free, wanted, strict=True))
        if distinct < draws:
            raise UserError(
                f"{draws} draws of {k} heads: matched by layer there are only {distinct} sets; "
                "take fewer draws or another number of heads, or nearest=True"
            )
    rng, sets = np.random.default_rng(seed), dict[tuple[Head, ...], None]()
    for _ in range(1000 * draws):
        if len(sets) == draws:
            break
        sets[tuple(sorted(_draw(free, wanted, rng)))] = None
    if len(sets) < draws and not fewer:
        raise UserError(f"{draws} draws of {k} heads: only {len(sets)} distinct sets were found")
    return [list(heads) for heads in sets]


def all_but_top_heads(scores: Scores, k: int, *, first_layer: int | None = None) -> list[Head]:
    """All heads from `first_layer` on (by default the upper half) but the best k among them."""
    n_layers, n_heads = scores.shape
    first = n_layers // 2 if first_layer is None else first_layer
    if not isinstance(first, int | np.integer) or not 0 <= first < n_layers:
        raise UserError(f"layer {first!r:.80}: the model has layers 0-{n_layers - 1}")
    upper = (n_layers - first) * n_heads
    if not isinstance(k, int | np.integer) or not 0 <= k < upper:
        layers = f"layers {first}-{n_layers - 1}"
        raise UserError(f"keep {k!r:.80} heads: {layers} have {upper}; allowed are 0-{upper - 1}")
    best = {(n + first, h) for n, h in top_heads(scores[first:], k)} if k else set()
    return [(n, h) for n in range(first, n_layers) for h in range(n_heads) if (n, h) not in best]


def _draw(
    free: Sequence[list[Head]], wanted: Sequence[int], rng: np.random.Generator
) -> list[Head]:
    left = [[heads[i] for i in rng.permutation(len(heads))] for heads in free]
    chosen: list[Head] = []
    short: list[int] = []
    for layer, count in enumerate(wanted):
        of_layer, left[layer] = left[layer][:count], left[layer][count:]
        chosen += of_layer
        short += [layer] * (count - len(of_layer))
    for layer in short:
        # of two layers at the same distance, either one
        near = min((abs(n - layer), rng.random(), n) for n, heads in enumerate(left) if heads)
        chosen.append(left[near[2]].pop())
    return chosen


def _ablation(heads: Sequence[Head], by: Replacement) -> Ablation:
    return as_ablation([AblateHead(layer, head, by) for layer, head in sorted(heads)])
