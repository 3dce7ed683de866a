"""The workloads of the benchmarks: random models and rows in the shape of public benchmarks.

Nothing here is downloaded: what a sweep costs depends on the shapes of prompts, options and model,
and not on what the words say.
"""

import json
import random
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.words import numbered_words, word_tokenizer
from interp.tasks import Task, load_task

D_VOCAB = 32_000
SPECIAL = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}


@dataclass(frozen=True)
class Shape:
    """The shape of a benchmark's rows, in words (one token each).

    Attributes:
        question: words of a question, from and to.
        options: how many.
        option: words of an option, from and to; 0 where a letter stands for it.
        num_fewshot: few-shot examples in the prompt.
        listed: whether the options are listed in the question.
    """

    question: tuple[int, int]
    options: int
    option: tuple[int, int]
    num_fewshot: int
    listed: bool


# means of the public rows: an MMLU question has about 50 words and its options 8 each; a HellaSwag
# context has about 60 and its endings 25
SHAPES = {
    "mmlu-letters": Shape((30, 70), 4, (0, 0), 5, True),
    "mmlu-texts": Shape((30, 70), 4, (4, 12), 5, True),
    "hellaswag": Shape((40, 80), 4, (15, 35), 0, False),
    "short-endings": Shape((27, 27), 4, (4, 12), 0, False),
}


@cache
def tokenizer(d_vocab: int = D_VOCAB) -> PreTrainedTokenizerFast:
    """A tokenizer of some number of words, one token each; BOS in front."""
    return word_tokenizer(numbered_words(d_vocab))


def random_llama(
    n_layers: int = 12, *, d_model: int = 512, d_vocab: int = D_VOCAB, seed: int = 0
) -> LlamaForCausalLM:
    """A random model of Llama's shape in float32, fused attention."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=d_vocab,
        hidden_size=d_model,
        intermediate_size=int(d_model * 2.75) // 32 * 32,
        num_hidden_layers=n_layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 / d_model**0.5)
    return model


def make_task(shape_name: str, examples: int, *, seed: int = 0, d_vocab: int = D_VOCAB) -> Task:
    """Rows of a benchmark's shape as a task of lm-evaluation-harness.

    Args:
        shape_name: the name of the shape.
        examples: the rows, few-shot examples left out.
        seed: the seed of the words.
        d_vocab: the words are among so many.

    Returns:
        The task; it lies in a folder of its own.
    """
    shape, rng = SHAPES[shape_name], random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    rows = [_row(shape, rng, d_vocab) for _ in range(examples + shape.num_fewshot)]
    for split, some in (("dev", rows[: shape.num_fewshot]), ("test", rows[shape.num_fewshot :])):
        text = "".join(json.dumps(row) + "\n" for row in some or rows[:1])
        (folder / f"{split}.jsonl").write_text(text)
    config = {
        "task": shape_name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {s: str(folder / f"{s}.jsonl") for s in ("test", "dev")}
        },
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": shape.num_fewshot,
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "fewshot_delimiter": " w5 w5 ",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    path = folder / f"{shape_name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_task(path)


def _row(shape: Shape, rng: random.Random, d_vocab: int) -> dict[str, Any]:
    def words(low: int, high: int) -> str:
        return " ".join(f"w{rng.randrange(100, d_vocab)}" for _ in range(rng.randint(low, high)))

    question = words(*shape.question)
    texts = [words(*(shape.option if shape.option[1] else (4, 12))) for _ in range(shape.options)]
    if shape.listed:
        question += "".join(f" w{10 + i} {text}" for i, text in enumerate(texts)) + " w20"
    letters = [f"w{10 + i}" for i in range(shape.options)]
    choices = texts if shape.option[1] else letters
    return {"question": question, "choices": choices, "gold": rng.randrange(shape.options)}
