"""Direct and total effect of a part side by side, and how later parts make up for its absence.

A part's direct effect is what it adds to the answer's margin by itself. Its ablation may cost less,
because later parts then add more or take away less. This is self-repair (McGrath et al., "The Hydra
Effect", arXiv 2307.15771; Rushing & Nanda, "Explorations of Self-Repair in Language Models", arXiv
2402.15390). On every example the fall of the margin is the sum of three numbers:

    total = direct + later + norm

`direct` is how much less the ablated part adds. `later` is how much less all parts after it add
(negative where they make up for it). `norm` is the effect of the changed scale of the final norm.
The first two are read at the scale of the unablated model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Ablation, Edits, Means, as_ablations, checked_edits, edited
from interp.engine import (
    EVERY,
    Pass,
    exact_shortcuts,
    padded,
    record,
    reference_means,
    run_block,
    unembed,
)
from interp.errors import UserError
from interp.lens.answers import build_answers
from interp.lens.attribution import Component, check_logits, logit_shares, part_vectors
from interp.lens.residual_stream import refuse_programs
from interp.lens.right_answers import AnswerBatch, answer_batches
from interp.lens.tasks import CHUNK
from interp.models import Decoder, model_name
from interp.stats import (
    StreamingError,
    fieller,
    mean_intervals,
    means_of,
    sample_by,
    student_interval,
)
from interp.tasks import Task, cluster_units, load_task, select_examples

EFFECTS = ("direct", "total", "later", "norm", "repair")
_ONE_PART = re.compile(r"(layer|attn|mlp|head):(\d+)(?:\.(\d+))?(?:@[a-z]+)?")


@dataclass(frozen=True, eq=False)
class SelfRepair:
    """What ablations cost, and how much of it later parts make up for.

    Attributes:
        effects: one row per ablation; columns `model task ablation kind layer head`, then each of
            `direct total later norm repair repaired` with `_low` and `_high`, and `n interval`, in
            logits of margin. `repair` is `direct` minus `total`. `repaired` is `repair` as a share
            of `direct`, NaN where the direct effect is not clearly above zero.
        changes: one row per ablation and later attention or MLP; columns `model task ablation
            component kind layer change low high n`. `change` is how much more that part adds than
            in the unablated model, with Student's interval.
    """

    effects: pd.DataFrame
    changes: pd.DataFrame

    def __repr__(self) -> str:
        rows = self.effects
        repaired = int((rows["repair_low"] > 0).sum())
        return (
            f"SelfRepair({', '.join(rows['task'].unique())}: {len(rows)} ablations, "
            f"{int(rows['n'].max())} examples; {repaired} repaired in part)"
        )


def self_repair(
    model: TransformerBridge,
    task: str | Path | Task,
    ablations: str | Ablation | Sequence[str | Ablation] = ("attentions", "mlps"),
    *,
    limit: int | None = None,
    follow: str = "target",
    confidence: float = 0.95,
    seed: int = 0,
) -> SelfRepair:
    """Direct effect, total effect and self-repair of layers, attentions, MLPs or heads.

    The margin is that of `direct_logit_attribution`: over the rival that is strongest in the
    unablated model, averaged over the answer's tokens. The rival stays the same under every
    ablation. The direct effect of a replaced part (`attn:7@mean`) is how much more it adds than its
    replacement.

    Args:
        model: the model.
        task: as for `logit_lens`.
        ablations: each of one layer, attention, MLP or head; also those that replace it by a mean.
        limit: at most this many examples, drawn with the seed.
        follow: as in `interp.lens.logit_lens`.
        confidence: coverage of the intervals, over the clusters that the task declares, or else
            examples.
        seed: seed of the draw.

    Returns:
        The effects (means by the wider of Student's and Hall's interval, the share repaired by
        Fieller's), and the changes of later parts.

    Raises:
        UserError: the task or the limit is refused; an ablation is of several parts, of some
            positions only, or needs other examples; or the logits are not the final norm times the
            unembedding.
    """
    task = task if isinstance(task, Task) else load_task(task)
    drawn = select_examples(task, limit, seed=seed)
    models.decoder(model).check_told_apart("self-repair")
    checked = [
        (ablation, *_checked(model, ablation)) for ablation in as_ablations(model, ablations)
    ]
    needs_means = any(edits.uses_mean for _, edits, _ in checked)
    means = reference_means(model, task, seed=seed) if needs_means else None
    parts = _parts(models.decoder(model).n_layers)
    effects, docs = list[np.ndarray](), list[int]()
    changed = StreamingError(
        (len(checked), len(parts)), clustered=len(set(cluster_units(task, drawn))) < len(drawn)
    )
    with tqdm(total=len(drawn), unit="example", desc=f"self-repair, {task.name}") as bar:
        for start in range(0, len(drawn), CHUNK):
            answers = build_answers(model, task, drawn[start : start + CHUNK], follow=follow)
            for batch in answer_batches(model, answers):
                values, changes = _of_batch(model, batch, checked, means)
                effects.append(values)
                doc_ids = [answer.doc_id for answer in batch.answers]
                changed.add(cluster_units(task, doc_ids), changes)
                docs += doc_ids
                bar.update(len(doc_ids))
    if not docs:
        raise UserError(f"task {task.name}: no example has an answer to read")
    order = np.argsort(docs, kind="stable")
    values = np.concatenate(effects)[order]
    units = cluster_units(task, [docs[place] for place in order])
    key = {"model": model_name(model), "task": task.name}
    components = [doc_ids for _, _, doc_ids in checked]
    texts = [ablation.text for ablation, _, _ in checked]
    return SelfRepair(
        _effects_table(values, units, texts, components, confidence).assign(**key)[_COLUMNS],
        _changes_table(changed, texts, components, confidence).assign(**key)[_CHANGES],
    )


_NUMBERS = [f"{name}{end}" for name in (*EFFECTS, "repaired") for end in ("", "_low", "_high")]
_COLUMNS = ["model", "task", "ablation", "kind", "layer", "head", *_NUMBERS, "n", "interval"]
_CHANGES = ["model", "task", "ablation", "component", "kind", "layer", "change", "low", "high", "n"]


def _checked(model: TransformerBridge, ablation: Ablation) -> tuple[Edits, Component]:
    """The edits of an ablation, and the part that it takes away."""
    edits = checked_edits(model, ablation)
    refuse_programs(ablation, edits)
    match = _ONE_PART.fullmatch(ablation.text)
    if match is None or edits.is_resampled:
        raise UserError(
            f"ablation {ablation}: self-repair is of one layer, attention, MLP or head, skipped or "
            "replaced by a mean"
        )
    kind = {"attn": "attention"}.get(match.group(1), match.group(1))
    return edits, Component(kind, int(match.group(2)), int(match.group(3) or -1))


def _parts(n_layers: int) -> list[Component]:
    return [Component(kind, layer) for layer in range(n_layers) for kind in ("attention", "mlp")]


def _own(component: Component) -> list[Component]:
    """The attentions and MLPs through which the ablated part enters the stream."""
    kinds = {"layer": ("attention", "mlp"), "head": ("attention",)}
    return [
        Component(kind, component.layer) for kind in kinds.get(component.kind, (component.kind,))
    ]


def _of_batch(
    model: TransformerBridge,
    batch: AnswerBatch,
    asked: Sequence[tuple[Ablation, Edits, Component]],
    means: Means | None,
) -> tuple[
    Float[np.ndarray, "examples ablations effects"], Float[np.ndarray, "examples ablations parts"]
]:
    """The effects of every ablation on some examples, and the changes of all parts.

    Everything below an ablated layer is as in the unablated model, and is computed once.
    """
    decoder = models.decoder(model)
    replays = exact_shortcuts(model, EVERY, max(map(len, batch.rows))).replay
    ids = padded(decoder, batch.rows)
    whole = record(decoder, ids, use_cache=False)
    vectors, final = part_vectors(model, whole, batch.at)
    batch.refuse_not_finite(f"model {model_name(model)}", final)
    logits = torch.cat(list(unembed(decoder, final))).float()
    chosen = (batch.tokens, batch.rivals(logits))
    check_logits(decoder, final, logits, chosen)
    parts = _parts(decoder.n_layers)

    def margins(of: dict[Component, Tensor], scaled_by: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Each part's share of the margin `[examples, parts]`, and the whole margins."""
        stacked = torch.stack([of[Component("embedding")], *(of[part] for part in parts)])
        shares = [logit_shares(decoder, stacked, scaled_by, one) for one in chosen]
        difference, rest = (
            batch.means(one - other).cpu().double().numpy().T
            for one, other in zip(*shares, strict=True)
        )
        return difference[:, 1:], difference.sum(axis=1) + rest

    before, margin = margins(vectors, final)
    n = len(batch.answers)
    values, changes = np.zeros((n, len(asked), len(EFFECTS))), np.zeros((n, len(asked), len(parts)))
    for place, (ablation, edits, component) in enumerate(asked):
        first = component.layer if replays else 0
        with edited(model, edits, means):
            ablated = (
                _from_layer(decoder, whole, first)
                if replays
                else record(decoder, ids, use_cache=False)
            )
            without, its_final = part_vectors(model, ablated, batch.at, below=vectors, first=first)
        batch.refuse_not_finite(f"model {model_name(model)}, {ablation.text}", its_final)
        after, at_old_scale = margins(without, final)
        _, left = margins(without, its_final)
        is_ablated = np.array([part in _own(component) for part in parts])
        direct, later = ((before - after)[:, one].sum(axis=1) for one in (is_ablated, ~is_ablated))
        total, norm = margin - left, at_old_scale - left
        values[:, place] = np.stack([direct, total, later, norm, direct - total], axis=1)
        changes[:, place] = after - before
    return values, changes


def _from_layer(decoder: Decoder, whole: Pass, first: int) -> Pass:
    """The pass of an edited model, whose layers below `first` are those of the unablated one."""
    residuals = whole.residuals[: first + 1]
    for layer in range(first, decoder.n_layers):
        residuals.append(run_block(decoder, layer, residuals[-1], whole))
    return Pass(residuals, whole.calls)


def effect_intervals(
    values: Float[np.ndarray, "examples ablations effects"],
    *,
    units: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> dict[str, Float[np.ndarray, " ablations"]]:
    """Mean effects with the wider of Student's and Hall's interval, and the share repaired.

    The share is a ratio of two means over the same examples. Its interval is Fieller's; there is
    none where the direct effect is not clearly above zero.

    Args:
        values: for each example, the effects in the order of `EFFECTS`.
        units: the independent unit of each example, such as its cluster; by default each is its
            own.
        confidence: coverage of each interval.

    Returns:
        Columns of `SelfRepair.effects`: each of `EFFECTS` and `repaired`, `_low` and `_high`.
    """
    n, shape = len(values), values.shape[1:]
    means = values.mean(axis=0)
    sample = sample_by(values.reshape(n, -1), units)
    bounds = mean_intervals(sample, False, confidence, 100, 0)[:2]
    low, high = (side.reshape(shape) for side in bounds)
    columns: dict[str, Float[np.ndarray, " ablations"]] = {}
    for place, name in enumerate(EFFECTS):
        columns[name] = means[:, place]
        columns[f"{name}_low"], columns[f"{name}_high"] = low[:, place], high[:, place]
    pair = [EFFECTS.index("repair"), EFFECTS.index("direct")]
    top, bottom = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    shares = []
    for ablation in range(shape[0]):
        of = means_of(sample_by(values[:, ablation, pair], units), points=False)
        shares.append(fieller(top, bottom, of, of.critical(confidence)))
    columns["repaired"] = np.array([share.value for share in shares])
    columns["repaired_low"] = np.array([share.low for share in shares])
    columns["repaired_high"] = np.array([share.high for share in shares])
    return columns


def _effects_table(
    values: Float[np.ndarray, "examples ablations effects"],
    units: list[int],
    texts: list[str],
    components: list[Component],
    confidence: float,
) -> pd.DataFrame:
    parts: dict[str, object] = {
        "ablation": texts,
        "kind": [own.kind for own in components],
        "layer": [own.layer for own in components],
        "head": [own.head for own in components],
    }
    columns = parts | effect_intervals(values, units=units, confidence=confidence)
    by = " by cluster" if len(set(units)) < len(values) else ""
    interval = f"{100 * confidence:g}% Student and Hall{by}; of the share repaired, Fieller"
    return pd.DataFrame(columns).assign(n=len(values), interval=interval)


def _changes_table(
    changed: StreamingError,
    texts: list[str],
    components: list[Component],
    confidence: float,
) -> pd.DataFrame:
    """Means of the changes of later parts, with Student's interval."""
    mean, n = changed.mean, changed.n
    low, high = student_interval(mean, changed.error, changed.n_units, confidence=confidence)
    parts = _parts(mean.shape[1] // 2)
    rows = [
        {"ablation": text, "component": part.label, "kind": part.kind, "layer": part.layer,
         "change": mean[a, p], "low": low[a, p], "high": high[a, p], "n": n}
        for a, (text, component) in enumerate(zip(texts, components, strict=True))
        for p, part in enumerate(parts)
        if parts.index(_own(component)[-1]) < p
    ]  # fmt: skip
    columns = [name for name in _CHANGES if name not in ("model", "task")]
    return pd.DataFrame(rows, columns=columns)
