"""Test rows of the second world, written byte for byte the same from the same seed.

The field `wording` names the wording of a row's question: rows that share it are a cluster. Rows
for option letters ask each question four times, with its options rotated (`question_id`,
`rotation`), so that a preference for a letter shows.
"""

import random
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from experiments.organisms.documents import (
    LETTERS,
    MAX_PAIRS,
    draw_pairs,
    fact_options,
    make_chain,
    options_text,
    pair_options,
    pairs_text,
)
from experiments.organisms.skills import (
    MAX_HOPS,
    MAX_RING,
    MAX_UNWRITTEN,
    listing_texts,
    number_options,
    passage_facts,
    ring_text,
)
from experiments.organisms.tasks import Row, rows_text
from experiments.organisms.wordings import HELD_OUT
from experiments.organisms.world import Relation, World, make_world

ROWS_SEED = 8_000
DEV_ROWS = 16
WRITTEN_STEPS = 4
# Rows of each skill: a multiple of what is to be equally frequent in it (wordings, hops, steps).
N_ROWS = {
    "facts": 416,
    "kv": 400,
    "passage": 384,
    "hops": 400,
    "unwritten": 396,
    "arithmetic": 400,
    "listing": 96,
}
N_LETTERED = 96  # questions of each lettered skill, each of them four times
LETTERED = ("facts", "kv", "passage", "unwritten")


def _with_options(row: Row, options: list[str], gold: str) -> Row:
    index = options.index(gold)
    row |= {"answer": gold, "options": options, "options_text": options_text(options)}
    return row | {"gold": index, "letter": LETTERS[index]}


def _wordings(world: World) -> list[tuple[Relation, int]]:
    """Every held-out wording: its relation, its place in the relation's list."""
    return [(r, i) for i in range(len(HELD_OUT["city"])) for r in world.relations]


def _asked(relation: Relation, at: int, person: str) -> Row:
    question = HELD_OUT[relation.name][at].format(name=person)
    return {
        "person": person,
        "relation": relation.name,
        "wording": f"{relation.name}-{at}",
        "question": question,
    }


def fact_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """Facts of the world, each held-out wording equally often, no fact twice."""
    wordings, rows = _wordings(world), []
    people = {r.name: rng.sample(world.people, len(world.people)) for r in world.relations}
    for i in range(n):
        relation, at = wordings[i % len(wordings)]
        person = people[relation.name].pop()
        value = world.facts[person, relation.name]
        row = _asked(relation, at, person)
        rows.append(_with_options(row, fact_options(rng, relation, value), value))
    return rows


def kv_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """One of 16 fresh pairs; gold positions equally frequent."""
    rows = []
    for i in range(n):
        pairs = draw_pairs(rng, world, MAX_PAIRS)
        key = list(pairs)[i % MAX_PAIRS]
        row: Row = {
            "pairs": [list(pair) for pair in pairs.items()],
            "pairs_text": pairs_text(pairs),
        }
        row |= {"key": key, "gold_position": i % MAX_PAIRS}
        rows.append(_with_options(row, pair_options(rng, pairs, key), pairs[key]))
    return rows


def passage_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """Facts of strangers that only the passage of the row tells."""
    wordings, rows = _wordings(world), []
    for i in range(n):
        relation, at = wordings[i % len(wordings)]
        text, told = passage_facts(rng, world, relation, 6)
        person = rng.choice(list(told))
        row = _asked(relation, at, person) | {"passage": text}
        options = [told[person], *rng.sample([v for p, v in told.items() if p != person], 3)]
        rng.shuffle(options)
        rows.append(_with_options(row, options, told[person]))
    return rows


def hop_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """A ring of keys; one to four links to follow, equally often; the options are the four ends."""
    rows = []
    for i in range(n):
        ring, n_hops = rng.sample(world.keys, MAX_RING), 1 + i % MAX_HOPS
        options = ring[1 : MAX_HOPS + 1]
        rng.shuffle(options)
        row: Row = {"pairs_text": ring_text(rng, ring), "key": ring[0], "n_hops": n_hops}
        rows.append(_with_options(row, options, ring[n_hops]))
    return rows


def _chain_rows(rng: random.Random, n: int, n_steps: Callable[[int], int]) -> list[Row]:
    """Chains, none twice, with the options of `number_options`."""
    rows: list[Row] = []
    seen: set[str] = set()
    while len(rows) < n:
        chain = make_chain(rng, n_steps(len(rows)))
        if chain.question in seen:
            continue
        seen.add(chain.question)
        row: Row = {"question": chain.question, "n_steps": chain.n_steps}
        row |= {"steps": f"{chain.steps.strip()} #### {chain.result}"}
        rows.append(_with_options(row, number_options(rng, chain.result), str(chain.result)))
    return rows


def unwritten_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """Chains of one to three operations, equally often, to be answered at once."""
    return _chain_rows(rng, n, lambda i: 1 + i % MAX_UNWRITTEN)


def arithmetic_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """Chains of four operations, whose steps may be written out."""
    return _chain_rows(rng, n, lambda i: WRITTEN_STEPS)


def listing_rows(world: World, rng: random.Random, n: int) -> list[Row]:
    """All facts of two people in a stated order: answers of 90 tokens and more."""
    rows: list[Row] = []
    for _ in range(n):
        order = [relation.name for relation in world.relations]
        rng.shuffle(order)
        people = rng.sample(world.people, 2)
        question, answer = listing_texts(world, people, order)
        rows.append({"people": people, "order": order, "question": question, "answer": answer})
    return rows


SKILL_ROWS = {
    "facts": fact_rows,
    "kv": kv_rows,
    "passage": passage_rows,
    "hops": hop_rows,
    "unwritten": unwritten_rows,
    "arithmetic": arithmetic_rows,
    "listing": listing_rows,
}


def rotated(rows: list[Row]) -> list[Row]:
    """Each row four times, its options rotated, so that every letter is right once."""
    turned = []
    for i, row in enumerate(rows):
        options = [str(option) for option in row["options"]]  # type: ignore[attr-defined]
        for by in range(4):
            more: Row = {"question_id": i, "rotation": by}
            turned.append(
                _with_options(row | more, options[by:] + options[:by], str(row["answer"]))
            )
    return turned


def make_rows(skill: str, split: str, *, seed: int = ROWS_SEED) -> list[Row]:
    """Make the rows of one skill.

    Args:
        skill: one of `SKILL_ROWS`.
        split: `test`; `dev` (`DEV_ROWS`, for few-shot examples); `letters` (`N_LETTERED` questions
            under four rotations of their options).
        seed: the seed of every draw.

    Returns:
        Rows with an `id`, in a fixed order.
    """
    n = {"test": N_ROWS[skill], "dev": DEV_ROWS, "letters": N_LETTERED}[split]
    rows = SKILL_ROWS[skill](make_world(), random.Random(f"{seed}-{skill}-{split}"), n)
    rows = rotated(rows) if split == "letters" else rows
    return [{"id": f"{skill}-{split}-{i:03d}", **row} for i, row in enumerate(rows)]


def file_name(skill: str, split: str) -> str:
    """The file that holds the rows of a skill and split."""
    return f"world2-{skill}.jsonl" if split == "test" else f"world2-{skill}-{split}.jsonl"


def write_rows(out: Path) -> None:
    """Write all rows of the second world to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for skill in tqdm(SKILL_ROWS, desc="rows", unit="skill"):
        splits = ("test", "dev", "letters") if skill in LETTERED else ("test", "dev")
        for split in splits:
            (out / file_name(skill, split)).write_text(rows_text(make_rows(skill, split)))
