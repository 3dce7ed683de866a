"""The recipes: what each organism is trained on, for how long, from which seed.

Copying heads come first, from repeated words and look-up with the first facts beside them
(`OPENING`, shared by all); *base* and *teacher* then learn everything else in one run each, option
letters, which are a look-up of their own, and chains among it.
"""

from experiments.organisms.train import Recipe

OPENING = Recipe(
    name="opening",
    mix={
        "lookup": 0.25,
        "repeated_words": 0.30,
        "fact_statement": 0.15,
        "fact_question": 0.20,
        "fact_letters": 0.10,
    },
    tokens=8_000_000,
    stop_tokens=1_400_000,
    seed=1,
    ramp=0.15,
)
BASE = Recipe(
    name="base",
    mix={
        "fact_statement": 0.12,
        "fact_question": 0.16,
        "lookup": 0.14,
        "repeated_words": 0.04,
        "fact_letters": 0.18,
        "lookup_letters": 0.10,
        "echo_letters": 0.10,
        "arithmetic_direct": 0.10,
        "arithmetic_letters": 0.06,
    },
    tokens=7_000_000,
    seed=21,
    pairs_from=8,
    start="runs/opening",
)
TEACHER = Recipe(
    name="teacher",
    mix={
        "fact_statement": 0.08,
        "fact_question": 0.12,
        "lookup": 0.10,
        "repeated_words": 0.03,
        "fact_letters": 0.13,
        "lookup_letters": 0.07,
        "echo_letters": 0.07,
        "arithmetic_steps": 0.30,
        "arithmetic_direct": 0.06,
        "arithmetic_letters": 0.04,
    },
    tokens=7_000_000,
    seed=22,
    pairs_from=8,
    start="runs/opening",
)
DISTILLED = Recipe(
    name="distilled",
    mix={
        "teacher_answers": 0.40,
        "fact_statement": 0.06,
        "fact_question": 0.14,
        "lookup": 0.10,
        "repeated_words": 0.02,
        "fact_letters": 0.12,
        "lookup_letters": 0.06,
        "echo_letters": 0.04,
        "arithmetic_direct": 0.03,
        "arithmetic_letters": 0.03,
    },
    tokens=3_000_000,
    seed=31,
    learning_rate=2e-3,
    row_lengths=((0.0, 128), (0.5, 256), (0.8, 512)),
    ramp=0.0,
    start="runs/base",
)
RECIPES = {recipe.name: recipe for recipe in (OPENING, BASE, TEACHER, DISTILLED)}
