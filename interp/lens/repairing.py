"""Direct and total effect of a part side by side, and what later parts do in its absence.

A part's direct effect is what it adds to the answer's margin by itself. What its ablation costs
may be less, because later parts then add more or take away less: self-repair (McGrath et al., "The
Hydra Effect", arXiv 2307.15771; Rushing & Nanda, "Explorations of Self-Repair in Language Models",
arXiv 2402.15390). On every example the fall of the margin is the sum of three numbers:

    total = direct + later + norm

`direct`: what the ablated part adds less than before; `later`: what all parts behind it add less
(negative where they make up for it); `norm`: what the final norm's other scale changes. The first
two are read at the scale of the whole model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy import stats as sps
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Ablation, Edits, Means, as_ablations, checked_edits, edited
from interp.engine import reference_means, unembed
from interp.errors import UserError
from interp.lens.answers import Answer, build_answers
from interp.lens.attribution import (
    Component,
    _check_logits,
    _project,
    _rivals,
    component_vectors,
)
from interp.lens.residual_stream import refuse_programs
from interp.lens.tasks import CHUNK
from interp.models import model_name
from interp.stats import StreamingMean, percentiles, poisson_weights
from interp.tasks import Task, load_task, select_examples

EFFECTS = ("direct", "total", "later", "norm", "repair")
_ONE_PART = re.compile(r"(layer|attn|mlp|head):(\d+)(?:\.(\d+))?(?:@[a-z]+)?")


@dataclass(frozen=True, eq=False)
class SelfRepair:
    """What ablations cost, and what later parts make up for.

    Attributes:
        effects: a row an ablation; columns `model task ablation kind layer head`, then each of
            `direct total later norm repair repaired` with `_low` and `_high`, and `n interval`,
            in logits of margin. `repair` is `direct` minus `total`. `repaired` is its share of
            `direct`, NaN where the direct effect is not clearly above zero.
        changes: a row an ablation and a later attention or MLP; columns `model task ablation
            component kind layer change low high n`: what that part adds more than in the whole
            model, with Student's interval.
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

    The margin is that of `direct_logit_attribution`: over the rival that is strongest in the whole
    model, mean over the answer's tokens; the same rival counts under every ablation. The direct
    effect of a replaced part (`attn:7@mean`) is what it adds more than its replacement.

    Args:
        model: the model.
        task: as for `logit_lens`.
        ablations: of one layer, attention, MLP or head each; also replaced by a mean.
        limit: at most this many examples, drawn with the seed.
        follow: as in `interp.lens.logit_lens`.
        confidence: of the intervals.
        seed: of the draw and of the bootstrap.

    Returns:
        The effects (percentiles of the Poisson bootstrap), and the changes of later parts.

    Raises:
        UserError: a bad task or limit; an ablation of several parts, of some positions only, or
            that needs other examples; logits that are not the final norm times the unembedding.
    """
    task = task if isinstance(task, Task) else load_task(task)
    drawn = select_examples(task, limit, seed=seed)
    asked = [(one, *_checked(model, one)) for one in as_ablations(model, ablations)]
    needs_means = any(edits.uses_mean for _, edits, _ in asked)
    means = reference_means(model, task, drawn) if needs_means else None
    parts = _parts(models.decoder(model).n_layers)
    effects = StreamingMean((len(asked), len(EFFECTS)))
    sums = np.zeros((2, len(asked), len(parts)))
    with tqdm(total=len(drawn), unit="example", desc=f"self-repair, {task.name}") as bar:
        for start in range(0, len(drawn), CHUNK):
            answers = build_answers(model, task, drawn[start : start + CHUNK], follow=follow)
            weights = poisson_weights([a.doc_id for a in answers], seed=seed)
            for number, answer in enumerate(answers):
                values, changes = _example(model, answer, asked, means)
                effects.add(weights[number : number + 1], values[None])
                sums += (changes, changes**2)
                bar.update()
    if not effects.n:
        raise UserError(f"task {task.name}: no example has an answer to read")
    key = {"model": model_name(model), "task": task.name}
    owns = [own for _, _, own in asked]
    texts = [ablation.text for ablation, _, _ in asked]
    return SelfRepair(
        _effects_table(effects, texts, owns, confidence).assign(**key)[_COLUMNS],
        _changes_table(sums, effects.n, texts, owns, confidence).assign(**key)[_CHANGES],
    )


_NUMBERS = [f"{name}{end}" for name in (*EFFECTS, "repaired") for end in ("", "_low", "_high")]
_COLUMNS = ["model", "task", "ablation", "kind", "layer", "head", *_NUMBERS, "n", "interval"]
_CHANGES = ["model", "task", "ablation", "component", "kind", "layer", "change", "low", "high", "n"]


def _checked(model: TransformerBridge, ablation: Ablation) -> tuple[Edits, Component]:
    """Its edits and the part that it takes away."""
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


def _example(
    model: TransformerBridge,
    answer: Answer,
    asked: Sequence[tuple[Ablation, Edits, Component]],
    means: Means | None,
) -> tuple[Float[np.ndarray, "ablations effects"], Float[np.ndarray, "ablations parts"]]:
    """The effects of every ablation on one example, and the changes of all parts."""
    decoder = models.decoder(model)
    right = answer.options[answer.right]
    row = (*right.context, *right.continuation[:-1])
    first = len(right.context) - 1
    positions = torch.arange(first, first + len(right.continuation), device=decoder.device)
    vectors, final = component_vectors(model, row, positions, heads=False)
    logits = torch.cat(list(unembed(decoder, final))).float()
    tokens = torch.tensor(right.continuation, device=decoder.device)
    chosen = (tokens, _rivals(answer, logits, tokens))
    _check_logits(decoder, final, logits, chosen)
    parts = _parts(decoder.n_layers)

    def margins(of: dict[Component, Tensor], scaled_by: Tensor) -> tuple[np.ndarray, float]:
        """Each part's share of the margin, and the whole margin."""
        stacked = torch.stack([of[Component("embedding")], *(of[part] for part in parts)])
        shares = [_project(decoder, stacked, scaled_by, one) for one in chosen]
        difference = (shares[0][0] - shares[1][0]).mean(dim=1)
        rest = (shares[0][1] - shares[1][1]).mean()
        return difference[1:].double().cpu().numpy(), float(difference.sum() + rest)

    before, whole = margins(vectors, final)
    values, changes = np.zeros((len(asked), len(EFFECTS))), np.zeros((len(asked), len(parts)))
    for place, (_, edits, component) in enumerate(asked):
        with edited(model, edits, means):
            without, its_final = component_vectors(model, row, positions, heads=False)
        after, at_old_scale = margins(without, final)
        _, left = margins(without, its_final)
        own = np.array([part in _own(component) for part in parts])
        direct, later = (float((before - after)[one].sum()) for one in (own, ~own))
        total, norm = whole - left, at_old_scale - left
        values[place] = (direct, total, later, norm, direct - total)
        changes[place] = after - before
    return values, changes


def _effects_table(
    tally: StreamingMean, texts: list[str], owns: list[Component], confidence: float
) -> pd.DataFrame:
    low, high = tally.interval(confidence)
    columns: dict[str, object] = {
        "ablation": texts,
        "kind": [own.kind for own in owns],
        "layer": [own.layer for own in owns],
        "head": [own.head for own in owns],
    }
    for place, name in enumerate(EFFECTS):
        columns[name] = tally.mean[:, place]
        columns[f"{name}_low"], columns[f"{name}_high"] = low[:, place], high[:, place]
    direct, repair = EFFECTS.index("direct"), EFFECTS.index("repair")
    known = low[:, direct] > 0
    shares = tally.replicates[..., repair] / np.where(known, tally.replicates[..., direct], np.nan)
    share = tally.mean[:, repair] / np.where(known, tally.mean[:, direct], np.nan)
    ends = np.full((2, len(texts)), np.nan)
    if known.any():
        ends[:, known] = percentiles(shares[:, known], confidence)
    columns |= {"repaired": share, "repaired_low": ends[0], "repaired_high": ends[1]}
    interval = f"{100 * confidence:g}% Poisson bootstrap"
    return pd.DataFrame(columns).assign(n=tally.n, interval=interval)


def _changes_table(
    sums: Float[np.ndarray, "2 ablations parts"],
    n: int,
    texts: list[str],
    owns: list[Component],
    confidence: float,
) -> pd.DataFrame:
    """Means of the changes of later parts, with Student's interval."""
    mean = sums[0] / n
    spread = np.sqrt(np.maximum(sums[1] / n - mean**2, 0) / max(1, n - 1))
    half = spread * sps.t.isf((1 - confidence) / 2, max(1, n - 1)) if n > 1 else spread * np.nan
    parts = _parts(sums.shape[2] // 2)
    rows = [
        {"ablation": text, "component": part.label, "kind": part.kind, "layer": part.layer,
         "change": mean[a, p], "low": mean[a, p] - half[a, p], "high": mean[a, p] + half[a, p],
         "n": n}
        for a, (text, own) in enumerate(zip(texts, owns, strict=True))
        for p, part in enumerate(parts)
        if parts.index(_own(own)[-1]) < p
    ]  # fmt: skip
    columns = [name for name in _CHANGES if name not in ("model", "task")]
    return pd.DataFrame(rows, columns=columns)
