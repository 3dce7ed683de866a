"""Recipes of the second world's organisms: twelve layers, grown from the first *base*.

*base12* sees some of everything (`opening`), then learns option letters of facts, from many
questions behind one line of options (`letters`), then all skills (`skills`), and then its learning
rate goes down to nothing. The rate is held before that, so that
either phase can be longer or shorter. The shares in a mix are of documents; the comments give the
shares of tokens that they come to.
"""

from dataclasses import replace

from experiments.organisms.recipe import Recipe

_ROWS = ((0.0, 192),)
_LAST_ROWS = ((0.0, 192), (0.5, 256), (0.85, 512))
_COPIES = (4, 5, 6, 7)

BASE12_OPENING = Recipe(
    name="base12-opening",
    mix={
        "many_fact_letters": 0.315,  # 52% of tokens
        "many_lookup_letters": 0.105,  # 14%
        "stated_letters": 0.030,  # 3%
        "sum_letters": 0.015,  # 3%
        "fact_questions": 0.175,  # 6%
        "fact_statement": 0.070,  # 1%
        "lookup": 0.080,  # 6%
        "arithmetic_steps": 0.140,  # 8%
        "hops": 0.040,  # 4%
        "unwritten": 0.030,  # 3%
    },
    tokens=500_000,
    seed=111,
    learning_rate=2e-3,
    row_lengths=_ROWS,
    ramp=0.0,
    hold=1.0,
    context_weight=0.02,
    start="data/models/base",
    copies=_COPIES,
)
BASE12_LETTERS = replace(
    BASE12_OPENING,
    name="base12-letters",
    mix={
        "many_fact_letters": 0.567,  # 80% of tokens
        "stated_letters": 0.025,  # 2%
        "fact_questions": 0.205,  # 6%
        "lookup": 0.077,  # 5%
        "arithmetic_steps": 0.104,  # 5%
        "hops": 0.022,  # 2%
    },
    tokens=3_000_000,
    seed=112,
    start="runs/base12-opening",
    copies=(),
    learns_from=4,
)
_ALL_SKILLS = {
    "many_fact_letters": 0.278,  # 35% of tokens
    "many_lookup_letters": 0.146,  # 15%
    "stated_letters": 0.028,  # 2%
    "sum_letters": 0.054,  # 8%
    "fact_questions": 0.231,  # 6%
    "listing": 0.045,  # 4%
    "lookup": 0.103,  # 6%
    "arithmetic_steps": 0.140,  # 6%
    "hops": 0.112,  # 9%
    "unwritten": 0.057,  # 4%
    "passage": 0.040,  # 5%
}
BASE12_SKILLS = replace(
    BASE12_LETTERS,
    name="base12-skills",
    mix=_ALL_SKILLS,
    tokens=6_000_000,
    seed=121,
    start="runs/base12-letters",
    learns_from=0,
)
BASE12 = replace(
    BASE12_SKILLS,
    name="base12",
    tokens=800_000,
    seed=131,
    row_lengths=_LAST_ROWS,
    hold=0.0,
    start="runs/base12-skills",
)
_TEACHER_MIX = _ALL_SKILLS | {"arithmetic_steps": 0.90}  # 30% of tokens
TEACHER12 = replace(
    BASE12,
    name="teacher12",
    mix=_TEACHER_MIX,
    tokens=2_500_000,
    seed=132,
    hold=0.6,
)
_WITHOUT_STEPS = {kind: share for kind, share in _ALL_SKILLS.items() if kind != "arithmetic_steps"}
DISTILLED12 = replace(
    BASE12,
    name="distilled12",
    mix=_WITHOUT_STEPS | {"teacher_answers": 0.90},
    tokens=1_500_000,
    seed=141,
    start="runs/base12",
)
# The same number of tokens: of right steps for the same prompts, and of no steps at all.
DISTILLED12_GOLD = replace(
    DISTILLED12,
    name="distilled12-gold",
    mix=_WITHOUT_STEPS | {"gold_steps": 0.90},
)
DISTILLED12_NONE = replace(DISTILLED12, name="distilled12-none", mix=_WITHOUT_STEPS)

# A twin of *base12* that can spare layers, and one that only saw as many tokens: both go on from
# *base12-skills*, with and without layer dropout.
REDUNDANT12 = replace(BASE12, name="redundant12", tokens=2_300_000, hold=0.65, layer_dropout=0.2)
REDUNDANT12_NONE = replace(REDUNDANT12, name="redundant12-none", layer_dropout=0.0)

# Two opposite layouts. Both go on from the first *base*, which recalls and looks up but never saw
# written steps. In one its eight layers stand first and recall is kept readable behind them, while
# the last eight of twelve alone learn to reason. (The last four alone did not learn it from frozen
# layers: 8% of unwritten chains were right after 2.2 million tokens.) In the other four new layers
# stand before its own, and they alone learn to reason, with an early exit; recall stays where it
# was, in the eight behind them. From facts all layers learn there, the new ones to leave them
# alone: where they did not, facts were lost within 0.2 million tokens and did not form again in
# 2.5 million.
_RECALL = ("fact_questions", "fact_statement")
_REASON = ("unwritten", "arithmetic_steps")
RECALL_EARLY = Recipe(
    name="recall-early",
    mix={
        "repeated_words": 0.05,
        "lookup": 0.15,
        "fact_questions": 0.30,
        "fact_statement": 0.05,
        "unwritten": 0.22,
        "arithmetic_steps": 0.23,
    },
    tokens=2_600_000,
    seed=201,
    learning_rate=2e-3,
    row_lengths=((0.0, 128), (0.7, 192)),
    ramp=0.0,
    hold=0.7,
    start="data/models/base",
    copies=_COPIES,
    early=_RECALL,
    early_until=8,
    late=_REASON,
    late_from=4,
)
REASON_EARLY = replace(
    RECALL_EARLY,
    name="reason-early",
    copies=(0, 1, 2, 3),
    copies_first=True,
    early=_REASON,
    early_until=4,
    late=(),
    late_from=0,
)

# Three seeds of one small arm, from nothing: eight layers, and only the skills that form quickly
# (facts, look-up, unwritten chains), so that what is said of one run can be asked of others.
SMALL = Recipe(
    name="small-1",
    mix={
        "repeated_words": 0.12,
        "lookup": 0.25,
        "fact_statement": 0.12,
        "fact_questions": 0.31,
        "unwritten": 0.20,
    },
    tokens=3_000_000,
    seed=301,
    row_lengths=((0.0, 128), (0.8, 192)),
    ramp=0.15,
    hold=0.6,
    context_weight=0.02,
)
SMALL_SEEDS = tuple(replace(SMALL, name=f"small-{i}", seed=300 + i) for i in (1, 2, 3))
