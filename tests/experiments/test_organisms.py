"""The organisms' world, tokenizer, documents, task rows and, where they are shipped, the models."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, strategies as st
from transformers import AutoTokenizer, LlamaForCausalLM

from experiments.organisms import (
    batches,
    documents,
    muon,
    packing,
    recipe,
    recipes,
    shape,
    tasks,
    train,
)
from experiments.organisms.distill import draw_prompts
from experiments.organisms.tokenizer import make_tokenizer
from experiments.organisms.world import make_world
from interp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "data" / "models"
WORLD = make_world()
TOKENIZER = make_tokenizer(WORLD)
HARD = documents.Stage(documents.MAX_PAIRS, documents.MAX_STEPS)


def rows(skill: str, split: str = "") -> list[dict]:
    """The shipped rows of a skill."""
    text = (ROOT / f"data/tasks/world-{skill}{split}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def words(text: str) -> set[str]:
    """The words of a template, without its fields."""
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", "", text).lower()))


@pytest.mark.slow
@given(st.text())
def test_tokenizer_is_lossless(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == text


def test_special_tokens_and_padding():
    ids = TOKENIZER("Find: kip")["input_ids"]
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.bos_token_id not in ids[1:]
    assert TOKENIZER.decode([TOKENIZER.eos_token_id]) == "<|endoftext|>"
    batch = TOKENIZER(["one", "a longer text"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].sum(-1).tolist()[0] < batch["input_ids"].shape[1]
    assert len(TOKENIZER) <= 2048


def test_world_words_are_single_tokens():
    pools = [*WORLD.keys, *WORLD.adjectives, *WORLD.nouns, *map(str, range(100))]
    pools += [word for person in WORLD.people for word in person.split()]
    pools += [w for relation in WORLD.relations for value in relation.values for w in value.split()]
    for word in pools:
        assert len(TOKENIZER.encode(f" {word}", add_special_tokens=False)) == 1, word
    assert len(TOKENIZER.encode("\n\n", add_special_tokens=False)) == 2


def test_world_is_seeded_and_unique():
    again = make_world()
    assert again == WORLD
    assert make_world(1) != WORLD
    assert len(set(WORLD.people)) == len(WORLD.people) == 128
    assert len(WORLD.facts) == 512
    pools = (WORLD.keys, WORLD.adjectives, WORLD.nouns)
    assert len(set().union(*pools)) == sum(map(len, pools))


def test_held_out_wordings_are_new_but_their_words_are_not():
    seen_words = set()
    for relation in WORLD.relations:
        seen = (*relation.statements, *relation.questions)
        assert len(seen) >= 8
        assert relation.held_out not in seen
        for template in seen:
            seen_words |= words(template)
    for relation in WORLD.relations:
        assert words(relation.held_out) <= seen_words


def test_no_test_fact_is_phrased_as_in_training():
    rng = random.Random(0)
    makers = (documents.fact_statement, documents.fact_question, documents.fact_letters)
    drawn = {make(rng, WORLD)[0].text for make in makers for _ in range(3000)}
    text = "\n".join(drawn)
    for row in rows("facts") + rows("facts", "-dev"):
        assert row["question"] not in text
        frame = row["question"].replace(row["person"], "{name}")
        relation = next(r for r in WORLD.relations if r.name == row["relation"])
        assert frame == relation.held_out
        assert frame not in relation.questions


@pytest.mark.parametrize("skill", tasks.SKILLS)
@pytest.mark.parametrize("split", ["test", "dev"])
def test_rows_are_made_again_byte_for_byte(skill, split, tmp_path):
    tasks.write_tasks(tmp_path)
    name = f"world-{skill}.jsonl" if split == "test" else f"world-{skill}-dev.jsonl"
    assert (tmp_path / name).read_bytes() == (ROOT / "data/tasks" / name).read_bytes()
    shipped = rows(skill, "" if split == "test" else "-dev")
    assert len(shipped) == (400 if split == "test" else 16)
    assert len({row["id"] for row in shipped}) == len(shipped)
    for row in shipped:
        assert row["options"][row["gold"]] == row["answer"]
        assert len(set(row["options"])) == 4
        assert "ABCD"[row["gold"]] == row["letter"]


def test_rows_hold_the_truth():
    for row in rows("facts"):
        assert row["answer"] == WORLD.facts[row["person"], row["relation"]]
    counts = [0] * 16
    for row in rows("kv"):
        pairs = dict(row["pairs"])
        assert len(pairs) == 16
        assert pairs[row["key"]] == row["answer"]
        assert row["pairs"][row["gold_position"]][0] == row["key"]
        assert len({value.split()[0] for value in pairs.values()}) == 16
        counts[row["gold_position"]] += 1
    assert set(counts) == {25}
    for row in rows("arithmetic"):
        value = int(re.findall(r"with (\d+)", row["question"])[0])
        for step in row["steps"].split(". ")[:-1]:
            left, after = step.split(" = ")
            assert left.startswith(f"{value} ")
            value = eval(left)
            assert value == int(after)
            assert 0 <= value < documents.LIMIT
        assert row["steps"].endswith(f"#### {value}")
        assert str(value) == row["answer"]


def test_dev_rows_and_distillation_prompts_are_not_test_rows():
    asked = {row["question"] for row in rows("arithmetic")}
    assert not asked & {row["question"] for row in rows("arithmetic", "-dev")}
    assert not any(question in prompt for prompt, _ in draw_prompts(500) for question in asked)


@pytest.mark.parametrize("kind", documents.MAKERS)
def test_spans_end_where_tokens_end(kind):
    rng = random.Random(1)
    for _ in range(50):
        document = documents.MAKERS[kind](rng, WORLD, HARD)
        row = packing.encode_document(TOKENIZER, document, {})
        whole = "".join(span.text for span in document)
        assert row.ids == TOKENIZER.encode(whole, add_special_tokens=False)
        assert len(row.weights) == len(row.ids)
        assert max(row.weights) >= 1


def test_rows_are_packed_whole_and_seeded():
    def pack(seed):
        rng = random.Random(seed)
        source = packing.Source(WORLD, rng, documents.MAKERS, recipes.BASE.mix, HARD)
        packed = packing.pack_rows(packing.draw_documents(source), TOKENIZER, rng, 256)
        return [next(packed) for _ in range(20)]

    first = pack(3)
    assert first == pack(3)
    for row in first:
        assert len(row.ids) == len(row.weights) == 256
        assert row.ids[0] == TOKENIZER.bos_token_id
        padded = [w for i, w in zip(row.ids, row.weights, strict=True) if i == 2]
        assert not any(padded)


@pytest.mark.slow
def test_a_short_run_lowers_the_loss_and_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "LOG_STEPS", 4)
    tiny = recipe.Recipe("tiny", {"fact_question": 1.0}, 4096, 5, batch_tokens=512)
    first = train.train(tiny, tmp_path / "a")
    again = train.train(tiny, tmp_path / "b")
    assert [line["loss"] for line in first.curve] == [line["loss"] for line in again.curve]
    assert first.curve[-1]["loss"] < first.curve[0]["loss"]
    model = LlamaForCausalLM.from_pretrained(tmp_path / "a")
    assert model.config.num_hidden_layers == 8


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "LOG_STEPS", 4)
    tiny = recipe.Recipe(
        "tiny", {"fact_question": 1.0}, 3072, 5, batch_tokens=512, n_layers=2, layer_dropout=0.5
    )
    train.train(tiny, tmp_path / "whole", save_steps=2)
    saves = []

    def stop_at_the_second(run, out, save=train.save):
        save(run, out)
        saves.append(run.log.tokens)
        if len(saves) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "save", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            train.train(tiny, tmp_path / "parts", save_steps=2)
    log = train.train(tiny, tmp_path / "parts", save_steps=2)
    assert log.tokens == 3072
    whole, parts = (
        LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict()
        for name in ("whole", "parts")
    )
    for name, weights in whole.items():
        assert torch.equal(weights, parts[name]), name


def test_processes_that_draw_ahead_change_nothing():
    tiny = recipe.Recipe(
        "tiny",
        {"fact_question": 1.0, "lookup": 1.0},
        8192,
        5,
        batch_tokens=512,
        row_lengths=((0.0, 128), (0.5, 200)),
        early=("lookup",),
        early_until=1,
    )
    makers = train.MAKERS
    with (
        batches.batches_of(tiny, makers, 2) as here,
        batches.batches_of(tiny, makers, 2, workers=2) as there,
    ):
        one, other = list(here(0, 8192)), list(there(0, 8192))
    assert len(one) == len(other) == 19
    assert {batch.ids.shape for batch in one} == {(4, 128), (2, 200)}
    assert {batch.family.exit_after for batch in one} == {1, None}
    for a, b in zip(one, other, strict=True):
        assert (a.ids == b.ids).all()
        assert (a.weights == b.weights).all()
        assert (a.family, a.seed) == (b.family, b.seed)


def test_a_scaled_recipe_takes_as_many_steps():
    tiny = recipe.Recipe("tiny", {"lookup": 1.0}, 4096, 5, stop_tokens=2048, batch_tokens=512)
    larger = recipe.scaled(tiny, 4)
    assert larger.tokens / larger.batch_tokens == tiny.tokens / tiny.batch_tokens
    assert larger.stop_tokens == 4 * 2048
    assert recipe.scaled(tiny, 1) == tiny


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    tiny = recipe.Recipe("tiny", {"fact_question": 1.0}, 512, 5, batch_tokens=512, n_layers=1)
    train.train(tiny, tmp_path)
    with pytest.raises(UserError, match="holds a run of another recipe than 'tiny'"):
        train.train(replace(tiny, seed=6), tmp_path)


def test_copies_of_layers_change_little_and_leave_the_first_model_as_it_was():
    model = shape.make_model(seed=1, vocab_size=300, n_layers=3, start=None, copies=())
    larger = shape.grow(model, (1, 2))
    assert larger.config.num_hidden_layers == 5
    ids = torch.arange(10)[None]
    before, after = model(ids).logits, larger(ids).logits
    assert (after - before).norm() < 0.5 * before.norm()
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, larger.state_dict()[name]), name


def test_batched_muon_steps_as_torchs_does():
    torch.manual_seed(0)
    start = [torch.randn(shape) / 8 for shape in ((24, 24), (24, 24), (64, 24), (24, 64))]
    pairs = [[torch.nn.Parameter(x.clone()) for x in start] for _ in range(2)]
    theirs = torch.optim.Muon(
        pairs[0], lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    ours = muon.BatchedMuon(pairs[1], lr=0.02, weight_decay=0.1, momentum=0.9)
    for _ in range(3):
        for one, other in zip(*pairs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        theirs.step()
        ours.step()
    for x, one, other in zip(start, *pairs, strict=True):
        # torch's runs in bfloat16
        assert (one - other).norm() < 0.03 * (one - x).norm()


def test_schedule_warms_up_and_decays():
    factors = [recipe.learning_rate_factor(p / 100) for p in range(101)]
    assert factors[0] < 0.05
    assert max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.02)
    held = [recipe.learning_rate_factor(p / 100, 0.5) for p in range(101)]
    assert held[5:50] == [1.0] * 45
    assert held[-1] == pytest.approx(0.02)
    assert recipe.learning_rate_factor(1.0, hold=1.0) == 1.0


def test_task_files_name_themselves():
    for path in (ROOT / "interp/tasks/world").glob("*.yaml"):
        task = yaml.safe_load(path.read_text())
        assert path.stem == task["task"].replace(":", "-")
        for file in task["dataset_kwargs"]["data_files"].values():
            assert (ROOT / file).exists()


@pytest.mark.parametrize("name", ["base", "teacher", "distilled"])
def test_shipped_model(name):
    folder = MODELS / name
    if not folder.exists():
        pytest.skip(f"{folder} is not shipped yet")
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 12 * 2**20
    model = LlamaForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert model.config.num_hidden_layers >= 8
    assert model.config.num_attention_heads > model.config.num_key_value_heads
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    card = (folder / "README.md").read_text()
    assert "world-facts:continuation" in card
