"""Training documents of each skill, as spans of text that do or do not count as answers.

A document is a tuple of spans. The text of answer spans follows from what precedes it (or from the
world) and has weight 1 in the loss; the rest, mostly random draws that cannot be predicted, has a
small weight.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from experiments.organisms.world import Relation, World

LETTERS = "ABCD"
LETTER_WEIGHT = 3.0  # one token is all that a lettered document teaches
LIMIT = 50  # all values of a chain are below it
MAX_PAIRS = 16
MAX_STEPS = 5


@dataclass(frozen=True)
class Span:
    """A piece of a document.

    `answer` says whether it has full weight in the loss, and `weight` what full weight is.
    """

    text: str
    answer: bool = False
    weight: float = 1.0


Document = tuple[Span, ...]


@dataclass(frozen=True)
class Chain:
    """A chain of arithmetic: its question, its written-out steps, its result."""

    question: str
    steps: str
    result: int
    n_steps: int


def make_chain(rng: random.Random, n_steps: int) -> Chain:
    """Draw a chain of `n_steps` operations whose values all stay in 0..LIMIT-1."""
    start = value = rng.randrange(1, 20)
    words, steps = [], []
    for _ in range(n_steps):
        kinds = ["add", "add", "subtract", "subtract"]
        kinds += ["double", "double"] if value and value * 2 < LIMIT else []
        kinds += ["triple", "triple"] if value and value * 3 < LIMIT else []
        kind, operand = rng.choice(kinds), rng.randrange(1, 10)
        if kind == "add" and value + operand >= LIMIT:
            kind = "subtract"
        if kind == "subtract" and value < operand:
            kind = "add"
        if kind in ("double", "triple"):
            operand = 2 if kind == "double" else 3
            words.append(f"{kind} it")
        else:
            words.append(f"{kind} {operand}")
        sign = {"add": "+", "subtract": "-"}.get(kind, "*")
        after = {"+": value + operand, "-": value - operand, "*": value * operand}[sign]
        steps.append(f" {value} {sign} {operand} = {after}.")
        value = after
    question = f"Start with {start}, {', '.join(words)}. What is the result?"
    return Chain(question, "".join(steps), value, n_steps)


def number_options(rng: random.Random, chain: Chain) -> list[str]:
    """Four shuffled numbers near each other, the result among them."""
    result = chain.result
    near = [n for n in range(max(0, result - 9), min(LIMIT, result + 10)) if n != result]
    options = [str(n) for n in [result, *rng.sample(near, 3)]]
    rng.shuffle(options)
    return options


def options_text(options: list[str]) -> str:
    """The options of a multiple-choice question, each followed by its letter, on one line."""
    lettered = ", ".join(
        f"{option} {letter}" for letter, option in zip(LETTERS, options, strict=True)
    )
    return f"Options: {lettered}.\n"


def _lettered(head: str, options: list[str], gold: str, *, context: str = "") -> Document:
    letter = LETTERS[options.index(gold)]
    question = Span(f"{context}{options_text(options)}{head}\nAnswer:")
    return (question, Span(f" {letter}", answer=True, weight=LETTER_WEIGHT))


def fact_options(rng: random.Random, relation: Relation, gold: str) -> list[str]:
    """Four shuffled values of one relation, `gold` among them."""
    options = [gold, *rng.sample([v for v in relation.values if v != gold], 3)]
    rng.shuffle(options)
    return options


def _draw_fact(rng: random.Random, world: World) -> tuple[str, Relation, str]:
    person, relation = rng.choice(world.people), rng.choice(world.relations)
    return person, relation, world.facts[person, relation.name]


def fact_statement(rng: random.Random, world: World) -> Document:
    """A statement, as in `Fact: Mel Karo lives in Zanto.`."""
    person, relation, value = _draw_fact(rng, world)
    before = rng.choice(relation.statements).split(" {value}")[0].format(name=person)
    return (Span(f"Fact: {before}"), Span(f" {value}.", answer=True))


def fact_question(rng: random.Random, world: World) -> Document:
    """`Question: Where does Mel Karo live?` and its answer."""
    person, relation, value = _draw_fact(rng, world)
    question = rng.choice(relation.questions).format(name=person)
    return (Span(f"Question: {question}\nAnswer:"), Span(f" {value}", answer=True))


def fact_letters(rng: random.Random, world: World) -> Document:
    """A question about a fact, four lettered values, the letter."""
    person, relation, value = _draw_fact(rng, world)
    question = rng.choice(relation.questions).format(name=person)
    return _lettered(f"Question: {question}", fact_options(rng, relation, value), value)


def echo_letters(rng: random.Random, world: World) -> Document:
    """The answer is named in the question; only its letter is to be found."""
    _, relation, value = _draw_fact(rng, world)
    if rng.random() < 0.5:
        options = fact_options(rng, relation, value)
    else:
        options = [f"{a} {b}" for a, b in draw_values(rng, world, 4)]
        value = rng.choice(options)
    return _lettered(f"Question: Which option is {value}?", options, value)


QUERIES = (
    "Find: {value}",
    "Question: Which option is {value}?",
    "Question: Which option is {value}?\nAnswer:",
)


def option_queries(rng: random.Random, world: World) -> Document:
    """Four options, then up to eight times: a value, its letter.

    A lettered question teaches one token, and the value is some tokens away from its answer; here
    the same look-up is asked with the value right in front of the answer too.
    """
    if rng.random() < 0.5:
        options = rng.sample(rng.choice(world.relations).values, 4)
    else:
        options = [f"{a} {b}" for a, b in draw_values(rng, world, 4)]
    spans = [Span(options_text(options).rstrip("\n"))]
    for _ in range(rng.randint(4, 8)):
        i, query = rng.randrange(4), rng.choice(QUERIES)
        spans += [
            Span("\n" + query.format(value=options[i])),
            Span(f" {LETTERS[i]}", answer=True, weight=LETTER_WEIGHT),
        ]
    return tuple(spans)


def fact_option_queries(rng: random.Random, world: World) -> Document:
    """Four options of one relation, then questions about people who have them, answered by letter.

    Half of the answers also say the value, so that recall is practised where its letter is.
    """
    relation = rng.choice(world.relations)
    options = rng.sample(relation.values, 4)
    holders = [p for p in world.people if world.facts[p, relation.name] in options]
    spans = [Span(options_text(options))]
    for person in rng.sample(holders, min(len(holders), rng.randint(3, 6))):
        value = world.facts[person, relation.name]
        letter, question = LETTERS[options.index(value)], rng.choice(relation.questions)
        spans += [
            Span(f"Question: {question.format(name=person)}\nAnswer:"),
            Span(f" {letter}", answer=True, weight=LETTER_WEIGHT),
            Span("\n"),
        ]
    return tuple(spans)


def draw_values(rng: random.Random, world: World, n: int) -> list[tuple[str, str]]:
    """Draw `n` two-word values with distinct first and distinct second words."""
    return list(zip(rng.sample(world.adjectives, n), rng.sample(world.nouns, n), strict=True))


def draw_pairs(rng: random.Random, world: World, n: int) -> dict[str, str]:
    """Draw `n` fresh key-value pairs: distinct keys, values distinct in each word."""
    values = [f"{a} {b}" for a, b in draw_values(rng, world, n)]
    return dict(zip(rng.sample(world.keys, n), values, strict=True))


def pairs_text(pairs: dict[str, str]) -> str:
    """`Pairs: kip amber lamp, fen pale rope.` and a newline."""
    return "Pairs: " + ", ".join(f"{key} {value}" for key, value in pairs.items()) + ".\n"


def lookup(rng: random.Random, world: World, *, max_pairs: int = MAX_PAIRS) -> Document:
    """Pairs, then several queries, each with its value."""
    pairs = draw_pairs(rng, world, rng.randint(2, max_pairs))
    n_queries = 1 if rng.random() < 0.25 else rng.randint(1, min(8, len(pairs)))
    spans = [Span(pairs_text(pairs))]
    for i, key in enumerate(rng.sample(list(pairs), n_queries)):
        spans += [Span(("\n" if i else "") + f"Find: {key}"), Span(f" {pairs[key]}", answer=True)]
    return tuple(spans)


def lookup_letters(rng: random.Random, world: World, *, max_pairs: int = MAX_PAIRS) -> Document:
    """Pairs, a query, four lettered values of the same context, the letter."""
    pairs = draw_pairs(rng, world, rng.randint(4, max(4, max_pairs)))
    key = rng.choice(list(pairs))
    options = pair_options(rng, pairs, key)
    return _lettered(f"Find: {key}", options, pairs[key], context=pairs_text(pairs))


def pair_options(rng: random.Random, pairs: dict[str, str], key: str) -> list[str]:
    """Four shuffled values of one context, that of `key` among them."""
    options = [pairs[key], *rng.sample([v for k, v in pairs.items() if k != key], 3)]
    rng.shuffle(options)
    return options


def repeated_words(rng: random.Random, world: World) -> Document:
    """A random sequence of words, then the same again: what copying heads form on."""
    pool = world.keys + world.adjectives + world.nouns
    words = " ".join(rng.sample(pool, rng.randint(6, 40)))
    return (Span(f"Words: {words}.\nWords:"), Span(f" {words}.", answer=True))


def arithmetic_direct(rng: random.Random, *, max_steps: int = MAX_STEPS) -> Document:
    """A chain answered at once, without steps."""
    chain = make_chain(rng, rng.randint(1, max_steps))
    return (
        Span(f"Question: {chain.question}\nAnswer: ####"),
        Span(f" {chain.result}", answer=True),
    )


def arithmetic_steps(rng: random.Random, *, max_steps: int = MAX_STEPS) -> Document:
    """A chain answered after its written-out steps."""
    chain = make_chain(rng, rng.randint(1, max_steps))
    return (
        Span(f"Question: {chain.question}\nAnswer:"),
        Span(f"{chain.steps} #### {chain.result}", answer=True),
    )


def arithmetic_letters(rng: random.Random, *, max_steps: int = MAX_STEPS) -> Document:
    """A chain, four lettered numbers, the letter."""
    chain = make_chain(rng, rng.randint(1, max_steps))
    return _lettered(f"Question: {chain.question}", number_options(rng, chain), str(chain.result))


@dataclass(frozen=True)
class Stage:
    """How hard the documents are at one moment of training."""

    max_pairs: int
    max_steps: int


Maker = Callable[[random.Random, World, Stage], Document]

MAKERS: dict[str, Maker] = {
    "fact_statement": lambda rng, world, _: fact_statement(rng, world),
    "fact_question": lambda rng, world, _: fact_question(rng, world),
    "fact_letters": lambda rng, world, _: fact_letters(rng, world),
    "echo_letters": lambda rng, world, _: echo_letters(rng, world),
    "option_queries": lambda rng, world, _: option_queries(rng, world),
    "fact_option_queries": lambda rng, world, _: fact_option_queries(rng, world),
    "lookup": lambda rng, world, at: lookup(rng, world, max_pairs=at.max_pairs),
    "lookup_letters": lambda rng, world, at: lookup_letters(rng, world, max_pairs=at.max_pairs),
    "repeated_words": lambda rng, world, _: repeated_words(rng, world),
    "arithmetic_direct": lambda rng, _, at: arithmetic_direct(rng, max_steps=at.max_steps),
    "arithmetic_steps": lambda rng, _, at: arithmetic_steps(rng, max_steps=at.max_steps),
    "arithmetic_letters": lambda rng, _, at: arithmetic_letters(rng, max_steps=at.max_steps),
}
