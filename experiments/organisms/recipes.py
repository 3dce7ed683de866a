"""The recipes: what each organism is trained on, for how long, from which seed.

Copying heads come first, from repeated words and look-up with the first facts beside them
(`OPENING`, shared by all). *teacher* then learns all else in one run. *base* goes on in three:
facts, look-up and sums (`BASE_FACTS`); then option letters, which are a look-up of their own, asked
many times a document (`BASE_OPTIONS`); and a last run of everything in which the learning rate goes
down to nothing (`BASE`).
"""

from experiments.organisms.recipe import Recipe

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
BASE_FACTS = Recipe(
    name="base-facts",
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
    stop_tokens=4_890_000,
    seed=21,
    pairs_from=8,
    start="runs/opening",
)
_SOME_OF_ALL = {
    "fact_statement": 0.05,
    "fact_question": 0.06,
    "lookup": 0.06,
    "repeated_words": 0.02,
    "arithmetic_direct": 0.05,
    "arithmetic_letters": 0.04,
}
BASE_OPTIONS = Recipe(
    name="base-options",
    mix=_SOME_OF_ALL
    | {
        "option_queries": 0.40,
        "fact_option_queries": 0.12,
        "fact_letters": 0.14,
        "lookup_letters": 0.10,
        "echo_letters": 0.06,
    },
    tokens=8_000_000,
    stop_tokens=2_000_000,
    seed=41,
    ramp=0.0,
    row_lengths=((0.0, 128), (0.5, 256), (0.85, 512)),
    start="runs/base-facts",
)
BASE = Recipe(
    name="base",
    mix={
        "option_queries": 0.15,
        "echo_letters": 0.08,
        "fact_option_queries": 0.08,
        "fact_letters": 0.06,
        "lookup_letters": 0.06,
        "fact_statement": 0.08,
        "fact_question": 0.20,
        "lookup": 0.14,
        "repeated_words": 0.02,
        "arithmetic_direct": 0.10,
        "arithmetic_letters": 0.03,
    },
    tokens=1_500_000,
    seed=51,
    ramp=0.0,
    row_lengths=((0.0, 128), (0.4, 256), (0.8, 512)),
    start="runs/base-options",
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
        "fact_statement": 0.05,
        "fact_question": 0.15,
        "lookup": 0.12,
        "repeated_words": 0.02,
        "option_queries": 0.07,
        "echo_letters": 0.04,
        "fact_option_queries": 0.05,
        "fact_letters": 0.04,
        "lookup_letters": 0.04,
        "arithmetic_direct": 0.04,
    },
    tokens=2_200_000,
    seed=31,
    learning_rate=2e-3,
    row_lengths=((0.0, 128), (0.5, 256), (0.8, 512)),
    ramp=0.0,
    start="runs/base",
)
RECIPES = {
    recipe.name: recipe for recipe in (OPENING, BASE_FACTS, BASE_OPTIONS, BASE, TEACHER, DISTILLED)
}
