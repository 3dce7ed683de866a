"""All-layer sweeps of generated answers, side by side with lm-evaluation-harness.

    python -m experiments.benchmarks.generation                      # both models: an hour
    python -m experiments.benchmarks.generation --models random --repeats 1 --peer-layers 1
    python -m experiments.benchmarks.generation --models random --repeats 1 --peer-layers 1 --add

The peer deletes each layer in memory and runs the harness' own `HFLM.generate_until` at its best
batch size, which is searched first. Both sides take turns in one process; the texts are compared.
Where the peer deletes only some layers (other ones in each repeat) or answers only some examples,
its time is scaled to all.
`--add` puts further repeats beside those in the file. Written are `results/generation.json`, `.md`,
and the figure of the draft tokens kept under each ablation.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm

from experiments.benchmarks.arithmetic import generation_operations
from experiments.benchmarks.generation_workloads import NEW_TOKENS, Workload, workload
from experiments.benchmarks.scoring import matmul_rate
from interp.ablations import Edits, each_layer, shape_of
from interp.engine import generate
from interp.models import decoder, load_model
from interp.tasks import build_requests, harness_requests

RESULTS = Path("experiments/benchmarks/results")
BATCHES = (8, 16, 32, 64)
ATTENTION = "sdpa"  # the faster of what the peer can use on a CPU


class Clock:
    """Seconds since it was made, on the wall and of the processor: others may use the machine."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds so far: on the wall, and of the processor."""
        wall, processor = self.began
        return {
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
        }


def ours(load: Workload, examples: int) -> dict[str, Any]:
    """The baseline and every layer by this package; the model is loaded beforehand."""
    model = load_model(load.folder, device="cpu")
    shape = shape_of(model)
    edits = [Edits(), *(ablation.edits(shape) for ablation in each_layer(model))]
    clock = Clock()
    requests: Any = build_requests(load.task, range(examples), decoder(model))
    found = generate(model, requests, edits)
    seconds = clock.read()
    texts = [[answer.text for answer in answers] for answers in found]
    operations = generation_operations(model, requests, edits, found.answers)
    counts = [asdict(c) for c in found.counts]
    return {**seconds, "texts": texts, "counts": counts, "operations": operations}


class Harness:
    """lm-evaluation-harness over a model whose layers are deleted in memory."""

    def __init__(self, load: Workload, examples: int) -> None:
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            load.folder, dtype=torch.float32, attn_implementation=ATTENTION
        ).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(load.folder)
        self.layers = list(self.model.model.layers)
        self.instances = []
        for doc_id in range(min(examples, len(load.task.documents()))):
            self.instances += harness_requests(load.task, doc_id)

    def texts(self, deleted: int | None, batch_size: int) -> list[str]:
        """Answers with one layer deleted (None: with all layers)."""
        from lm_eval.models.huggingface import HFLM

        kept = [block for i, block in enumerate(self.layers) if i != deleted]
        for i, block in enumerate(kept):
            block.self_attn.layer_idx = i
        self.model.model.layers = torch.nn.ModuleList(kept)
        self.model.config.num_hidden_layers = len(kept)
        lm = HFLM(
            pretrained=self.model, tokenizer=self.tokenizer, batch_size=batch_size, device="cpu"
        )
        answers: list[str] = lm.generate_until(self.instances, disable_tqdm=True)
        return answers

    def batch_sizes(self) -> dict[int, float]:
        """Seconds of the processor for one example of one ablation, at each batch size."""
        found, whole = {}, self.instances
        for size in [s for s in BATCHES if s <= len(whole)] or [len(whole)]:
            self.instances, clock = whole[:size], Clock()
            self.texts(len(self.layers) // 2, size)
            found[size] = clock.read()["processor"] / size
            tqdm.write(f"HFLM at batch size {size}: {found[size]:.2f} s an example")
        self.instances = whole
        return found

    def sweep(self, batch_size: int, deleted: list[int], examples: int) -> dict[str, Any]:
        """The baseline and some layers; seconds are scaled to all of them, and to all examples."""
        clock, texts = Clock(), {}
        for layer in tqdm([None, *deleted], desc="HFLM", unit="ablation"):
            texts[0 if layer is None else 1 + layer] = self.texts(layer, batch_size)
        scale = (1 + len(self.layers)) / (1 + len(deleted)) * examples / len(self.instances)
        return {**{k: v * scale for k, v in clock.read().items()}, "texts": texts}


def compare(
    name: str, options: argparse.Namespace, before: dict[str, Any] | None
) -> dict[str, Any]:
    """Both sides in turn; `before`: what was measured earlier of the same model."""
    examples = options.examples
    load, rate = workload(name, examples), matmul_rate(clock=time.process_time)
    peer = Harness(load, min(examples, options.peer_examples or examples))
    sizes = before["peer_batches"] if before else peer.batch_sizes()
    best = int(min(sizes, key=lambda size: sizes[size]))
    runs = list(before["runs"]) if before else []
    counts = before["counts"] if before else []
    for _ in range(options.repeats):
        deleted = _spaced(len(peer.layers), options.peer_layers, len(runs))
        busy = os.getloadavg()[0]
        mine = ours(load, examples)
        tqdm.write(f"{name}, ours: {_shown(mine)}")
        theirs = peer.sweep(best, deleted, examples)
        tqdm.write(f"{name}, HFLM: {_shown(theirs)}")
        counts = mine["counts"]
        pairs = [
            (a, b)
            for number, other in theirs["texts"].items()
            for a, b in zip(mine["texts"][number], other, strict=False)
        ]
        runs.append(
            {
                "seconds": mine["seconds"],
                "processor": mine["processor"],
                "peer_seconds": theirs["seconds"],
                "peer_processor": theirs["processor"],
                "peer_deleted_layers": deleted,
                "texts": len(pairs),
                "different_texts": sum(a != b for a, b in pairs),
                "share_of_matmul_rate": mine["operations"] / mine["processor"] / rate,
                "load": busy,
            }
        )
    return {
        "model": name,
        "examples": examples,
        "peer_examples": len(peer.instances),
        "layers": len(peer.layers),
        "max_gen_toks": NEW_TOKENS,
        "threads": torch.get_num_threads(),
        "peer_batches": sizes,
        "peer_batch_size": best,
        "runs": runs,
        "near_ties": sum(one["near_ties"] for one in counts),
        "accepted_share": _share(counts),
        "counts": counts,
    }


def _spaced(layers: int, count: int | None, repeat: int) -> list[int]:
    """So many layers, evenly spaced, other ones in each repeat; all by default."""
    count = min(count or layers, layers)
    step = layers / count
    return sorted({round((i + 0.5) * step - 0.5 + repeat) % layers for i in range(count)})


def _shown(one: dict[str, Any]) -> str:
    return f"{one['seconds']:.1f} s, {one['processor']:.1f} s of the processor"


def _share(counts: list[dict[str, Any]]) -> float:
    """The share of the baseline's tokens that all ablations together kept."""
    total = sum(one["baseline_tokens"] for one in counts)
    return sum(one["baseline_accepted"] for one in counts) / total if total else 0.0


def _spread(values: list[float], form: str) -> str:
    shown = [form.format(f(values)) for f in (statistics.median, min, max)]
    return shown[0] if len(values) == 1 else "{} ({} to {})".format(*shown)


def table(lines: list[dict[str, Any]]) -> str:
    """The results as a Markdown table, and what is to be known about it."""
    head = ["model", "examples", "ours, CPU s", "HFLM, CPU s", "CPU ratio", "wall ratio"]
    head += ["HFLM batch size", "draft tokens kept", "texts that differ", "share of matmul rate"]
    rows = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    notes = []
    for line in lines:
        runs = line["runs"]
        cells = [line["model"], str(line["examples"])]
        for key in ("processor", "peer_processor"):
            cells.append(_spread([run[key] for run in runs], "{:.1f}"))
        for key in ("processor", "seconds"):
            cells.append(_spread([run[f"peer_{key}"] / run[key] for run in runs], "{:.1f}x"))
        cells += [str(line["peer_batch_size"]), f"{line['accepted_share']:.0%}"]
        differ, texts = (sum(run[key] for run in runs) for key in ("different_texts", "texts"))
        cells.append(f"{differ} of {texts}")
        cells.append(_spread([run["share_of_matmul_rate"] for run in runs], "{:.0%}"))
        rows.append("| " + " | ".join(cells) + " |")
        sizes = ", ".join(f"{size}: {cost:.2f}" for size, cost in line["peer_batches"].items())
        deleted = max(len(run["peer_deleted_layers"]) for run in runs)
        some = line["peer_examples"]
        whole = deleted == line["layers"] and some == line["examples"]
        notes.append(
            f"{line['model']}: {len(runs)} runs in turn, median and range; {line['threads']} "
            f"thread(s); load of the machine {_spread([run['load'] for run in runs], '{:.1f}')}; "
            f"HFLM by batch size, CPU seconds an example: {sizes}; HFLM ran the baseline and "
            f"{deleted} of {line['layers']} deleted layers on {some} examples"
            + ("." if whole else ", its time scaled to all.")
        )
    return "\n".join(rows) + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def draw(lines: list[dict[str, Any]], out: Path) -> None:
    """The figure of the share of draft tokens that each layer's ablation kept."""
    import pandas as pd

    from interp.figures import drafts, save

    rows = [
        {"model": line["model"], "layer": layer, **counts}
        for line in lines
        for layer, counts in enumerate(line["counts"][1:])
    ]
    save(drafts(pd.DataFrame(rows)), out)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.generation")
    parser.add_argument("--models", nargs="+", default=["organism:distilled", "random"])
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peer-layers", type=int, help="delete only so many layers in the peer, and scale its time"
    )
    parser.add_argument("--peer-examples", type=int, help="in the peer, and scale its time")
    parser.add_argument("--add", action="store_true", help="to the repeats in the file")
    parser.add_argument("--threads", type=int, help="of torch; its own choice by default")
    parser.add_argument("--out", type=Path, default=RESULTS / "generation")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    stored = options.out.with_suffix(".json")
    lines = json.loads(stored.read_text())["lines"] if options.add and stored.exists() else []
    for name in options.models:
        before = next((line for line in lines if line["model"] == name), None)
        line = compare(name, options, before)
        lines = [one for one in lines if one["model"] != name] + [line]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    stored.write_text(json.dumps({"machine": machine, "lines": lines}, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(lines))
    draw(lines, options.out)
    print(table(lines))


if __name__ == "__main__":
    main()
