"""The engine as lm-evaluation-harness' model, against `HFLM` on models with a layer deleted."""

import logging
import sys

import pytest
import torch
from lm_eval.api.instance import Instance

import interp
from interp.cli import main
from interp.errors import UserError
from interp.integrations.lm_eval import AblatedModel
from interp.models import decoder
from interp.tasks import load_task
from tests.helpers.families import FAMILIES, deleted, tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.forked import in_a_fork
from tests.helpers.harness import harness_evaluates
from tests.helpers.task_files import write_task, write_task_with_code


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def hflm(model):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tiny_tokenizer(), batch_size=2, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["letters", "texts", "generate"])
def test_a_task_through_the_harness_equals_the_deleted_layer(folder, tmp_path, kind):
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    task = load_task(write_task(tmp_path, kind=kind, num_fewshot=2))
    ours = harness_evaluates(
        "interp", [task._harness], model_args=f"pretrained={folder},ablation=layer:1"
    )
    theirs = harness_evaluates(hflm(deleted("llama", [1])), [task._harness])
    (mine,), (wanted,) = ours["samples"].values(), theirs["samples"].values()
    for found, expected in zip(mine, wanted, strict=True):
        if kind == "generate":
            assert found["resps"] == expected["resps"]
            continue
        for ((value, greedy),), ((other, other_greedy),) in zip(
            found["resps"], expected["resps"], strict=True
        ):
            assert float(value) == pytest.approx(float(other), abs=1e-4)
            assert greedy == other_greedy


def instances(*arguments):
    return [
        Instance("loglikelihood", {}, args, number, ("t", number, 1))
        for number, args in enumerate(arguments)
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_whole_texts_roll_over_the_context_as_in_the_harness(family):
    texts = [" ".join(f"w{4 + (7 * i + n) % 60}" for i in range(n)) for n in (3, 40, 150)]
    ours = AblatedModel(tiny_bridge(family), ablation="layer:0", token_budget=64)
    theirs = hflm(deleted(family, [0]))
    theirs._max_length = ours.decoder.max_length
    found = ours.loglikelihood_rolling(instances(*((t,) for t in texts)), disable_tqdm=True)
    expected = theirs.loglikelihood_rolling(instances(*((t,) for t in texts)), disable_tqdm=True)
    assert found == pytest.approx(expected, abs=1e-3)


def test_empty_contexts_and_long_ones_are_scored_as_in_the_harness():
    ours, theirs = AblatedModel(tiny_bridge("llama")), hflm(tiny_model("llama"))
    long = " ".join(f"w{4 + i % 60}" for i in range(90))
    # the harness answers requests whose tokens are equal up to the last one together, also where
    # their contexts end at different places: these are all different
    pairs = instances(("", "w5 w6"), ("w9 ", "w6"), (long, " w7 w8"))
    found = ours.loglikelihood(pairs, disable_tqdm=True)
    expected = theirs.loglikelihood(pairs, disable_tqdm=True)
    for (value, greedy), (other, other_greedy) in zip(found, expected, strict=True):
        assert value == pytest.approx(other, abs=1e-4)
        assert greedy == other_greedy


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling", "generate_until"])
def test_logits_that_are_not_finite_end_it(kind):
    """The harness would count NaN as an answer: its argmax is the first option."""
    bridge = tiny_bridge("llama", seed=5)
    with torch.no_grad():
        next(decoder(bridge).mlps[1].parameters())[0, 0] = float("nan")
    arguments = {
        "loglikelihood": ("w5 w6", " w7"),
        "loglikelihood_rolling": ("w5 w6",),
        "generate_until": ("w5 w6", {"until": ["w7"], "max_gen_toks": 3}),
    }[kind]
    asked = [Instance(kind, {}, arguments, 0, ("t", 0, 1))]
    with pytest.raises(UserError, match="ablation baseline: logits are not finite in 1 of 1"):
        getattr(AblatedModel(bridge), kind)(asked)


def test_bad_arguments_are_named():
    with pytest.raises(UserError, match="layer 9: the model has layers 0-2"):
        AblatedModel(tiny_bridge("llama"), ablation="layer:9")
    with pytest.raises(UserError, match="model argument layers: allowed are pretrained"):
        AblatedModel(tiny_bridge("llama"), layers="3")
    with pytest.raises(UserError, match="it needs examples to take activations from"):
        AblatedModel(tiny_bridge("llama"), ablation="head:0.1@mean")


@pytest.mark.slow
def test_every_family_can_be_asked():
    for family in sorted(FAMILIES):
        model = AblatedModel(tiny_bridge(family), ablation="attn:1")
        pairs = instances(("w5 w6", " w7"))
        with interp.ablate(model.model, "attn:1"), torch.no_grad():
            ids = torch.tensor([model.tok_encode("w5 w6 w7")])
            logits = model.model(ids)[0, -2].log_softmax(dim=-1)
        ((value, _),) = model.loglikelihood(pairs, disable_tqdm=True)
        assert value == pytest.approx(float(logits[ids[0, -1]]), abs=1e-4)


@pytest.mark.slow
def test_the_command_line_passes_through(folder, tmp_path):
    task, mark = write_task_with_code(tmp_path)
    command = ["harness", "run", "--model", "interp"]
    command += ["--model_args", f"pretrained={folder},ablation=layer:1"]
    command += ["--tasks", str(task), "--limit", "3", "--allow-code"]
    script = "import sys; from interp.cli import main; sys.exit(main(sys.argv[1:]))"
    assert "tiny-texts" in in_a_fork(script, *command)
    assert mark.exists()


@pytest.mark.parametrize("how", ["file", "two", "folder", "include", "config", "inline"])
def test_python_of_a_task_from_elsewhere_runs_with_the_flag_alone(tmp_path, capsys, how):
    task, mark = write_task_with_code(tmp_path)
    (tmp_path / "broken.yaml").write_text("task: [")
    config = tmp_path / "asked" / "config.yml"
    config.parent.mkdir()
    config.write_text(f"tasks: [{task}]\nmodel: interp\n")
    given = {
        "file": ["run", "--tasks", str(task)],
        "two": ["run", "--tasks", f"arc_easy,{tmp_path}/tiny*.yaml"],
        "folder": ["run", "--tasks", str(tmp_path)],
        "include": ["run", "--include_p", str(tmp_path), "--tasks", "tiny-texts"],
        "config": ["run", "--config", str(config)],
        "inline": ["run", "--include_path", str(tmp_path / "groups"), "--tasks", "ours"],
    }
    if how == "inline":
        (tmp_path / "groups").mkdir()
        (tmp_path / "groups" / "group.yaml").write_text(
            "group: ours\ntask: [{task: mine, metric_list: [{metric: ./theirs.py}]}]\n"
        )
    assert main(["harness", *given[how]]) == 2
    # of a whole folder, the file that cannot be read is refused first
    refused = "it is no task YAML" if how in ("folder", "include") else "or with --allow-code"
    assert refused in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("place", ["front", "end"])
def test_the_flag_is_ours_and_the_rest_goes_to_the_harness(tmp_path, monkeypatch, place):
    (task, _), seen = write_task_with_code(tmp_path), []
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: seen.append(sys.argv))
    words, flag = ["run", "--model", "interp", "--tasks", str(task)], ["--allow-code"]
    assert main(["harness", *(flag + words if place == "front" else words + flag)]) == 0
    assert seen == [["interp lm-eval", *words]]


def test_templates_of_the_harness_do_not_reach_python(monkeypatch, capsys):
    from lm_eval.utils import apply_template

    template = "{{ question.__class__.__mro__[1].__subclasses__() }}"
    monkeypatch.setattr(
        "lm_eval.__main__.cli_evaluate", lambda: apply_template(template, {"question": "w4"})
    )
    assert main(["harness", "run", "--model", "interp", "--tasks", "arc_easy"]) == 2
    assert "a task's template reads what it may not" in capsys.readouterr().err
