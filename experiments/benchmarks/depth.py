"""The depth laboratory, side by side with what people do today.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.depth            # all lines, some minutes
    OMP_NUM_THREADS=1 python -m experiments.benchmarks.depth --only divergence

Lines, each with both sides in turn in one process, so many rounds; what is measured is processor
time, because others may use the machine, and answers are compared:

- `repeats`: every repeat (i, j) of a model, against lm-evaluation-harness' own `HFLM` on Hugging
  Face models whose layers are listed anew, as a merged checkpoint would list them (a sample of the
  programs, scaled to all);
- `scopes`: an ablation at the prompt only, against the same ablation everywhere;
- `divergence`: skipped layers with KL divergence and top-1 agreement, against the same without;
- `greedy`: greedy removal of six layers, against deleting them and `HFLM` (a set of each step,
  scaled to all);
- `effects`: the effects of each layer on every later one, against a traced run a cell (text,
  skipped layer, later layer); a peer that keeps all later layers in one run is measured, too.

Written are `results/depth.json`, in which a line that is run alone takes the place of its last run,
and `results/depth.md`.
"""

import argparse
import copy
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments.benchmarks.workloads import make_task, random_llama, tokenizer
from interp.ablations import as_ablations, checked_edits
from interp.engine import score_requests
from interp.models import decoder, wrap
from interp.similarity import downstream_effects, greedy_removal
from interp.tasks import build_requests, encode, harness_requests, prompt_text

RESULTS = Path(__file__).parent / "results"
SCOPED = ("layer:6", "attn:6", "mlp:6", "head:6.3")


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of some work, and its result."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def spread(values: Sequence[float]) -> list[float]:
    """Median, smallest and largest of several values."""
    return [median(values), min(values), max(values)]


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


def repeats(n_layers: int, width: int, examples: int, rounds: int) -> dict[str, Any]:
    """Every repeat (i, j) by this package, and two of them a round by the peer."""
    plain, task = random_llama(n_layers, d_model=width), make_task("mmlu-letters", examples)
    model = wrap(copy.deepcopy(plain), tokenizer(), name="random")
    requests: Any = build_requests(task, range(examples), decoder(model))
    edits = [checked_edits(model, program) for program in as_ablations(model, "repeats")]
    # what is exact is tried once, before the clock runs
    score_requests(model, requests[:4], edits[:1])
    draw, ours, theirs, worst = random.Random(0), [], [], 0.0
    for _ in range(rounds):
        took, found = seconds_of(lambda: score_requests(model, requests, edits))
        ours.append(took)
        # a short and a long repeat, so that the mean length is about that of all
        few = draw.sample(range(len(edits)), 2)
        relisted = [listed(plain, edits[number].order) for number in few]
        run = [partial(by_harness, one, task, examples, examples) for one in relisted]
        both = [seconds_of(one) for one in run]
        # a program costs what its length is
        lengths = [len(edits[number].order) for number in few]
        every = sum(len(one.order) for one in edits)
        theirs.append(sum(seconds for seconds, _ in both) * every / sum(lengths))
        for number, (_, values) in zip(few, both, strict=True):
            pairs = zip(found[number], values, strict=True)
            worst = max(worst, *(abs(mine - value) for (mine, _), value in pairs))
    return {
        "layers": n_layers, "width": width, "examples": examples, "rounds": rounds,
        "programs": len(edits), "ours": spread(ours), "theirs": spread(theirs),
        "times": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "largest difference": worst,
    }  # fmt: skip


def scopes(n_layers: int, width: int, examples: int, rounds: int) -> dict[str, Any]:
    """Cost of an ablation at the prompt only, over that of the same ablation everywhere."""
    model = wrap(random_llama(n_layers, d_model=width), tokenizer(), name="random")
    task = make_task("mmlu-letters", examples)
    requests: Any = build_requests(task, range(examples), decoder(model))
    found = {}
    for text in SCOPED:
        both = [checked_edits(model, one) for one in (text, f"{text}@@prompt")]
        score_requests(model, requests[:4], both)
        ratios = []
        for _ in range(rounds):
            whole, scoped = (
                seconds_of(partial(score_requests, model, requests, [one]))[0] for one in both
            )
            ratios.append(scoped / whole)
        found[text] = spread(ratios)
    return {"layers": n_layers, "width": width, "examples": examples, "rounds": rounds,
            "ratios": found}  # fmt: skip


def divergence(n_layers: int, width: int, examples: int, rounds: int) -> dict[str, Any]:
    """Skipping each layer with divergences, over the same without; letters and option texts."""
    model = wrap(random_llama(n_layers, d_model=width), tokenizer(), name="random")
    edits = [checked_edits(model, one) for one in as_ablations(model, "layers")]
    edits.insert(0, checked_edits(model, "baseline"))
    found: dict[str, Any] = {}
    for shape in ("mmlu-letters", "hellaswag"):
        requests: Any = build_requests(make_task(shape, examples), range(examples), decoder(model))
        score_requests(model, requests[:4], edits[:2], divergence=True)
        ratios, worst = [], 0.0
        for number in range(rounds):
            order = (False, True) if number % 2 else (True, False)
            took = {
                also: seconds_of(
                    partial(score_requests, model, requests, edits, divergence=also)
                )
                for also in order
            }  # fmt: skip
            ratios.append(took[True][0] / took[False][0])
            for rows in zip(took[False][1], took[True][1], strict=True):
                pairs = zip(*rows, strict=True)
                worst = max(worst, *(abs(one[0] - other[0]) for one, other in pairs))
        found[shape] = {"ratio": spread(ratios), "largest difference": worst}
    return {"layers": n_layers, "width": width, "examples": examples, "rounds": rounds,
            "ratios": found}  # fmt: skip


def greedy(n_layers: int, width: int, examples: int, rounds: int, most: int = 6) -> dict[str, Any]:
    """Greedy removal by this package; and sets of each step deleted and scored by the peer."""
    plain, task = random_llama(n_layers, d_model=width), make_task("mmlu-letters", 2 * examples)
    model = wrap(copy.deepcopy(plain), tokenizer(), name="random")
    requests: Any = build_requests(task, range(examples), decoder(model))
    score_requests(model, requests[:4], [checked_edits(model, "layer:1")])
    ours, theirs, worst = [], [], 0.0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            took, removal = seconds_of(
                lambda: greedy_removal(model, task, most=most, out=folder, metric="gold_logprob")
            )
        ours.append(took)
        total = 0.0
        for step in range(1, most + 1):
            chosen = removal.order.steps[step - 1]
            order = [layer for layer in range(n_layers) if layer not in chosen]
            seconds, values = seconds_of(
                partial(by_harness, listed(plain, order), task, examples, examples)
            )
            # as many sets as the step tries, on half of the examples; then the chosen on all
            total += seconds * (n_layers - step + 1 + 2)
            text = "+".join(f"layer:{layer}" for layer in chosen)
            (mine,) = score_requests(model, requests, [checked_edits(model, text)])
            pairs = zip(mine, values, strict=True)
            worst = max(worst, *(abs(one - value) for (one, _), value in pairs))
        theirs.append(total)
    return {
        "layers": n_layers, "width": width, "examples": 2 * examples, "rounds": rounds,
        "removed": most, "ours": spread(ours), "theirs": spread(theirs),
        "times": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "largest difference": worst,
    }  # fmt: skip


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


def effects(n_layers: int, width: int, texts: int, rounds: int) -> dict[str, Any]:
    """The matrix of effects by this package, and two rows of it a round by traced runs."""
    plain = random_llama(n_layers, d_model=width)
    model = wrap(copy.deepcopy(plain), tokenizer(), name="random")
    task = make_task("mmlu-letters", texts)
    prompts = [prompt_text(task, task.documents()[n]) for n in range(texts)]
    downstream_effects(model, prompts[:1])
    rows = [torch.tensor([encode(one, decoder(model))]) for one in prompts]
    whole = [_contributions(plain, ids, None) for ids in rows]
    ours, a_layer, a_cell, worst, draw = [], [], [], 0.0, random.Random(0)
    for _ in range(rounds):
        took, table = seconds_of(lambda: downstream_effects(model, prompts))
        ours.append(took)
        cells = table.set_index(["skipped", "layer"])["value"]
        seconds = 0.0
        for skipped in draw.sample(range(n_layers - 1), 2):

            def run(skipped: int = skipped) -> list[list[torch.Tensor]]:
                return [_contributions(plain, ids, skipped) for ids in rows]

            took, found = seconds_of(run)
            seconds += took / 2
            for layer in range(skipped + 1, n_layers):
                changes = [
                    ((now[layer] - then[layer]).norm(dim=-1) / then[layer].norm(dim=-1)).mean()
                    for now, then in zip(found, whole, strict=True)
                ]
                mean = float(torch.stack(changes).mean())
                worst = max(worst, abs(mean - float(cells[skipped, layer])) / mean)
        a_layer.append(seconds * (n_layers - 1))
        a_cell.append(seconds * len(cells))
    return {
        "layers": n_layers, "width": width, "examples": texts, "rounds": rounds,
        "cells": len(cells), "ours": spread(ours), "theirs": spread(a_cell),
        "times": spread([b / a for a, b in zip(ours, a_cell, strict=True)]),
        "times a layer": spread([b / a for a, b in zip(ours, a_layer, strict=True)]),
        "largest difference": worst,
    }  # fmt: skip


LINES: dict[str, Callable[[int, int, int, int], dict[str, Any]]] = {
    "repeats": repeats,
    "scopes": scopes,
    "divergence": divergence,
    "greedy": greedy,
    "effects": effects,
}
WORDS = {
    "repeats": "all {programs} repeats (i, j), five-shot letters; models listed anew, HFLM",
    "greedy": "greedy removal of {removed} layers, five-shot letters; layers deleted, HFLM",
    "effects": "effects of each layer on later ones ({cells} cells), five-shot prompts; a traced "
    "run a cell",
}


def _with_spread(values: Sequence[float], digits: int, unit: str = "") -> str:
    middle, least, most = (f"{value:.{digits}f}" for value in values)
    return f"{middle}{unit} ({least} to {most})"


def _size(line: dict[str, Any]) -> str:
    return (
        f"{line['layers']} layers x {line['width']}, {line['examples']} examples, "
        f"{line['rounds']} rounds"
    )


def page(found: dict[str, Any]) -> str:
    """The results in words."""
    lines = [
        "# Order, place and scope of layers: what they cost", "",
        "Made by `python -m experiments.benchmarks.depth`: processor time, one process, both sides "
        "in turn; random Llamas, vocabulary 32,000. Medians (least to most).",
    ]  # fmt: skip
    rows = []
    for name, words in WORDS.items():
        if name not in found:
            continue
        r = found[name]
        rows.append(
            f"| {words.format(**r)} | {_size(r)} | {_with_spread(r['ours'], 1)} | "
            f"{_with_spread(r['theirs'], 1)} | {_with_spread(r['times'], 1, 'x')} | "
            f"{r['largest difference']:.0e} |"
        )
    if rows:
        lines += [
            "", "| line; peer | size | ours, s | peer, s | ratio | largest difference |",
            "| --- | --- | --- | --- | --- | --- |", *rows,
        ]  # fmt: skip
    if "effects" in found:
        ratio = _with_spread(found["effects"]["times a layer"], 2, "x")
        lines += [
            "",
            f"A peer that keeps all later layers in one traced run takes {ratio} of ours.",
        ]
    costs = []
    if "scopes" in found:
        size = _size(found["scopes"])
        for text, ratio in found["scopes"]["ratios"].items():
            what = f"`{text}@@prompt` over `{text}`, letters"
            costs.append(f"| {what} | {size} | {_with_spread(ratio, 2)} | |")
    if "divergence" in found:
        size = _size(found["divergence"])
        for shape, one in found["divergence"]["ratios"].items():
            costs.append(
                f"| each layer skipped, {shape}: with KL and top-1 over without | {size} | "
                f"{_with_spread(one['ratio'], 2)} | {one['largest difference']:.0e} |"
            )
    if costs:
        head = ["| cost of | size | ratio | largest difference |", "| --- | --- | --- | --- |"]
        lines += ["", *head, *costs]
    lines += ["", "Differences are of log-likelihoods in nats, of effects relative."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(LINES), default=list(LINES))
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    path = RESULTS / "depth.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in asked.only:
        found[name] = LINES[name](asked.layers, asked.width, asked.examples, asked.rounds)
        path.write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "depth.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
