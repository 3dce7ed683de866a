"""Resample ablation against loops that set z by hand, position by position."""

import pytest
import torch

import interp
from interp import models
from interp.ablations import checked_edits, draw_donors, edited, outputs_on
from interp.engine.by_example import donor_tokens
from interp.errors import UserError
from interp.tasks import build_requests, encode, load_task, prompt_text
from tests.helpers.families import assert_logits, random_tokens, tiny_bridge
from tests.helpers.task_files import write_task

LAYER, HEAD = 1, 2


@pytest.fixture(params=["llama", "qwen3", "gpt2", "mistral", "bloom"])
def bridge(request):
    return tiny_bridge(request.param)


def forced(model, tokens, z_of_position):
    """Logits with head 1.2's z replaced at each position, by a hook on the bridge."""
    d_head = models.decoder(model).d_head

    def put(z, hook):
        z = z.clone()
        flat = z.view(*z.shape[:2], -1)
        for position in range(z.shape[1]):
            flat[0, position, HEAD * d_head : (HEAD + 1) * d_head] = z_of_position(position)
        return z

    with torch.no_grad():
        return model.run_with_hooks(
            torch.tensor([tokens]), fwd_hooks=[(f"blocks.{LAYER}.attn.hook_z", put)]
        )[0]


def z_of(model, tokens):
    """Head 1.2's z by TransformerLens' own cache: [pos, d_head]."""
    d_head = models.decoder(model).d_head
    with torch.no_grad():
        _, cache = model.run_with_cache(torch.tensor([tokens]))
    z = cache[f"blocks.{LAYER}.attn.hook_z"].reshape(len(tokens), -1)
    return z[:, HEAD * d_head : (HEAD + 1) * d_head]


def test_donors_are_a_cycle_and_depend_on_the_seed():
    donors = draw_donors(list(range(5, 45)), seed=0)
    assert all(donor != doc_id for doc_id, donor in donors.items())
    assert sorted(donors) == sorted(donors.values())
    at, seen = 5, set()
    while at not in seen:
        seen.add(at)
        at = donors[at]
    assert len(seen) == 40
    assert donors == draw_donors(list(range(5, 45)), seed=0) != draw_donors(range(5, 45), seed=1)
    with pytest.raises(UserError, match="two or more"):
        draw_donors([3], seed=0)


@pytest.mark.slow
def test_head_outputs_are_those_of_the_cache(bridge):
    tokens = random_tokens(1, 9)[0].tolist()
    d_head = models.decoder(bridge).d_head
    found = outputs_on(bridge, tokens, [(LAYER, "z")])[LAYER, "z"]
    assert_logits(found[:, HEAD * d_head : (HEAD + 1) * d_head], z_of(bridge, tokens))


def test_on_the_bridge_rows_are_aligned_at_their_ends(bridge):
    tokens, text = random_tokens(1, 9)[0].tolist(), "w5 w6 w7 w8 w9"
    donor = z_of(bridge, models.decoder(bridge).tokenizer.encode(text))
    expected = forced(bridge, tokens, lambda p: donor[max(0, p - 9 + len(donor))])
    with torch.no_grad(), interp.ablate(bridge, f"head:{LAYER}.{HEAD}@resample", reference=[text]):
        found = bridge(torch.tensor([tokens, tokens]))
    assert_logits(found[0], expected)
    assert_logits(found[1], expected)
    assert not torch.allclose(found[0], bridge(torch.tensor([tokens]))[0], atol=1e-3)


def test_the_native_blocks_know_the_position_from_the_cache(bridge):
    """Whole rows, and the same rows in pieces with a KV cache, give the same logits."""
    import transformers

    decoder, tokens = models.decoder(bridge), random_tokens(1, 12)
    place = (LAYER, "z")
    other = outputs_on(bridge, random_tokens(1, 9, seed=5)[0].tolist(), [place])
    z = {place: other[place].unsqueeze(0)}
    d_head = decoder.d_head
    donor = other[place][:, HEAD * d_head : (HEAD + 1) * d_head]
    expected = forced(bridge, tokens[0].tolist(), lambda p: donor[min(p, 8)])
    edits = checked_edits(bridge, f"head:{LAYER}.{HEAD}@resample")
    with torch.no_grad(), edited(bridge, edits, resample=z):
        assert_logits(decoder.root(tokens, use_cache=False).logits[0], expected)
        cache = transformers.DynamicCache(config=decoder.root.config)
        pieces = [
            decoder.root(piece, past_key_values=cache, use_cache=True).logits[0]
            for piece in tokens.split([5, 1, 3, 1, 2], dim=1)
        ]
    assert_logits(torch.cat(pieces), expected)


def test_without_another_example_it_is_refused(llama):
    with (
        pytest.raises(UserError, match=r"head:1\.2@resample: another example is needed"),
        interp.ablate(llama, "head:1.2@resample"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["texts", "letters"])
def test_a_sweep_of_options_equals_a_loop(llama, tmp_path, kind):
    task, name = load_task(write_task(tmp_path, kind=kind, rows=6)), f"head:{LAYER}.{HEAD}@resample"
    sweep = interp.sweep(llama, task, ["head:0.1", name], out=tmp_path / "run", seed=3)
    rows = sweep.responses().set_index(["ablation", "doc_id"])
    donors = draw_donors(range(6), seed=3)
    for request in build_requests(task, range(6), models.decoder(llama)):
        donor_ids, donor_end = donor_tokens(llama, task, donors[request.doc_id])
        donor, end = z_of(llama, donor_ids), len(request.context) - 1
        tokens = [*request.context, *request.continuation]
        logits = forced(
            llama,
            tokens,
            lambda p, donor=donor, shift=donor_end - end: donor[
                min(max(0, p + shift), len(donor) - 1)
            ],
        ).log_softmax(dim=-1)
        expected = sum(logits[end + i, t].item() for i, t in enumerate(request.continuation))
        found = rows.loc[(name, request.doc_id), "loglikelihoods"][request.option]
        assert found == pytest.approx(expected, abs=1e-4)
    assert set(rows.index.get_level_values(0)) == {"baseline", "head:0.1", name}


@pytest.mark.slow
def test_a_sweep_of_texts_equals_a_loop(llama, tmp_path):
    task, name = load_task(write_task(tmp_path, kind="generate", rows=6)), "head:1.2@resample"
    sweep = interp.sweep(llama, task, [name], out=tmp_path / "run", seed=3)
    rows = sweep.responses().set_index(["ablation", "doc_id"])
    donors, decoder = draw_donors(range(6), seed=3), models.decoder(llama)
    for doc_id, document in enumerate(task.documents()):
        prompt = encode(prompt_text(task, document), decoder)
        donor_ids, donor_end = donor_tokens(llama, task, donors[doc_id])
        donor, end, written = z_of(llama, donor_ids), len(prompt) - 1, []
        while len(written) < 6 and 2 not in written:
            logits = forced(
                llama,
                prompt + written,
                lambda p, d=donor, s=donor_end - end: d[min(max(0, p + s), len(d) - 1)],
            )
            written.append(int(logits[-1].argmax()))
        text = decoder.tokenizer.decode(written, skip_special_tokens=True)
        for stop in ("w61", "w62 w63"):
            text = text.split(stop)[0]
        assert rows.loc[(name, doc_id), "text"] == text


def test_a_sweep_of_one_example_is_refused_before_writing(llama, tmp_path):
    task = load_task(write_task(tmp_path, rows=1))
    with pytest.raises(UserError, match="another example is needed"):
        interp.sweep(llama, task, ["head:0.1@resample"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_group_mode_is_what_zeroing_the_shared_weights_does(llama):
    """Zero q, k, v and o of "one head", as the study's script does, on a copy of the model."""
    from tests.helpers.families import tiny_model

    tokens, reference = random_tokens(2, 10), tiny_model("llama")
    attention = reference.model.layers[LAYER].self_attn
    head, group = slice(HEAD * 8, (HEAD + 1) * 8), slice(8, 16)  # heads 2 and 3 share KV head 1
    with torch.no_grad():
        attention.q_proj.weight[head] = 0
        attention.k_proj.weight[group] = 0
        attention.v_proj.weight[group] = 0
        attention.o_proj.weight[:, head] = 0
        expected = reference(tokens).logits
        for text in ("head:1.2@group", "head:1.3@group", "kvgroup:1.1", "head:1.2+head:1.3"):
            with interp.ablate(llama, text):
                assert_logits(llama(tokens), expected)
        with interp.ablate(llama, "head:1.2"):
            assert not torch.allclose(llama(tokens), expected, atol=1e-3)
