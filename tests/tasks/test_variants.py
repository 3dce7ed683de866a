"""Chat templates and token budgets of generating tasks, against lm-evaluation-harness."""

import pytest

import interp
from interp.errors import UserError
from interp.models import decoder
from interp.tasks import as_chat, build_requests, load_task, prompt_text, with_budget
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_prompts_are_those_of_the_harness(tmp_path, chatting, num_fewshot):
    from lm_eval.models.huggingface import HFLM

    task = load_task(write_task(tmp_path, kind="generate", num_fewshot=num_fewshot))
    chat, document = as_chat(task, chatting), task.documents()[0]
    lm = HFLM(pretrained=tiny_model("llama"), tokenizer=decoder(chatting).tokenizer, device="cpu")
    expected = task.harness.fewshot_context(
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
