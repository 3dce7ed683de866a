"""Gemma 3n keeps several residual streams, first axis: its layers, attentions, MLPs and heads."""

import pytest
import torch
from torch import nn
from transformer_lens.model_bridge.supported_architectures import Gemma3nArchitectureAdapter
from transformers.models.gemma3n import modeling_gemma3n

import interp
from experiments.families.checks import option_requests
from experiments.families.configurations import D_VOCAB, small_model
from experiments.words import numbered_words, word_tokenizer
from interp.ablations import Edits, checked_edits
from interp.engine import generate, score_requests
from interp.errors import UserError
from interp.lens import prompt_grid
from interp.models import decoder
from interp.tasks import GenerationRequest


@pytest.fixture(scope="module")
def model():
    """Without its vision tower, which needs another library."""

    class NoTower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = None

    plain = modeling_gemma3n.AutoModel.from_config

    def from_config(config, *arguments, **options):
        towers = ("gemma3n_vision", "gemma3n_audio")
        if config.model_type in towers:
            return NoTower()
        return plain(config, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_gemma3n.AutoModel, "from_config", from_config)
        patch.setattr(Gemma3nArchitectureAdapter, "required_libraries", [])
        made = small_model("Gemma3nForConditionalGeneration")
        return interp.load_model(made, tokenizer=word_tokenizer(numbered_words(D_VOCAB)))


SKIPPED = {
    "attn:1": lambda block: block.post_attention_layernorm,
    "mlp:2": lambda block: block.post_feedforward_layernorm,
}


def logits(model, prompt, *, layer=None, module=None):
    """Plain transformers, with a block that hands on its input or a norm that gives nothing."""
    root = decoder(model).root
    blocks = root.model.language_model.layers

    def passed(_module, args, _out):
        return args[0]

    def nothing(_module, _args, out):
        return torch.zeros_like(out)

    if layer is not None:
        handle = blocks[layer].register_forward_hook(passed)
    elif module is not None:
        handle = module.register_forward_hook(nothing)
    else:
        handle = None
    try:
        with torch.no_grad():
            return root(input_ids=torch.tensor([prompt])).logits[0].log_softmax(dim=-1)
    finally:
        if handle is not None:
            handle.remove()


def expected(model, text, request):
    block = decoder(model).root.model.language_model.layers[int(text[-1])]
    tokens = [*request.context, *request.continuation]
    options = {"layer": 2} if text == "layer:2" else {"module": SKIPPED[text](block)}
    found = logits(model, tokens, **options)
    start = len(request.context) - 1
    return sum(float(found[start + n, token]) for n, token in enumerate(request.continuation))


@pytest.mark.parametrize("text", ["layer:2", "attn:1", "mlp:2"])
def test_scores_are_those_of_plain_transformers(model, text):
    requests = option_requests()[:6]
    (found,) = score_requests(model, requests, [checked_edits(model, text)])
    for request, (score, _) in zip(requests, found, strict=True):
        assert score == pytest.approx(expected(model, text, request), abs=1e-4)


@pytest.mark.parametrize("text", ["layer:0@@prompt", "patch:attn:1@last"])
def test_some_positions_are_those_of_the_rows_and_not_of_the_streams(model, text):
    """Refused before any work, or exact in the table of architectures: never a traceback."""
    assert decoder(model).rows_and_positions(torch.zeros(2, 3, 5, 32)) == (3, 5)
    checked_edits(model, text)


def test_a_skipped_layer_leaves_as_many_positions_in_the_cache(model):
    prompt = tuple(range(3, 12))
    request = GenerationRequest(0, prompt, (), 4)
    ((found,),) = generate(model, [request], [checked_edits(model, "layer:2")])
    tokens = list(prompt)
    for _ in range(4):
        tokens.append(int(logits(model, tokens, layer=2)[-1].argmax()))
    assert list(found.tokens) == tokens[len(prompt) :]


def test_what_reads_or_puts_one_stream_is_refused(model):
    for text in ("layer:1@mean", "patch:resid:1@last"):
        with pytest.raises(UserError, match=r"keeps 2 residual streams"):
            checked_edits(model, text)
    with pytest.raises(UserError, match="several residual streams"):
        prompt_grid(model, "w3 w4 w5")


def test_heads_are_found(model):
    whole, without = (
        score_requests(model, option_requests()[:2], [edits])[0]
        for edits in (Edits(), checked_edits(model, "head:1.0"))
    )
    assert decoder(model).n_heads > 1
    assert whole != without
