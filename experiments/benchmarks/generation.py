"""All-layer sweeps of generated answers, side by side with lm-evaluation-harness.

    python -m experiments.benchmarks.generation                      # both models: half an hour
    python -m experiments.benchmarks.generation --models random --examples 16 --repeats 1

The peer deletes each layer in memory and runs the harness' own `HFLM.generate_until` at its best
batch size. Both sides take turns in one process and one run; the texts are compared. Written are
`results/generation.json`, `.md`, and the figure of the draft tokens kept under each ablation.
"""

import argparse
import json
import logging
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm

from experiments.benchmarks.generation_workloads import NEW_TOKENS, Workload, workload
from interp.ablations.families import each_layer, shape_of
from interp.decode import Counts, generate
from interp.models import decoder, load_model
from interp.requests import build_requests, prompt_text

RESULTS = Path("experiments/benchmarks/results")
BATCHES = (16, 32, 64)
ATTENTION = "sdpa"  # the faster of what the peer can use on a CPU


class Clock:
    """Seconds since it was made, on the wall and of the processor: others may use the machine."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """The seconds of both kinds."""
        wall, processor = self.began
        return {
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
        }


def ours(load: Workload, examples: int) -> dict[str, Any]:
    """The baseline and every layer by this package; the model is loaded beforehand."""
    model = load_model(load.folder, device="cpu")
    shape = shape_of(model)
    edits = [{}, *(ablation.edits(shape) for ablation in each_layer(model))]
    clock = Clock()
    requests: Any = build_requests(load.task, range(examples), decoder(model))
    found = generate(model, requests, edits)
    seconds = clock.read()
    texts = [[answer.text for answer in answers] for answers in found]
    return {**seconds, "texts": texts, "counts": [asdict(c) for c in found.counts]}


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
        for doc_id, document in enumerate(load.task.documents()[:examples]):
            context = prompt_text(load.task, document)
            made = load.task.harness.construct_requests(
                doc=document, ctx=context, metadata=(load.task.name, doc_id, 1)
            )
            self.instances += made if isinstance(made, list) else [made]

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

    def best_batch_size(self) -> dict[int, float]:
        """Seconds of the processor for one ablation at each batch size."""
        found = {}
        for size in [s for s in BATCHES if s <= len(self.instances)] or [len(self.instances)]:
            clock = Clock()
            self.texts(len(self.layers) // 2, size)
            found[size] = clock.read()["processor"]
            tqdm.write(f"HFLM at batch size {size}: {found[size]:.1f} s an ablation")
        return found

    def sweep(self, batch_size: int, deleted: list[int]) -> dict[str, Any]:
        """The baseline and some layers; seconds are scaled to all of them."""
        clock, texts = Clock(), {}
        for layer in tqdm([None, *deleted], desc="HFLM", unit="ablation"):
            texts[0 if layer is None else 1 + layer] = self.texts(layer, batch_size)
        scale = (1 + len(self.layers)) / (1 + len(deleted))
        return {**{k: v * scale for k, v in clock.read().items()}, "texts": texts}


def compare(name: str, examples: int, repeats: int, peer_layers: int | None) -> dict[str, Any]:
    """Both sides in turn."""
    load = workload(name, examples)
    peer = Harness(load, examples)
    count = min(peer_layers or len(peer.layers), len(peer.layers))
    deleted = [round((i + 0.5) * len(peer.layers) / count - 0.5) for i in range(count)]
    sizes = peer.best_batch_size()
    best = min(sizes, key=lambda size: sizes[size])
    mine, theirs = [], []
    for _ in range(repeats):
        mine.append(ours(load, examples))
        tqdm.write(f"{name}, ours: {_shown(mine[-1])}")
        theirs.append(peer.sweep(best, deleted))
        tqdm.write(f"{name}, HFLM: {_shown(theirs[-1])}")
    pairs = [
        (a, b)
        for number, other in theirs[-1]["texts"].items()
        for a, b in zip(mine[-1]["texts"][number], other, strict=True)
    ]
    counts = [Counts(**one) for one in mine[-1]["counts"]]
    spreads = {
        f"{side}{clock}": _spread([one[clock] for one in runs])
        for side, runs in (("", mine), ("peer_", theirs))
        for clock in ("seconds", "processor")
    }
    ratios = {
        f"{clock}_ratio": _spread([b[clock] / a[clock] for a, b in zip(mine, theirs, strict=True)])
        for clock in ("seconds", "processor")
    }
    return {
        "model": name,
        "examples": examples,
        "layers": len(peer.layers),
        "peer_deleted_layers": deleted,
        "max_gen_toks": NEW_TOKENS,
        "peer_batch_processor_seconds": sizes,
        "peer_batch_size": best,
        **spreads,
        **ratios,
        "texts": len(pairs),
        "different_texts": sum(a != b for a, b in pairs),
        "near_ties": sum(one.near_ties for one in counts),
        "accepted_share": _share(counts),
        "counts": [asdict(one) for one in counts],
    }


def _shown(one: dict[str, Any]) -> str:
    return f"{one['seconds']:.1f} s, {one['processor']:.1f} s of the processor"


def _share(counts: list[Counts]) -> float:
    """The share of the baseline's tokens that all ablations together kept."""
    total = sum(one.baseline_tokens for one in counts)
    return sum(one.baseline_accepted for one in counts) / total if total else 0.0


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def table(lines: list[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    head = ["model", "examples", "ours, CPU s", "HFLM, CPU s", "CPU ratio", "wall ratio"]
    head += ["draft tokens kept", "texts that differ"]
    rows = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    forms = {"processor": "{:.1f}", "peer_processor": "{:.1f}"}
    forms |= {"processor_ratio": "{:.1f}x", "seconds_ratio": "{:.1f}x"}
    for line in lines:
        cells = [line["model"], str(line["examples"])]
        for key, form in forms.items():
            median, low, high = (form.format(line[key][k]) for k in ("median", "low", "high"))
            cells.append(f"{median} ({low} to {high})")
        cells.append(f"{line['accepted_share']:.0%}")
        cells.append(f"{line['different_texts']} of {line['texts']}")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def draw(lines: list[dict[str, Any]], out: Path) -> None:
    """The figure of the share of draft tokens that each layer's ablation kept."""
    import pandas as pd

    from interp.figures import save
    from interp.figures.drafts import drafts

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
    parser.add_argument("--threads", type=int, help="of torch; its own choice by default")
    parser.add_argument("--out", type=Path, default=RESULTS / "generation")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    lines = [
        compare(name, options.examples, options.repeats, options.peer_layers)
        for name in options.models
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    text = json.dumps({"machine": machine, "repeats": options.repeats, "lines": lines}, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n")
    options.out.with_suffix(".md").write_text(table(lines))
    draw(lines, options.out)
    print(table(lines))


if __name__ == "__main__":
    main()
