"""Distillation: a base model goes on to train on its teacher's own written-out answers.

As a control, the right steps of the same prompts can stand in their place.
"""

import json
import random
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organisms.documents import (
    MAX_STEPS,
    Chain,
    Document,
    Maker,
    Span,
    Stage,
    make_chain,
)
from experiments.organisms.recipe import Recipe
from experiments.organisms.rows import make_rows as second_rows
from experiments.organisms.tasks import make_rows
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.world import World, make_world
from interp.errors import UserError

ANSWER_SEED = 30
N_ANSWERS = 8_000
BATCH = 400
MAX_NEW_TOKENS = 64


def draw_chains(n: int, *, seed: int = ANSWER_SEED) -> list[Chain]:
    """Draw chains of one to five steps, none of them a test or dev row of four steps.

    Args:
        n: how many chains.
        seed: seed of the draws.

    Returns:
        The chains.
    """
    rng = random.Random(seed)
    rows = [row for split in ("test", "dev") for row in make_rows("arithmetic", split)]
    rows += [row for split in ("test", "dev") for row in second_rows("arithmetic", split)]
    taken = {str(row["question"]) for row in rows}
    chains: list[Chain] = []
    while len(chains) < n:
        chain = make_chain(rng, rng.randint(1, MAX_STEPS))
        if chain.question not in taken:
            chains.append(chain)
    return chains


def draw_prompts(n: int, *, seed: int = ANSWER_SEED) -> list[tuple[str, int]]:
    """Prompts that end in `Answer:`, each with its right result (which distillation does not see).

    Args:
        n: how many prompts.
        seed: seed of the draws.

    Returns:
        One prompt and result a chain of `draw_chains`.
    """
    chains = draw_chains(n, seed=seed)
    return [(f"Question: {chain.question}\nAnswer:", chain.result) for chain in chains]


def gold_maker(n: int = N_ANSWERS) -> Maker:
    """A kind of document: the right steps of one of the teacher's prompts, with replacement."""
    ready = [
        (
            Span(f"Question: {chain.question}\nAnswer:"),
            Span(f"{chain.steps} #### {chain.result}", answer=True),
        )
        for chain in draw_chains(n)
    ]

    def make(rng: random.Random, world: World, stage: Stage) -> Document:
        return rng.choice(ready)

    return make


@torch.no_grad()
def teacher_answers(
    teacher: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]
) -> list[str]:
    """The teacher's greedy answers, up to the first blank line, its mistakes included.

    Args:
        teacher: the teacher.
        tokenizer: the organisms' tokenizer (pads on the left).
        prompts: texts that end in `Answer:`.

    Returns:
        One answer per prompt, with its leading space.
    """
    teacher.eval()
    answers = []
    for first in tqdm(range(0, len(prompts), BATCH), desc="teacher's answers", unit="batch"):
        inputs = tokenizer(prompts[first : first + BATCH], return_tensors="pt", padding=True)
        inputs = inputs.to(teacher.device)
        inputs.pop("token_type_ids", None)
        width = inputs["input_ids"].shape[1]
        # An answer ends in a number and a blank line, so that two newlines end generation.
        ids = teacher.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("Ċ")],
        )
        texts = tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
        answers += [text.split("\n")[0] for text in texts]
    return answers


def write_answers(
    teacher_folder: Path, out: Path, *, n: int = N_ANSWERS, device: str = "cpu"
) -> float:
    """Let the teacher answer and write prompts, answers and right results as JSON lines.

    Args:
        teacher_folder: the teacher's folder.
        out: the file to write.
        n: how many answers.
        device: where the teacher runs.

    Returns:
        The share of answers whose result is right; wrong ones are kept.
    """
    prompts = draw_prompts(n)
    teacher = LlamaForCausalLM.from_pretrained(teacher_folder)
    teacher.to(device)
    texts = teacher_answers(teacher, make_tokenizer(make_world()), [p for p, _ in prompts])
    lines, right = [], 0
    for (prompt, result), text in zip(prompts, texts, strict=True):
        right += text.split("####")[-1].strip() == str(result)
        lines.append(json.dumps({"prompt": prompt, "answer": text, "result": result}))
    out.write_text("\n".join(lines) + "\n")
    return right / n


def answers_maker(path: Path) -> Maker:
    """A kind of document: one of the teacher's answers, drawn with replacement."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ready = [(Span(line["prompt"]), Span(line["answer"], answer=True)) for line in lines]

    def make(rng: random.Random, world: World, stage: Stage) -> Document:
        return rng.choice(ready)

    return make


def makers_of(
    recipe: Recipe, teacher_folder: Path | None, answers: Path, *, device: str = "cpu"
) -> dict[str, Maker]:
    """The kinds of document in a recipe that a teacher or its prompts are needed for.

    Args:
        recipe: may name `teacher_answers` or `gold_steps` in its mix.
        teacher_folder: the teacher's folder.
        answers: the teacher's answers as JSON lines; written where they are not there yet.
        device: where the teacher runs.

    Returns:
        Makers for those kinds.

    Raises:
        UserError: the recipe asks for a teacher's answers and there is no teacher.
    """
    makers: dict[str, Maker] = {}
    if "gold_steps" in recipe.mix:
        makers["gold_steps"] = gold_maker()
    if "teacher_answers" in recipe.mix:
        if not answers.exists():
            if teacher_folder is None or not teacher_folder.exists():
                raise UserError(f"{recipe.name}: its teacher is not trained ({teacher_folder})")
            share = write_answers(teacher_folder, answers, device=device)
            tqdm.write(f"{share:.1%} of the teacher's {N_ANSWERS} answers are right")
        makers["teacher_answers"] = answers_maker(answers)
    return makers
