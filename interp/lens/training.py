"""Training a tuned lens on calibration text."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import logit_readout

from interp import models
from interp.errors import UserError, check_number, check_seed, check_whole
from interp.lens.readout import Translate, read
from interp.lens.residual_stream import residual_stack
from interp.lens.tuned import TunedLens, translated
from interp.models import model_name, weights_hash, weights_kept
from interp.tasks import encode

HELD_OUT_SHARE = 5


@dataclass(frozen=True)
class Training:
    """How a tuned lens is trained.

    Attributes:
        steps: the number of steps of Adam; the learning rate falls linearly to zero.
        learning_rate: the learning rate of the first step.
        rows: texts per step.
        vectors: positions per step, drawn from the rows' tokens.
        row_tokens: tokens of a row; longer texts are cut into rows of this length.
        sublayers: whether to train maps also for the depths after attentions.
        seed: seed of the draws.
    """

    steps: int = 400
    learning_rate: float = 1e-3
    rows: int = 16
    vectors: int = 256
    row_tokens: int = 256
    sublayers: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise UserError where an option has a value that no training can have."""
        for name, least in (("steps", 1), ("rows", 1), ("vectors", 1), ("row_tokens", 2)):
            check_whole(name, getattr(self, name), least)
        check_number("learning_rate", self.learning_rate, above=0.0)
        if not isinstance(self.sublayers, bool):
            raise UserError(f"sublayers {self.sublayers!r:.80}: allowed are True and False")
        check_seed(self.seed)


def train_tuned_lens(
    model: TransformerBridge, texts: Sequence[str], *, source: str, training: Training | None = None
) -> TunedLens:
    """Train a tuned lens. One row in five is held out; the divergence there goes into the card.

    Args:
        model: the model; its weights are not changed.
        texts: calibration text, like that on which the model was trained or will be read.
        source: where the text comes from, for the card.
        training: the options of the training.

    Returns:
        The lens. `TunedLens.save` writes it with its card.

    Raises:
        UserError: there are too few texts, the options of the training are no `Training`, or a
            divergence is NaN or infinite.
    """
    if not isinstance(training, Training | None):
        raise UserError(f"training {training!r:.80}: allowed is interp.lens.Training")
    training = training or Training()
    rows = _rows(model, texts, training.row_tokens)
    if len(rows) < HELD_OUT_SHARE:
        raise UserError(
            f"texts: {len(rows)} given; a tuned lens needs {HELD_OUT_SHARE} and more "
            f"(1 in {HELD_OUT_SHARE} held out)"
        )
    held_out = rows[::HELD_OUT_SHARE]
    training_rows = [row for place, row in enumerate(rows) if place % HELD_OUT_SHARE]
    decoder = models.decoder(model)
    n_maps = decoder.n_layers * (2 if training.sublayers else 1)
    matrices = torch.zeros(n_maps, decoder.d_model, decoder.d_model, device=decoder.device)
    biases = torch.zeros(n_maps, decoder.d_model, device=decoder.device)
    matrices.requires_grad_()
    biases.requires_grad_()
    optimiser = torch.optim.Adam([matrices, biases], lr=training.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=training.steps)
    with tqdm(total=training.steps, desc=f"tuned lens of {model_name(model)}", unit="step") as bar:
        for stack in _stacks(model, training_rows, training):
            loss = _divergence(model, stack, translated(matrices, biases)(stack))
            _refuse_not_finite(model, loss.item())
            # gradients of the maps only: the model's own parameters do not change
            matrices.grad, biases.grad = torch.autograd.grad(loss, [matrices, biases])
            optimiser.step()
            schedule.step()
            bar.update()
            bar.set_postfix_str(f"KL {loss.item():.3f}")
    matrices, biases = matrices.detach(), biases.detach()
    lenses = (None, translated(matrices, biases))
    plain, tuned = held_out_kl(model, held_out, lenses, sublayers=training.sublayers)
    _refuse_not_finite(model, *plain, *tuned)
    card = {
        "model": model_name(model),
        "weights_sha256": weights_hash(model),
        "dtype": weights_kept(model),
        "n_layers": decoder.n_layers,
        "sublayers": training.sublayers,
        "text": source,
        "text_sha256": text_hash(texts),
        "train_tokens": sum(map(len, training_rows)),
        "held_out_tokens": sum(map(len, held_out)),
        "steps": training.steps,
        "learning_rate": training.learning_rate,
        "seed": training.seed,
        "held_out_kl_plain": plain,
        "held_out_kl_tuned": tuned,
    }
    return TunedLens(matrices, biases, training.sublayers, card)


def text_hash(texts: Sequence[str]) -> str:
    """The SHA-256 of calibration text, as in the card of a tuned lens.

    Args:
        texts: the texts in their order.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def held_out_kl(
    model: TransformerBridge,
    rows: Sequence[Sequence[int]],
    lenses: Sequence[Translate | None],
    *,
    sublayers: bool,
) -> list[list[float]]:
    """Mean `KL(final || lens)` of each lens over all tokens of the rows, in nats, at every depth.

    A lens that is None is the plain one.

    Returns:
        For each lens, one mean per depth.
    """
    decoder, count = models.decoder(model), sum(map(len, rows))
    totals = [torch.zeros(1).double() for _ in lenses]
    nothing = torch.zeros(0, 2, dtype=torch.long, device=decoder.device)
    for row in rows:
        positions = [(0, position) for position in range(len(row))]
        stack = residual_stack(model, [row], positions, sublayers=sublayers)
        for place, lens in enumerate(lenses):
            readout = read(decoder, stack, nothing, translate=lens)
            totals[place] = totals[place] + torch.from_numpy(readout.kl.sum(axis=1))
    return [(total / count).tolist() for total in totals]


def _refuse_not_finite(model: TransformerBridge, *divergences: float) -> None:
    if not all(map(math.isfinite, divergences)):
        raise UserError(
            f"model {model_name(model)}: what its lens predicts is not finite; a number format of "
            "a wider range (bfloat16, float32) or a smaller learning_rate may help"
        )


def _rows(model: TransformerBridge, texts: Sequence[str], longest: int) -> list[list[int]]:
    decoder = models.decoder(model)
    longest = min(longest, decoder.max_length)
    encoded = [encode(text, decoder) for text in texts]
    return [e[i : i + longest] for e in encoded for i in range(0, len(e), longest)]


def _stacks(
    model: TransformerBridge, rows: Sequence[Sequence[int]], training: Training
) -> Iterator[Float[Tensor, "depth vectors d_model"]]:
    generator = torch.Generator().manual_seed(training.seed)
    for _ in range(training.steps):
        drawn = torch.randint(len(rows), (training.rows,), generator=generator).tolist()
        batch = [rows[i] for i in drawn]
        positions = [(r, p) for r, row in enumerate(batch) for p in range(len(row))]
        chosen = torch.randperm(len(positions), generator=generator)[: training.vectors].tolist()
        yield residual_stack(
            model, batch, [positions[i] for i in chosen], sublayers=training.sublayers
        )


def _divergence(
    model: TransformerBridge, stack: Tensor, moved: Float[Tensor, "depth vectors d_model"]
) -> Tensor:
    """The sum over the depths of the mean `KL(final || lens)`, with gradients."""
    final = logit_readout(model, stack[-1], return_type="log_probs").values
    lens = logit_readout(
        model, moved[:-1], return_type="log_probs", enable_grad=True, chunk_size=512
    ).values
    return (final.exp() * (final - lens)).sum(dim=-1).mean(dim=-1).sum()
