"""Layer programs: the blocks run in another order, twice, or side by side.

Sources: Sun et al., "Transformer Layers as Painters" (arXiv 2407.09298): order, reverse, parallel;
Lad et al., "The Remarkable Robustness of LLMs" (arXiv 2406.19384): exchanges of neighbours. A
program stands alone: nothing else is ablated with it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interp.ablations.base import Ablation, Span
from interp.ablations.edits import Edits, LayerEdit, Shape
from interp.ablations.value_checks import check_numbers, layer_in
from interp.errors import UserError

MOST_LAYERS = 1_000_000
"""Of an order: numbers of layers have six digits at most, so that one is named twice beyond."""


@dataclass(frozen=True)
class Repeat(Span):
    """Consecutive blocks, both ends included, run twice: after the last the first runs again."""

    form = "repeat"

    def edits(self, shape: Shape) -> Edits:
        """The order with the blocks in it twice."""
        layer_in(self.last, shape)
        return _ordered((*range(self.last + 1), *range(self.first, shape.n_layers)), shape)


@dataclass(frozen=True)
class Exchange(Ablation):
    """A block and the next one change places."""

    layer: int

    def __post_init__(self) -> None:
        check_numbers(self, "layer")

    @property
    def text(self) -> str:
        """`exchange:7`."""
        return f"exchange:{self.layer}"

    @property
    def layers(self) -> tuple[int, ...]:
        """Both layers."""
        return (self.layer, self.layer + 1)

    def edits(self, shape: Shape) -> Edits:
        """The order with the two exchanged."""
        if self.layer + 1 == shape.n_layers:
            raise UserError(f"{self.text}: layer {self.layer} is the last; there is no next one")
        layer_in(self.layer, shape)
        order = list(range(shape.n_layers))
        order[self.layer : self.layer + 2] = [self.layer + 1, self.layer]
        return _ordered(order, shape)


@dataclass(frozen=True)
class Reverse(Span):
    """Consecutive blocks, both ends included, run from the last to the first."""

    form = "reverse"

    def edits(self, shape: Shape) -> Edits:
        """The order with the blocks turned round."""
        layer_in(self.last, shape)
        order = list(range(shape.n_layers))
        order[self.first : self.last + 1] = reversed(range(self.first, self.last + 1))
        return _ordered(order, shape)


@dataclass(frozen=True)
class Order(Ablation):
    """The blocks run in an order of one's own, which names every layer once.

    Attributes:
        order: the number of the layer that runs first, second, ...
    """

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if isinstance(self.order, str | bytes | Mapping) or not isinstance(self.order, Iterable):
            raise UserError(f"order {self.order!r:.80}: allowed are the numbers of layers")
        layers = tuple(self.order)
        for number in layers:
            if isinstance(number, bool) or not hasattr(type(number), "__index__") or number < 0:
                raise UserError(f"order: layer {number!r}; allowed are whole numbers from 0")
        object.__setattr__(self, "order", tuple(int(n) for n in layers))
        if not layers:
            raise UserError("order: it names no layer")
        twice = next((n for n, count in Counter(layers).items() if count > 1), None)
        if twice is not None:
            raise UserError(
                f"{self.text}: layer {twice} is named twice; repeat:{twice}-{twice} runs it twice"
            )

    @property
    def text(self) -> str:
        """`order:0-9,12,11,10,13-31`; layers that follow each other are one range."""
        runs: list[list[int]] = []
        for number in self.order:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        shown = (f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
        return f"order:{','.join(shown)}"

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are not in their own place."""
        return tuple(sorted(n for place, n in enumerate(self.order) if n != place))

    def edits(self, shape: Shape) -> Edits:
        """The order."""
        layer_in(max(self.order), shape)
        missing = sorted(set(range(shape.n_layers)) - set(self.order))
        if missing:
            raise UserError(
                f"{self.text}: layer {missing[0]} is missing; an order names each of the layers "
                f"0-{shape.n_layers - 1} once (layer:{missing[0]} skips it)"
            )
        return _ordered(self.order, shape)


@dataclass(frozen=True)
class Parallel(Span):
    """Consecutive blocks, both ends included, run side by side.

    Each is given the residual stream that enters the first; what goes on is the mean of what they
    return, as in "Transformer Layers as Painters".
    """

    form = "parallel"

    def edits(self, shape: Shape) -> Edits:
        """The blocks side by side; one alone is as ever."""
        layer_in(self.last, shape)
        together = tuple(range(self.first, self.last + 1))
        return Edits({self.first: LayerEdit(parallel=together)} if len(together) > 1 else {})


def parsed_order(text: str) -> Order:
    """The order that a text such as `0-9,12,11,10,13-31` stands for.

    Returns:
        The layers in the order in which they run.

    Raises:
        UserError: a range runs downwards, or a layer is named twice.
    """
    order: list[int] = []
    for run in text.split(","):
        first, _, last = run.partition("-")
        if last and int(last) < int(first):
            raise UserError(f"order:{text}: the range {run} runs downwards; name its layers singly")
        order += range(int(first), int(last or first) + 1)
        if len(order) > MOST_LAYERS:
            raise UserError(f"order:{text:.80}: it names more than {MOST_LAYERS:,} layers")
    return Order(tuple(order))


def _ordered(order: Sequence[int], shape: Shape) -> Edits:
    """Edits whose layer is the first place that differs; none where no place does."""
    order = tuple(order)
    first = next((place for place, number in enumerate(order) if place != number), len(order))
    if first == shape.n_layers == len(order):
        return Edits()
    return Edits({min(first, shape.n_layers): LayerEdit(order=order)})
