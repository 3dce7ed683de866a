"""Test rows of the world's tasks, written byte for byte the same from the same seed."""

import json
import random
from pathlib import Path

from tqdm import tqdm

from experiments.organisms.documents import (
    LETTERS,
    MAX_PAIRS,
    draw_pairs,
    fact_options,
    make_chain,
    number_options,
    options_text,
    pair_options,
    pairs_text,
)
from experiments.organisms.world import World, make_world

TASK_SEED = 7_000
N_TEST = 400
N_DEV = 16
TEST_STEPS = 4
SKILLS = ("facts", "kv", "arithmetic")

Row = dict[str, object]


def _with_options(row: Row, options: list[str], gold: str) -> Row:
    """Add the fields that every skill shares."""
    index = options.index(gold)
    row |= {"answer": gold, "options": options, "options_text": options_text(options)}
    return row | {"gold": index, "letter": LETTERS[index]}


def fact_rows(world: World, rng: random.Random, n: int, split: str) -> list[Row]:
    """Rows that ask for facts in the wording held out of training.

    Args:
        world: the world.
        rng: the source of every draw.
        n: how many rows; no fact occurs twice.
        split: prefix of the rows' ids.

    Returns:
        Rows with person, relation, question, answer, four options of the relation.
    """
    facts = [(person, relation) for person in world.people for relation in world.relations]
    rows = []
    for i, (person, relation) in enumerate(rng.sample(facts, n)):
        value = world.facts[person, relation.name]
        row: Row = {"id": f"facts-{split}-{i:03d}", "person": person, "relation": relation.name}
        row["question"] = relation.held_out.format(name=person)
        rows.append(_with_options(row, fact_options(rng, relation, value), value))
    return rows


def kv_rows(world: World, rng: random.Random, n: int, split: str) -> list[Row]:
    """Rows that ask for one of 16 fresh key-value pairs; gold positions are spread evenly.

    Args:
        world: the world.
        rng: the source of every draw.
        n: how many rows.
        split: prefix of the rows' ids.

    Returns:
        Rows with pairs, their text, query key, gold position (from 0), answer, four options.
    """
    rows = []
    positions = [i % MAX_PAIRS for i in range(n)]
    rng.shuffle(positions)
    for i, position in enumerate(positions):
        pairs = draw_pairs(rng, world, MAX_PAIRS)
        key = list(pairs)[position]
        row: Row = {"id": f"kv-{split}-{i:03d}", "pairs": [list(pair) for pair in pairs.items()]}
        row |= {"pairs_text": pairs_text(pairs).rstrip("\n"), "key": key, "gold_position": position}
        rows.append(_with_options(row, pair_options(rng, pairs, key), pairs[key]))
    return rows


def arithmetic_rows(world: World, rng: random.Random, n: int, split: str) -> list[Row]:
    """Rows that ask for the result of a chain of four operations; no chain occurs twice.

    Args:
        world: unused; every skill has the same signature.
        rng: the source of every draw.
        n: how many rows.
        split: prefix of the rows' ids.

    Returns:
        Rows with question, written-out steps, result, number of steps, four options.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    while len(rows) < n:
        chain = make_chain(rng, TEST_STEPS)
        if chain.question in seen:
            continue
        seen.add(chain.question)
        row: Row = {"id": f"arithmetic-{split}-{len(rows):03d}", "question": chain.question}
        row |= {"steps": f"{chain.steps.strip()} #### {chain.result}", "n_steps": chain.n_steps}
        rows.append(_with_options(row, number_options(rng, chain), str(chain.result)))
    return rows


def make_rows(skill: str, split: str, *, seed: int = TASK_SEED) -> list[Row]:
    """Make the rows of one skill and split (`test`: 400, `dev`: 16 for few-shot prompts)."""
    make = {"facts": fact_rows, "kv": kv_rows, "arithmetic": arithmetic_rows}[skill]
    rng = random.Random(f"{seed}-{skill}-{split}")
    return make(make_world(), rng, N_TEST if split == "test" else N_DEV, split)


def rows_text(rows: list[Row]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_tasks(out: Path) -> None:
    """Write all rows to a folder: `world-SKILL.jsonl` (test) and `world-SKILL-dev.jsonl`."""
    out.mkdir(parents=True, exist_ok=True)
    for skill in tqdm(SKILLS, desc="tasks", unit="skill"):
        (out / f"world-{skill}.jsonl").write_text(rows_text(make_rows(skill, "test")))
        (out / f"world-{skill}-dev.jsonl").write_text(rows_text(make_rows(skill, "dev")))
