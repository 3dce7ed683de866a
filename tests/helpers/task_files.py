"""Small task YAMLs with rows of their own, in words that the tiny tokenizer knows."""

import json
import random
from pathlib import Path
from typing import Any

import yaml

WORDS = [f"w{i}" for i in range(4, 60)]


def write_task(
    folder: Path, *, kind: str = "texts", rows: int = 12, num_fewshot: int = 0, seed: int = 0
) -> Path:
    """Write a task and its rows; returns the path of the YAML.

    Args:
        folder: where.
        kind: `texts` (options of one to three words), `letters` (one word each) or `generate`.
        rows: examples.
        num_fewshot: few-shot examples in the prompt.
        seed: of the words.
    """
    rng = random.Random(seed)
    made = [_row(rng, kind) for _ in range(rows + 4)]
    (folder / f"{kind}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in made[4:]))
    (folder / f"{kind}-dev.jsonl").write_text("".join(json.dumps(r) + "\n" for r in made[:4]))
    config = {
        "task": f"tiny-{kind}",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {
                "test": str(folder / f"{kind}.jsonl"),
                "dev": str(folder / f"{kind}-dev.jsonl"),
            }
        },
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": num_fewshot,
        "doc_to_text": "{{question}}",
        "fewshot_delimiter": " w60 ",
        "metadata": {"version": 1.0},
    }
    if kind == "generate":
        config |= {
            "output_type": "generate_until",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": ["w61", "w62 w63"], "max_gen_toks": 6},
            "metric_list": [_metric("exact_match")],
        }
    else:
        config |= {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "gold",
            "metric_list": [_metric("acc"), _metric("acc_norm")],
        }
    path = folder / f"tiny-{kind}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_task_with_code(folder: Path, **options: Any) -> tuple[Path, Path]:
    """A task that names a function of a Python file, and the mark that running the file leaves."""
    path, mark = write_task(folder, **options), folder / "ran"
    (folder / "theirs.py").write_text(
        f"open({str(mark)!r}, 'w').close()\ndef f(rows): return rows\n"
    )
    with path.open("a") as file:
        file.write("process_docs: !function theirs.f\n")
    return path, mark


def _row(rng: random.Random, kind: str) -> dict[str, object]:
    longest = 3 if kind == "texts" else 1
    choices = [" ".join(rng.sample(WORDS, rng.randint(1, longest))) for _ in range(4)]
    gold = rng.randrange(4)
    question = " ".join(rng.sample(WORDS, rng.randint(2, 7)))
    return {"question": question, "choices": choices, "gold": gold, "answer": choices[gold]}


def _metric(name: str) -> dict[str, object]:
    return {"metric": name, "aggregation": "mean", "higher_is_better": True}
