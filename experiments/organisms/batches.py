"""Batches of a recipe: each a function of the recipe and of how many tokens were seen before it."""

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool

import numpy as np
from jaxtyping import Float, Int
from transformers import PreTrainedTokenizerFast

from experiments.organisms.documents import Maker
from experiments.organisms.layouts import Family, families_of
from experiments.organisms.packing import Source, draw_documents, pack_rows
from experiments.organisms.recipe import Recipe, row_length, stage_at
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.world import World, make_world


@dataclass(frozen=True)
class Batch:
    """One step's rows.

    Attributes:
        ids: token ids, `[batch, pos]`.
        weights: loss weight of each token, `[batch, pos]`.
        family: what the documents are of, and who learns from them.
        seed: the seed of all that is drawn in the step.
    """

    ids: Int[np.ndarray, "batch pos"]
    weights: Float[np.ndarray, "batch pos"]
    family: Family
    seed: str


@dataclass
class Drawing:
    """All that drawing a batch takes; the cache of encoded pieces grows."""

    recipe: Recipe
    makers: dict[str, Maker]
    families: list[Family]
    world: World
    tokenizer: PreTrainedTokenizerFast
    cache: dict[str, list[int]]

    def batch_at(self, seen: int) -> Batch:
        """The batch that follows after so many tokens."""
        recipe, seed = self.recipe, f"{self.recipe.seed}-{seen}"
        rng, progress = random.Random(seed), seen / self.recipe.tokens
        family = rng.choices(self.families, [x.share for x in self.families])[0]
        source = Source(self.world, rng, self.makers, family.mix, stage_at(recipe, progress))
        length = row_length(recipe, progress)
        rows = pack_rows(
            draw_documents(source),
            self.tokenizer,
            rng,
            length,
            context_weight=recipe.context_weight,
            cache=self.cache,
        )
        drawn = [next(rows) for _ in range(recipe.batch_tokens // length)]
        ids = np.array([row.ids for row in drawn], np.int32)
        return Batch(ids, np.array([row.weights for row in drawn], np.float32), family, seed)


@dataclass
class Batches:
    """The batches of a recipe, drawn here or by a pool of processes: the same either way."""

    drawing: Drawing
    pool: Pool | None

    @property
    def makers(self) -> dict[str, Maker]:
        """The kinds of document there are."""
        return self.drawing.makers

    def __call__(self, start: int, end: int) -> Iterator[Batch]:
        """The batches from `start` tokens on, until `end` tokens are seen."""
        places = list(places_of(self.drawing.recipe, start, end))
        if self.pool is None:
            return map(self.drawing.batch_at, places)
        return self.pool.imap(_batch_at, places, chunksize=4)


def places_of(recipe: Recipe, start: int, end: int) -> Iterator[int]:
    """How many tokens were seen before each batch from `start` to `end`."""
    seen = start
    while seen < end:
        yield seen
        length = row_length(recipe, seen / recipe.tokens)
        seen += recipe.batch_tokens // length * length


@contextmanager
def batches_of(
    recipe: Recipe, makers: dict[str, Maker], n_layers: int, workers: int = 0
) -> Iterator[Batches]:
    """The batches of a recipe.

    Args:
        recipe: what to draw.
        makers: kinds of document.
        n_layers: the number of layers of the model, for layouts.
        workers: processes that draw ahead; 0 for none.

    Yields:
        A callable from a range of tokens to its batches.
    """
    world = make_world()
    families = families_of(
        recipe.mix,
        n_layers,
        early=recipe.early,
        early_until=recipe.early_until,
        late=recipe.late,
        late_from=recipe.late_from,
        learns_from=recipe.learns_from,
    )
    drawing = Drawing(recipe, makers, families, world, make_tokenizer(world), {})
    if workers == 0:
        yield Batches(drawing, None)
        return
    # Forked, since makers are functions that cannot be sent; the children never touch a device.
    with multiprocessing.get_context("fork").Pool(workers, _prepare, (drawing,)) as pool:
        yield Batches(drawing, pool)


_PREPARED: list[Drawing] = []


def _prepare(drawing: Drawing) -> None:
    _PREPARED[:] = [drawing]


def _batch_at(seen: int) -> Batch:
    return _PREPARED[0].batch_at(seen)
