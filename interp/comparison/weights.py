"""How far each matrix of one model is from the other's, and whether that predicts swaps."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import check_donor, part_parameters
from interp.errors import UserError
from interp.models import decoder, model_name, refuse_quantised
from interp.stats import check_columns, check_values, layer_correlations


def weight_distances(model: TransformerBridge, other: TransformerBridge) -> pd.DataFrame:
    """How far each weight of each layer lies from the other model's.

    The relative Frobenius distance, ||W' - W||_F / ||W||_F, says how much the matrix changed in all
    directions together. The relative spectral distance, ||W' - W||_2 / ||W||_2 (largest singular
    values), says how much it changed in the direction in which it changed most. Matrices are those
    of the checkpoint (GPT-2 keeps query, key and value in one). For a vector (norm, bias) the two
    are equal. For a stack of experts the spectral norm is the largest of any expert.

    Args:
        model: the model with weights W; distances are relative to it.
        other: the model with weights W', of the same shape.

    Returns:
        Columns `model other layer part matrix shape frobenius spectral change norm`. `change` and
        `norm` are ||W' - W||_F and ||W||_F, from which the distances of layers are computed. `part`
        is `attention` or `mlp` (each with its norms), or `layer` for a norm that they share.

    Raises:
        UserError: the models are not of the same shape, or a weight is NaN or infinite.
    """
    refuse_quantised(model, "weights")
    refuse_quantised(other, "weights")
    one, second = decoder(model), decoder(other)
    if one.n_layers != second.n_layers:
        raise UserError(
            f"weights: {model_name(model)} has {one.n_layers} layers, {model_name(other)} "
            f"{second.n_layers}; only models of one shape are compared weight by weight"
        )
    rows = []
    for layer in tqdm(range(one.n_layers), desc="weights", unit="layer"):
        check_donor(model, other, layer)
        parts = _parts(model, layer)
        parameters_of_second = dict(second.blocks[layer].named_parameters())
        for name, parameter in one.blocks[layer].named_parameters():
            for owner, weight in ((model, parameter), (other, parameters_of_second[name])):
                if not bool(weight.isfinite().all()):
                    raise UserError(
                        f"model {model_name(owner)}, layer {layer}: {name} is not finite"
                    )
            rows.append(
                {"model": model_name(model), "other": model_name(other), "layer": layer}
                | {"part": parts.get(id(parameter), "layer")}
                | {"matrix": name.removesuffix(".weight"), "shape": str(list(parameter.shape))}
                | _distance(parameter.detach(), parameters_of_second[name].detach())
            )
    return pd.DataFrame(rows)


def layer_distances(distances: pd.DataFrame) -> pd.DataFrame:
    """The distances of whole layers, and of their attention and MLP.

    Args:
        distances: from `weight_distances`.

    Returns:
        Columns `model other layer part frobenius spectral`. The part `layer` is the whole layer.
        The Frobenius distance is over all its weights together; the spectral distance is the
        largest of any matrix.

    Raises:
        UserError: a column is missing, or there are no rows.
    """
    check_columns(
        "distances", distances, ["model", "other", "layer", "part", "shape"],
        ["change", "norm", "spectral"],
    )  # fmt: skip
    if distances.empty:
        raise UserError("distances: there are no rows")
    whole = distances.assign(part="layer")
    parts = distances[distances["part"] != "layer"]
    keys = ["model", "other", "layer", "part"]
    rows = []
    for key, group in pd.concat([whole, parts]).groupby(keys, sort=False):
        total = (group["change"] ** 2).sum() ** 0.5 / (group["norm"] ** 2).sum() ** 0.5
        matrices = group[group["shape"].astype(str).str.contains(",")]
        rows.append(
            dict(zip(keys, key, strict=True))
            | {"frobenius": float(total), "spectral": float(matrices["spectral"].max())}
        )
    return pd.DataFrame(rows).sort_values(["layer", "part"], ignore_index=True)


def distance_and_effect(
    distances: pd.DataFrame, values: pd.DataFrame, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do the layers whose weights differ most also matter most when they are swapped?

    Args:
        distances: from `layer_distances`.
        values: from `Sweep.gains()` of a recipient under `swap:0`, `swap:1`, ... The effect of a
            swap is its drop, so a gain is negative.
        seed: seed of the permutation of layers and of the halves of the examples.

    Returns:
        The two tables of `interp.stats.layer_correlations`: the correlations, with the reliability
        of the effects, and the points that they are computed from. With few layers the permutation
        test can show little.

    Raises:
        UserError: there are fewer than three single swaps.
    """
    check_columns("distances", distances, ["part"], ["layer", "frobenius", "spectral"])
    check_values(values)
    recipient = str(values["model"].iloc[0])
    whole = distances[distances["part"] == "layer"]
    measures = pd.concat(
        [
            whole[["layer"]].assign(model=recipient, measure=name, value=whole[column])
            for name, column in (
                ("Frobenius distance", "frobenius"),
                ("spectral distance", "spectral"),
            )
        ]
    )
    return layer_correlations(measures, values, seed=seed, form="swap")


def _distance(mine: Tensor, its: Tensor) -> dict[str, Any]:
    weight = mine.float()
    change = its.to(mine.device).float() - weight
    norm, moved = float(weight.norm()), float(change.norm())
    widest = _spectral(weight)
    return {
        "frobenius": moved / norm if norm else float("nan"),
        "spectral": _spectral(change) / widest if widest else float("nan"),
        "change": moved,
        "norm": norm,
    }


def _spectral(matrix: Tensor) -> float:
    """The largest singular value; for a stack of matrices, the largest of any."""
    if matrix.ndim < 2:
        return float(matrix.norm())
    return float(torch.linalg.matrix_norm(matrix, ord=2).max())


def _parts(model: TransformerBridge, layer: int) -> dict[int, str]:
    """The sublayer of each parameter of a block, where sublayers can be told apart."""
    try:
        return {
            id(parameter): part
            for part in ("attention", "mlp")
            for parameter in part_parameters(model, layer, part).values()
        }
    except UserError:
        return {}
