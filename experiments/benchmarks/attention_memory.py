"""Peak memory of attention rows: TransformerLens' cached patterns against the tracer.

    python -m experiments.benchmarks.attention_memory

A random Llama-shaped model (4 layers, 4 heads over 2 KV heads of width 64, float32). Each method
and context length runs in a process of its own; the peak is the process' largest resident memory
above what it held with the model loaded and a short prompt run. The rows are compared, so both did
the same work. TransformerLens is asked for nothing but `hook_pattern`, which is the least it can
cache. A few minutes on one idle core; about 8 GB of memory at 8,192 tokens.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HERE = Path(__file__).parent
LENGTHS = (1024, 2048, 4096, 8192)
METHODS = ("run_with_cache", "tracer")
QUERIES = 4


def measure(method: str, length: int, rows_to: Path) -> dict[str, Any]:
    """Run one method once, in this process; write its rows and return time and memory."""
    import torch

    from interp.attention import attention_rows

    torch.set_num_threads(1)  # a busy machine makes several threads wait for each other
    model = _model()
    tokens = torch.randint(4, 1000, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    queries = list(range(length - QUERIES, length))

    def run(tokens: list[int], queries: list[int]) -> torch.Tensor:
        if method == "tracer":
            return attention_rows(model, tokens, queries=queries).rows
        with torch.no_grad():
            _, cache = model.run_with_cache(
                torch.tensor([tokens]), names_filter=lambda name: name.endswith("hook_pattern")
            )
        layers = range(model.cfg.n_layers)
        return torch.stack([cache["pattern", layer][0][:, queries] for layer in layers])

    run(tokens[:64], [63])
    before, began = _peak(), time.perf_counter()
    rows = run(tokens, queries)
    seconds, peak = time.perf_counter() - began, _peak()
    torch.save(rows, rows_to)
    return {
        "method": method,
        "context": length,
        "seconds": round(seconds, 2),
        "loaded_mb": round(before, 1),
        "peak_mb": round(peak, 1),
        "extra_mb": round(peak - before, 1),
    }


def run(lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    """Every method at every length, each in its own process, and the largest difference."""
    import torch
    from tqdm import tqdm

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for length in tqdm(lengths, unit="length"):
            found = {}
            for method in METHODS:
                path = Path(folder) / f"{method}-{length}.pt"
                command = [sys.executable, "-m", "experiments.benchmarks.attention_memory"]
                command += ["--one", method, str(length), str(path)]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                rows.append(json.loads(shown.splitlines()[-1]))
                found[method] = torch.load(path)
            difference = (found["tracer"] - found["run_with_cache"]).abs().max().item()
            rows[-1]["largest_difference"] = difference
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return {"machine": machine, "torch": torch.__version__, "queries": QUERIES, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = {(row["method"], row["context"]): row for row in result["rows"]}
    lines = [
        "| Context (tokens) | `run_with_cache`, patterns: extra peak (MB) | time (s) | tracer: "
        "extra peak (MB) | time (s) | memory ratio | largest difference |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for length in sorted({length for _, length in rows}):
        peer, ours = (rows[method, length] for method in METHODS)
        lines.append(
            f"| {length} | {peer['extra_mb']:.0f} | {peer['seconds']:.1f} | "
            f"{ours['extra_mb']:.0f} | {ours['seconds']:.1f} | "
            f"{peer['extra_mb'] / ours['extra_mb']:.0f}x | {ours['largest_difference']:.1e} |"
        )
    lines += [
        "",
        f"Random Llama shape, 4 layers, 4 heads over 2 KV heads of width 64, float32; rows of the "
        f"last {result['queries']} positions; each number from its own process, peak resident "
        f"memory above the loaded model. One thread on a core of its own (other work ran on the "
        f"other core), each case once; {result['machine']}, torch {result['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def _model() -> Any:
    import torch
    import transformers

    from interp.models import wrap

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=256, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=8192,
    )  # fmt: skip
    root = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in root.named_parameters():
            if "proj" in name:
                parameter.normal_(std=0.15)  # far from uniform attention
    return wrap(root.eval(), None, name="random-llama")


def _peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure one case (for the subprocesses), or all of them, and write JSON and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--out", type=Path, default=HERE / "attention_memory.json")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "LENGTH", "FILE"), help="one case")
    options = parser.parse_args()
    if options.one:
        method, length, path = options.one
        print(json.dumps(measure(method, int(length), Path(path))))
        return
    result = run(tuple(options.lengths))
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    options.out.with_suffix(".md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
