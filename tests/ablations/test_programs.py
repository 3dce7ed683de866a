"""Layer programs against plain Hugging Face models whose `layers` are listed so and renumbered."""

import copy
import itertools

import pytest
import torch
import transformers as hf
from hypothesis import HealthCheck, given, settings, strategies as st

import interp
from interp.ablations import Order, as_ablations, checked_edits, parse, rearrange
from interp.ablations.edits import Edits, Shape
from interp.engine import EVERY, Shortcuts, generate, score_requests
from interp.errors import UserError
from interp.models import wrap
from tests.helpers.families import (
    FAMILIES,
    assert_logits,
    random_tokens,
    tiny_bridge,
    tiny_model,
    tiny_tokenizer,
)
from tests.helpers.prompts import requests
from tests.helpers.scoring import assert_same, some_requests

ORDERS = {
    "repeat:0-0": (0, 0, 1, 2),
    "repeat:0-1": (0, 1, 0, 1, 2),
    "repeat:1-2": (0, 1, 2, 1, 2),
    "repeat:2-2": (0, 1, 2, 2),
    "exchange:0": (1, 0, 2),
    "exchange:1": (0, 2, 1),
    "reverse:0-2": (2, 1, 0),
    "order:1,2,0": (1, 2, 0),
}
QUICK = ("llama", "gemma3", "gpt2", "bloom")


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES],
)
def pair(request):
    """A family, and its model as a bridge."""
    return request.param, tiny_bridge(request.param)


def listed(family, order):
    """A plain model whose blocks are copied into an order, each numbered by its place."""
    model = tiny_model(family)
    for owner in model.modules():
        for name in ("layers", "h"):
            blocks = getattr(owner, name, None)
            if isinstance(blocks, torch.nn.ModuleList):
                new = [copy.deepcopy(blocks[n]) for n in order]
                for place, block in enumerate(new):
                    for module in block.modules():
                        if hasattr(module, "layer_idx"):
                            module.layer_idx = place
                setattr(owner, name, torch.nn.ModuleList(new))
    types = getattr(model.config, "layer_types", None)
    if types:
        model.config.layer_types = [types[n] for n in order]
        for module in model.modules():
            if getattr(module, "config", None) is not None:
                module.config.layer_types = model.config.layer_types
    model.config.num_hidden_layers = len(order)
    return model


class SideBySide(torch.nn.Module):
    """Blocks that are given the same input; what leaves is the mean of what they return."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("blocks")[0], name)

    def forward(self, *args, **kwargs):
        outs = [block(*args, **kwargs) for block in self.blocks]
        firsts = [out[0] if isinstance(out, tuple) else out for out in outs]
        mean = torch.stack(firsts).mean(dim=0)
        return (mean, *outs[0][1:]) if isinstance(outs[0], tuple) else mean


def scores_of(plain, asked):
    found = []
    for request in asked:
        row = [*request.context, *request.continuation]
        with torch.no_grad():
            logits = plain(torch.tensor([row]), use_cache=False).logits[0]
        logprobs = logits.log_softmax(dim=-1)
        at = range(len(request.context) - 1, len(row) - 1)
        value = sum(float(logprobs[p, row[p + 1]]) for p in at)
        found.append((value, all(int(logprobs[p].argmax()) == row[p + 1] for p in at)))
    return found


def texts_of(plain, asked):
    """Greedy tokens without a cache, one prompt at a time."""
    found = []
    for request in asked:
        tokens = list(request.prompt)
        while len(tokens) < len(request.prompt) + request.max_gen_toks and tokens[-1] != 2:
            with torch.no_grad():
                logits = plain(torch.tensor([tokens]), use_cache=False).logits[0, -1]
            tokens.append(int(logits.argmax()))
        found.append(tuple(tokens[len(request.prompt) :]))
    return found


@pytest.mark.thinned(share=3, turn=0)
@pytest.mark.slow
def test_scores_equal_the_listed_model(pair):
    """Packed behind a prefix and replayed from the first place that differs; and padded."""
    family, model = pair
    asked = some_requests(examples=2)
    edits = [checked_edits(model, text) for text in ("baseline", *ORDERS, "layer:1")]
    expected = [scores_of(listed(family, order), asked) for order in ORDERS.values()]
    padded = Shortcuts(prefixes=False, options=False)
    for shortcuts in (EVERY, padded) if family in ("llama", "bloom") else (EVERY,):
        found = score_requests(model, asked, edits, shortcuts=shortcuts)
        assert_same(found[1:-1], expected)
        alone = score_requests(model, asked, [edits[0], edits[-1]], shortcuts=shortcuts)
        assert_same([found[0], found[-1]], alone)


@pytest.mark.thinned(share=3, turn=1)
@pytest.mark.slow
def test_texts_equal_the_listed_model(pair):
    """Batches that are padded on the left, with keys and values of every place."""
    family, model = pair
    asked = requests(3, until=(), longest=5)
    chosen = ("repeat:0-1", "repeat:2-2", "exchange:1", "order:1,2,0")
    edits = [checked_edits(model, text) for text in ("baseline", "layer:1", *chosen)]
    found = generate(model, asked, edits)
    for text, answers in zip(chosen, found.answers[2:], strict=True):
        expected = texts_of(listed(family, ORDERS[text]), asked)
        assert [answer.tokens for answer in answers] == expected, text
    others = generate(model, asked, edits[:2])
    assert found.answers[:2] == others.answers


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("text", ["repeat:0-1", "exchange:1", "order:1,2,0"])
def test_the_bridge_runs_the_listed_model(pair, text):
    family, model = pair
    plain, tokens = listed(family, ORDERS[text]), random_tokens(2, 9)
    with torch.no_grad():
        before = model(tokens)
        with interp.ablate(model, text):
            assert_logits(model(tokens), plain(tokens).logits)
            assert interp.generate(model, "w5 w6 w7", max_new_tokens=4) is not None
        assert torch.equal(model(tokens), before)


@pytest.mark.thinned(share=3, turn=1)
@pytest.mark.slow
def test_side_by_side_is_the_mean_of_the_blocks(pair):
    family, model = pair
    asked, prompts = some_requests(examples=2), requests(2, until=(), longest=4)
    windows = {"parallel:0-1": (0, 2), "parallel:1-2": (1, 3), "parallel:0-2": (0, 3)}
    edits = [checked_edits(model, text) for text in ("baseline", *windows)]
    found, texts = score_requests(model, asked, edits), generate(model, prompts, edits)
    tokens = random_tokens(1, 9)
    for number, (text, (start, end)) in enumerate(windows.items(), start=1):
        plain = tiny_model(family)
        owner, name = next(
            (m, n) for m in plain.modules() for n in ("layers", "h")
            if isinstance(getattr(m, n, None), torch.nn.ModuleList)
        )  # fmt: skip
        blocks = list(getattr(owner, name))
        types = getattr(plain.config, "layer_types", None) or ["full_attention"] * 3
        if len(set(types[start:end])) > 1:
            continue  # one module cannot be given the masks of two kinds of layers
        together = [*blocks[:start], SideBySide(blocks[start:end]), *blocks[end:]]
        setattr(owner, name, torch.nn.ModuleList(together))
        if getattr(plain.config, "layer_types", None):
            plain.config.layer_types = [*types[: start + 1], *types[end:]]
        plain.config.num_hidden_layers = len(together)
        assert_same([found[number]], [scores_of(plain, asked)])
        assert [a.tokens for a in texts.answers[number]] == texts_of(plain, prompts)
        with torch.no_grad(), interp.ablate(model, text):
            assert_logits(model(tokens), plain(tokens, use_cache=False).logits)


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(3)), seed=st.integers(0, 9))
def test_any_order_and_its_identity(llama, order, seed):
    """A program that is the identity changes nothing, any other is the listed model."""
    asked = some_requests(examples=1, seed=seed)
    program = Order(tuple(order))
    (found,) = score_requests(llama, asked, [checked_edits(llama, program)])
    assert_same([found], [scores_of(listed("llama", order), asked)])
    assert parse(program.text) == program
    if program.order == (0, 1, 2):
        assert found == score_requests(llama, asked, [Edits()])[0]


@pytest.mark.parametrize("text", ["order:0-2", "reverse:1-1", "parallel:2-2"])
def test_a_program_that_is_the_identity_has_no_edits(text):
    assert parse(text).edits(Shape(3, 4, 2)) == Edits()


def test_programs_begin_where_they_first_differ():
    firsts = {text: parse(text).edits(Shape(3, 4, 2)).first_layer(3) for text in ORDERS}
    assert firsts == {
        "repeat:0-0": 1, "repeat:0-1": 2, "repeat:1-2": 3, "repeat:2-2": 3,
        "exchange:0": 0, "exchange:1": 1, "reverse:0-2": 0, "order:1,2,0": 0,
    }  # fmt: skip
    for text, order in ORDERS.items():
        assert parse(text).edits(Shape(3, 4, 2)).order == order


def test_families_of_programs(llama):
    named = {name: [a.text for a in as_ablations(llama, name)]
             for name in ("repeats", "exchanges", "parallels")}  # fmt: skip
    assert named["repeats"] == [
        f"repeat:{i}-{j}" for i, j in itertools.combinations_with_replacement(range(3), 2)
    ]
    assert named["exchanges"] == ["exchange:0", "exchange:1"]
    assert named["parallels"] == ["parallel:0-1", "parallel:0-2", "parallel:1-2"]
    kinds = {parse(text).kind for texts in named.values() for text in texts}
    assert kinds == {"repeat", "exchange", "parallel"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repeat:1-3", "layer 3: the model has layers 0-2"),
        ("repeat:2-1", "write repeat:1-2"),
        ("exchange:2", "layer 2 is the last"),
        ("exchange:9", "layer 9: the model has layers 0-2"),
        ("order:0,1,1", "layer 1 is named twice"),
        ("order:0-999999", "layer 999999: the model has layers 0-2"),
        ("order:" + ",".join(["0-999999"] * 9), "it names more than 1,000,000 layers"),
        ("order:0,2", "layer 1 is missing"),
        ("order:0-3", "layer 3: the model has layers 0-2"),
        ("order:2-0", "runs downwards"),
        ("parallel:0-3", "layer 3: the model has layers 0-2"),
        ("repeat:0-1+layer:2", "a layer program stands alone"),
        ("exchange:0+exchange:1", "a layer program stands alone"),
    ],
)
def test_what_no_program_says_is_refused_in_one_line(llama, text, message):
    with pytest.raises(UserError, match=message) as error:
        checked_edits(llama, text)
    assert "\n" not in str(error.value)


def test_nested_contexts_with_a_program_are_refused(llama):
    with interp.ablate(llama, "repeat:0-1"), pytest.raises(UserError, match="stands alone"):
        interp.ablate(llama, "layer:1").__enter__()


def test_a_lens_refuses_programs(llama):
    with pytest.raises(UserError, match="a lens reads the depths"):
        interp.lens.prompt_grid(llama, "w5 w6", ablation="repeat:0-1")


def test_blocks_that_compute_by_their_number_are_not_moved():
    plain = tiny_model("llama")
    for block in plain.model.layers:
        block.register_forward_hook(
            lambda module, _args, out: out * (1 + module.self_attn.layer_idx)
        )
    model = wrap(plain, tiny_tokenizer(), name="numbered")
    with pytest.raises(UserError, match="its blocks cannot be moved: they compute by their number"):
        checked_edits(model, "exchange:0")
    assert checked_edits(model, "parallel:0-1")


def test_a_bridge_that_computes_by_the_number_is_not_rearranged():
    config = FAMILIES["gpt2"]()
    config.scale_attn_by_inverse_layer_idx = True
    torch.manual_seed(0)
    plain = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_(std=0.3)
    model = wrap(plain, tiny_tokenizer(), name="scaled")
    with pytest.raises(UserError, match="computes by the number of a layer"):
        checked_edits(model, "exchange:0")


@pytest.mark.parametrize("text", ["repeat:0-1", "exchange:1"])
@pytest.mark.parametrize("family", ["llama", pytest.param("gemma3", marks=pytest.mark.slow),
                                    pytest.param("qwen3_moe", marks=pytest.mark.slow)])  # fmt: skip
def test_a_written_folder_is_the_listed_model(family, text, tmp_path):
    tiny_model(family).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    tokens = random_tokens(2, 12)
    if family == "qwen3_moe" and text == "exchange:1":
        text = "repeat:1-1"
    order = ORDERS.get(text, (0, 1, 1, 2))
    written = rearrange(tmp_path / "model", text, out=tmp_path / "out")
    assert written.kept == order
    saved = hf.AutoModelForCausalLM.from_pretrained(written.folder).eval()
    with torch.no_grad():
        assert_logits(saved(tokens).logits, listed(family, order)(tokens).logits)
    assert text in (written.folder / "README.md").read_text()


@pytest.mark.parametrize("text", ["parallel:0-1", "layer:1", "repeat:0-1+layer:2"])
def test_what_no_checkpoint_says_is_not_written(text, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="no checkpoint says this"):
        rearrange(tmp_path / "model", text, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
