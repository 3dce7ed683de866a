"""How much memory does loading take? A model of the shape of LLaMA-3.2-1B, in bfloat16.

    python -m experiments.benchmarks.loading [--shape 1B]

Random weights are written to a temporary folder in shards, tensor by tensor, and loaded by
`interp.load_model` in a process of its own. Two peaks above what that process held before, over the
bytes of the weights: of the memory that is the process' own, and of all that is resident. The files
are mapped while they are read, and what is mapped is the system's to take back.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from experiments.benchmarks.gpu_models import SHAPES
from experiments.benchmarks.reports import RESULTS, write
from experiments.words import numbered_words, word_tokenizer

SHARD = 500 * 2**20
COLUMNS = {
    "shape": ("shape", ""),
    "weights_mib": ("weights (MiB)", ",.0f"),
    "own_mib": ("peak of its own memory (MiB)", ",.0f"),
    "own_ratio": ("over the weights", ".2f"),
    "resident_mib": ("peak with mapped files (MiB)", ",.0f"),
    "resident_ratio": ("over the weights", ".2f"),
    "seconds": ("seconds", ".1f"),
}


def write_checkpoint(shape_name: str, folder: Path) -> int:
    """A random checkpoint in bfloat16, never whole in memory.

    Args:
        shape_name: a name in `SHAPES`.
        folder: an empty one.

    Returns:
        Bytes of its weights.
    """
    shape = SHAPES[shape_name]
    config = LlamaConfig(
        vocab_size=shape.d_vocab,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_inner,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=shape.tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        empty = LlamaForCausalLM(config)
    shards: list[list[tuple[str, torch.Size]]] = [[]]
    held = total = 0
    for name, parameter in empty.named_parameters():
        size = 2 * parameter.numel()
        if held + size > SHARD and shards[-1]:
            shards.append([])
            held = 0
        shards[-1].append((name, parameter.shape))
        held, total = held + size, total + size
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        made = {name: torch.randn(size, dtype=torch.bfloat16) * 0.02 for name, size in shard}
        save_file(made, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(made, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(folder)
    word_tokenizer(numbered_words(1000)).save_pretrained(folder)
    return total


def loaded(folder: Path) -> dict[str, float]:
    """Load it in this process: bytes and seconds above what was there before."""
    import interp

    # what the libraries take by themselves
    interp.load_model("organism:base", dtype="bfloat16")
    before = _held()
    peaks, over = dict(before), threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            for name, value in _held().items():
                peaks[name] = max(peaks[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    interp.load_model(folder, dtype="bfloat16", device="cpu")
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    return {name: peaks[name] - before[name] for name in peaks} | {"seconds": seconds}


def _held() -> dict[str, float]:
    """Memory of this process: its own, and all that is resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return {"own": 1024 * float(values["RssAnon"]), "resident": 1024 * float(values["VmRSS"])}


def main() -> None:
    """Parse the command line; `--only` is what the loading process is called with."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.loading")
    parser.add_argument("--shape", choices=SHAPES, default="1B")
    parser.add_argument("--out", type=Path, default=RESULTS / "loading", help="without ending")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(loaded(options.only)))
        return
    with tempfile.TemporaryDirectory() as folder:
        size = write_checkpoint(options.shape, Path(folder))
        command = [sys.executable, "-m", "experiments.benchmarks.loading", "--only", folder]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    row = {"shape": options.shape, "weights_mib": size / 2**20, "seconds": found["seconds"]}
    for name in ("own", "resident"):
        row |= {f"{name}_mib": found[name] / 2**20, f"{name}_ratio": found[name] / size}
    print(row)
    note = "Above what the process held with a small model loaded; the goal is 1.15 or less."
    write(options.out, {"rows": [row]}, COLUMNS, note)


if __name__ == "__main__":
    main()
