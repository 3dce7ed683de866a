"""Attention rows against TransformerLens' full patterns."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import interp
from interp import models
from interp.attention import attention_rows, rows as rows_module
from interp.attention.rows import check_heads, scan_rows
from interp.errors import UserError
from interp.models import wrap
from tests.helpers.families import BY_HALF, random_tokens, tiny_bridge, tiny_tokenizer
from tests.helpers.regimes import SWITCH, model_of


@pytest.fixture(scope="module", params=BY_HALF)
def bridge(request):
    return tiny_bridge(request.param)


def patterns(model, tokens):
    """`[layer, head, query, pos]` by TransformerLens itself."""
    with torch.no_grad():
        _, cache = model.run_with_cache(torch.tensor([tokens]))
    return torch.stack([cache["pattern", layer][0] for layer in range(model.cfg.n_layers)])


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_rows_equal_hook_pattern(bridge, data):
    """Longer than the sliding windows (8), in pieces of any size, any queries in any order."""
    tokens = random_tokens(1, 30, seed=data.draw(st.integers(0, 99)))[0].tolist()
    queries = data.draw(st.lists(st.integers(-30, 29), min_size=1, max_size=6))
    piece = data.draw(st.sampled_from([1, 3, 7, 16, 64]))
    found = attention_rows(bridge, tokens, queries=queries, piece=piece)
    expected = patterns(bridge, tokens)[:, :, queries]
    torch.testing.assert_close(found.rows, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("last", [SWITCH - 1, SWITCH, SWITCH + 11])
def test_rows_beyond_a_switch_are_those_of_the_whole_prompt(last):
    """Keys of the first pieces would keep the short rotary factors (LongRoPE)."""
    plain, model = model_of("longrope"), wrap(model_of("longrope"), tiny_tokenizer(), name="long")
    tokens = random_tokens(1, SWITCH + 12)[0].tolist()
    found = attention_rows(model, tokens, queries=[3, last], piece=7)
    with torch.no_grad():
        whole = plain(torch.tensor([tokens]), output_attentions=True).attentions
    expected = torch.stack([layer[0] for layer in whole])[:, :, [3, last]]
    torch.testing.assert_close(found.rows, expected, atol=1e-5, rtol=0)


def test_a_capped_score_equals_hook_pattern():
    """Gemma 2 caps its attention scores, which fused attention cannot."""
    import transformers as hf

    torch.manual_seed(0)
    config = hf.Gemma2Config(
        vocab_size=101, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=8,
        max_position_embeddings=64, attn_logit_softcapping=2.0, query_pre_attn_scalar=1,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    root = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in root.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model = wrap(root.eval(), tiny_tokenizer(), name="tiny-gemma2")
    tokens = random_tokens(1, 30)[0].tolist()
    found = attention_rows(model, tokens, queries=range(30), piece=7)
    torch.testing.assert_close(found.rows, patterns(model, tokens), atol=1e-5, rtol=0)


def test_rows_sum_to_one_and_look_back_only(llama):
    found = attention_rows(llama, "w5 w6 w7 w8 w9", queries=[2, -1])
    assert found.queries == (2, 5)
    assert found.texts[1:] == ("w5", "w6", "w7", "w8", "w9")
    torch.testing.assert_close(found.rows.sum(dim=-1), torch.ones(3, 4, 2))
    assert (found.rows[:, :, 0, 3:] == 0).all()
    assert repr(found) == "AttentionRows(2 queries over 6 positions, 3 layers of 4 heads)"


def test_what_leaves_the_last_block_is_handed_back(llama):
    tokens = random_tokens(1, 20)[0].tolist()
    resid = scan_rows(llama, tokens, [3, 19], lambda *_: None, piece=6)
    with torch.no_grad():
        _, cache = llama.run_with_cache(torch.tensor([tokens]))
    torch.testing.assert_close(resid, cache["blocks.2.hook_out"][0, [3, 19]], atol=1e-4, rtol=0)


def test_no_pattern_of_all_positions_is_ever_made(llama):
    """Every tensor of the attention is at most piece x context, or it is not formed."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                if isinstance(one, torch.Tensor):
                    self.size = max(self.size, one.numel())
            return out

    def largest(length, work):
        tokens = random_tokens(1, length)[0].tolist()
        with Largest() as watch, torch.no_grad():
            work(tokens)
        return watch.size

    def trace(tokens):
        attention_rows(llama, tokens, queries=[-1], piece=4)

    # 64 positions, 4 heads: a pattern has 16,384 numbers, the largest weight 4,848
    assert largest(64, trace) < 6000
    assert largest(64, lambda t: llama.run_with_cache(torch.tensor([t]))) >= 4 * 64 * 64


def test_the_model_is_left_as_it_was(bridge):
    tokens, decoder = random_tokens(1, 12), models.decoder(bridge)
    with torch.no_grad():
        before = decoder.root(tokens).logits
        attention_rows(bridge, tokens[0].tolist(), queries=[-1])
        assert torch.equal(decoder.root(tokens).logits, before)
    assert all(not p._forward_hooks and not p._forward_pre_hooks for p in decoder.attentions)


@pytest.mark.parametrize(
    ("prompt", "queries", "message"),
    [
        ([5, 6, 7], [3], "query 3: the prompt has positions 0-2"),
        ([5, 6, 7], [-4], "query -4: the prompt has positions 0-2"),
        ([5] * 65, [-1], "prompt of 65 tokens: model tiny-llama takes 1-64"),
    ],
)
def test_bad_requests_are_named(llama, prompt, queries, message):
    with pytest.raises(UserError, match=message):
        attention_rows(llama, prompt, queries=queries)


def test_under_hooks_it_is_refused(llama):
    with (
        interp.ablate(llama, "head:0.1"),
        pytest.raises(UserError, match="the tracer would not see them"),
    ):
        attention_rows(llama, [5, 6, 7])


def test_an_unknown_attention_is_refused(llama, monkeypatch):
    monkeypatch.setattr(rows_module._Watch, "give", lambda self, module, rows: None)
    with pytest.raises(UserError, match="layer 0 gives no rows"):
        attention_rows(llama, [5, 6, 7])


@pytest.mark.parametrize("heads", [True, [3], "ab", [(0, 1.5)], [(0, 1, 2)], [], None])
def test_what_is_no_list_of_heads_is_refused(heads):
    with pytest.raises(UserError, match="heads"):
        check_heads(heads, 3, 4)


def test_a_head_that_is_not_there_is_refused():
    check_heads([(2, 3)], 3, 4)
    with pytest.raises(UserError, match="head L3H0: the model has layers 0-2"):
        check_heads([(3, 0)], 3, 4)
