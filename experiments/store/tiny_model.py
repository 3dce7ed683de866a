"""A small random model in a folder and a task of its own: sweeps of some seconds to be killed."""

import json
import random
from pathlib import Path
from typing import Any

import yaml

WORDS = [f"w{number}" for number in range(4, 100)]
ABLATIONS = ("layer:0", "layer:1", "attn:1", "mlp:2", "head:1.2@mean", "kvgroup:0.1")


def write_model(folder: Path, *, seed: int = 0, d_model: int = 32, n_layers: int = 3) -> Path:
    """A random Llama with a tokenizer of whole words, as a folder that `load_model` reads.

    Args:
        folder: where.
        seed: the seed of the weights.
        d_model: width of the residual stream.
        n_layers: blocks.

    Returns:
        The folder.
    """
    import torch
    import transformers

    from experiments.words import word_tokenizer

    tokenizer = word_tokenizer(WORDS)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=d_model,
        intermediate_size=2 * d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    transformers.LlamaForCausalLM(config).eval().save_pretrained(folder)
    return folder


def write_task(folder: Path, *, rows: int = 60, words: int = 8, seed: int = 0) -> Path:
    """A multiple-choice task over random words; returns the path of its YAML.

    Args:
        folder: where.
        rows: examples.
        words: the number of words in a question.
        seed: the seed of the words.

    Returns:
        The path of its YAML.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    made = [_row(rng, words) for _ in range(rows)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in made))
    config = {
        "task": "random-words",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    path = folder / "random-words.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _row(rng: random.Random, words: int) -> dict[str, Any]:
    choices = [" ".join(rng.choices(WORDS, k=rng.randint(1, 3))) for _ in range(4)]
    question = " ".join(rng.choices(WORDS, k=words))
    return {"question": question, "choices": choices, "gold": rng.randrange(4)}


def compare(run: Path, whole: Path) -> dict[str, int]:
    """How a run's table differs from an undisturbed one's: rows lost, doubled, different."""
    from interp.results import open_run

    key = ["task", "doc_id", "ablation"]
    mine, theirs = (open_run(folder).responses().sort_values(key) for folder in (run, whole))
    doubled = int(mine.duplicated(key).sum())
    lost = len(theirs) - len(mine.drop_duplicates(key))
    same = mine.reset_index(drop=True).equals(theirs.reset_index(drop=True))
    return {"lost": lost, "doubled": doubled, "different": int(not same)}


def shards(run: Path) -> dict[str, bytes]:
    """The shards of a run that are finished: name to content."""
    return {path.name: path.read_bytes() for path in (run / "units").glob("*.parquet")}
