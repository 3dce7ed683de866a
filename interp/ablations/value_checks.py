"""Whether the numbers and words of an ablation are ones that there are."""

from typing import Any

from interp.ablations.edits import Part, Shape
from interp.errors import UserError

_PART_TEXTS = {"layer": "", "attention": "-attn", "mlp": "-mlp"}


def part_text(part: Part) -> str:
    """What stands for a part in the text form of a swap. Raises UserError for no part."""
    if not isinstance(part, str) or part not in _PART_TEXTS:
        raise UserError(f"swap of {part!r}: allowed are {', '.join(_PART_TEXTS)}")
    return _PART_TEXTS[part]


def check_ascending(block: Any) -> None:
    """Raise UserError where the first layer comes after the last, or one is no number."""
    check_numbers(block, "first", "last")
    if block.first > block.last:
        form = block.text.partition(":")[0]
        raise UserError(
            f"{block.text}: the first layer comes after the last; write "
            f"{form}:{block.last}-{block.first}"
        )


def layer_in(layer: int, shape: Shape) -> int:
    """The layer, if the model has it. Raises UserError otherwise."""
    if not 0 <= layer < shape.n_layers:
        raise UserError(f"layer {layer}: the model has layers 0-{shape.n_layers - 1}")
    return layer


def heads_of_group(group: int, shape: Shape) -> frozenset[int]:
    """The query heads that share a key/value head."""
    size = shape.n_heads // shape.n_kv_heads
    return frozenset(range(group * size, (group + 1) * size))


def index_in(what: str, index: int, count: int, layer: int) -> int:
    """The head or group, if the layer has it. Raises UserError otherwise."""
    if not 0 <= index < count:
        raise UserError(f"{what} {index} of layer {layer}: the model has {what}s 0-{count - 1}")
    return index


def check_numbers(ablation: Any, *names: str) -> None:
    """Raise UserError where a layer or head is no whole number from 0 up; keep it as an int."""
    for name in names:
        number = getattr(ablation, name)
        if isinstance(number, bool) or not hasattr(type(number), "__index__") or number < 0:
            raise UserError(
                f"{type(ablation).__name__}: {name} {number!r}; allowed are whole numbers from 0"
            )
        object.__setattr__(ablation, name, int(number))


def is_hook_name(name: Any) -> bool:
    """Whether hooks may be called so: letters, digits, `_`, `-` and `.`."""
    return isinstance(name, str) and bool(name) and all(c.isalnum() or c in "_-." for c in name)


def is_hook_pair(pair: Any) -> bool:
    """Whether it is a hook point, or a function of such names, and a function."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return False
    point, function = pair
    return (isinstance(point, str) or callable(point)) and callable(function)


def layer_of_point(point: str) -> int | None:
    """The layer of a hook point (`blocks.7.attn.hook_z`); None outside the blocks.

    Args:
        point: name of a hook point.

    Returns:
        The number of the layer, or None.
    """
    parts = point.split(".")
    return int(parts[1]) if len(parts) > 2 and parts[0] == "blocks" else None


def function_or_refusal(way: Any, layer: int) -> Any:
    """The function that carries a kind out.

    Args:
        way: what carries a kind out: a function, or a text that says why none does.
        layer: the layer that is edited, for the message.

    Returns:
        `way`, where it is a function.

    Raises:
        UserError: there is none, only a text that says why.
    """
    if isinstance(way, str):
        raise UserError(f"layer {layer}: {way}")
    return way
