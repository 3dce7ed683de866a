"""Texts that are not examples of any task, for a tuned lens and for similarity."""

import random

from experiments.presets import Preset

DOCUMENTS = 400
SEED = 0


def world_texts(count: int = DOCUMENTS, seed: int = SEED) -> list[str]:
    """Documents of the organisms' world, with three skills in turn."""
    from experiments.organisms.documents import arithmetic_steps, fact_question, lookup
    from experiments.organisms.world import make_world

    rng, world = random.Random(seed), make_world()
    made = [
        (fact_question(rng, world), lookup(rng, world), arithmetic_steps(rng))[n % 3]
        for n in range(count)
    ]
    return ["".join(span.text for span in document) for document in made]


def texts_of(preset: Preset, count: int = DOCUMENTS) -> tuple[list[str], str]:
    """Texts for a preset, and a description of them.

    They are documents of the organisms' world if the tasks belong to it. Otherwise they are prompts
    of the tasks with their right answers, the same number of each, so that nothing more has to be
    downloaded.
    """
    names = preset.task_names("skills", "options")
    if all("world-" in name or "world2-" in name for name in names):
        return world_texts(count), f"{count} documents of the organisms' world (seed {SEED})"
    from interp.tasks import prompt_text, select_examples

    texts = []
    for task in preset.load_tasks("skills", "options"):
        rows = task.documents()
        # not the seed of the sweeps
        for row in select_examples(task, -(-count // len(names)), seed=preset.seed + 1):
            texts.append(f"{prompt_text(task, rows[row])} {task.target_text(rows[row])}")
    return texts, f"{len(texts)} prompts of the preset's tasks with their answers"
