"""Plans of the organisms: phases that follow each other, what is trained, checkpoints, the CLI."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import LlamaForCausalLM

from experiments.organisms import __main__ as command, distill, plans, train
from experiments.organisms.recipe import Recipe, scaled
from experiments.organisms.train import MAKERS
from interp.errors import UserError

TINY = Recipe("tiny", {"fact_questions": 1.0}, 1024, 5, batch_tokens=512, n_layers=1)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Runs, checkpoints and models of a test lie in its own folder."""
    for module in (plans, command):
        for name in ("RUNS", "CHECKPOINTS", "MODELS"):
            monkeypatch.setattr(module, name, tmp_path / name.lower())


def planned(monkeypatch, *recipes: Recipe, teacher: str | None = None) -> None:
    monkeypatch.setitem(plans.PLANS, recipes[-1].name, plans.Plan(recipes, "a test", teacher))


@pytest.mark.parametrize("name", plans.PLANS)
def test_phases_follow_each_other_and_name_known_documents(name):
    phases = plans.PLANS[name].phases
    assert phases[-1].name == name
    for before, after in pairwise(phases):
        assert after.start == f"runs/{before.name}"
    for recipe in phases:
        known = {*MAKERS, "teacher_answers", "gold_steps"}
        assert set(recipe.mix) <= known
        assert set(recipe.early) | set(recipe.late) <= known


def test_a_twin_differs_in_layer_dropout_alone():
    dropped, control = (plans.PLANS[x].phases for x in ("redundant12", "redundant12-none"))
    assert dropped[:-1] == control[:-1] == plans.PLANS["base12"].phases[:-1]
    assert (dropped[-1].layer_dropout, control[-1].layer_dropout) == (0.2, 0.0)
    assert replace(dropped[-1], name=control[-1].name, layer_dropout=0.0) == control[-1]


def test_control_arms_see_as_many_tokens_from_the_same_start():
    arms = [plans.PLANS[f"distilled12{arm}"].phases[-1] for arm in ("", "-gold", "-none")]
    assert len({(x.tokens, x.start, x.seed, x.learning_rate) for x in arms}) == 1
    shares = [{k: v for k, v in x.mix.items() if k in MAKERS} for x in arms]
    assert shares[0] == shares[1] == shares[2]


def test_the_counter_organisms_are_each_others_opposite():
    (recall,), (reason,) = (plans.PLANS[x].phases for x in ("recall-early", "reason-early"))
    assert recall.late == reason.early
    assert not set(recall.early) & set(reason.early)
    # the layers between learn both
    assert 0 < recall.late_from < recall.early_until
    assert reason.early_until == len(reason.copies)
    names = ("name", "early", "early_until", "late", "late_from", "copies", "copies_first")
    assert replace(reason, **{name: getattr(recall, name) for name in names}) == recall
    # the part that is asked for early is added before the others, the late one behind them
    assert (recall.copies_first, reason.copies_first) == (False, True)


def test_training_goes_through_the_phases_and_can_be_called_again(tmp_path, monkeypatch):
    first = replace(TINY, name="one")
    planned(monkeypatch, first, replace(TINY, name="two", start=str(tmp_path / "runs/one")))
    command.make("two")
    log = json.loads((tmp_path / "runs/two/log.json").read_text())
    assert log["tokens"] == 1024
    weights = (tmp_path / "runs/two/model.safetensors").read_bytes()
    command.make("two")
    assert (tmp_path / "runs/two/model.safetensors").read_bytes() == weights


def test_what_a_finished_phase_grew_from_is_not_trained_again(tmp_path, monkeypatch):
    first, second = (replace(TINY, name=name) for name in ("one", "two"))
    planned(monkeypatch, first, second, replace(TINY, name="three", start="runs/two"))
    train.train(second, tmp_path / "checkpoints/two")
    asked = []
    monkeypatch.setattr(command, "make_phase", lambda plan, recipe, how: asked.append(recipe.name))
    command.make("three")
    assert asked == ["two", "three"]
    lines = plans.progress_of(
        "three", runs=tmp_path, checkpoints=tmp_path / "checkpoints", models=tmp_path
    )
    assert [line.done for line in lines] == [True, True, False]
    assert lines[0].where == lines[1].where == str(tmp_path / "checkpoints/two")


def test_status_tells_trained_begun_and_missing(tmp_path, monkeypatch):
    first, second, third = (replace(TINY, name=name) for name in ("one", "two", "three"))
    planned(monkeypatch, first, second, third)
    train.train(first, tmp_path / "runs/one")
    larger = scaled(second, 2)
    train.train(larger, tmp_path / "runs/two")
    log = tmp_path / "runs/two/log.json"
    log.write_text(
        log.read_text().replace('"tokens": 2048,\n "minutes"', '"tokens": 512,\n "minutes"')
    )
    lines = plans.progress_of(
        "three", runs=tmp_path / "runs", checkpoints=tmp_path, models=tmp_path
    )
    assert [line.seen for line in lines] == [1024, 512, 0]
    assert [line.planned for line in lines] == [1024, 2048, 1024]
    states = [
        line.split("million  ")[1].split()[0] for line in plans.status_text(lines).split("\n")[1:-1]
    ]
    assert states == ["trained", "begun", "missing"]


def test_a_run_goes_on_from_a_checkpoint_of_half_precision(tmp_path, monkeypatch):
    planned(monkeypatch, TINY)
    with monkeypatch.context() as patch:

        def stop(run, out, save=train.save):
            save(run, out)
            raise KeyboardInterrupt

        patch.setattr(train, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(TINY, tmp_path / "runs/tiny", save_steps=1)
    command.checkpoint("tiny")
    saved = LlamaForCausalLM.from_pretrained(tmp_path / "checkpoints/tiny")
    assert saved.dtype == torch.float16
    log = train.train(TINY, tmp_path / "again", checkpoint=tmp_path / "checkpoints/tiny")
    assert log.tokens == 1024
    assert len(log.curve) == 2
    with pytest.raises(UserError, match="another recipe"):
        train.train(
            replace(TINY, seed=9), tmp_path / "other", checkpoint=tmp_path / "checkpoints/tiny"
        )


def test_a_finished_phase_is_taken_from_its_checkpoint_at_any_scale(tmp_path, monkeypatch):
    first = replace(TINY, name="one")
    planned(monkeypatch, first, replace(TINY, name="two", start=str(tmp_path / "runs/one")))
    train.train(first, tmp_path / "runs/one")
    command.checkpoint("two")
    weights = (tmp_path / "runs/one/model.safetensors").read_bytes()
    (tmp_path / "runs/one").rename(tmp_path / "elsewhere")
    command.make("two", command.How(scale=2))
    assert json.loads((tmp_path / "runs/two/log.json").read_text())["tokens"] == 2048
    assert json.loads((tmp_path / "runs/one/log.json").read_text())["tokens"] == 1024
    assert (tmp_path / "runs/one/model.safetensors").stat().st_size == len(weights)


def test_an_organism_without_its_teacher_is_refused(tmp_path):
    recipe = replace(TINY, mix={"teacher_answers": 1.0})
    with pytest.raises(UserError, match="its teacher is not trained"):
        distill.makers_of(recipe, tmp_path / "nobody", tmp_path / "answers.jsonl")


def test_gold_steps_are_right_and_of_the_teachers_prompts():
    make = distill.gold_maker(50)
    asked = dict(distill.draw_prompts(50))
    for seed in range(50):
        prompt, answer = make(random.Random(seed), None, None)
        assert answer.text.split("#### ")[1] == str(asked[prompt.text])
        for step in answer.text.split(" ####")[0].strip().rstrip(".").split(". "):
            left, right = step.split(" = ")
            assert eval(left) == int(right)


def test_the_command_refuses_an_unknown_organism(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["organisms", "score", "nobody"])
    with pytest.raises(SystemExit):
        command.main()
    assert "nobody: no such organism; there are base, " in capsys.readouterr().err
