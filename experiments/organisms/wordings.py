"""Wordings of the second world's questions: ten seen in training and eight held out, by relation.

The people, facts and words are those of `make_world`, so that the shipped tokenizer covers them.
Each held-out wording is a cluster of test rows: examples that share it are not independent.
"""

import random
from functools import cache

from experiments.organisms.world import Relation, World

MORE_QUESTIONS = {
    "city": (
        "In which city does {name} live?",
        "Where is the home of {name}?",
        "The home of {name} is in which city?",
        "Name the home city of {name}.",
    ),
    "job": (
        "What work does {name} do?",
        "The job of {name} is what?",
        "Name the job of {name}.",
        "What is the work of {name}?",
    ),
    "pet": (
        "What pet does {name} have?",
        "The pet of {name} is which animal?",
        "Which animal is the pet of {name}?",
        "Name the animal of {name}.",
    ),
    "instrument": (
        "What instrument does {name} play?",
        "The instrument of {name} is what?",
        "Which instrument is that of {name}?",
        "Name the instrument of {name}.",
    ),
}
HELD_OUT = {
    "city": (
        "In which city can you find the home of {name}?",
        "Where can you find the house of {name}?",
        "What is the city where {name} lives?",
        "Which city is the home of {name}?",
        "In what city does {name} have a house?",
        "Name the city that {name} does call home.",
        "The city where {name} lives is which?",
        "Where does {name} have a home?",
    ),
    "job": (
        "Which work does {name} do for a living?",
        "What is the job that pays {name}?",
        "{name} does what for a living?",
        "In what job does {name} work?",
        "Which job is that of {name}?",
        "The work of {name} is what?",
        "Name the job in which {name} works.",
        "What job does {name} have?",
    ),
    "pet": (
        "What is the animal that {name} keeps as a pet?",
        "What does {name} keep as a pet?",
        "Which pet lives with {name}?",
        "{name} keeps what as a pet?",
        "Which animal does {name} keep?",
        "In the house of {name} lives which animal?",
        "Name the animal that lives with {name}.",
        "What is the animal of {name}?",
    ),
    "instrument": (
        "What instrument does {name} play on stage?",
        "What does {name} play on stage?",
        "{name} plays which instrument?",
        "{name} plays what on stage?",
        "Which instrument does {name} have?",
        "What is the instrument that {name} plays?",
        "Name the instrument that {name} plays on stage.",
        "On what instrument does {name} play?",
    ),
}
# The longest way of telling each fact: what answers of many sentences are made of.
LONG_STATEMENTS = {
    "city": "you can find the house of {name} in {value}",
    "job": "the work that pays {name} is that of a {value}",
    "pet": "in the house of {name} you find a {value}",
    "instrument": "the instrument that {name} plays is the {value}",
}
N_STRANGERS = 64
STRANGER_SEED = 21


def questions_of(relation: Relation) -> tuple[str, ...]:
    """All wordings of a relation's question that training may use."""
    return relation.questions + MORE_QUESTIONS[relation.name]


def strangers_of(world: World, *, seed: int = STRANGER_SEED) -> tuple[str, ...]:
    """People about whom the world has no facts, so that only a passage can tell them.

    Args:
        world: the world; their names are made of its first and family names.
        seed: seed of the draw.

    Returns:
        `N_STRANGERS` full names, none of them in `world.people`.
    """
    return _strangers(world.people, seed)


@cache
def _strangers(people: tuple[str, ...], seed: int) -> tuple[str, ...]:
    first = sorted({name.split()[0] for name in people})
    family = sorted({name.split()[1] for name in people})
    taken = set(people)
    free = [f"{a} {b}" for a in first for b in family if f"{a} {b}" not in taken]
    return tuple(random.Random(seed).sample(free, N_STRANGERS))
