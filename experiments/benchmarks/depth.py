"""Repeats, scopes and the matrix of effects, side by side with what people do today.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.depth    # a few minutes

The peer of the repeats lists the layers of a Hugging Face model anew for each program, as a merged
checkpoint would, and runs lm-evaluation-harness' own `HFLM` on it, on a sample of the programs; its
time is scaled to all. Log-likelihoods are compared. Both sides run in one process, and what is
measured is processor time, because others may use the machine. Scopes are compared with the same
ablations everywhere. The peer of the effect matrix runs the model once for each cell (text, skipped
layer, later layer), with hooks that keep what enters and leaves the later layer; a peer that keeps
all later layers in one run is measured, too. Written are `results/depth.json` and `.md`.
"""

import argparse
import copy
import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.workloads import make_task, random_llama, tokenizer
from interp.ablations import as_ablations, checked_edits
from interp.engine import score_requests
from interp.models import decoder, wrap
from interp.similarity import downstream_effects
from interp.tasks import build_requests, encode, harness_requests, prompt_text

RESULTS = Path(__file__).parent / "results"
SCOPED = ("layer:6", "attn:6", "mlp:6", "head:6.3")
BEST_OF = 3


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of some work, and its result."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def listed(model: Any, order: Sequence[int]) -> Any:
    """A Hugging Face Llama whose layers are copied into an order and numbered by their places."""
    new = copy.deepcopy(model)
    blocks = [copy.deepcopy(model.model.layers[number]) for number in order]
    for place, block in enumerate(blocks):
        block.self_attn.layer_idx = place
    new.model.layers = torch.nn.ModuleList(blocks)
    new.config.num_hidden_layers = len(blocks)
    return new


def by_harness(model: Any, task: Any, examples: int, batch_size: int) -> list[float]:
    """Log-likelihoods of the options by lm-evaluation-harness."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=batch_size, device="cpu")
    asked = [one for doc_id in range(examples) for one in harness_requests(task, doc_id)]
    return [value for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]


def repeats(
    n_layers: int, width: int, examples: int, sample: int, batch_size: int
) -> dict[str, Any]:
    """Every repeat (i, j) by this package, and some of them by the peer."""
    plain, task = random_llama(n_layers, d_model=width), make_task("mmlu-letters", examples)
    model = wrap(copy.deepcopy(plain), tokenizer(), name="random")
    requests: Any = build_requests(task, range(examples), decoder(model))
    programs = as_ablations(model, "repeats")
    edits = [checked_edits(model, program) for program in programs]
    # what is exact is tried once, before the clock runs
    score_requests(model, requests[:4], edits[:1])
    ours, found = seconds_of(lambda: score_requests(model, requests, edits))
    theirs, worst = 0.0, 0.0
    sampled = random.Random(0).sample(range(len(programs)), sample)
    for number in sampled:
        relisted = listed(plain, edits[number].order)
        run = partial(by_harness, relisted, task, examples, batch_size)
        seconds, values = seconds_of(run)
        theirs += seconds / sample * len(programs)
        both = zip(found[number], values, strict=True)
        worst = max(worst, *(abs(mine - value) for (mine, _), value in both))
    return {
        "layers": n_layers, "width": width, "examples": examples, "programs": len(programs),
        "sampled": sample,
        "ours": ours, "theirs": theirs, "times": theirs / ours, "largest difference": worst,
    }  # fmt: skip


def scopes(n_layers: int, width: int, examples: int) -> dict[str, float]:
    """Cost of an ablation at the prompt only, over that of the same ablation everywhere."""
    model = wrap(random_llama(n_layers, d_model=width), tokenizer(), name="random")
    task = make_task("mmlu-letters", examples)
    requests: Any = build_requests(task, range(examples), decoder(model))
    found = {}
    for text in SCOPED:
        both = [checked_edits(model, one) for one in (text, f"{text}@@prompt")]
        score_requests(model, requests[:4], both)
        least = [
            min(seconds_of(partial(score_requests, model, requests, [one]))[0]
                for _ in range(BEST_OF))
            for one in both
        ]  # fmt: skip
        found[text] = least[1] / least[0]
    return found


def _contributions(model: Any, ids: torch.Tensor, skipped: int | None) -> list[torch.Tensor]:
    """What each layer adds, by hooks in one run of a Hugging Face model; a layer may be skipped."""
    entered: list[torch.Tensor] = []
    left: list[torch.Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        resid = args[0] if args else kwargs["hidden_states"]
        value = out[0] if isinstance(out, tuple) else out
        if len(entered) == skipped:
            value = resid
        entered.append(resid)
        left.append(value)
        return (value, *out[1:]) if isinstance(out, tuple) else value

    handles = [b.register_forward_hook(keep, with_kwargs=True) for b in model.model.layers]
    try:
        with torch.no_grad():
            model(ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [after - before for before, after in zip(entered, left, strict=True)]


def effects(n_layers: int, width: int, texts: int, sample: int) -> dict[str, Any]:
    """The matrix of effects by this package, and some of its cells by traced runs."""
    plain = random_llama(n_layers, d_model=width)
    model = wrap(copy.deepcopy(plain), tokenizer(), name="random")
    task = make_task("mmlu-letters", texts)
    prompts = [prompt_text(task, task.documents()[n]) for n in range(texts)]
    downstream_effects(model, prompts[:1])
    ours, table = seconds_of(lambda: downstream_effects(model, prompts))
    cells = table.set_index(["skipped", "layer"])["value"]
    sampled = random.Random(0).sample(range(n_layers - 1), sample)
    seconds, worst = 0.0, 0.0
    rows = [torch.tensor([encode(one, decoder(model))]) for one in prompts]
    whole = [_contributions(plain, ids, None) for ids in rows]
    for skipped in sampled:

        def run(skipped: int = skipped) -> list[list[torch.Tensor]]:
            return [_contributions(plain, ids, skipped) for ids in rows]

        took, found = seconds_of(run)
        seconds += took / sample
        for layer in range(skipped + 1, n_layers):
            changes = [
                ((after[layer] - before[layer]).norm(dim=-1) / before[layer].norm(dim=-1)).mean()
                for after, before in zip(found, whole, strict=True)
            ]
            mean = float(torch.stack(changes).mean())
            worst = max(worst, abs(mean - float(cells[skipped, layer])) / mean)
    each_layer, each_cell = seconds * (n_layers - 1), seconds * len(cells)
    return {
        "texts": texts, "cells": len(cells), "sampled": sample, "ours": ours,
        "a run a layer": each_layer, "a run a cell": each_cell,
        "times a layer": each_layer / ours, "times": each_cell / ours,
        "largest relative difference": worst,
    }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The results in words."""
    r, costs, e = found["repeats"], found["scopes"], found["effects"]
    rows = "".join(f"| `{text}` | {cost:.2f} |\n" for text, cost in costs.items())
    return (
        "# Repeats, scopes, effects downstream\n\n"
        "Made by `python -m experiments.benchmarks.depth`; processor time, one process.\n\n"
        f"All {r['programs']} repeats (i, j) of a random Llama of {r['layers']} layers and width "
        f"{r['width']}, "
        f"{r['examples']} five-shot questions with letters: {r['ours']:.1f} s. The same by "
        "lm-evaluation-harness on models whose layers are listed anew, from "
        f"{r['sampled']} of them: {r['theirs']:.1f} s, {r['times']:.1f} times as long. Largest "
        f"difference of a log-likelihood: {r['largest difference']:.0e} nats.\n\n"
        "Cost of an ablation at the prompt only, over that of the same one everywhere (best of "
        f"{BEST_OF}):\n\n| ablation | ratio |\n| --- | --- |\n{rows}\n"
        f"Effects of each layer on every later one, {e['texts']} five-shot prompts: "
        f"{e['ours']:.1f} s. One traced run for each of the {e['cells']} cells: "
        f"{e['a run a cell']:.1f} s, {e['times']:.1f} times as long; one for each skipped layer, "
        f"which keeps all later ones: {e['a run a layer']:.1f} s, {e['times a layer']:.1f} times "
        f"(both from {e['sampled']} skipped layers). Largest relative difference of a cell: "
        f"{e['largest relative difference']:.0e}.\n"
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--sample", type=int, default=2, help="programs that the peer runs")
    parser.add_argument("--batch-size", type=int, default=8, help="of the peer")
    parser.add_argument("--texts", type=int, default=6, help="of the effects")
    asked = parser.parse_args()
    found = {
        "repeats": repeats(
            asked.layers, asked.width, asked.examples, asked.sample, asked.batch_size
        ),
        "scopes": scopes(asked.layers, asked.width, asked.examples),
        "effects": effects(asked.layers, asked.width, asked.texts, min(2, asked.layers - 1)),
    }
    (RESULTS / "depth.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "depth.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
