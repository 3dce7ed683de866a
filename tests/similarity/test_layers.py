"""Block influence, angular distance and CKA against direct computations, one text at a time."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from interp import models
from interp.errors import UserError
from interp.models import wrap
from interp.similarity import cka_between, layer_similarity, states, study_angular_distance
from interp.similarity.measures import angular_distance, cosine, hsic
from interp.similarity.study import _rescaled
from tests.helpers.families import random_tokens, tiny_bridge, tiny_tokenizer
from tests.helpers.regimes import SWITCH, model_of
from tests.helpers.task_files import write_task

LENGTHS = (3, 9, 1, 14, 6, 9, 2, 11, 5, 7)
TEXTS = [
    " ".join(f"w{t}" for t in random_tokens(1, n, seed=s)[0].tolist())
    for s, n in enumerate(LENGTHS)
]


def hidden_states(model, text):
    """`[depth, pos, d_model]` in float64, the last before the final norm, one text alone."""
    decoder = models.decoder(model)
    ids = torch.tensor([decoder.tokenizer.encode(text)])
    last = []
    handle = decoder.ln_final.register_forward_pre_hook(lambda _m, args: last.append(args[0]))
    with torch.no_grad():
        states = decoder.root(ids, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.cat([*states[:-1], last[0]]).double()


def test_scores_equal_a_direct_computation(model):
    found = layer_similarity(model, TEXTS)
    states = [hidden_states(model, text) for text in TEXTS]
    assert found.influence["n"].eq(10).all()
    for layer in range(3):
        cosines = [
            torch.nn.functional.cosine_similarity(s[layer], s[layer + 1], dim=-1) for s in states
        ]
        expected = 1 - torch.cat(cosines).mean()
        assert found.influence["value"][layer] == pytest.approx(float(expected), abs=1e-5)
    for row in found.angular.to_dict("records"):
        ends = [(s[row["layer"], -1], s[row["layer"] + row["block"], -1]) for s in states]
        cosines = torch.stack([a @ b / (a.norm() * b.norm()) for a, b in ends])
        assert row["value"] == pytest.approx(float(cosines.arccos().mean() / np.pi), abs=1e-5)
    assert len(found.angular) == 3 + 2 + 1
    table = found.angular
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_texts_on_both_sides_of_a_switch_are_run_as_each_alone():
    """Padded together, the short texts would take the long ones' rotary factors (LongRoPE)."""
    model = wrap(model_of("longrope"), tiny_tokenizer(), name="longrope")
    texts = [
        " ".join(f"w{t}" for t in random_tokens(1, length - 1, seed=length)[0].tolist())
        for length in (SWITCH + 9, 5, SWITCH, SWITCH + 1)
    ]
    found = states.last_states(model, states.selected_texts(texts), range(len(texts)))
    for n, text in enumerate(texts):
        expected = hidden_states(model, text)[:, -1].float()
        torch.testing.assert_close(found[:, n], expected, atol=1e-5, rtol=1e-4)


def test_a_text_s_neighbours_and_padding_change_nothing(llama, monkeypatch):
    whole = layer_similarity(llama, TEXTS)
    monkeypatch.setattr("interp.similarity.states.TOKEN_BUDGET", 1)
    alone = layer_similarity(llama, TEXTS)
    for name in ("influence", "angular", "cka"):
        a, b = getattr(whole, name), getattr(alone, name)
        np.testing.assert_allclose(a["value"], b["value"], atol=1e-5)


@pytest.mark.parametrize("read", [layer_similarity, lambda *args: cka_between(args[0], *args)])
def test_no_batch_stays_in_memory_while_the_next_is_computed(llama, monkeypatch, read):
    kept, original = [], states.record

    def watched(*args, **options):
        assert not any(reference() is not None for reference in kept)
        made = original(*args, **options)
        kept.extend(weakref.ref(resid) for resid in made.residuals)
        return made

    monkeypatch.setattr(states, "record", watched)
    monkeypatch.setattr(states, "TOKEN_BUDGET", 20)
    monkeypatch.setattr(states, "CHUNK", 5)
    read(llama, TEXTS)
    assert len(kept) >= 4 * 4


def test_a_task_s_prompts_are_read(llama, tmp_path):
    path = str(write_task(tmp_path, kind="texts", rows=12))
    found = layer_similarity(llama, path, limit=6)
    assert found.source == "tiny-texts"
    assert found.influence["n"].eq(6).all()
    assert set(found.measures()["measure"]) == {"block influence", "angular distance"}
    assert len(found.measures()) == 6


def plain_hsic(x, y):
    """Equation 5 of Song et al., term by term over quadruples left to the kernel sums."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    return (
        np.trace(k @ m)
        + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def test_cka_equals_a_direct_computation(llama):
    other = tiny_bridge("gpt2")
    ends, theirs = (
        torch.stack([hidden_states(m, t)[:, -1] for t in TEXTS], dim=1).numpy()
        for m in (llama, other)
    )
    for table, one, two in (
        (layer_similarity(llama, TEXTS).cka, ends, ends),
        (cka_between(llama, other, TEXTS), ends, theirs),
    ):
        assert len(table) == 16
        for row in table.to_dict("records"):
            x, y = one[row["depth"]], two[row["other"]]
            expected = plain_hsic(x, y) / np.sqrt(plain_hsic(x, x) * plain_hsic(y, y))
            assert row["value"] == pytest.approx(expected, abs=1e-4)
        if one is two:
            same = table[table["depth"] == table["other"]]["value"]
            np.testing.assert_allclose(same, 1, atol=1e-9)


def test_unbiased_cka_tends_to_the_usual_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 6))
    y = x[:, :3] @ rng.normal(size=(3, 5)) + 0.5 * rng.normal(size=(4000, 5))
    a, b = x - x.mean(0), y - y.mean(0)
    usual = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    groups = zip(torch.tensor(x).split(500), torch.tensor(y).split(500), strict=True)
    sums = np.sum(
        [[hsic(p[None], q[None]).item() for p, q in ((u, v), (u, u), (v, v))] for u, v in groups],
        axis=0,
    )
    assert sums[0] / np.sqrt(sums[1] * sums[2]) == pytest.approx(usual, abs=0.02)
    noise = torch.tensor(rng.normal(size=(2, 400, 50)))
    unlike = (
        hsic(noise[:1], noise[1:])
        / (hsic(noise[:1], noise[:1]) * hsic(noise[1:], noise[1:])).sqrt()
    )
    # the biased estimate gives 0.1 here
    assert abs(unlike.item()) < 0.02


def test_zeros_and_duplicates_are_finite():
    zero, one = torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert cosine(zero, zero) == 1
    assert angular_distance(zero, zero) == 0
    assert cosine(zero, one) == 0
    assert angular_distance(zero, one) == pytest.approx(0.5)
    assert angular_distance(one, one) == 0
    assert angular_distance(one, -one) == pytest.approx(1)
    assert angular_distance(one, one * 1e-30) == pytest.approx(0, abs=1e-7)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(10_000, 7, generator=generator)
    assert cosine(vectors, vectors).max() <= 1
    assert angular_distance(vectors, vectors).max() == 0
    half = vectors.to(torch.bfloat16)
    assert angular_distance(half, half).max() == 0


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
)
def test_the_angle_is_arccos_of_the_cosine(one, other):
    u, v = torch.tensor(one), torch.tensor(other)
    found = float(angular_distance(u, v))
    assert 0 <= found <= 1
    a, b = u.double().numpy(), v.double().numpy()
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if min(np.linalg.norm(a), np.linalg.norm(b)) > 1e-15:
        expected = np.arccos(np.clip(a @ b / lengths, -1, 1)) / np.pi
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_skipped_middle_is_seen():
    """A model whose middle layer does nothing has influence 0 and distance 0 there."""
    from tests.helpers.planted import planted_bridge

    found = layer_similarity(planted_bridge(2), [f"w50 w{n}" for n in range(10, 20)])
    assert found.influence["value"].drop(2).abs().max() < 1e-6
    assert found.influence["value"][2] > 0.1
    one = found.angular[found.angular["block"] == 1].set_index("layer")["value"]
    assert one.drop(2).max() == 0
    assert one[2] > 0.1
    constant = found.cka.set_index(["depth", "other"])["value"]
    assert constant[0, 5] < 1 - 1e-3 or np.isnan(constant[0, 5])


def test_a_depth_without_spread_has_no_cka(llama):
    found = layer_similarity(llama, [f"w{n} w9" for n in range(10, 20)]).cka
    values = found.set_index(["depth", "other"])["value"]
    assert np.isnan(values[0, 0])
    assert np.isnan(values[0, 2])
    assert values[1, 1] == pytest.approx(1)


def test_the_study_s_mode_is_its_script_s(llama):
    """Brute force of the script's five habits, on a model whose context is 64 tokens."""
    found = study_angular_distance(llama, TEXTS, rescaled=False)
    decoder = models.decoder(llama)
    sums = {}
    for text in TEXTS[:3]:
        tokens = decoder.tokenizer.encode(text)
        ids = torch.tensor([tokens + [2] * (64 - len(tokens))])
        with torch.no_grad():
            states = decoder.root(
                ids, attention_mask=torch.tensor([[1] * len(tokens) + [0] * (64 - len(tokens))]),
                output_hidden_states=True,
            ).hidden_states  # fmt: skip
        for block in (1, 2):
            for layer in range(3 - block):
                a, b = states[layer][0, -1], states[layer + block][0, -1]
                angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1)) / torch.pi
                sums[layer, block] = sums.get((layer, block), 0) + float(angle) / 3
    table = found.set_index(["layer", "block"])["value"]
    assert dict(table) == pytest.approx(sums, abs=1e-4)
    assert found["padding_read"].eq(1).all()
    drawn = study_angular_distance(llama, TEXTS)
    assert drawn["value"].between(0, 1).all()
    # reading the last real token gives something else
    correct = layer_similarity(llama, TEXTS[:3]).angular.set_index(["layer", "block"])["value"]
    assert max(abs(correct[key] - table[key]) for key in table.index) > 0.01
    with pytest.raises(UserError, match="reads 3"):
        study_angular_distance(llama, TEXTS[:2])


def test_rescaling_is_by_row():
    rows = np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    low, high = np.percentile(rows[0], [1, 99])
    expected = (np.clip(rows[0], low, high) - low) / (high - low)
    np.testing.assert_allclose(_rescaled(rows), [expected, [0, 0, 0]])


def test_bad_sources_are_one_line(llama):
    for source, limit, message in [
        (TEXTS, 0, "limit 0"),
        ([], None, "a task or several texts"),
        (["w5", " "], None, "an empty text"),
        ("nonsense", None, "no such task"),
    ]:
        with pytest.raises(UserError, match=message):
            layer_similarity(llama, source, limit=limit)
    with pytest.raises(UserError, match="3 examples; CKA needs at least 4"):
        cka_between(llama, llama, TEXTS[:3])
    assert layer_similarity(llama, TEXTS[:3]).cka["value"].isna().all()


def test_an_example_without_a_token_is_refused_before_any_model_is_run(llama, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a model was run")

    monkeypatch.setattr("interp.similarity.states.record", never)
    monkeypatch.setattr(
        "interp.similarity.states.encode", lambda text, _: [] if text == "last" else [5]
    )
    texts = [*["w5"] * 300, "last"]
    with pytest.raises(UserError, match=r"texts, example 300: no token for"):
        cka_between(llama, llama, texts)
    with pytest.raises(UserError, match=r"texts, example 300: no token for"):
        layer_similarity(llama, texts)
