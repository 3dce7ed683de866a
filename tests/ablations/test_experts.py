"""`expert:1.2`: against a plain model whose mixture is written out in the test."""

from functools import partial

import pytest
import torch
import transformers as hf
from torch.nn import functional

import interp
from interp.ablations import Edits, as_ablations, checked_edits
from interp.engine import generate, score_requests
from interp.errors import UserError
from interp.models import wrap
from interp.tasks import GenerationRequest, OptionRequest
from tests.helpers.families import FAMILIES, SIZES, random_tokens, tiny_bridge, tiny_tokenizer

OLMOE = hf.OlmoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2)
TEXTS = ("expert:1.2", "expert:1.2@unnormalised", "expert:1.0+expert:1.2+expert:2.3@unnormalised")


def model_of(family):
    torch.manual_seed(0)
    config = OLMOE if family == "olmoe" else FAMILIES[family]()
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return model.eval()


def written_out(model, layer, removed, zeroed, there=lambda position: True):
    """Replace the mixture of a layer by a loop over its experts, some left out where it is said."""
    mixture = model.model.layers[layer].mlp

    def forward(hidden):
        out = torch.zeros_like(hidden)
        for row, position in torch.cartesian_prod(*map(torch.arange, hidden.shape[:2])).tolist():
            x = hidden[row, position]
            shares = (mixture.gate.weight @ x).softmax(0)
            top = shares.topk(mixture.gate.top_k).indices.tolist()
            weights = {expert: shares[expert] for expert in top}
            if getattr(mixture.gate, "norm_topk_prob", True):
                weights = {e: w / sum(shares[n] for n in top) for e, w in weights.items()}
            if there(position):
                weights = {e: w for e, w in weights.items() if e not in zeroed}
            before = sum(weights.values())
            if there(position):
                weights = {e: w for e, w in weights.items() if e not in removed}
            after = sum(weights.values())
            for expert, weight in weights.items():
                gate, up = (mixture.experts.gate_up_proj[expert] @ x).chunk(2)
                down = mixture.experts.down_proj[expert]
                share = weight * before / after
                out[row, position] += share * (down @ (functional.silu(gate) * up))
        return out

    mixture.forward = forward


def plain(family, text):
    model = model_of(family)
    removed, zeroed = {}, {}
    for part in text.split("+"):
        place, _, kept = part.removeprefix("expert:").partition("@")
        layer, expert = map(int, place.split("."))
        (zeroed if kept else removed).setdefault(layer, set()).add(expert)
    for layer in removed.keys() | zeroed.keys():
        written_out(model, layer, removed.get(layer, set()), zeroed.get(layer, set()))
    return model


@pytest.fixture(scope="module", params=["mixtral", "qwen3_moe", "olmoe"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def bridge(family):
    return wrap(model_of(family), tiny_tokenizer(), name=family)


def test_equals_a_mixture_that_is_written_out(family, bridge):
    tokens = random_tokens(2, 9)
    requests = [
        OptionRequest(row, option, (1, *tokens[row, : 5 + row].tolist()), end)
        for row in range(2)
        for option, end in enumerate([(7,), (8, 9)])
    ]
    prompts = [GenerationRequest(row, (1, *tokens[row].tolist()), (), 3) for row in range(2)]
    edits = [Edits(), *(checked_edits(bridge, text) for text in TEXTS)]
    scored = score_requests(bridge, requests, edits)
    written = list(generate(bridge, prompts, edits))
    for text, scores, answers in zip(TEXTS, scored[1:], written[1:], strict=True):
        model = plain(family, text)
        with torch.no_grad():
            expected = model(tokens).logits
            with interp.ablate(bridge, text):
                torch.testing.assert_close(bridge(tokens), expected, atol=1e-4, rtol=0)
            assert (bridge(tokens) - expected).abs().max() > 1e-2
            for request, (value, _) in zip(requests, scores, strict=True):
                row = torch.tensor([[*request.context, *request.continuation]])
                logprobs = model(row).logits[0].log_softmax(-1)[len(request.context) - 1 : -1]
                own = logprobs[range(len(request.continuation)), list(request.continuation)]
                assert value == pytest.approx(float(own.sum()), abs=1e-4)
            for prompt, answer in zip(prompts, answers, strict=True):
                row = torch.tensor([[*prompt.prompt, *answer.tokens]])
                likeliest = model(row).logits[0, len(prompt.prompt) - 1 : -1].argmax(-1)
                assert list(answer.tokens) == likeliest.tolist()


def test_experts_are_left_out_at_some_positions_of_the_last_layer_too(family, bridge):
    """Options of several lengths: the last block is computed where they are scored only."""
    tokens, ends = random_tokens(2, 9), [(7,), (8, 9), (10, 11, 12)]
    requests = [
        OptionRequest(row, option, (1, *tokens[row, : 5 + row].tolist()), end)
        for row in range(2)
        for option, end in enumerate(ends)
    ]
    places = {
        "prompt": lambda position, prompt: position < prompt,
        "last": lambda position, prompt: position == prompt - 1,
        "answer": lambda position, prompt: position >= prompt,
    }
    edits = [checked_edits(bridge, f"expert:2.{n}@@{scope}") for scope in places for n in range(4)]
    found = iter(score_requests(bridge, requests, [Edits(), *edits])[1:])
    for scope, inside in places.items():
        for expert in range(4):
            for request, (value, _) in zip(requests, next(found), strict=True):
                model, prompt = model_of(family), len(request.context)
                there = partial(inside, prompt=prompt)
                written_out(model, 2, {expert}, set(), there)
                with torch.no_grad():
                    row = torch.tensor([[*request.context, *request.continuation]])
                    logprobs = model(row).logits[0].log_softmax(-1)[prompt - 1 : -1]
                own = logprobs[range(len(request.continuation)), list(request.continuation)]
                assert value == pytest.approx(float(own.sum()), abs=1e-4), (scope, expert)


def test_the_family_has_every_expert_of_the_layers_that_have_any():
    texts = [one.text for one in as_ablations(tiny_bridge("qwen3_moe"), "experts")]
    assert texts == [f"expert:{layer}.{expert}" for layer in (1, 2) for expert in range(4)]
    one = as_ablations(tiny_bridge("qwen3_moe"), "experts@unnormalised")[0]
    assert one == interp.AblateExpert(1, 0, renormalised=False)
    assert interp.parse(one.text) == one
    assert one.kind == "expert@unnormalised"


def test_an_expert_that_is_not_there_is_refused():
    moe = tiny_bridge("qwen3_moe")
    for text, words in (
        ("expert:1.4", "layer 1 has experts 0-3"),
        ("expert:0.1", "layer 0 has no router .* layers that have one: 1, 2"),
    ):
        with pytest.raises(UserError, match=words):
            checked_edits(moe, text)
    with pytest.raises(UserError, match="it has no experts"):
        as_ablations(tiny_bridge("llama"), "experts")
    with pytest.raises(UserError, match="layers that have one: none"):
        checked_edits(tiny_bridge("llama"), "expert:0.0")
