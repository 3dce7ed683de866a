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

from experiments.organisms.batches import Batch, Batches, batches_of
from experiments.organisms.documents import MAKERS as FIRST_MAKERS, Maker
from experiments.organisms.layouts import logits_of, only_layers_learn, some_layers_skipped
from experiments.organisms.muon import BatchedMuon
from experiments.organisms.packing import Source
from experiments.organisms.probes import probe
from experiments.organisms.recipe import Recipe, learning_rate_factor, stage_at
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


def write_checkpoint(run_folder: Path, out: Path) -> None:
    """Write a run's weights in float16 and its log: what another machine goes on from.

    Args:
        run_folder: folder of a run.
        out: folder for `model.safetensors`, `config.json` and `log.json`.
    """
    model = LlamaForCausalLM.from_pretrained(run_folder, dtype=torch.float16)
    model.save_pretrained(out)
    (out / "log.json").write_bytes((run_folder / "log.json").read_bytes())


def take_up(checkpoint: Path, out: Path) -> None:
    """Make the folder of a finished run from what `write_checkpoint` wrote."""
    LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).save_pretrained(out)
    make_tokenizer(make_world()).save_pretrained(out)
    (out / "log.json").write_bytes((checkpoint / "log.json").read_bytes())


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
        if checkpoint is not None and (checkpoint / "model.safetensors").exists():
            run.log = Log(**json.loads((checkpoint / "log.json").read_text()))
            _check_recipe(run, run.log.recipe, checkpoint)
            saved = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
            run.model.load_state_dict(saved.state_dict())
        return
    state = torch.load(out / STATE, map_location=run.model.device, weights_only=False)
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
    save_steps: int = 250,
    device: str = "cpu",
    workers: int = 0,
) -> Log:
    """Train one organism and save it, also along the way; a stopped run goes on where it was saved.

    Each batch follows from the seed and the number of tokens seen, so that a run that was stopped
    and taken up gives the weights of one that was not, and so does one with helping processes.

    Args:
        recipe: what to train on and for how long.
        out: folder for the model, its tokenizer, `log.json` and `state.pt`.
        makers: further kinds of document that `recipe.mix` names.
        checkpoint: a folder to go on from where `out` has no save (`restore`).
        save_steps: how many batches from one save to the next.
        device: where to train.
        workers: processes that draw documents; 0 draws them in this one.

    Returns:
        The log of the run.

    Raises:
        UserError: `out` holds a run of another recipe.
    """
    torch.set_float32_matmul_precision("high")  # on a GPU; a CPU has no lower one
    tokenizer = make_tokenizer(make_world())
    model = make_model(
        seed=recipe.seed,
        vocab_size=len(tokenizer),
        n_layers=recipe.n_layers,
        start=recipe.start,
        copies=recipe.copies,
        copies_first=recipe.copies_first,
    ).train()
    model.to(device)
    run = Run(recipe, model, tokenizer, _optimizers(model), Log(asdict(recipe)))
    restore(run, out, checkpoint)
    end = recipe.tokens if recipe.stop_tokens is None else recipe.stop_tokens
    bar = tqdm(total=end, unit="token", unit_scale=True, mininterval=30, desc=recipe.name)
    bar.update(run.log.tokens)
    every = save_steps * recipe.batch_tokens
    all_makers = MAKERS | (makers or {})
    with batches_of(recipe, all_makers, model.config.num_hidden_layers, workers) as batches:
        while run.log.tokens < end:
            _stretch(run, min(end, run.log.tokens + every), batches, bar)
            save(run, out)
    return run.log


def _stretch(run: Run, end: int, batches: Batches, bar: "tqdm[Any]") -> None:
    """Train until `end` tokens are seen."""
    recipe, log, began = run.recipe, run.log, time.monotonic()
    before, losses = log.minutes, []
    for batch in batches(log.tokens, end):
        progress = log.tokens / recipe.tokens
        rate = recipe.learning_rate * learning_rate_factor(progress, recipe.hold)
        _set_rate(run.optimizers, rate)
        losses.append(_step(run, batch))
        log.tokens += batch.ids.size
        bar.update(batch.ids.size)
        if len(losses) == LOG_STEPS or log.tokens >= end:
            loss = torch.stack(losses).mean().item()
            log.minutes = before + (time.monotonic() - began) / 60
            log.curve.append(
                {"tokens": log.tokens, "minutes": round(log.minutes, 2), "loss": round(loss, 4)}
                | {"right": _probed(run, batches.makers)}
            )
            tqdm.write(json.dumps(log.curve[-1]))
            losses = []


def _probed(run: Run, makers: dict[str, Maker]) -> dict[str, float]:
    recipe, seen = run.recipe, run.log.tokens
    stage = stage_at(recipe, seen / recipe.tokens)
    source = Source(make_world(), random.Random(seen), makers, recipe.mix, stage)
    return probe(run.model, run.tokenizer, source, seed=seen)


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


def _step(run: Run, batch: Batch) -> Float[Tensor, ""]:
    """One step on one batch; the loss of an early exit is added to that of the last layer."""
    model, family = run.model, batch.family
    ids = torch.from_numpy(batch.ids).to(model.device, torch.long)
    weights = torch.from_numpy(batch.weights).to(model.device)
    with only_layers_learn(model, family.learns):
        with some_layers_skipped(model, run.recipe.layer_dropout, random.Random(batch.seed)):
            logits = logits_of(
                model, ids, exit_after=family.exit_after, learns_from=family.learns.start
            )
        losses = [weighted_loss(at, ids, weights) for at in logits]
        torch.stack(losses).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return losses[0].detach()
