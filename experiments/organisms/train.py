"""Training of the organisms: a weighted loss, a curriculum, a schedule, checkpoints and a log."""

import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organisms.documents import (
    MAKERS as FIRST_MAKERS,
    MAX_PAIRS,
    MAX_STEPS,
    Maker,
    Stage,
)
from experiments.organisms.layouts import (
    Family,
    families_of,
    logits_of,
    only_layers_learn,
    some_layers_skipped,
)
from experiments.organisms.muon import BatchedMuon
from experiments.organisms.packing import (
    CONTEXT_WEIGHT,
    Row,
    Source,
    draw_documents,
    pack_rows,
)
from experiments.organisms.probes import probe
from experiments.organisms.shape import make_model
from experiments.organisms.skills import SKILLS
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.world import make_world
from interp.errors import UserError

ADAM_BETAS = (0.9, 0.98)
MUON_MOMENTUM = 0.95
WEIGHT_DECAY = 0.05
EMBEDDING_RATE = 0.75  # learning rate of embedding and norms, as a share of the matrices'
LOG_STEPS = 100
STATE = "state.pt"
MAKERS = FIRST_MAKERS | SKILLS


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `mix` gives each kind of document its share of documents. The learning rate stays at its peak
    for `hold` of the run and goes down over the rest of `tokens`; `stop_tokens` ends the run before
    its schedule does. `row_lengths` lists, by progress in [0, 1], how many tokens a row has.
    `start` is the folder of the model to go on from, `copies` names the layers of it that are
    copied, softened, behind its last. `n_layers` is the depth of a model made afresh.
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
    n_layers: int = 8


@dataclass
class Log:
    """What a run saw and how it learned."""

    recipe: dict[str, Any]
    tokens: int = 0
    minutes: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


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


def write_checkpoint(run_folder: Path, out: Path) -> None:
    """Write a run's weights in float16 and its log: what another machine goes on from.

    Args:
        run_folder: folder of a run.
        out: folder for `model.safetensors`, `config.json` and `log.json`.
    """
    model = LlamaForCausalLM.from_pretrained(run_folder, dtype=torch.float16)
    model.save_pretrained(out)
    (out / "log.json").write_bytes((run_folder / "log.json").read_bytes())


def save(run: "Run", out: Path) -> None:
    """Write model, tokenizer, log and what is needed to go on (`state.pt`) to a folder.

    Each file is written whole, `state.pt` last, so that a run that is stopped while it saves goes
    on from the save before.
    """
    staged = out / "staged"
    run.model.save_pretrained(staged)
    run.tokenizer.save_pretrained(staged)
    (staged / "log.json").write_text(json.dumps(asdict(run.log), indent=1) + "\n")
    state = {
        "recipe": asdict(run.recipe),
        "log": asdict(run.log),
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
    }
    torch.save(state, staged / STATE)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == STATE):
        path.replace(out / path.name)
    staged.rmdir()


def restore(run: "Run", out: Path, checkpoint: Path | None = None) -> None:
    """Take up a run where its last save left it.

    Args:
        run: the run as it begins; it is changed.
        out: the run's folder; without a save in it the run begins at its beginning.
        checkpoint: a folder with weights and a log to go on from where `out` has no save. The
            momenta of the optimizers begin at zero then.

    Raises:
        UserError: a folder holds a run of another recipe.
    """
    if not (out / STATE).exists():
        if checkpoint is not None and (checkpoint / "log.json").exists():
            run.log = Log(**json.loads((checkpoint / "log.json").read_text()))
            _check_recipe(run, run.log.recipe, checkpoint)
            saved = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
            run.model.load_state_dict(saved.state_dict())
        return
    state = torch.load(out / STATE, weights_only=False)
    _check_recipe(run, state["recipe"], out)
    run.model.load_state_dict(state["model"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.log = Log(**state["log"])


def _check_recipe(run: "Run", saved: dict[str, Any], folder: Path) -> None:
    """Refuse a save of another recipe; what an older recipe does not name has its default."""
    here = asdict(run.recipe)
    there = json.loads(json.dumps({**asdict(Recipe("", {}, 0, 0)), **saved}))
    if json.loads(json.dumps(here)) != there:
        name = run.recipe.name
        raise UserError(f"{folder} holds a run of another recipe than {name!r}: move it away")


@dataclass
class Run:
    """A model in training, with all that goes on with it."""

    recipe: Recipe
    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    optimizers: tuple[torch.optim.Optimizer, ...]
    log: Log


def train(
    recipe: Recipe,
    out: Path,
    *,
    makers: dict[str, Maker] | None = None,
    checkpoint: Path | None = None,
    save_tokens: int = 500_000,
) -> Log:
    """Train one organism and save it, also along the way; a stopped run goes on where it was saved.

    Documents are drawn anew after each save, from the seed and the number of tokens seen, so that a
    run that was stopped and taken up gives the weights of one that was not.

    Args:
        recipe: what to train on and for how long.
        out: folder for the model, its tokenizer, `log.json` and `state.pt`.
        makers: further kinds of document that `recipe.mix` names.
        checkpoint: a folder to go on from where `out` has no save (`restore`).
        save_tokens: how many tokens from one save to the next.

    Returns:
        The log of the run.

    Raises:
        UserError: `out` holds a run of another recipe.
    """
    tokenizer = make_tokenizer(make_world())
    model = make_model(
        seed=recipe.seed,
        vocab_size=len(tokenizer),
        n_layers=recipe.n_layers,
        start=recipe.start,
        copies=recipe.copies,
    ).train()
    run = Run(recipe, model, tokenizer, _optimizers(model), Log(asdict(recipe)))
    restore(run, out, checkpoint)
    end = recipe.tokens if recipe.stop_tokens is None else recipe.stop_tokens
    bar = tqdm(total=end, unit="token", unit_scale=True, mininterval=30, desc=recipe.name)
    bar.update(run.log.tokens)
    while run.log.tokens < end:
        _stretch(run, min(end, run.log.tokens + save_tokens), makers or {}, bar)
        save(run, out)
    return run.log


def _stretch(run: Run, end: int, makers: dict[str, Maker], bar: "tqdm[Any]") -> None:
    """Train until `end` tokens are seen, on documents drawn afresh."""
    recipe, log, began, losses = run.recipe, run.log, time.monotonic(), []
    before, rng = log.minutes, random.Random(f"{recipe.seed}-{log.tokens}")
    families = _families(recipe, run.model)
    stage, length = stage_at(recipe, log.tokens / recipe.tokens), 0
    sources = [Source(make_world(), rng, MAKERS | makers, x.mix, stage) for x in families]
    drawn = [draw_documents(source) for source in sources]
    while log.tokens < end:
        progress = log.tokens / recipe.tokens
        for source in sources:
            source.stage = stage_at(recipe, progress)
        if row_length(recipe, progress) != length:
            length = row_length(recipe, progress)
            rows = [
                pack_rows(x, run.tokenizer, rng, length, context_weight=recipe.context_weight)
                for x in drawn
            ]
        which = rng.choices(range(len(families)), [x.share for x in families])[0]
        batch = [next(rows[which]) for _ in range(recipe.batch_tokens // length)]
        rate = recipe.learning_rate * learning_rate_factor(progress, recipe.hold)
        _set_rate(run.optimizers, rate)
        losses.append(_step(run, batch, families[which], rng))
        log.tokens += len(batch) * length
        log.minutes = before + (time.monotonic() - began) / 60
        bar.update(len(batch) * length)
        if len(losses) == LOG_STEPS or log.tokens >= end:
            right: dict[str, float] = {}
            for source in sources:
                right |= probe(run.model, run.tokenizer, source, seed=log.tokens)
            line = {"tokens": log.tokens, "minutes": round(log.minutes, 2)}
            log.curve.append(line | {"loss": round(sum(losses) / len(losses), 4), "right": right})
            tqdm.write(json.dumps(log.curve[-1]))
            losses = []


def _families(recipe: Recipe, model: LlamaForCausalLM) -> list[Family]:
    return families_of(
        recipe.mix,
        model.config.num_hidden_layers,
        early=recipe.early,
        early_until=recipe.early_until,
        late=recipe.late,
        late_from=recipe.late_from,
        learns_from=recipe.learns_from,
    )


def _set_rate(optimizers: tuple[torch.optim.Optimizer, ...], rate: float) -> None:
    for optimizer, share in zip(optimizers, (1.0, EMBEDDING_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * share


def _optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embedding and norms.

    Copying heads form after half a million tokens under Muon (Jordan et al., 2024); under AdamW
    alone they took four million.
    """
    matrices = [p for p in model.model.layers.parameters() if p.ndim > 1]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    muon = BatchedMuon(matrices, weight_decay=WEIGHT_DECAY, momentum=MUON_MOMENTUM)
    return muon, torch.optim.AdamW(others, betas=ADAM_BETAS, weight_decay=0.0, fused=True)


def _step(run: Run, batch: list[Row], family: Family, rng: random.Random) -> float:
    """One step on one batch; the loss of an early exit is added to that of the last layer."""
    ids = torch.tensor([row.ids for row in batch])
    weights = torch.tensor([row.weights for row in batch])
    model = run.model
    with only_layers_learn(model, family.learns):
        with some_layers_skipped(model, run.recipe.layer_dropout, rng):
            logits = logits_of(
                model, ids, exit_after=family.exit_after, learns_from=family.learns.start
            )
        losses = [weighted_loss(at, ids, weights) for at in logits]
        torch.stack(losses).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return losses[0].item()
