"""The tuned lens: one affine map per depth, trained to predict the model's own final prediction.

Belrose et al., "Eliciting latent predictions from transformers with the tuned lens" (arXiv
2303.08112). The plain lens reads early layers in the basis of the last layer, and is biased there.
A tuned lens reads `h` as `h + A h + b`, with `A` and `b` trained to minimise `KL(final prediction
|| lens prediction)`. Both start at zero, which is the plain lens.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError, folder_given, path_given
from interp.lens.readout import Translate
from interp.lens.residual_stream import depths
from interp.models import decoder, model_name, weights_hash
from interp.records import write_whole

FILE = "tuned-lens.safetensors"


@dataclass(frozen=True, eq=False)
class TunedLens:
    """The maps of a tuned lens, and the card that says how they were made.

    Attributes:
        matrices: `A` of every depth but the last, in the order of `interp.lens.depths`.
        biases: `b` of these depths.
        sublayers: whether there are maps for depths after attentions.
        card: the model, the hash of its weights, the calibration text, the training, and the
            held-out divergence by depth.
    """

    matrices: Float[Tensor, "depth d_model d_model_in"]
    biases: Float[Tensor, "depth d_model"]
    sublayers: bool
    card: dict[str, Any]

    def translator(self, model: TransformerBridge, *, sublayers: bool) -> Translate:
        """The function that a readout applies before the final norm.

        Args:
            model: the model that is read.
            sublayers: whether the stack has depths after attentions.

        Raises:
            UserError: the lens was trained for other weights, or not for these depths.
        """
        if self.card["weights_sha256"] != weights_hash(model):
            raise UserError(
                f"tuned lens of {self.card['model']}: it was trained for other weights than those "
                f"of {model_name(model)}"
            )
        if sublayers and not self.sublayers:
            raise UserError("tuned lens: it was trained for layers only (sublayers=False)")
        n_layers = decoder(model).n_layers
        step = 2 if self.sublayers and not sublayers else 1
        n_own = len(depths(n_layers, sublayers=self.sublayers)) - 1
        kept = torch.arange(0, n_own, step)
        device = decoder(model).device
        return translated(self.matrices[kept].to(device), self.biases[kept].to(device))

    def save(self, folder: str | Path) -> Path:
        """Write the maps as safetensors and the card as `README.md`.

        Raises:
            UserError: the folder is not empty.
        """
        folder = new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"matrices": self.matrices.cpu(), "biases": self.biases.cpu()}
        write_whole(folder / FILE, save(tensors, metadata={"card": json.dumps(self.card)}))
        write_whole(folder / "README.md", ("\n".join(_card_lines(self.card)) + "\n").encode())
        return folder

    def __repr__(self) -> str:
        return f"TunedLens({self.card['model']}: {len(self.biases)} maps, on {self.card['text']})"


def new_folder(out: str | Path) -> Path:
    """The path of a folder that is new or empty; UserError where it is not.

    Args:
        out: path of the folder.

    Returns:
        The path.
    """
    folder = folder_given("out", out)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"out {folder}: it is not empty; give another folder")
    return folder


def load_tuned_lens(folder: str | Path) -> TunedLens:
    """Load a tuned lens.

    Args:
        folder: the folder that `train_tuned_lens` wrote.

    Returns:
        A lens for `logit_lens(..., tuned=...)`.

    Raises:
        UserError: there is no lens, or it is damaged.
    """
    path = path_given("tuned lens", folder) / FILE
    if not path.is_file():
        raise UserError(f"tuned lens {folder}: no {FILE} there")
    try:
        with safe_open(path, "pt") as file:
            card = json.loads(file.metadata()["card"])
            return TunedLens(
                file.get_tensor("matrices"), file.get_tensor("biases"), card["sublayers"], card
            )
    except Exception as error:  # safetensors raises its own errors and others
        raise UserError(f"tuned lens {folder}: {FILE} cannot be read ({error})") from error


def translated(
    matrices: Float[Tensor, "maps d_model d_model_in"], biases: Float[Tensor, "maps d_model"]
) -> Translate:
    """The maps as a function of a stack; the last depth is not changed."""

    def translate(stack: Tensor) -> Tensor:
        early = stack[:-1].to(matrices.dtype)
        moved = early + torch.baddbmm(biases[:, None], early, matrices.transpose(1, 2))
        return torch.cat([moved.to(stack.dtype), stack[-1:]])

    return translate


def held_out_table(card: dict[str, Any]) -> pd.DataFrame:
    """A card's held-out divergence from the final prediction, in nats, by depth.

    Columns `model text held_out_tokens depth layer after plain tuned`.

    Args:
        card: the card of a tuned lens (`TunedLens.card`).

    Returns:
        One row per depth: `model text held_out_tokens depth layer after plain tuned`.
    """
    named = {name: card[name] for name in ("model", "text", "held_out_tokens")}
    return pd.DataFrame([named | row for row in _held_out(card)])


def _held_out(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    read_depths = depths(card["n_layers"], sublayers=card["sublayers"])
    for depth, plain, tuned in zip(
        read_depths, card["held_out_kl_plain"], card["held_out_kl_tuned"], strict=True
    ):
        yield {
            "depth": depth.number,
            "layer": depth.layer,
            "after": depth.after,
            "plain": plain,
            "tuned": tuned,
        }


def _card_lines(card: dict[str, Any]) -> Iterator[str]:
    yield f"# Tuned lens of {card['model']}\n"
    yield "One affine map per depth (Belrose et al., arXiv 2303.08112): `h + A h + b` is read by"
    yield "the model's final norm and unembedding. Trained to minimise KL(final || lens).\n"
    for name in ("weights_sha256", "text", "text_sha256", "train_tokens", "held_out_tokens",
                 "steps", "learning_rate", "seed"):  # fmt: skip
        yield f"- {name.replace('_', ' ')}: {card[name]}"
    yield "\nHeld-out divergence from the final prediction, in nats:\n"
    yield "| depth | after | plain lens | tuned lens |\n| --- | --- | --- | --- |"
    for row in _held_out(card):
        place = row["after"] if row["layer"] < 0 else f"{row['after']} {row['layer']}"
        yield f"| {row['depth']:g} | {place} | {row['plain']:.4f} | {row['tuned']:.4f} |"


def check_tuned(given: Any) -> None:
    """Refuse anything but a tuned lens or None."""
    if given is not None and not isinstance(given, TunedLens):
        raise UserError(f"tuned {given!r:.80}: allowed is an interp.lens.TunedLens, or none")
