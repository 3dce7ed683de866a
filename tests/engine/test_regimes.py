"""Models that compute differently beyond a length: all equals plain transformers, row by row."""

import pytest
import torch

from interp.ablations import Edits, checked_edits
from interp.engine import Settings, Shortcuts, generate, score_requests
from interp.engine.capabilities import capabilities
from interp.engine.trials import Trials
from interp.errors import UserError
from interp.models import wrap
from interp.sweeps import sweep
from interp.tasks import GenerationRequest, OptionRequest
from tests.helpers.families import delete_layers, random_tokens, tiny_tokenizer
from tests.helpers.regimes import REGIMES, SWITCH, model_of
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module", params=sorted(REGIMES))
def regime(request):
    return request.param


@pytest.fixture(scope="module")
def bridge(regime):
    return wrap(model_of(regime), tiny_tokenizer(), name=regime)


def ablated(regime):
    """Texts of ablations and, of each, the plain model."""
    found = {"baseline": model_of(regime)}
    if regime == "recurrence":
        found["layer:1"] = without_block(regime, 1, lambda hidden_states: (hidden_states,))
    elif regime == "shared keys":
        # it stores nothing for the layers after it
        found["layer:3"] = without_block(regime, 3, lambda hidden_states: hidden_states)
    else:
        found["layer:1"] = delete_layers(model_of(regime), [1])
    return found


def without_block(regime, layer, returned):
    """The plain model with a block that hands on what it is given."""
    model = model_of(regime)
    block = model.get_submodule(f"model.layers.{layer}")
    block.forward = lambda hidden_states, *_args, **_kwargs: returned(hidden_states)
    return model


def option_requests(*, shared):
    start = random_tokens(1, shared, seed=7)[0].tolist() if shared else []
    requests = []
    for doc, length in enumerate((5, 9, SWITCH - 3, SWITCH - 2, SWITCH + 1, 30, 33)):
        own = random_tokens(1, max(1, length - shared), seed=100 + doc)[0].tolist()
        for option, end in enumerate([(7,), (11, 12, 13)]):
            requests.append(OptionRequest(doc, option, (1, *start, *own), end))
    return requests


def by_row(model, request):
    """Sum of log-probabilities by plain transformers, without a cache.

    As lm-evaluation-harness does it: the last token is predicted, and no part of the row.
    """
    ids = torch.tensor([[*request.context, *request.continuation[:-1]]])
    with torch.no_grad():
        logprobs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(dim=-1)
    at = logprobs[len(request.context) - 1 :]
    return float(at[range(len(request.continuation)), list(request.continuation)].sum())


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("shared", [0, 12])
def test_scores_equal_plain_transformers_row_by_row(bridge, regime, shared, monkeypatch):
    # a prefix is worth its pass however few examples share it
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
    requests, plain = option_requests(shared=shared), ablated(regime)
    edits = [checked_edits(bridge, text) for text in plain]
    expected = [[by_row(model, request) for request in requests] for model in plain.values()]
    for shortcuts in (Shortcuts(), Shortcuts(token_budget=64, stacked=False)):
        found = score_requests(bridge, requests, edits, shortcuts=shortcuts)
        for scores, values in zip(found, expected, strict=True):
            assert [value for value, _ in scores] == pytest.approx(values, abs=1e-4), shortcuts


def by_whole_texts(model, request):
    """Greedy tokens, each from the whole text again."""
    text = list(request.prompt)
    while len(text) < len(request.prompt) + request.max_gen_toks:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
        text.append(int(logits.argmax()))
        if text[-1] == 2:
            break
    return tuple(text[len(request.prompt) :])


@pytest.mark.slow
def test_answers_equal_plain_transformers_row_by_row(bridge, regime):
    start = random_tokens(1, 6, seed=7)[0].tolist()
    requests = [
        GenerationRequest(
            i, (1, *start, *random_tokens(1, length - 7, seed=50 + i)[0].tolist()), (), 7
        )
        for i, length in enumerate((9, 11, SWITCH - 3, SWITCH, SWITCH + 4, 30))
    ]
    plain = ablated(regime)
    edits = [checked_edits(bridge, text) for text in plain]
    expected = [[by_whole_texts(model, one) for one in requests] for model in plain.values()]
    for settings in (None, Settings(plain=True)):
        found = generate(bridge, requests, edits, settings=settings)
        assert [[answer.tokens for answer in answers] for answers in found] == expected, settings


@pytest.mark.slow
def test_rows_below_a_change_keep_their_shortcuts():
    bridge = wrap(model_of("longrope"), tiny_tokenizer(), name="longrope")
    can = capabilities(bridge)
    assert can.changes == (SWITCH,)
    assert can.pads(SWITCH)
    assert can.shares_prefixes(SWITCH)
    assert can.rounding(SWITCH) is not None
    assert not can.pads(SWITCH + 1)
    assert can.pads_beyond(SWITCH)
    assert can.rounding(SWITCH + 1) is None
    assert can.caching(SWITCH + 1).rebuilt_beyond == (SWITCH,)
    other = wrap(model_of("window"), tiny_tokenizer(), name="window")
    window = capabilities(other)
    assert window.crosses(SWITCH)
    assert window.rounding(40) is not None


def test_a_layer_whose_keys_others_use_is_refused_before_work(tmp_path):
    bridge = wrap(model_of("shared keys"), tiny_tokenizer(), name="gemma4")
    asked = option_requests(shared=0)[:2]
    (skipped,) = [checked_edits(bridge, "layer:1")]
    with pytest.raises(UserError, match="cannot run without layer 1, whose keys and values"):
        score_requests(bridge, asked, [Edits(), skipped])
    with pytest.raises(UserError, match="cannot run without layer 1"):
        generate(bridge, [GenerationRequest(0, (1, 9), (), 2)], [skipped])
    with pytest.raises(UserError, match="cannot run without layer 1"):
        sweep(bridge, [str(write_task(tmp_path))], ["layer:1"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_model_is_tried_without_its_layers_only_where_layers_are_skipped(monkeypatch):
    bridge = wrap(model_of("shared keys"), tiny_tokenizer(), name="gemma4")
    tried: list[tuple[int, ...]] = []
    runs_without = Trials.runs_without

    def counted(trials: Trials, layers: tuple[int, ...]) -> bool:
        tried.append(layers)
        return runs_without(trials, layers)

    monkeypatch.setattr(Trials, "runs_without", counted)
    texts = ("attn:1", "mlp:1", "head:1.0@zero", "layer:2+mlp:1", "layer:2")
    edits = [Edits(), *(checked_edits(bridge, text) for text in texts)]
    for _ in range(2):
        score_requests(bridge, option_requests(shared=0)[:2], edits)
        generate(bridge, [GenerationRequest(0, (1, 9), (), 2)], edits)
    assert tried == [(2,)]
