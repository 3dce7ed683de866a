"""Chat templates and token budgets of generating tasks, against lm-evaluation-harness."""

import pytest
import yaml

import interp
from interp.errors import UserError
from interp.models import decoder
from interp.tasks import (
    as_chat,
    build_requests,
    chat_text,
    load_task,
    prompt_text,
    with_budget,
    with_draws,
)
from tests.helpers.families import tiny_bridge, tiny_model
from tests.helpers.task_files import write_task

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} w60 {% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


@pytest.fixture
def chatting(monkeypatch):
    model = tiny_bridge("llama")
    monkeypatch.setattr(decoder(model).tokenizer, "chat_template", TEMPLATE)
    return model


@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_prompts_are_those_of_the_harness(tmp_path, chatting, num_fewshot):
    from lm_eval.models.huggingface import HFLM

    task = load_task(write_task(tmp_path, kind="generate", num_fewshot=num_fewshot))
    chat, document = as_chat(task, chatting), task.documents()[0]
    lm = HFLM(pretrained=tiny_model("llama"), tokenizer=decoder(chatting).tokenizer, device="cpu")
    expected = task._harness.fewshot_context(
        document,
        num_fewshot=num_fewshot,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=lm.apply_chat_template,
    )
    assert prompt_text(chat, document) == expected
    assert expected.count("user ") == num_fewshot + 1
    assert expected.endswith("assistant")
    assert prompt_text(task, document) != expected
    assert chat.name == f"chat-{task.name}"


@pytest.mark.slow
def test_a_budget_cuts_answers_and_the_share_is_reported(tmp_path):
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, kind="generate", rows=6))
    short = with_budget(task, 2)
    assert {r.max_gen_toks for r in build_requests(short, range(6), decoder(model))} == {2}
    assert {r.max_gen_toks for r in build_requests(task, range(6), decoder(model))} == {6}
    run = interp.sweep(model, [short], ["layer:1"], out=tmp_path / "run")
    rows = run.responses()
    assert (rows["cut"] == ~rows["finished"]).all()
    assert 0 < rows["cut"].mean() <= 1
    scores = run.scores().query("metric == 'cut' and ablation == 'baseline'")
    share = rows[rows["ablation"] == "baseline"]["cut"].mean()
    assert scores["value"].item() == pytest.approx(100 * share)


def test_what_cannot_be_done_is_refused(tmp_path):
    model = tiny_bridge("gpt2")
    options = load_task(write_task(tmp_path, kind="letters"))
    generates = load_task(write_task(tmp_path, kind="generate"))
    with pytest.raises(UserError, match="scores options"):
        as_chat(options, model)
    with pytest.raises(UserError, match="scores options"):
        with_budget(options, 3)
    with pytest.raises(UserError, match="max_gen_toks 0"):
        with_budget(generates, 0)
    with pytest.raises(UserError, match="no chat template"):
        as_chat(generates, model)


def test_a_variant_is_data_and_its_name_is_printed_only(tmp_path, chatting):
    task = load_task(write_task(tmp_path, kind="generate"))
    asked = with_draws(with_budget(as_chat(task, chatting), 7), temperature=0.5, draws=3)
    other = as_chat(with_budget(with_draws(task, temperature=0.5, draws=3), 7), chatting)
    assert asked.variant == other.variant
    assert asked.name == other.name == "chat-7-tokens-3-draws-at-0.5-tiny-generate"
    assert asked.plain_name == "tiny-generate"
    assert asked.variant.max_tokens == 7
    assert asked.variant.n_samples == 3
    for one in (asked, other):
        requests = build_requests(one, [0], decoder(chatting))
        assert [r.max_gen_toks for r in requests] == [7] * 3
        assert {r.sampling.temperature for r in requests} == {0.5}
    direct = load_task(tmp_path / "tiny-generate.yaml", chat_template=chatting)
    assert direct.variant.chat_template == asked.variant.chat_template


def test_another_chat_template_is_another_variant(tmp_path, chatting, monkeypatch):
    task = load_task(write_task(tmp_path, kind="generate"))
    before = as_chat(task, chatting).variant
    monkeypatch.setattr(decoder(chatting).tokenizer, "chat_template", TEMPLATE + "w5")
    assert as_chat(task, chatting).variant != before


def test_a_template_that_writes_the_day_writes_the_same_day(tmp_path, chatting, monkeypatch):
    dated = "{{ strftime_now('%d %b %Y %H:%M:%S.%f') }} " + TEMPLATE
    monkeypatch.setattr(decoder(chatting).tokenizer, "chat_template", dated)
    messages = [{"role": "user", "content": "w5"}]
    first = chat_text(chatting, messages)
    assert first.startswith("26 Jul 2024 00:00:00.000000 ")
    assert chat_text(chatting, messages) == first


def test_the_seed_of_few_shot_examples_chooses_them(tmp_path):
    path = write_task(tmp_path, num_fewshot=2)
    config = yaml.safe_load(path.read_text())
    del config["fewshot_config"]
    path.write_text(yaml.safe_dump(config))
    first, same, other = (load_task(path, fewshot_seed=seed) for seed in (1, 1, 2))
    prompts = [[prompt_text(t, row) for row in t.documents()] for t in (first, same, other)]
    assert prompts[0] == prompts[1] != prompts[2]
    with pytest.raises(UserError, match="fewshot_seed -1"):
        load_task(path, fewshot_seed=-1)
