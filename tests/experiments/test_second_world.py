"""The second world: wordings, documents, rows, and that options tell nothing about their answer."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from experiments.organisms import packing, rows, skills
from experiments.organisms.documents import LIMIT, Stage, make_chain
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.train import MAKERS
from experiments.organisms.wordings import HELD_OUT, MORE_QUESTIONS, questions_of, strangers_of
from experiments.organisms.world import make_world
from interp.sweeps.identity import describe_task
from interp.tasks import asked_as, load_task, shipped_tasks

ROOT = Path(__file__).resolve().parents[2]
WORLD = make_world()
TOKENIZER = make_tokenizer(WORLD)
FILES = [
    (skill, split)
    for skill in rows.SKILL_ROWS
    for split in ("test", "dev", *(["letters"] if skill in rows.LETTERED else []))
]


def shipped(skill: str, split: str = "test") -> list[dict]:
    """The shipped rows of a skill and split."""
    text = (ROOT / "data/tasks" / rows.file_name(skill, split)).read_text()
    return [json.loads(line) for line in text.splitlines()]


def spelled_out(text: str) -> list[str]:
    """Pieces of a text for which the tokenizer has no word."""
    pieces = TOKENIZER.tokenize(text)
    return [x for x in pieces if x.isascii() and x.isalnum() and len(x) == 1 and x not in "ABCD"]


def test_held_out_wordings_are_new_and_of_known_words():
    for relation in WORLD.relations:
        held_out, seen = HELD_OUT[relation.name], questions_of(relation)
        assert len(set(held_out)) == len(held_out) >= 8
        assert not set(held_out) & set(seen)
        assert relation.held_out in held_out
        for template in (*held_out, *seen):
            assert not spelled_out(" " + template.format(name=WORLD.people[0])), template


def test_strangers_are_nobody_with_known_names():
    strangers = strangers_of(WORLD)
    assert len(set(strangers)) == len(strangers) == 64
    assert not set(strangers) & set(WORLD.people)
    assert not spelled_out(" " + " ".join(strangers))


@pytest.mark.parametrize("kind", skills.SKILLS)
def test_documents_fit_a_row_and_end_where_tokens_end(kind):
    rng = random.Random(2)
    for _ in range(60):
        document = MAKERS[kind](rng, WORLD, Stage(16, 5))
        row = packing.encode_document(TOKENIZER, document, {})
        text = "".join(span.text for span in document)
        assert row.ids == TOKENIZER.encode(text, add_special_tokens=False)
        assert len(row.ids) < 190
        assert not spelled_out(text)
        assert max(row.weights) >= 0.5


def test_letters_of_documents_are_right():
    rng = random.Random(3)
    for _ in range(100):
        document = skills.fact_letters(rng, WORLD)
        options = {
            part.rsplit(" ", 1)[1]: part.rsplit(" ", 1)[0]
            for part in document[0].text.strip(".\n").removeprefix("Options: ").split(", ")
        }
        for query, answer in zip(document[1::3], document[2::3], strict=True):
            person = next(p for p in WORLD.people if p in query.text)
            value = options[answer.text.strip()]
            assert value in [WORLD.facts[person, r.name] for r in WORLD.relations]


def test_rings_lead_where_the_rows_say():
    for row in shipped("hops"):
        links = dict(re.findall(r"(\w+) (\w+)[,.]", row["pairs_text"]))
        key = row["key"]
        for _ in range(row["n_hops"]):
            key = links[key]
        assert key == row["answer"]
        assert set(links) == set(links.values())  # no key is the first or last
        ends = [row["key"]]
        while len(ends) < 12:
            ends.append(links[ends[-1]])
        assert len(set(ends)) == 12
        assert set(row["options"]) == set(ends[1:5])


@pytest.mark.parametrize(("skill", "split"), FILES)
def test_rows_are_made_again_byte_for_byte(skill, split):
    path = ROOT / "data/tasks" / rows.file_name(skill, split)
    assert path.read_text() == rows.rows_text(rows.make_rows(skill, split))


@pytest.mark.parametrize("skill", ["facts", "passage"])
def test_every_wording_is_a_cluster_of_rows(skill):
    counts = Counter(row["wording"] for row in shipped(skill))
    assert len(counts) == 32
    assert len(set(counts.values())) == 1
    for row in shipped(skill):
        relation, at = row["wording"].split("-")
        assert row["question"] == HELD_OUT[relation][int(at)].format(name=row["person"])
        if skill == "facts":
            assert row["answer"] == WORLD.facts[row["person"], relation]
        else:
            assert row["person"] not in WORLD.people
            line = next(x for x in row["passage"].splitlines() if row["person"] in x)
            assert row["answer"] in line


@pytest.mark.parametrize(
    ("name", "field", "clusters"),
    [
        ("facts:generate", "wording", 32),
        ("facts:default", "wording", 32),
        ("passage:continuation", "wording", 32),
        ("passage-untold:generate", "wording", 32),
        ("kv:default", "question_id", 96),
        ("unwritten:default", "question_id", 96),
    ],
)
def test_tasks_declare_what_their_rows_share(name, field, clusters):
    """Rotations of one question, and questions of one wording, are no independent examples."""
    task = load_task(f"world2-{name}")
    assert task.cluster_field == field
    entry = describe_task(task, range(len(task.documents())))
    assert len(set(entry.clusters)) == clusters


@pytest.mark.parametrize("skill", rows.LETTERED)
def test_every_question_is_asked_under_four_rotations(skill):
    asked: dict[int, list[dict]] = {}
    for row in shipped(skill, "letters"):
        asked.setdefault(row["question_id"], []).append(row)
        assert row["options"][row["gold"]] == row["answer"]
    assert len(asked) == rows.N_LETTERED
    for turned in asked.values():
        assert {row["letter"] for row in turned} == set("ABCD")
        assert len({frozenset(row["options"]) for row in turned}) == 1


def nearest_to_the_mean(options: list[int]) -> int:
    """The option that a reader who does not know the question would take."""
    return min(options, key=lambda n: abs(n - sum(options) / 4))


def test_options_of_a_result_do_not_tell_it():
    rng = random.Random(4)
    n, near, ranks = 8000, 0, Counter()
    for _ in range(n):
        result = make_chain(rng, 4).result
        options = sorted(int(option) for option in skills.number_options(rng, result))
        assert len(set(options)) == 4
        assert all(0 <= option < LIMIT for option in options)
        near += nearest_to_the_mean(options) == result
        ranks[options.index(result)] += 1
    # The offset of the window is uniform: 25% but for the results, of which some are more frequent.
    assert near / n < 0.28
    assert all(0.20 < ranks[rank] / n < 0.30 for rank in range(4))


def test_answers_of_many_sentences_hold_every_fact_in_order():
    for row in shipped("listing"):
        n_tokens = len(TOKENIZER.encode(row["answer"], add_special_tokens=False))
        assert 60 <= n_tokens <= 120
        sentences = row["answer"].strip(".").split(". ")
        told = [(person, name) for person in row["people"] for name in row["order"]]
        for sentence, (person, name) in zip(sentences, told, strict=True):
            assert person in sentence
            assert WORLD.facts[person, name] in sentence


@pytest.mark.slow
def test_tasks_of_the_second_world_load_with_their_rows():
    names = [name for name in shipped_tasks() if name.startswith("world2-")]
    assert len([name for name in names if "-forms:" not in name]) == 20
    assert len(names) == 28
    for name in names:
        path = shipped_tasks()[name]
        assert path.stem == name.replace(":", "-")
        task = load_task(name)
        assert len(task.documents()) >= 96
        for file in re.findall(r"data/tasks/\S+\.jsonl", path.read_text()):
            assert (ROOT / file).exists()


@pytest.mark.parametrize("name", ["world2-facts:default", "world2-passage:generate"])
def test_listed_wordings_ask_what_training_asked(name):
    task = load_task(name)
    assert len(task.wordings) == len(MORE_QUESTIONS["city"])
    for number in range(1, len(task.wordings) + 1):
        asked = asked_as(task, f"wording-{number}")
        for doc_id in (0, 1, 2, 3):
            row = task.documents()[doc_id]
            words = MORE_QUESTIONS[row["relation"]][number - 1].format(name=row["person"])
            plain = task.question(row)
            assert asked.question(row) == plain.replace(row["question"], words)
            assert words in asked.question(row)
