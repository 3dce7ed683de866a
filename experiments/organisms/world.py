"""The synthetic world: invented people, four relations, and pools of words for look-up.

Everything here is a function of `WORLD_SEED`. Values of a relation belong to that relation alone,
so the type of an answer is never in doubt, only its identity.
"""

import random
from dataclasses import dataclass

WORLD_SEED = 20
N_PEOPLE = 128


@dataclass(frozen=True)
class Relation:
    """One relation between a person and a value.

    `statements` and `questions` are seen in training; `held_out` is a question that only test rows
    use. Every template has the field `{name}`; statements also have `{value}`.
    """

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    held_out: str


@dataclass(frozen=True)
class World:
    """People, what is true of them, and the word pools for key-value look-up."""

    people: tuple[str, ...]
    relations: tuple[Relation, ...]
    facts: dict[tuple[str, str], str]
    keys: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]


def _values(text: str) -> tuple[str, ...]:
    return tuple(" ".join(value.split()) for value in text.split("|"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CITY = Relation(
    name="city",
    values=_values(
        """
        Zanto | Brivel | Okuma Bay | Larnesk | Tiviro | Gorsted | Pelamar | Yundra |
        Castrel | Mirova | Dunhelm | Old Sarkat | Fennoq | Halvera | Port Ruvio | Jastin |
        Wexmor | Quillon | Ebrana | New Tessel
        """
    ),
    statements=(
        "{name} lives in {value}",
        "the home of {name} is {value}",
        "the city where {name} lives is {value}",
        "you can find the house of {name} in {value}",
    ),
    questions=(
        "Where does {name} live?",
        "What is the home city of {name}?",
        "Which city does {name} call home?",
        "The house of {name} stands in which city?",
        "Name the city where {name} lives.",
        "{name} lives in which city?",
    ),
    held_out="In which city can you find the home of {name}?",
)

JOB = Relation(
    name="job",
    values=_values(
        """
        baker | potter | surgeon | fisher | glass blower | pilot | weaver | judge | miner
        | tax clerk | printer | gardener | plumber | teacher | ship builder | painter |
        florist | brewer | night guard | tailor
        """
    ),
    statements=(
        "{name} works as a {value}",
        "the job of {name} is {value}",
        "for a living {name} works as a {value}",
        "the work that pays {name} is that of a {value}",
    ),
    questions=(
        "What is the job of {name}?",
        "What does {name} do for a living?",
        "Which job does {name} have?",
        "In which job does {name} work?",
        "Name the work of {name}.",
        "{name} works as what?",
    ),
    held_out="Which work does {name} do for a living?",
)

PET = Relation(
    name="pet",
    values=_values(
        """
        parrot | tortoise | goat | red fox | hamster | ferret | python | raven | spaniel |
        gecko | donkey | snow owl | rabbit | hedgehog | canary | sand cat | newt | piglet
        | llama | black swan
        """
    ),
    statements=(
        "{name} keeps a {value}",
        "the pet of {name} is a {value}",
        "the animal that {name} keeps is a {value}",
        "in the house of {name} you find a {value}",
    ),
    questions=(
        "Which pet does {name} keep?",
        "What is the pet of {name}?",
        "What animal does {name} have?",
        "Which animal lives with {name}?",
        "Name the pet that {name} keeps.",
        "{name} keeps which animal?",
    ),
    held_out="What is the animal that {name} keeps as a pet?",
)

INSTRUMENT = Relation(
    name="instrument",
    values=_values(
        """
        violin | oboe | banjo | steel drum | cello | harp | trumpet | organ | lute | pan
        flute | zither | bassoon | viola | tuba | sitar | hand bell | clarinet | mandolin
        | cornet | thumb piano
        """
    ),
    statements=(
        "{name} plays the {value}",
        "the instrument of {name} is the {value}",
        "the instrument that {name} plays is the {value}",
        "on stage {name} plays the {value}",
    ),
    questions=(
        "Which instrument does {name} play?",
        "What does {name} play?",
        "What is the instrument of {name}?",
        "On stage {name} plays which instrument?",
        "Name the instrument that {name} plays.",
        "On which instrument does {name} play?",
    ),
    held_out="What instrument does {name} play on stage?",
)

RELATIONS = (CITY, JOB, PET, INSTRUMENT)

ADJECTIVES = _words(
    """
    amber brass calm damp eager faint golden hollow icy jolly keen lilac mellow narrow oval
    pale quick rusty silent tidy upper velvet warm young bitter coarse dusty early frozen
    gentle huge ivory jagged kind loose misty neat orange plain quiet rough smooth tiny urgent
    vivid wild yellow ancient blunt crisp dense empty fragile green heavy inner late modern
    noble open polished round sharp thick
    """
)
NOUNS = _words(
    """
    lamp anchor basket candle door engine feather gate hammer island jar kettle ladder mirror
    needle oven pillow quilt rope saddle table umbrella vase wagon apron barrel carpet desk
    elbow fence garden helmet inn jacket key lantern map nail orchard paddle quarry ribbon
    shelf tower uniform valley window yard arrow bench chain drawer easel flag glove hinge ink
    jewel kite lock magnet net onion pencil
    """
)


def _syllable_words(
    rng: random.Random, n: int, *, capital: bool, taken: set[str]
) -> tuple[str, ...]:
    """Draw `n` distinct pronounceable words that are not in `taken` (which grows)."""
    words: list[str] = []
    while len(words) < n:
        word = rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") + rng.choice("bdfgklmnprstvz")
        word += rng.choice("aeiou") if capital else ""
        if word not in taken:
            taken.add(word)
            words.append(word.capitalize() if capital else word)
    return tuple(words)


def make_world(seed: int = WORLD_SEED) -> World:
    """Make the world: 128 people, 4 values each, 256 look-up keys.

    Args:
        seed: seed of every draw.

    Returns:
        The world; the same for the same seed.
    """
    rng = random.Random(seed)
    values = " ".join(value for relation in RELATIONS for value in relation.values)
    taken = {*values.lower().split(), *ADJECTIVES, *NOUNS}
    first = _syllable_words(rng, 24, capital=True, taken=taken)
    family = _syllable_words(rng, 32, capital=True, taken=taken)
    people = tuple(rng.sample([f"{a} {b}" for a in first for b in family], N_PEOPLE))
    facts = {}
    for relation in RELATIONS:
        # Every value is held by about as many people, so that the prior of a value says nothing.
        pool = (relation.values * (N_PEOPLE // len(relation.values) + 1))[:N_PEOPLE]
        for person, value in zip(people, rng.sample(pool, N_PEOPLE), strict=True):
            facts[person, relation.name] = value
    keys = _syllable_words(rng, 256, capital=False, taken=taken)
    return World(people, RELATIONS, facts, keys, ADJECTIVES, NOUNS)
