"""What a training run is: its documents, its length, its schedule."""

from dataclasses import dataclass, replace

from experiments.organisms.documents import MAX_PAIRS, MAX_STEPS, Stage
from experiments.organisms.packing import CONTEXT_WEIGHT


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `mix` gives each kind of document its share of documents. The learning rate stays at its peak
    for `hold` of the run and goes down over the rest of `tokens`; `stop_tokens` ends the run before
    its schedule does. `row_lengths` lists, by progress in [0, 1], how many tokens a row has.
    `start` is the folder of the model to go on from, `copies` names the layers of it that are
    copied, softened, behind its last, or with `copies_first`, silent, before its first. `n_layers`
    is the depth of a model made afresh.
    `layer_dropout` is how often the last layer is skipped; `early`, `early_until`, `late` and
    `late_from` are a layout (both in `layouts.py`). Layers before `learns_from` are frozen.
    """

    name: str
    mix: dict[str, float]
    tokens: int
    seed: int
    stop_tokens: int | None = None
    learning_rate: float = 4e-3
    batch_tokens: int = 2048
    row_lengths: tuple[tuple[float, int], ...] = ((0.0, 128), (0.6, 256), (0.85, 512))
    pairs_from: int = 4
    ramp: float = 0.3  # progress at which the documents have reached full difficulty
    start: str | None = None
    hold: float = 0.0
    context_weight: float = CONTEXT_WEIGHT
    layer_dropout: float = 0.0
    early: tuple[str, ...] = ()
    early_until: int = 0
    late: tuple[str, ...] = ()
    late_from: int = 0
    learns_from: int = 0
    copies: tuple[int, ...] = ()
    copies_first: bool = False
    n_layers: int = 8


def learning_rate_factor(progress: float, hold: float = 0.0) -> float:
    """Warm-up over the first 2% of the run, the peak for `hold` of it, linear decay to 2%."""
    decay = 1.02 - max(0.0, progress - hold) / max(1.0 - hold, 1e-9)
    return min(progress / 0.02 + 0.02, max(0.02, min(1.0, decay)))


def row_length(recipe: Recipe, progress: float) -> int:
    """Tokens a row at a progress in [0, 1]."""
    return next(n for at, n in reversed(recipe.row_lengths) if progress >= at)


def stage_at(recipe: Recipe, progress: float) -> Stage:
    """How hard the documents are at a progress in [0, 1]."""
    share = min(1.0, progress / recipe.ramp) if recipe.ramp > 0 else 1.0
    max_pairs = recipe.pairs_from + round(share * (MAX_PAIRS - recipe.pairs_from))
    return Stage(max_pairs, MAX_STEPS)


def scaled(recipe: Recipe, times: int) -> Recipe:
    """The same number of steps with batches so many times larger: for a GPU, or many cores."""
    stop = None if recipe.stop_tokens is None else recipe.stop_tokens * times
    return replace(
        recipe,
        tokens=recipe.tokens * times,
        stop_tokens=stop,
        batch_tokens=recipe.batch_tokens * times,
    )
