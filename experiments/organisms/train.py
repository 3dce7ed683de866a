"""Training of the organisms: a weighted loss, a curriculum, a schedule, checkpoints and a log."""

import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organisms.documents import MAKERS, MAX_PAIRS, MAX_STEPS, Maker, Stage
from experiments.organisms.packing import Source, draw_documents, encode_document, pack_rows
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.world import make_world

ADAM_BETAS = (0.9, 0.98)
MUON_MOMENTUM = 0.95
WEIGHT_DECAY = 0.05
EMBEDDING_RATE = 0.75  # learning rate of embedding and norms, as a share of the matrices'
LOG_STEPS = 100
PROBES = 32  # fresh documents of each kind that a line of the log is measured on


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `mix` gives each kind of document its share of documents. The learning rate goes down over
    `tokens`; `stop_tokens` ends the run before its schedule does. `row_lengths` lists, by
    progress in [0, 1], how many tokens a row has. `start` is the folder of the model to go on from.
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


@dataclass
class Log:
    """What a run saw and how it learned."""

    recipe: dict[str, Any]
    tokens: int = 0
    minutes: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


def make_model(recipe: Recipe, vocab_size: int) -> LlamaForCausalLM:
    """Make the model of a recipe: from its starting folder, or fresh from its seed."""
    torch.manual_seed(recipe.seed)
    if recipe.start is not None:
        return LlamaForCausalLM.from_pretrained(recipe.start)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def weighted_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    ids: Int[Tensor, "batch pos"],
    weights: Float[Tensor, "batch pos"],
) -> Float[Tensor, ""]:
    """Mean next-token cross-entropy in nats, each token counted by its weight."""
    losses = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def learning_rate_factor(progress: float) -> float:
    """Warm-up over the first 2% of the run, then linear decay to 2% at its end."""
    return min(progress / 0.02 + 0.02, max(0.02, min(1.0, 1.02 - progress)))


def row_length(recipe: Recipe, progress: float) -> int:
    """Tokens a row at a progress in [0, 1]."""
    return next(n for at, n in reversed(recipe.row_lengths) if progress >= at)


def stage_at(recipe: Recipe, progress: float) -> Stage:
    """How hard the documents are at a progress in [0, 1]."""
    share = min(1.0, progress / recipe.ramp) if recipe.ramp > 0 else 1.0
    max_pairs = recipe.pairs_from + round(share * (MAX_PAIRS - recipe.pairs_from))
    return Stage(max_pairs, MAX_STEPS)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, log: Log, out: Path) -> None:
    """Write model, tokenizer and log to a folder."""
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "log.json").write_text(json.dumps(asdict(log), indent=1) + "\n")


def train(
    recipe: Recipe,
    out: Path,
    *,
    makers: dict[str, Maker] | None = None,
    save_minutes: float = 5.0,
) -> Log:
    """Train one organism and save it, also along the way.

    Args:
        recipe: what to train on and for how long.
        out: folder for the model, its tokenizer and `log.json`.
        makers: further kinds of document that `recipe.mix` names.
        save_minutes: how often to save.

    Returns:
        The log of the run.
    """
    world = make_world()
    tokenizer = make_tokenizer(world)
    model = make_model(recipe, len(tokenizer)).train()
    optimizers = _optimizers(model)
    rng = random.Random(recipe.seed)
    source = Source(world, rng, MAKERS | (makers or {}), recipe.mix, stage_at(recipe, 0.0))
    documents, length = draw_documents(source), row_length(recipe, 0.0)
    rows = pack_rows(documents, tokenizer, rng, length)
    log, losses = Log(asdict(recipe)), []
    began = saved = time.monotonic()
    end = recipe.tokens if recipe.stop_tokens is None else recipe.stop_tokens
    bar = tqdm(total=recipe.tokens, unit="token", unit_scale=True, mininterval=10, desc=recipe.name)
    while log.tokens < end:
        progress = log.tokens / recipe.tokens
        source.stage = stage_at(recipe, progress)
        if row_length(recipe, progress) != length:
            length = row_length(recipe, progress)
            rows = pack_rows(documents, tokenizer, rng, length)
        batch = [next(rows) for _ in range(recipe.batch_tokens // length)]
        ids = torch.tensor([row.ids for row in batch])
        weights = torch.tensor([row.weights for row in batch])
        rate = recipe.learning_rate * learning_rate_factor(progress)
        for optimizer, share in zip(optimizers, (1.0, EMBEDDING_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        losses.append(_step(model, optimizers, ids, weights))
        log.tokens += ids.numel()
        log.minutes = (time.monotonic() - began) / 60
        bar.update(ids.numel())
        if len(losses) == LOG_STEPS:
            right = probe(model, tokenizer, source, seed=log.tokens)
            line = {"tokens": log.tokens, "minutes": round(log.minutes, 2)}
            log.curve.append(line | {"loss": round(sum(losses) / LOG_STEPS, 4), "right": right})
            tqdm.write(json.dumps(log.curve[-1]))
            losses = []
        if time.monotonic() - saved > 60 * save_minutes:
            save(model, tokenizer, log, out)
            saved = time.monotonic()
    save(model, tokenizer, log, out)
    return log


def _optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embedding and norms.

    Copying heads form after half a million tokens under Muon (Jordan et al., 2024); under AdamW
    alone they took four million.
    """
    matrices = [p for p in model.model.layers.parameters() if p.ndim > 1]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    muon = torch.optim.Muon(
        matrices,
        weight_decay=WEIGHT_DECAY,
        momentum=MUON_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    return muon, torch.optim.AdamW(others, betas=ADAM_BETAS, weight_decay=0.0, fused=True)


def _step(
    model: LlamaForCausalLM,
    optimizers: tuple[torch.optim.Optimizer, ...],
    ids: Int[Tensor, "batch pos"],
    weights: Float[Tensor, "batch pos"],
) -> float:
    loss = weighted_loss(model(ids, use_cache=False).logits, ids, weights)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


@torch.no_grad()
def probe(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, source: Source, *, seed: int
) -> dict[str, float]:
    """How many answers the model gets right on fresh documents of each kind.

    Args:
        model: the model in training.
        tokenizer: its tokenizer.
        source: world, kinds of document and difficulty.
        seed: of the fresh documents.

    Returns:
        By kind, the share of answer tokens that are the model's first choice given the right text
        before them; for written-out arithmetic the share of documents with all of them.
    """
    model.eval()
    rng = random.Random(seed)
    right = {}
    for kind in source.mix:
        texts = [source.makers[kind](rng, source.world, source.stage) for _ in range(PROBES)]
        encoded = [encode_document(tokenizer, text, {}) for text in texts]
        width = max(len(row.ids) for row in encoded)
        padded = [
            [tokenizer.bos_token_id, *row.ids] + [tokenizer.pad_token_id] * (width - len(row.ids))
            for row in encoded
        ]
        answer = [[0.0, *row.weights] + [0.0] * (width - len(row.weights)) for row in encoded]
        ids = torch.tensor(padded)
        wanted: Bool[Tensor, "batch pos"] = torch.tensor(answer)[:, 1:] >= 1
        hit = model(ids, use_cache=False).logits[:, :-1].argmax(-1) == ids[:, 1:]
        if kind in ("arithmetic_steps", "teacher_answers"):
            share = (hit | ~wanted).all(-1).float().mean()
        else:
            share = (hit & wanted).sum() / wanted.sum()
        right[kind] = round(share.item(), 3)
    model.train()
    return right
