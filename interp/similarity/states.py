"""The residual stream over texts or a task's prompts, batch by batch, without padding."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.engine import by_budget, padded, record, refuse_several_streams, segments, vectors_at
from interp.errors import UserError, names_given
from interp.models import Decoder, model_name
from interp.tasks import (
    Task,
    check_draw,
    cluster_units,
    encode,
    load_task,
    prompt_text,
    select_examples,
)

WIDER = "a number format of a wider range (bfloat16, float32) may hold it"
CHUNK = 256
TOKEN_BUDGET = 4096

Source = str | Task | Sequence[str]


@dataclass(frozen=True, eq=False)
class States:
    """The residual stream of one batch of examples.

    Attributes:
        ids: the number of each example in its source.
        residuals: for each depth (0 is the embedding, the last what leaves the last block, before
            the final norm), `[batch, pos, d_model]`.
        lengths: the number of tokens of each example; later positions are padding.
    """

    ids: tuple[int, ...]
    residuals: list[Tensor]
    lengths: Int[Tensor, " batch"]

    def last(self) -> Float[Tensor, "depth batch d_model"]:
        """The states of each example's last token."""
        rows = torch.arange(len(self.ids), device=self.lengths.device)
        return torch.stack(
            [vectors_at(resid, (rows, self.lengths - 1)) for resid in self.residuals]
        )

    def real(self) -> Tensor:
        """Which positions are not padding, `[batch, pos]`."""
        positions = torch.arange(self.residuals[0].shape[1], device=self.lengths.device)
        return positions[None] < self.lengths[:, None]


@dataclass(frozen=True, eq=False)
class Examples:
    """The texts of a source, drawn but not yet tokenised.

    Attributes:
        name: the name of the source.
        ids: the numbers of the examples that are used.
        task: the task, if the source is a task.
        texts: the texts, if the source is a list of texts.
    """

    name: str
    ids: tuple[int, ...]
    task: Task | None
    texts: Sequence[str]

    def tokens(self, number: int, decoder: Decoder) -> list[int]:
        """The token ids of one example; a prompt is truncated on the left, a text on the right."""
        if self.task is not None:
            document = self.task.documents()[number]
            return encode(prompt_text(self.task, document), decoder)[-decoder.max_length :]
        return encode(self.texts[number], decoder)[: decoder.max_length]

    def units(self, numbers: Sequence[int]) -> list[int]:
        """The independent unit of each example: its cluster, where the task declares clusters."""
        return list(numbers) if self.task is None else cluster_units(self.task, numbers)


def selected_texts(source: Source, *, limit: int | None = None, seed: int = 0) -> Examples:
    """The examples of a source: a task's prompts, or texts.

    Args:
        source: a task, its name, the path of its YAML, or a list of texts.
        limit: the most examples, drawn with the seed as a sweep draws them.
        seed: seed of the draw.

    Returns:
        The name of the source, the numbers of the chosen examples, and their texts.

    Raises:
        UserError: there is no text, a text is empty, the limit is refused, or the task is unknown.
    """
    check_draw(limit, seed)
    task: Task | None = None
    texts: tuple[str, ...] = ()
    if isinstance(source, str | Task):
        task = load_task(source) if isinstance(source, str) else source
        count, name = len(task.documents()), task.name
    else:
        texts = tuple(names_given("texts", source, "a task or several texts"))
        count, name = len(texts), "texts"
    if not count or any(not text.strip() for text in texts):
        raise UserError(f"{name}: an empty text; each needs at least one token")
    if task is not None:
        return Examples(name, tuple(select_examples(task, limit, seed=seed)), task, texts)
    chosen = range(count)
    if limit is not None and limit < count:
        drawn = np.random.default_rng(seed).choice(count, size=limit, replace=False)
        return Examples(name, tuple(sorted(drawn.tolist())), task, texts)
    return Examples(name, tuple(chosen), task, texts)


def check_tokens(examples: Examples, *several: TransformerBridge) -> None:
    """Refuse an example that has no token for one of several models, before any of them is run.

    Args:
        examples: the chosen examples.
        *several: the models.

    Raises:
        UserError: an example has no token for a model.
    """
    for model in several:
        decoder = models.decoder(model)
        for number in examples.ids:
            if not examples.tokens(number, decoder):
                raise UserError(
                    f"{examples.name}, example {number}: no token for {model_name(model)}"
                )


def chunks(examples: Examples) -> Iterator[tuple[int, ...]]:
    """The numbers of the examples, in chunks of at most 256."""
    for start in range(0, len(examples.ids), CHUNK):
        yield examples.ids[start : start + CHUNK]


def states(
    model: TransformerBridge, examples: Examples, numbers: Sequence[int], bar: tqdm | None = None
) -> Iterator[States]:
    """The states of some examples, longest first, within a budget of tokens."""
    decoder = models.decoder(model)
    rows = {number: examples.tokens(number, decoder) for number in numbers}
    order = sorted(rows, key=lambda number: (-len(rows[number]), number))
    for part in segments(model, [len(rows[number]) for number in order]):
        own_numbers = [order[place] for place in part]
        for batch in by_budget(
            own_numbers, [len(rows[number]) for number in own_numbers], TOKEN_BUDGET
        ):
            # not assigned to a name, which would keep it while the next one is computed
            yield _of_batch(decoder, {number: rows[number] for number in batch}, examples.name)
            if bar is not None:
                bar.update(len(batch))


def _of_batch(decoder: Decoder, rows: Mapping[int, Sequence[int]], source: str) -> States:
    # causal attention never sees positions to the right, so padding there needs no mask
    activations = record(decoder, padded(decoder, list(rows.values())), use_cache=False)
    refuse_several_streams(activations.residuals, "similarity")
    lengths = torch.tensor([len(row) for row in rows.values()], device=decoder.device)
    batch_states = States(tuple(rows), activations.residuals, lengths)
    _refuse_not_finite(batch_states, source)
    return batch_states


def _refuse_not_finite(batch: States, source: str) -> None:
    """Refuse a batch whose residual stream is NaN or infinite, naming example and depth."""
    real = batch.real()
    for depth, resid in enumerate(batch.residuals):
        wrong = (~resid.isfinite().all(dim=-1).to(real.device) & real).any(dim=1)
        if wrong.any():
            example = batch.ids[int(wrong.nonzero()[0, 0])]
            raise UserError(
                f"{source}, example {example}: the residual stream is not finite at depth {depth}; "
                f"{WIDER}"
            )


def refuse_not_finite(named: str, residuals: Iterable[Tensor]) -> None:
    """Refuse a text whose residual stream is NaN or infinite anywhere.

    Args:
        named: the text, for the message.
        residuals: its residual stream at each depth.

    Raises:
        UserError: the stream is not finite at a depth, which is named.
    """
    for depth, resid in enumerate(residuals):
        if not bool(resid.isfinite().all()):
            raise UserError(f"{named}: the residual stream is not finite at depth {depth}; {WIDER}")


def last_states(
    model: TransformerBridge, examples: Examples, numbers: Sequence[int]
) -> Float[Tensor, "depth examples d_model"]:
    """The states of the last token of some examples, in the order of the examples."""
    by_example: dict[int, Tensor] = {}
    for batch in states(model, examples, numbers):
        by_example |= dict(zip(batch.ids, batch.last().unbind(dim=1), strict=True))
        del batch
    return torch.stack([by_example[number] for number in numbers], dim=1)
