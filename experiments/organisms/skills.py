"""Documents of the second world: many questions behind one context, and skills of known depth.

Letters form when they are asked often: one line of options serves a dozen questions here. The
options stand first in every lettered document, so that a value that is read later can find its
letter at once.
"""

import random
from itertools import pairwise

from experiments.organisms.documents import (
    LETTERS,
    LIMIT,
    Chain,
    Document,
    Maker,
    Span,
    draw_values,
    make_chain,
    options_text,
    pairs_text,
)
from experiments.organisms.wordings import LONG_STATEMENTS, questions_of, strangers_of
from experiments.organisms.world import Relation, World

LETTER_WEIGHT = 2.0
LISTING_WEIGHT = 0.5  # most tokens of a long answer follow from the one before
MAX_HOPS = 4
MAX_RING = 12
MAX_UNWRITTEN = 3
WINDOW = 10  # options of a result lie in a window of so many numbers


def _lettered(text: str, letter: str) -> tuple[Span, Span, Span]:
    """A query, the letter that answers it, and the end of the line."""
    return Span(text), Span(f" {letter}", answer=True, weight=LETTER_WEIGHT), Span("\n")


def fact_letters(rng: random.Random, world: World) -> Document:
    """Four values of one relation, then 8 to 12 people who have them; the letter of each.

    Half of the queries are whole questions, half the name alone, which takes a third of the tokens.
    """
    relation = rng.choice(world.relations)
    options = rng.sample(relation.values, 4)
    people = [p for p in world.people if world.facts[p, relation.name] in options]
    rng.shuffle(people)
    spans = [Span(options_text(options))]
    for person in people[: rng.randint(8, 12)]:
        letter = LETTERS[options.index(world.facts[person, relation.name])]
        question = rng.choice(questions_of(relation)).format(name=person)
        short = rng.random() < 0.5
        text = f"Find: {person}" if short else f"Question: {question}\nAnswer:"
        spans += _lettered(text, letter)
    return tuple(spans)


def fact_question(rng: random.Random, world: World) -> Document:
    """One to three questions about a fact of anybody, each with its answer in words."""
    spans: list[Span] = []
    for i in range(rng.randint(1, 3)):
        person, relation = rng.choice(world.people), rng.choice(world.relations)
        question = rng.choice(questions_of(relation)).format(name=person)
        spans.append(Span(("\n\n" if i else "") + f"Question: {question}\nAnswer:"))
        spans.append(Span(f" {world.facts[person, relation.name]}", answer=True))
    return tuple(spans)


def letter_pairs(
    rng: random.Random, world: World, *, max_pairs: int
) -> tuple[list[str], dict[str, str]]:
    """Four options, and pairs whose values are, all or in part, among them.

    In half of the cases every key has one of the four values, so that each can be asked; else the
    values are distinct, as in the test rows. One value in two has one word, the others two.
    """
    n = rng.randint(4, max(4, max_pairs))
    if rng.random() < 0.5:
        values = rng.sample(world.nouns, n)
    else:
        values = [f"{a} {b}" for a, b in draw_values(rng, world, n)]
    options = values[:4]
    if rng.random() < 0.5:
        values = [rng.choice(options) for _ in range(n)]
    pairs = dict(zip(rng.sample(world.keys, n), values, strict=True))
    items = list(pairs.items())
    rng.shuffle(items)
    rng.shuffle(options)
    return options, dict(items)


def lookup_letters(rng: random.Random, world: World, *, max_pairs: int) -> Document:
    """Options, pairs, then up to ten keys; the letter of each one's value."""
    options, pairs = letter_pairs(rng, world, max_pairs=max_pairs)
    askable = [key for key, value in pairs.items() if value in options]
    rng.shuffle(askable)
    spans = [Span(options_text(options) + pairs_text(pairs))]
    for key in askable[:10]:
        spans += _lettered(f"Find: {key}\nAnswer:", LETTERS[options.index(pairs[key])])
    return tuple(spans)


def window_of(rng: random.Random, result: int) -> range:
    """A window of numbers around a result that tells nothing about where in it the result lies.

    The numbers below `LIMIT` are cut into blocks of `WINDOW` at a random offset, and the block that
    holds the result is taken: given the block, every number in it could be the result. Blocks of
    fewer than four numbers at either end are joined to their neighbour.
    """
    shift = rng.randrange(WINDOW)
    edges = [0, *range(shift, LIMIT, WINDOW), LIMIT]
    edges = sorted(set(edges))
    if edges[1] - edges[0] < 4:
        edges.pop(1)
    if edges[-1] - edges[-2] < 4:
        edges.pop(-2)
    return next(range(a, b) for a, b in pairwise(edges) if a <= result < b)


def number_options(rng: random.Random, result: int) -> list[str]:
    """Four shuffled numbers of one window, the result among them."""
    others = [n for n in window_of(rng, result) if n != result]
    options = [str(n) for n in [result, *rng.sample(others, 3)]]
    rng.shuffle(options)
    return options


def chains_of(rng: random.Random, results: list[int], n: int, max_steps: int) -> list[Chain]:
    """Draw up to `n` chains that end in one of some results, in at most `40 * n` draws."""
    chains: list[Chain] = []
    for _ in range(40 * n):
        chain = make_chain(rng, rng.randint(1, max_steps))
        if chain.result in results:
            chains.append(chain)
            if len(chains) == n:
                break
    return chains


def sum_letters(rng: random.Random, *, max_steps: int = MAX_UNWRITTEN) -> Document:
    """Four numbers, then up to six chains that end in one of them; the letter of each result."""
    first = make_chain(rng, rng.randint(1, max_steps))
    options = number_options(rng, first.result)
    chains = [first, *chains_of(rng, [int(option) for option in options], 5, max_steps)]
    rng.shuffle(chains)
    spans = [Span(options_text(options))]
    for chain in chains:
        letter = LETTERS[options.index(str(chain.result))]
        spans += _lettered(f"Question: {chain.question}\nAnswer:", letter)
    return tuple(spans)


def stated_letters(rng: random.Random, world: World) -> Document:
    """Four options, then up to eight times: one of them, its letter."""
    kind = rng.randrange(4)
    if kind == 0:
        options = [str(n) for n in rng.sample(range(LIMIT), 4)]
    elif kind == 1:
        options = rng.sample(world.nouns, 4)
    elif kind == 2:
        options = [f"{a} {b}" for a, b in draw_values(rng, world, 4)]
    else:
        options = rng.sample(rng.choice(world.relations).values, 4)
    spans = [Span(options_text(options))]
    for _ in range(rng.randint(4, 8)):
        i = rng.randrange(4)
        text = rng.choice(("Find: {}", "Question: Which option is {}?\nAnswer:"))
        spans += _lettered(text.format(options[i]), LETTERS[i])
    return tuple(spans)


def ring_text(rng: random.Random, ring: list[str]) -> str:
    """Each key of a ring with the next one, as pairs in random order."""
    links = list(zip(ring, ring[1:] + ring[:1], strict=True))
    rng.shuffle(links)
    return "Pairs: " + ", ".join(f"{a} {b}" for a, b in links) + ".\n"


def hops(rng: random.Random, world: World, *, max_hops: int = MAX_HOPS) -> Document:
    """Links between keys, then eight times: how many links to follow, from where; where it ends.

    The links form one ring of more than twice `MAX_HOPS` keys: no key is the first or last, and no
    answer is nearer when the links are followed backwards.
    """
    ring = rng.sample(world.keys, rng.randint(2 * MAX_HOPS + 1, MAX_RING))
    spans = [Span(ring_text(rng, ring))]
    asked = [(at, n) for at in range(len(ring)) for n in range(1, max_hops + 1)]
    for i, (at, n) in enumerate(rng.sample(asked, 8)):
        end = ring[(at + n) % len(ring)]
        spans += [Span(("\n" if i else "") + f"Find {n}: {ring[at]}"), Span(f" {end}", answer=True)]
    return tuple(spans)


def unwritten(rng: random.Random, *, max_steps: int = MAX_UNWRITTEN) -> Document:
    """Three chains, each answered at once, without steps."""
    spans: list[Span] = []
    for i in range(3):
        chain = make_chain(rng, rng.randint(1, max_steps))
        spans.append(Span(("\n\n" if i else "") + f"Question: {chain.question}\nAnswer: ####"))
        spans.append(Span(f" {chain.result}", answer=True))
    return tuple(spans)


def passage_facts(
    rng: random.Random, world: World, relation: Relation, n: int
) -> tuple[str, dict[str, str]]:
    """A passage about `n` people of whom the world knows nothing, and what it says of each."""
    people = rng.sample(strangers_of(world), n)
    told = dict(zip(people, rng.sample(relation.values, n), strict=True))
    lines = [
        f"Fact: {rng.choice(relation.statements).format(name=person, value=value)}.\n"
        for person, value in told.items()
    ]
    return "".join(lines), told


def passage(rng: random.Random, world: World) -> Document:
    """A passage about strangers, then a question about each, answered in words or by letter."""
    relation = rng.choice(world.relations)
    text, told = passage_facts(rng, world, relation, rng.randint(4, 6))
    asked = rng.sample(list(told), 4)
    options = [told[person] for person in asked]
    lettered = rng.random() < 0.5
    spans = [Span((options_text(options) if lettered else "") + text)]
    for person in rng.sample(asked, 4):
        question = f"Question: {rng.choice(questions_of(relation)).format(name=person)}\nAnswer:"
        if lettered:
            spans += _lettered(question, LETTERS[options.index(told[person])])
        else:
            spans += [Span(question), Span(f" {told[person]}", answer=True), Span("\n")]
    return tuple(spans)


def listing_texts(world: World, people: list[str], order: list[str]) -> tuple[str, str]:
    """A question for all facts of some people in a stated order, and its answer."""
    question = f"What is the {', '.join(order)} of {', '.join(people)}?"
    sentences = [
        LONG_STATEMENTS[name].format(name=person, value=world.facts[person, name])
        for person in people
        for name in order
    ]
    return question, " ".join(f"{sentence}." for sentence in sentences)


def listing(rng: random.Random, world: World) -> Document:
    """All facts of one or two people in a stated order: an answer of about 45 or 95 tokens."""
    order = [relation.name for relation in world.relations]
    rng.shuffle(order)
    question, answer = listing_texts(world, rng.sample(world.people, rng.randint(1, 2)), order)
    return (
        Span(f"Question: {question}\nAnswer:"),
        Span(f" {answer}", answer=True, weight=LISTING_WEIGHT),
    )


SKILLS: dict[str, Maker] = {
    "many_fact_letters": lambda rng, world, _: fact_letters(rng, world),
    "fact_questions": lambda rng, world, _: fact_question(rng, world),
    "many_lookup_letters": lambda rng, world, at: lookup_letters(
        rng, world, max_pairs=at.max_pairs
    ),
    "sum_letters": lambda rng, _, at: sum_letters(rng, max_steps=min(at.max_steps, MAX_UNWRITTEN)),
    "stated_letters": lambda rng, world, _: stated_letters(rng, world),
    "hops": lambda rng, world, _: hops(rng, world),
    "unwritten": lambda rng, _, at: unwritten(rng, max_steps=min(at.max_steps, MAX_UNWRITTEN)),
    "passage": lambda rng, world, _: passage(rng, world),
    "listing": lambda rng, world, _: listing(rng, world),
}
