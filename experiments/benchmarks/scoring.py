"""All-layer and all-head sweeps, side by side with what people use today.

    python -m experiments.benchmarks.scoring   # every line: an hour
    python -m experiments.benchmarks.scoring --lines hellaswag-layers --repeats 1

Each measurement is a process of its own, so that its peak memory is its own; ours and the peer's
take turns. The peer of layer sweeps deletes each layer in memory and runs lm-evaluation-harness'
own `HFLM` at its best batch size, on the whole model and a sample of the layers, its time scaled to
all of them (each costs the same); the peer of the head sweep runs TransformerLens' `run_with_hooks`
in a loop, on a sample of the heads, scaled likewise. Answers are compared. With one thread on a
core of its own (`OMP_NUM_THREADS=1 taskset -c 1 ...`) other work disturbs the least.
"""

import argparse
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.workloads import make_task, random_llama, tokenizer

RESULTS = Path("experiments/benchmarks/results")
HFLM_BATCHES = (4, 16)
SAMPLED_HEADS, SAMPLED_LAYERS = 3, 2


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        shape: the shape of the rows.
        family: `layers` or `heads`.
        examples: how many rows.
        n_layers: the number of layers of the model.
    """

    shape: str
    family: str
    examples: int
    n_layers: int = 12


LINES = {
    "mmlu-letters-layers": Line("mmlu-letters", "layers", 32),
    "mmlu-texts-layers": Line("mmlu-texts", "layers", 16),
    "hellaswag-layers": Line("hellaswag", "layers", 32),
    "short-endings-layers": Line("short-endings", "layers", 32),
    "mmlu-letters-heads": Line("mmlu-letters", "heads", 24),
    "mmlu-letters-6-layers": Line("mmlu-letters", "layers", 32, 6),
    "mmlu-letters-24-layers": Line("mmlu-letters", "layers", 32, 24),
    "mmlu-letters-64-examples": Line("mmlu-letters", "layers", 64),
}


def ours(line: Line) -> dict[str, Any]:
    """The sweep by this toolkit."""
    from interp.ablations import Edits, as_ablations, checked_edits
    from interp.engine import score_requests
    from interp.models import decoder, wrap
    from interp.tasks import build_requests

    model = wrap(random_llama(line.n_layers), tokenizer(), name="random")
    task = make_task(line.shape, line.examples)
    ablations = as_ablations(model, {"heads": "heads@zero"}.get(line.family, line.family))
    edits = [Edits(), *(checked_edits(model, a) for a in ablations)]
    _warm_up(lambda: decoder(model).root(torch.ones(1, 64, dtype=torch.long)))
    began = time.perf_counter()
    requests: Any = build_requests(task, range(line.examples), decoder(model))
    found = score_requests(model, requests, edits)
    seconds = time.perf_counter() - began
    from experiments.benchmarks.arithmetic import remaining_operations

    operations = remaining_operations(model, requests, edits)
    chosen = {
        text: [value for value, _ in scores]
        for text, scores in zip(["baseline", *(a.text for a in ablations)], found, strict=True)
    }
    return {"seconds": seconds, "scores": chosen, "operations": operations}


def harness(line: Line, batch_size: int) -> dict[str, Any]:
    """The same sweep by lm-evaluation-harness on models with a layer deleted in memory."""
    model, task = random_llama(line.n_layers), make_task(line.shape, line.examples)
    _warm_up(lambda: model(torch.ones(1, 64, dtype=torch.long)))
    layers = list(model.model.layers)
    sampled = random.Random(0).sample(range(line.n_layers), min(SAMPLED_LAYERS, line.n_layers))
    began = time.perf_counter()
    found = {"baseline": _by_harness(model, task, line.examples, batch_size)}
    baseline, began = time.perf_counter() - began, time.perf_counter()
    for deleted in sampled:
        kept = [block for i, block in enumerate(layers) if i != deleted]
        for i, block in enumerate(kept):
            block.self_attn.layer_idx = i
        model.model.layers = torch.nn.ModuleList(kept)
        model.config.num_hidden_layers = len(kept)
        found[f"layer:{deleted}"] = _by_harness(model, task, line.examples, batch_size)
    each = (time.perf_counter() - began) / len(sampled)
    return {"seconds": baseline + each * line.n_layers, "scores": found}


def _by_harness(model: Any, task: Any, examples: int, batch_size: int) -> list[float]:
    from lm_eval.models.huggingface import HFLM

    from interp.tasks import harness_requests

    lm = HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=batch_size, device="cpu")
    instances = []
    for doc_id in range(min(examples, len(task.documents()))):
        instances += harness_requests(task, doc_id)
    return [value for value, _ in lm.loglikelihood(instances, disable_tqdm=True)]


def hooks(line: Line) -> dict[str, Any]:
    """A sample of the heads by TransformerLens' `run_with_hooks`, one prompt a question."""
    from interp.engine import group_examples, padded_batches
    from interp.models import decoder, wrap
    from interp.tasks import build_requests

    model = wrap(random_llama(line.n_layers), tokenizer(), name="random")
    requests: Any = build_requests(
        make_task(line.shape, line.examples), range(line.examples), decoder(model)
    )
    n_heads = decoder(model).n_heads
    heads = [(layer, head) for layer in range(line.n_layers) for head in range(n_heads)]
    sampled = random.Random(0).sample(heads, SAMPLED_HEADS)
    (group,) = group_examples(requests, prefixes=False, trees=False)
    batches = padded_batches(group.trees, 4096)
    _warm_up(lambda: model(torch.ones(1, 64, dtype=torch.long)))
    began, found = time.perf_counter(), {}
    for layer, head in sampled:

        def zero(z: torch.Tensor, hook: Any, head: int = head) -> torch.Tensor:
            z[:, :, head] = 0
            return z

        scores: dict[int, float] = {}
        for batch in batches:
            with torch.no_grad():
                logits = model.run_with_hooks(
                    torch.from_numpy(batch.ids), fwd_hooks=[(f"blocks.{layer}.attn.hook_z", zero)]
                )
            for number, row, columns, tokens in batch.scored:
                at = logits[row, list(columns)].log_softmax(dim=-1)
                scores[number] = float(at[range(len(tokens)), list(tokens)].sum())
        found[f"head:{layer}.{head}"] = [scores[n] for n in range(len(requests))]
    scale = (len(heads) + 1) / SAMPLED_HEADS
    return {"seconds": (time.perf_counter() - began) * scale, "scores": found}


def _warm_up(work: Any) -> None:
    with torch.no_grad():
        for _ in range(2):
            work()


def matmul_rate(
    size: int = 1024, seconds: float = 1.0, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Multiply-adds times two, a second, of this machine's own float32 matrix multiplication."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    for _ in range(3):
        a @ b
    count, began = 0, clock()
    while clock() - began < seconds:
        a @ b
        count += 1
    return 2 * size**3 * count / (clock() - began)


def _measured(line: str, who: str, batch_size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.benchmarks.scoring", "--only", who, line]
    shown = subprocess.run(
        [*command, "--batch-size", str(batch_size)], capture_output=True, text=True, check=True
    )
    return json.loads(shown.stdout.splitlines()[-1])


def compare(name: str, repeats: int) -> dict[str, Any]:
    """One line of the table: both sides in turn, medians with their spread."""
    peer = "hooks" if LINES[name].family == "heads" else "harness"
    sizes = {n: _measured(name, "probe", n)["seconds"] for n in HFLM_BATCHES}
    best = min(sizes, key=lambda n: sizes[n]) if peer == "harness" else 1
    both: dict[str, list[dict[str, Any]]] = {"ours": [], peer: []}
    for _ in range(repeats):
        for who, runs in both.items():
            runs.append(_measured(name, who, best))
            print(f"{name} {who}: {runs[-1]['seconds']:.1f} s", file=sys.stderr)
    mine, theirs = both["ours"], both[peer]
    ratios = [t["seconds"] / m["seconds"] for m, t in zip(mine, theirs, strict=True)]
    memory = [m["memory"] / t["memory"] for m, t in zip(mine, theirs, strict=True)]
    differences = [
        abs(a - b)
        for text, values in theirs[0]["scores"].items()
        for a, b in zip(values, mine[0]["scores"][text], strict=True)
    ]
    rates = [m["operations"] / m["seconds"] / m["rate"] for m in mine]
    return {
        "line": name, **asdict(LINES[name]), "ablations": len(mine[0]["scores"]),
        "peer": peer, "peer_batch_size": best,
        "seconds": _spread([m["seconds"] for m in mine]),
        "peer_seconds": _spread([t["seconds"] for t in theirs]),
        "ratio": _spread(ratios),
        "memory_ratio": _spread(memory),
        "memory_mib": _spread([m["memory"] / 2**20 for m in mine]),
        "share_of_matmul_rate": _spread(rates),
        "largest_difference": max(differences),
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def table(lines: list[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    head = "| line | layers | examples | repeats | ours, s | ours, ms an ablation and example | "
    head += "peer, s | ratio | memory, ratio | share of matmul rate | largest difference, nats |"
    rows = [head, "| --- " * 11 + "|"]
    for line in lines:
        each = {
            k: 1e3 * v / line["ablations"] / line["examples"] for k, v in line["seconds"].items()
        }
        cells = [line["line"], *(str(line[k]) for k in ("n_layers", "examples", "repeats"))]
        cells += [_cell(some, form) for some, form in (
            (line["seconds"], "{:.1f}"), (each, "{:.1f}"), (line["peer_seconds"], "{:.0f}"),
            (line["ratio"], "{:.1f}x"), (line["memory_ratio"], "{:.2f}"),
            (line["share_of_matmul_rate"], "{:.0%}"),
        )]  # fmt: skip
        rows.append("| " + " | ".join([*cells, f"{line['largest_difference']:.0e}"]) + " |")
    return "\n".join(rows) + "\n"


def _written(found: list[dict[str, Any]], out: Path) -> str:
    """Puts lines beside those of earlier calls, and returns the table of all."""
    known = (
        json.loads(out.with_suffix(".json").read_text())
        if out.with_suffix(".json").is_file()
        else []
    )
    lines = {line["line"]: line for line in [*known, *found]}
    ordered = [lines[name] for name in LINES if name in lines]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(ordered, indent=1) + "\n")
    last = ordered[-1]["machine"]
    about = (
        f"Medians (lowest to highest), both sides in turn, "
        f"{last['threads']} thread(s), torch {last['torch']}, float32 matrix multiplication at "
        f"{last['matmul_gflops']:.0f} GFLOP/s. The peer is timed on the whole model and "
        f"{SAMPLED_LAYERS} of its layers ({SAMPLED_HEADS} of its heads), and scaled to all.\n\n"
    )
    out.with_suffix(".md").write_text(about + table(ordered))
    return about + table(ordered)


def _cell(spread: dict[str, float], form: str) -> str:
    low, high = form.format(spread["low"]), form.format(spread["high"])
    return f"{form.format(spread['median'])} ({low} to {high})"


def main() -> None:
    """Parse the command line; `--only` is what the measuring processes are called with."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.scoring")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "scoring")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        who, name = options.only
        line, rate = LINES[name], matmul_rate()
        if who == "probe":
            line = Line(line.shape, "layers", 16, 2)
        by = {"ours": ours, "hooks": hooks}.get(who, lambda x: harness(x, options.batch_size))
        result = by(line) | {"rate": rate}
        result["memory"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(result))
        return
    found = [compare(name, options.repeats) for name in options.lines]
    machine = {"threads": torch.get_num_threads(), "machine": platform.processor() or "unknown"}
    machine |= {"torch": torch.__version__, "matmul_gflops": matmul_rate() / 1e9}
    found = [line | {"repeats": options.repeats, "machine": machine} for line in found]
    print(_written(found, options.out))


if __name__ == "__main__":
    main()
