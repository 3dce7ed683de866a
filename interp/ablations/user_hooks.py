"""TransformerLens hooks of the user's own as an ablation: `interp.hooked("name", fwd_hooks)`."""

from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.base import Ablation, Combination
from interp.ablations.values import Hooked
from interp.errors import UserError

Point = str | Callable[[str], bool]


def hooked(name: str, fwd_hooks: Sequence[tuple[Point, Callable[..., Any]]]) -> Hooked:
    """Any TransformerLens hooks as an ablation that can be swept.

    A sweep runs it on the bridge's own blocks, from the first layer that a hook touches, on rows
    `[batch, pos, ...]` that are padded on the right. Generated answers are decoded over whole rows,
    without a cache. A function with an argument `positions` is given what each position of its
    batch is (`interp.ablations.Positions`).

    Args:
        name: a name of your own choice; the key in the store and the label in a figure
            (`hook:NAME`).
        fwd_hooks: hooks as `model.hooks` takes them: a hook point's name, or a function of such
            names, and a function `f(value, hook)` that returns the new value or None.

    Returns:
        An ablation whose text form is `hook:NAME`. A sweep takes it like any other.

    Raises:
        UserError: no hooks, or a name with other signs than letters, digits, `_`, `-` and `.`.
    """
    if not fwd_hooks:
        raise UserError(f"hook:{name}: at least one pair of a hook point and a function is needed")
    hook_points: Any = tuple(fwd_hooks) if isinstance(fwd_hooks, Iterable) else fwd_hooks
    return Hooked(name, hook_points)


def with_points(model: TransformerBridge, ablation: Ablation) -> Ablation:
    """The same ablation with every hook point by its name, checked against the model.

    Returns:
        What was given where it has no hooks of a user's own.

    Raises:
        UserError: the model has no such hook point.
    """
    if isinstance(ablation, Combination):
        parts = tuple(with_points(model, part) for part in ablation.parts)
        same = all(map(is_, parts, ablation.parts))
        return ablation if same else Combination(parts)
    if not isinstance(ablation, Hooked):
        return ablation
    if not ablation.fwd_hooks:
        raise UserError(f"{ablation}: its hooks are not part of its text; use interp.hooked(...)")
    pairs = []
    for point, function in ablation.fwd_hooks:
        names = [n for n in model.hook_dict if point(n)] if callable(point) else [point]
        if not names or not all(n in model.hook_dict for n in names):
            raise UserError(
                f"{ablation}: the model has no hook point {names[0] if names else 'of this kind'}; "
                "allowed are the names in model.hook_dict, such as blocks.0.attn.hook_z"
            )
        pairs += [(n, function) for n in names]
    return Hooked(ablation.name, tuple(pairs))
