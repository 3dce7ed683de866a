"""`interp.generate` in a REPL: ablations, contexts, streaming, chat templates, seeded draws."""

import contextlib

import pytest
import torch

import interp
from interp.ablations import checked_edits
from interp.engine import generate as generate_requests
from interp.errors import UserError
from interp.models import decoder, wrap
from interp.tasks import GenerationRequest
from tests.helpers.families import deleted, tiny_bridge, tiny_tokenizer
from tests.helpers.task_files import write_task

PROMPT = "w5 w6 w7 w8"


def words(model, ablation, longest=8):
    request = GenerationRequest(0, tuple(decoder(model).tokenizer.encode(PROMPT)), (), longest)
    (answers,) = generate_requests(model, [request], [checked_edits(model, ablation)])
    return answers[0].text


@pytest.mark.slow
def test_an_ablation_and_the_context_around(llama):
    free, ablated = words(llama, "baseline"), words(llama, "layer:1")
    both = words(llama, "layer:1+head:0.2")
    assert len({free, ablated, both}) == 3
    assert interp.generate(llama, PROMPT, max_new_tokens=8) == free
    assert interp.generate(llama, PROMPT, "layer:1", max_new_tokens=8) == ablated
    with interp.ablate(llama, "layer:1"):
        assert interp.generate(llama, PROMPT, max_new_tokens=8) == ablated
        assert interp.generate(llama, PROMPT, "head:0.2", max_new_tokens=8) == both
        with interp.ablate(llama, "head:0.2"):
            assert interp.generate(llama, PROMPT, max_new_tokens=8) == both
    assert interp.generate(llama, PROMPT, max_new_tokens=8) == free


def test_the_bridge_is_left_plain(llama):
    own = type(llama).generate
    with interp.ablate(llama, "layer:1"):
        interp.generate(llama, PROMPT, max_new_tokens=4)
        assert llama.generate.__func__ is own
        assert "generate" not in vars(llama)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "bloom"])
@pytest.mark.parametrize("until", [(), ("w61 w62",)])
def test_streamed_pieces_make_up_the_answer(family, until):
    model = tiny_bridge(family)
    pieces = list(interp.stream(model, PROMPT, "layer:0", max_new_tokens=8, until=until))
    assert "".join(pieces) == interp.generate(
        model, PROMPT, "layer:0", max_new_tokens=8, until=until
    )
    assert len(pieces) > (5 if family == "llama" else 0)


def test_a_swap_is_not_left_in_place_between_pieces(llama):
    donor = tiny_bridge("llama", seed=1)
    before = llama.blocks[0].mlp.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    stream = interp.stream(llama, PROMPT, "swap:0", donor=donor, max_new_tokens=8)
    next(stream)
    for name, value in llama.blocks[0].mlp.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("ablation", ["layer:0", None])
def test_a_donor_without_a_swap_is_refused(llama, ablation):
    with pytest.raises(UserError, match="donor: no ablation is a swap; add one, such as swap:7"):
        interp.generate(llama, PROMPT, ablation, donor=llama, max_new_tokens=1)
    for given in ("layer:0", ["layer:0", "mlp:1"], "swap:0+layer:1"):
        refused = contextlib.nullcontext()
        if "swap:0" not in given:
            refused = pytest.raises(UserError, match="donor: no ablation is a swap")
        with refused, interp.ablate(llama, given, donor=llama):
            pass
    with pytest.raises(UserError, match="donor: no ablation is a swap"):
        interp.sweep(llama, "kv-5:generate", ablation or "mlps", donor=llama, out="unused")


def test_the_same_seed_draws_the_same_whatever_runs_beside_it(llama):
    def draws(prompts, seed=0):
        return interp.generate(
            llama, prompts, temperature=1.0, draws=3, seed=seed, max_new_tokens=6
        )

    one = draws([PROMPT])
    assert len(set(one)) > 1
    assert draws([PROMPT, "w9 w10 w11"])[:3] == one
    assert draws([PROMPT], seed=1) != one


def test_chat_templates_are_used_when_asked_for(llama, monkeypatch):
    template = "{% for m in messages %}<s> w20 {{ m['content'] }}{% endfor %} w21"
    messages = [{"role": "user", "content": PROMPT}]
    with pytest.raises(UserError, match="no chat template"):
        interp.generate(llama, messages)
    monkeypatch.setattr(decoder(llama).tokenizer, "chat_template", template)
    expected = interp.generate(llama, f"w20 {PROMPT} w21", max_new_tokens=6)
    assert interp.generate(llama, messages, max_new_tokens=6) == expected
    assert interp.generate(llama, PROMPT, chat=True, max_new_tokens=6) == expected
    assert interp.generate(llama, PROMPT, max_new_tokens=6) != expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 99}, "context holds 64"),
        ({"draws": 2}, "give a temperature"),
        ({"draws": 0}, "draws 0"),
        ({"temperature": -1.0}, "temperature -1.0"),
        ({"temperature": 1.0, "seed": -1}, "seed -1"),
    ],
)
def test_bad_options_are_refused(llama, options, message):
    with pytest.raises(UserError, match=message):
        interp.generate(llama, PROMPT, **options)


def test_hooks_of_ones_own_are_not_passed_over(llama):
    def same(value, hook):
        return value

    with (
        llama.hooks(fwd_hooks=[("blocks.0.hook_out", same)]),
        pytest.raises(UserError, match="hooks of your own"),
    ):
        interp.generate(llama, PROMPT)
    with pytest.raises(UserError, match="one prompt"):
        interp.stream(llama, [PROMPT, PROMPT])


@pytest.mark.slow
def test_hooks_as_an_ablation_run_on_the_bridge(llama):
    mine = interp.hooked("zero", [("blocks.1.mlp.hook_out", lambda value, hook: value * 0)])
    assert interp.generate(llama, PROMPT, mine) == interp.generate(llama, PROMPT, "mlp:1")
    both = interp.generate(llama, PROMPT, [mine, "layer:0"])
    assert both == interp.generate(llama, PROMPT, ["mlp:1", "layer:0"])
    assert "".join(interp.stream(llama, PROMPT, mine)) == interp.generate(llama, PROMPT, mine)
    with (
        interp.ablate(llama, "layer:0"),
        pytest.raises(UserError, match="not combined with the ablation of a context"),
    ):
        interp.generate(llama, PROMPT, mine)


def test_what_a_generation_config_asks_for_is_said(caplog):
    model = tiny_bridge("llama")
    decoder(model).root.generation_config.repetition_penalty = 1.3
    first = interp.generate(model, PROMPT, max_new_tokens=4)
    assert "repetition_penalty 1.3" in caplog.text
    caplog.clear()
    assert interp.generate(model, PROMPT, max_new_tokens=4) == first == words(model, "baseline", 4)
    assert caplog.text == ""


def test_streaming_says_so_too(caplog):
    model = tiny_bridge("llama")
    decoder(model).root.generation_config.no_repeat_ngram_size = 2
    assert list(interp.stream(model, PROMPT, max_new_tokens=4))
    assert "no_repeat_ngram_size 2" in caplog.text


def test_a_task_that_asks_for_more_than_greedy_is_refused(tmp_path, llama):
    from interp.tasks import build_requests, load_task

    path = write_task(tmp_path, kind="generate")
    task = load_task(path)
    task._harness.config.generation_kwargs["num_beams"] = 3
    with pytest.raises(UserError, match="num_beams 3"):
        build_requests(task, [0], decoder(llama))


def test_draws_under_an_ablation_are_those_of_the_deleted_layer(llama):
    def draws(model, *ablation):
        return interp.generate(
            model, PROMPT, *ablation, temperature=0.8, draws=4, seed=5, max_new_tokens=6
        )

    gone = wrap(deleted("llama", [1]), tiny_tokenizer(), name="without layer 1")
    assert draws(llama, "layer:1") == draws(gone) != draws(llama)
