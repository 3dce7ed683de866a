"""How much each layer changes the residual stream of texts or a task's prompts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.errors import UserError, check_share, check_whole, path_given
from interp.labels import three_digits, typed
from interp.models import as_float64, model_name, weights_kept
from interp.results import claim_folder, read_result, released_if_refused, save_result
from interp.similarity.cka import LEAST_CKA, CkaSums, no_cka
from interp.similarity.measures import angular_distance, cosine
from interp.similarity.states import (
    Examples,
    Source,
    States,
    check_tokens,
    chunks,
    last_states,
    selected_texts,
    states,
)
from interp.stats import MOST_RESAMPLES, StreamingMean, poisson_weights
from interp.sweeps import describe_measure

KIND = "similarity"
TABLES = ("influence", "angular", "cka")


@dataclass(frozen=True, eq=False)
class Similarity:
    """The similarity of a model's layers over a text or a task.

    Attributes:
        model: name of the model.
        source: name of the task, or `texts`.
        influence: columns `model source layer value low high n interval`: block influence.
        angular: columns `model source layer block value low high n interval`: angular distance
            between the input of `layer` and that of layer `layer + block`, as shares of pi.
        cka: columns `model source depth other value low high n interval`: linear CKA with a
            jackknife over examples. It is NaN where a depth has no spread (all prompts end with the
            same token), and everywhere with fewer than 4 examples.
        dtype: the dtype of the model's weights; empty in results of earlier versions.
    """

    model: str
    source: str
    influence: pd.DataFrame
    angular: pd.DataFrame
    cka: pd.DataFrame
    dtype: str = ""

    def table(self) -> pd.DataFrame:
        """Both scores of each layer with their intervals, one row per layer.

        Columns `layer block_influence influence_low influence_high angular_distance angular_low
        angular_high n`; the angular distance is between the layer's input and its output.
        """
        single_blocks = self.angular[self.angular["block"] == 1]
        tables = [
            table.set_index("layer")[["value", "low", "high"]].set_axis(names, axis=1)
            for table, names in (
                (self.influence, ["block_influence", "influence_low", "influence_high"]),
                (single_blocks, ["angular_distance", "angular_low", "angular_high"]),
            )
        ]
        joined = tables[0].join(tables[1])
        return joined.assign(n=self.influence["n"].to_numpy()).reset_index()

    def summary(self) -> str:
        """In words and numbers: how much each layer changes the residual stream."""
        return f"{self!r}\n{self.table().to_string(index=False, float_format=three_digits)}"

    def _repr_html_(self) -> str:
        table = self.table().to_html(index=False, float_format=three_digits)
        return f"<p><b>{escape(repr(self))}</b></p>{table}"

    def measures(self) -> pd.DataFrame:
        """Both scores of each layer (`block` 1): columns `model source measure layer value`."""
        single_blocks = self.angular[self.angular["block"] == 1]
        tables = {"block influence": self.influence, "angular distance": single_blocks}
        columns = ["model", "source", "measure", "layer", "value"]
        named = [table.assign(measure=name)[columns] for name, table in tables.items()]
        return pd.concat(named, ignore_index=True)

    def __repr__(self) -> str:
        n = int(self.influence["n"].max())
        least = self.influence.sort_values("value", kind="stable").head(3)
        layers = ", ".join(f"{r.layer} ({r.value:.3f})" for r in least.itertuples())
        return (
            f"Similarity({typed(self.model, self.dtype)} on {self.source}: {n} examples; layers of "
            f"the smallest block influence: {layers})"
        )


def layer_similarity(
    model: TransformerBridge,
    source: Source,
    *,
    limit: int | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
    out: str | Path | None = None,
) -> Similarity:
    """Block influence, angular distance and CKA of all layers, in one pass over the examples.

    - *Block influence* of a layer: one minus the cosine of its input and its output, mean over
      all tokens (Men et al., ShortGPT, arXiv 2403.03853, equation 1).
    - *Angular distance* between the inputs of layers l and l + n, at each example's last token
      (Gromov et al., arXiv 2403.17887, equation 5).
    - *Linear CKA* between all depths, at each example's last token, by the unbiased estimate over
      groups of 256 examples (Nguyen et al., arXiv 2010.15327).

    Padding tokens are never read. The last layer's output is taken before the final norm. Cosines
    and angles are computed in float32 and summed in float64. Only sums over examples stay in
    memory.

    Args:
        model: the model.
        source: a task (its prompts), its name, or a list of texts.
        limit: the most examples, drawn with the seed; all by default.
        seed: seed of the draw and of the bootstrap over examples.
        resamples: bootstrap resamples.
        confidence: coverage of the intervals.
        out: the folder in which the result is kept, with its tables as CSV. `interp.open_run` opens
            it again, and the same call returns the result that is there. By default nothing is
            written.

    Returns:
        Three tables with intervals: `influence`, `angular` and `cka`.

    Raises:
        UserError: the source or the limit cannot be used, or the folder holds something else. It is
            raised before any work.
    """
    check_whole("resamples", resamples, 1, MOST_RESAMPLES)
    check_share("confidence", confidence)
    examples = selected_texts(source, limit=limit, seed=seed)
    folder = path_given("out", out) if out is not None else None
    if folder is None:
        return _measured(model, examples, seed, resamples, confidence)
    options: dict[str, Any] = {"limit": limit, "seed": seed, "resamples": resamples}
    options |= {"confidence": confidence}
    if examples.task is None:
        options["texts_sha256"] = _sha256(examples.texts)
    request = describe_measure(model, examples.task, examples.ids, options)
    if claim_folder(folder, KIND, request):
        return open_similarity(folder)
    with released_if_refused(folder):
        similarity = _measured(model, examples, seed, resamples, confidence)
    tables = {name: getattr(similarity, name) for name in TABLES}
    facts = {"model": similarity.model, "source": similarity.source, "dtype": similarity.dtype}
    save_result(folder, KIND, request, facts=facts, tables=tables, for_reading=tables)
    return similarity


def open_similarity(folder: str | Path) -> Similarity:
    """The similarity that `layer_similarity(..., out=folder)` wrote, without the model.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The same tables.

    Raises:
        UserError: there is no similarity, it is unfinished, or a file is damaged.
    """
    saved = read_result(folder, KIND)
    try:
        return Similarity(
            model=str(saved.facts["model"]),
            source=str(saved.facts["source"]),
            **{name: saved.tables[name] for name in TABLES},
            dtype=str(saved.facts.get("dtype", "")),
        )
    except KeyError as error:
        raise UserError(f"{folder}: its similarity cannot be read (no {error})") from error


def _measured(
    model: TransformerBridge, examples: Examples, seed: int, resamples: int, confidence: float
) -> Similarity:
    decoder = models.decoder(model)
    check_tokens(examples, model)
    pairs = [
        (layer, block)
        for block in range(1, decoder.n_layers + 1)
        for layer in range(decoder.n_layers - block + 1)
    ]
    influence = StreamingMean((decoder.n_layers,), resamples=resamples)
    angular = StreamingMean((len(pairs),), resamples=resamples)
    groups = CkaSums()
    with tqdm(total=len(examples.ids), unit="example", desc=f"similarity, {examples.name}") as bar:
        for numbers in chunks(examples):
            last: dict[int, Tensor] = {}
            for batch in states(model, examples, numbers, bar):
                units = examples.units(batch.ids)
                weights = poisson_weights(units, resamples=resamples, seed=seed)
                lengths = batch.lengths.cpu().double().numpy()
                influence.add(weights, _influence(batch), lengths, units=units)
                ends = batch.last()
                angular.add(weights, _angles(ends, pairs), units=units)
                last |= dict(zip(batch.ids, ends.unbind(dim=1), strict=True))
                # otherwise two batches are in memory while the next one is computed
                del batch, ends
            together = torch.stack([last.pop(n) for n in numbers], dim=1)
            groups.add(together, together, units=examples.units(numbers))
            del together
    named = {"model": model_name(model), "source": examples.name}
    kind = f"{100 * confidence:g}% {influence.method}"
    return Similarity(
        **named,
        influence=_table(influence, {"layer": range(decoder.n_layers)}, named, confidence, kind),
        angular=_table(
            angular,
            {"layer": [layer for layer, _ in pairs], "block": [block for _, block in pairs]},
            named,
            confidence,
            kind,
        ),
        cka=groups.table(named, confidence=confidence)
        if groups.n
        else no_cka(decoder.n_layers + 1, named),
        dtype=weights_kept(model),
    )


def cka_between(
    model: TransformerBridge,
    other: TransformerBridge,
    source: Source,
    *,
    limit: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Linear CKA between every depth of two models, at the last token of the same examples.

    Their widths, depths and tokenizers may differ. Rows with `depth == other` compare the same
    layer of two models of the same shape.

    Args:
        model: one model.
        other: the other model.
        source: as for `layer_similarity`.
        limit: the most examples, drawn with the seed; all by default.
        seed: seed of the draw.
        confidence: coverage of the intervals, by a jackknife over examples, or over the clusters
            that the task declares.

    Returns:
        Columns `model other_model source depth other value low high n interval`.

    Raises:
        UserError: there are fewer than four examples, or one has no token for a model. It is raised
            before either model is run.
    """
    check_share("confidence", confidence)
    examples = selected_texts(source, limit=limit, seed=seed)
    if len(examples.ids) < LEAST_CKA:
        raise UserError(
            f"{examples.name}: {len(examples.ids)} examples; CKA needs at least {LEAST_CKA}"
        )
    check_tokens(examples, model, other)
    named = {"model": model_name(model), "other_model": model_name(other)}
    groups = CkaSums()
    for numbers in tqdm(list(chunks(examples)), unit="group", desc=f"CKA, {examples.name}"):
        own_states = last_states(model, examples, numbers)
        # two models may be on two GPUs
        other_states = last_states(other, examples, numbers).to(own_states.device)
        groups.add(own_states, other_states, units=examples.units(numbers))
    return groups.table(named | {"source": examples.name}, confidence=confidence)


def _sha256(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _influence(batch: States) -> np.ndarray:
    """One minus the cosine, summed over each example's tokens: `[batch, layer]`."""
    real = batch.real()
    layers = []
    for before, after in zip(batch.residuals, batch.residuals[1:], strict=False):
        changed = 1 - cosine(before, after.to(before.device))
        layers.append(as_float64(changed * real.to(before.device)).sum(dim=1).cpu())
    return torch.stack(layers, dim=1).numpy()


def _angles(last: Tensor, pairs: list[tuple[int, int]]) -> np.ndarray:
    """The angular distances of pairs of depths: `[batch, pairs]`."""
    distances = [angular_distance(last[layer], last[layer + block]) for layer, block in pairs]
    return torch.stack(distances, dim=1).cpu().double().numpy()


def _table(
    tally: StreamingMean,
    keys: dict[str, object],
    named: dict[str, str],
    confidence: float,
    kind: str,
) -> pd.DataFrame:
    low, high = tally.interval(confidence)
    table = pd.DataFrame(
        {**keys, "value": tally.mean, "low": low, "high": high, "n": tally.n, "interval": kind}
    )
    for place, (name, value) in enumerate(named.items()):
        table.insert(place, name, value)
    return table
