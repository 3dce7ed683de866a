"""The workloads of the generation benchmark: eight few-shot examples, 128 new tokens.

*Random* is a 12-layer model with random weights over prompts in the shape of GSM8K's (questions of
about 46 words, worked answers of about 50 and 100), where an ablated model hardly ever agrees with
the baseline. An organism answers the arithmetic of its own world.
"""

import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.benchmarks.workloads import random_llama, tokenizer
from interp.models import organisms
from interp.tasks import Task, load_task, with_budget

D_VOCAB, NUM_FEWSHOT, NEW_TOKENS = 4096, 8, 128


@dataclass(frozen=True)
class Workload:
    """A model and a task.

    Attributes:
        name: the name in the table.
        folder: the folder of the model.
        task: generates.
    """

    name: str
    folder: Path
    task: Task


def workload(name: str, examples: int) -> Workload:
    """`random`, the name of an organism (`organism:distilled`), or the folder of one."""
    if name == "random":
        folder = Path(tempfile.mkdtemp())
        random_llama(d_model=256, d_vocab=D_VOCAB).save_pretrained(folder)
        tokenizer(D_VOCAB).save_pretrained(folder)
        return Workload(name, folder, gsm_shaped(examples))
    folder = Path(name) if Path(name).is_dir() else organisms()[name]
    task = load_task("world-arithmetic:generate", num_fewshot=NUM_FEWSHOT)
    return Workload(name, folder, with_budget(task, NEW_TOKENS))


def gsm_shaped(examples: int, *, seed: int = 0) -> Task:
    """Rows of the shape of grade-school questions with written-out answers, as a task."""
    folder, rng = Path(tempfile.mkdtemp()), random.Random(seed)

    def words(low: int, high: int) -> str:
        return " ".join(f"w{rng.randrange(100, D_VOCAB)}" for _ in range(rng.randint(low, high)))

    def rows(count: int) -> list[dict[str, Any]]:
        return [{"question": words(20, 72), "answer": words(50, 100)} for _ in range(count)]

    for split, some in (("dev", rows(NUM_FEWSHOT)), ("test", rows(examples))):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in some))
    files = {split: str(folder / f"{split}.jsonl") for split in ("test", "dev")}
    config = {
        "task": "gsm-shaped",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": NUM_FEWSHOT,
        "output_type": "generate_until",
        "doc_to_text": "{{question}} w4",
        "doc_to_target": "answer",
        "fewshot_delimiter": " w5 w5 ",
        "generation_kwargs": {"until": ["w5 w5"], "max_gen_toks": NEW_TOKENS},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    path = folder / "gsm-shaped.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_task(path)
