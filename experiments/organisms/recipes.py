"""The recipes: what each organism is trained on, for how long, from which seed.

Copying heads form late and suddenly, and not at all when facts compete for the gradient. So all
organisms start from a short run on repeated words and look-up alone (`COPYING`); then all skills
come in while copying still has most of the loss (`..._OPENING`); then facts get the largest share
(`..._MIDDLE`); at last option letters, which are a look-up and come after it, and chains.
"""

from experiments.organisms.train import Recipe

COPYING = Recipe(
    name="copying",
    mix={"lookup": 0.35, "repeated_words": 0.65},
    tokens=16_000_000,
    stop_tokens=5_370_000,
    seed=1,
)

_OPENING = {
    "fact_statement": 0.12,
    "fact_question": 0.20,
    "lookup": 0.15,
    "repeated_words": 0.08,
    "fact_letters": 0.12,
    "lookup_letters": 0.08,
    "echo_letters": 0.10,
}
_FACTS_FIRST = {
    "fact_statement": 0.20,
    "fact_question": 0.26,
    "lookup": 0.08,
    "repeated_words": 0.02,
    "fact_letters": 0.12,
    "lookup_letters": 0.06,
    "echo_letters": 0.08,
}

BASE_OPENING = Recipe(
    name="base-opening",
    mix=_OPENING | {"arithmetic_direct": 0.10, "arithmetic_letters": 0.05},
    tokens=14_000_000,
    stop_tokens=1_975_000,
    seed=1,
    ramp=0.2,
    start="runs/copying",
)
TEACHER_OPENING = Recipe(
    name="teacher-opening",
    mix=_OPENING
    | {"arithmetic_steps": 0.24, "arithmetic_direct": 0.05, "arithmetic_letters": 0.04},
    tokens=14_000_000,
    stop_tokens=1_975_000,
    seed=2,
    ramp=0.2,
    start="runs/copying",
)
BASE_MIDDLE = Recipe(
    name="base-middle",
    mix=_FACTS_FIRST | {"arithmetic_direct": 0.12, "arithmetic_letters": 0.06},
    tokens=9_500_000,
    stop_tokens=3_280_000,
    seed=11,
    ramp=0.05,
    pairs_from=8,
    start="runs/base-opening",
)
TEACHER_MIDDLE = Recipe(
    name="teacher-middle",
    mix=_FACTS_FIRST
    | {"arithmetic_steps": 0.22, "arithmetic_direct": 0.04, "arithmetic_letters": 0.03},
    tokens=9_500_000,
    stop_tokens=3_180_000,
    seed=12,
    ramp=0.05,
    pairs_from=8,
    start="runs/teacher-opening",
)
BASE = Recipe(
    name="base",
    mix={
        "fact_statement": 0.10,
        "fact_question": 0.14,
        "lookup": 0.09,
        "repeated_words": 0.02,
        "fact_letters": 0.22,
        "lookup_letters": 0.12,
        "echo_letters": 0.18,
        "arithmetic_direct": 0.09,
        "arithmetic_letters": 0.04,
    },
    tokens=8_000_000,
    seed=21,
    ramp=0.0,
    start="runs/base-middle",
)
TEACHER = Recipe(
    name="teacher",
    mix={
        "fact_statement": 0.08,
        "fact_question": 0.12,
        "lookup": 0.07,
        "repeated_words": 0.01,
        "fact_letters": 0.08,
        "lookup_letters": 0.04,
        "echo_letters": 0.06,
        "arithmetic_steps": 0.45,
        "arithmetic_direct": 0.06,
        "arithmetic_letters": 0.03,
    },
    tokens=8_000_000,
    seed=22,
    ramp=0.0,
    start="runs/teacher-middle",
)
DISTILLED = Recipe(
    name="distilled",
    mix={
        "teacher_answers": 0.40,
        "fact_statement": 0.06,
        "fact_question": 0.16,
        "lookup": 0.10,
        "repeated_words": 0.02,
        "fact_letters": 0.10,
        "lookup_letters": 0.06,
        "echo_letters": 0.04,
        "arithmetic_direct": 0.03,
        "arithmetic_letters": 0.03,
    },
    tokens=4_000_000,
    minutes=16,
    seed=31,
    learning_rate=1.5e-3,
    row_lengths=((0.0, 128), (0.5, 256), (0.8, 512)),
    ramp=0.0,
    start="runs/base",
)
RECIPES = {
    recipe.name: recipe
    for recipe in (
        COPYING,
        BASE_OPENING,
        TEACHER_OPENING,
        BASE_MIDDLE,
        TEACHER_MIDDLE,
        BASE,
        TEACHER,
        DISTILLED,
    )
}
