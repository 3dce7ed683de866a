"""What an organism's scores count, and the two interventions on its letters."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from experiments.organisms import letter_depth, score
from experiments.organisms.card import write_card
from experiments.organisms.plans import PLANS
from interp.tasks import shipped_tasks

ROOT = Path(__file__).resolve().parents[2]


def sample(doc: dict, hit: float, **more: object) -> dict:
    return {"doc": doc, "metrics": ["acc", "acc_norm"], "acc": hit, "acc_norm": hit} | {
        "filter": "none",
        **more,
    }


def test_scores_are_told_by_depth_too():
    assert list(score._hits(sample({"n_hops": 3}, 1.0))) == [
        ("acc", 1),
        ("acc, n_hops 3", 1),
        ("acc_norm", 1),
    ]


def test_chosen_letters_are_counted_where_options_are_rotated():
    likelihoods = [(-3.0, False), (-1.0, False), (-2.0, False), (-4.0, False)]
    told = dict(score._hits(sample({"rotation": 2}, 0.0, filtered_resps=likelihoods)))
    assert told["chose B"] == 1
    assert sum(hit for name, hit in told.items() if name.startswith("chose")) == 1
    assert "chose A" not in dict(score._hits(sample({}, 0.0, filtered_resps=likelihoods)))


def test_the_second_worlds_tasks_are_all_scored():
    # forms ask the same rows once more
    names = {name for name in shipped_tasks()
             if name.startswith("world2-") and "-forms:" not in name}  # fmt: skip
    assert set(score.tasks_of("base12")) == names
    assert score.tasks_of("teacher") == score.TASKS


@pytest.mark.slow
def test_a_card_of_the_second_world_is_written(tmp_path):
    folder = tmp_path / "base12"
    folder.mkdir()
    curve = [{"tokens": 100, "loss": 2.0, "right": {"hops": 0.1}}]
    recipe = asdict(PLANS["base12"].phases[-1])
    log = {"recipe": recipe, "tokens": 100, "minutes": 1.0, "curve": curve}
    (folder / "training.json").write_text(json.dumps([log]))
    (folder / "config.json").write_text((ROOT / "data/models/base/config.json").read_text())
    score.write_scores([score.Score("world2-hops:generate", "acc", 5, 10)], folder / "scores.json")
    write_card(folder)
    card = (folder / "README.md").read_text()
    assert PLANS["base12"].role in card
    assert "ring of twelve" in card
    assert "| world2-hops:generate | acc | 50.0% |" in card


@pytest.fixture(scope="module")
def base():
    folder = ROOT / "data/models/base"
    return LlamaForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.mark.slow
def test_letters_of_a_patched_position_are_those_of_the_twin(base):
    model, tokenizer = base
    text = (ROOT / "data/tasks/world-facts.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()][:12]
    twins = [letter_depth.letter_of(model, tokenizer, letter_depth.stated(row)) for row in rows]
    assert sum(x == row["letter"] for x, row in zip(twins, rows, strict=True)) >= 11
    # before the last layer everything that the twin knows is at the answering position
    assert letter_depth.share_right_patched(model, tokenizer, rows, 7) >= 11 / 12
    # before the first there is but the colon, which both prompts have
    unpatched = letter_depth.share_right(model, tokenizer, rows)
    assert letter_depth.share_right_patched(model, tokenizer, rows, 0) == unpatched


def test_skipped_layers_do_not_run(base):
    model, tokenizer = base
    ids = tokenizer("Find: kip", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states
        with letter_depth.layers_skipped(model, range(3, 8)):
            short = model.model(ids).last_hidden_state
    assert torch.allclose(model.model.norm(states[3]), short, atol=1e-5)
    assert len(model.model.layers) == 8
