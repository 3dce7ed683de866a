"""Logits that are not finite: a failure of that example and ablation, and of nothing else."""

import logging
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from interp import models
from interp.ablations import Edits, checked_edits, hooked
from interp.engine import Settings, Shortcuts, generate, refuse_impossible, score_requests
from interp.engine.capabilities import capabilities
from interp.engine.generation.plain import PlainRow
from interp.engine.shortcuts import EVERY, NONE, exact_shortcuts
from interp.errors import UserError
from interp.results import export_harness
from interp.sweeps import sweep
from interp.tasks import GenerationRequest, OptionRequest, Sampling
from tests.helpers.families import D_VOCAB, random_tokens, tiny_bridge
from tests.helpers.task_files import write_task

BAD, END, FAMILIES = 77, 2, ["llama", "gemma3", "bloom"]


def poisoned(family, value=math.nan):
    """A model that is sound but for one token's embedding."""
    model = tiny_bridge(family)
    decoder = models.decoder(model)
    # what is tried on a model is tried while it is sound: the fast paths are under test
    exact_shortcuts(model, EVERY, 60)
    capabilities(model).rounding(24)
    embedding = decoder.root.get_input_embeddings().weight
    head = decoder.root.get_output_embeddings()
    if head is not None and head.weight is embedding:
        head.weight = torch.nn.Parameter(embedding.detach().clone(), requires_grad=False)
    with torch.no_grad():
        embedding[BAD] = value
    return model


def option_requests(spoilt):
    start = (1, *(t for t in random_tokens(1, 9)[0].tolist() if t != BAD))
    found = []
    for doc in range(6):
        question = [t for t in random_tokens(1, 4 + doc, seed=doc)[0].tolist() if t != BAD]
        if doc in spoilt:
            question[doc % 3] = BAD
        found += [
            OptionRequest(doc, i, (*start, *question), end)
            for i, end in enumerate([(7,), (11, 12, 13)])
        ]
    return found


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_examples_that_fail_alone_are_failures(family, value):
    model, spoilt = poisoned(family, value), {1, 4}
    asked = option_requests(spoilt)
    edits = [checked_edits(model, text) for text in ("baseline", "head:0.1")]
    alone = [
        [score_requests(model, [request], [edit], shortcuts=NONE)[0][0] for request in asked]
        for edit in edits
    ]
    for shortcuts in (Shortcuts(token_budget=64), NONE):
        every = score_requests(model, asked, edits, shortcuts=shortcuts)
        for scores, expected in zip(every, alone, strict=True):
            for request, (found, greedy), (value, best) in zip(
                asked, scores, expected, strict=True
            ):
                assert math.isnan(found) == (request.doc_id in spoilt)
                assert found == pytest.approx(value, abs=1e-4, nan_ok=True)
                assert greedy == best
                assert not (greedy and request.doc_id in spoilt)


def by_one_row(model, request, edits):
    """Tokens of plain decoding, one row at a time; None behind them where it fails."""
    row, written = PlainRow(model, request.prompt, edits), []
    while len(written) < request.max_gen_toks:
        logits = row.next_logits(written)
        if not bool(logits.isfinite().all()):
            return (*written, None)
        written.append(int(logits.argmax()))
        if written[-1] == END:
            break
    return tuple(written)


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("plain", [False, True])
def test_an_answer_fails_where_plain_decoding_fails(family, plain):
    model = tiny_bridge(family)
    prompts = [(1, 9, 10, *random_tokens(1, 2 + i, seed=i)[0].tolist()) for i in range(6)]
    asked = [GenerationRequest(i, p, (), 9) for i, p in enumerate(prompts)]
    edits = [checked_edits(model, text) for text in ("baseline", "layer:1", "mlp:0", "attn:2")]
    capabilities(model).rounding(24)
    # a token that some answers hold behind their first, so that they fail on their way
    sound = generate(model, asked, edits)
    later = [t for answers in sound for a in answers for t in a.tokens[1:-1]]
    bad = max(set(later) - {t for p in prompts for t in p}, key=later.count)
    decoder = models.decoder(model)
    embedding, head = decoder.root.get_input_embeddings(), decoder.root.get_output_embeddings()
    if head.weight is embedding.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    with torch.no_grad():
        embedding.weight[bad] = math.nan
    found = generate(model, asked, edits, settings=Settings(plain=plain, rows=5, latency_knee=64))
    failures = 0
    for edit, answers in zip(edits, found, strict=True):
        for request, answer in zip(asked, answers, strict=True):
            expected = by_one_row(model, request, edit)
            failed = expected[-1:] == (None,)
            failures += failed
            assert bool(answer.failure) == failed
            assert not (failed and answer.finished)
            assert answer.tokens == (expected[:-1] if failed else expected)
            assert answer.n_tokens == len(answer.tokens)
    assert 0 < failures < len(edits) * len(asked)


@pytest.mark.parametrize("plain", [False, True])
def test_no_token_is_drawn_from_logits_that_are_not_finite(plain):
    model = poisoned("llama")
    prompts = [(1, 9, 10, 11), (1, 9, 10, BAD), (1, 9, 12)]
    how = Sampling(0.7, seed=1, top_k=20, top_p=0.9)
    asked = [GenerationRequest(i, p, (), 5, sampling=how) for i, p in enumerate(prompts)]
    (found,) = generate(model, asked, [Edits()], settings=Settings(plain=plain))
    assert found[1].tokens == ()
    assert [bool(answer.failure) for answer in found] == [
        BAD in (*p, *a.tokens[:-1]) or bool(a.failure) for p, a in zip(prompts, found, strict=True)
    ]
    assert not found[0].failure
    assert all(0 <= token < D_VOCAB for answer in found for token in answer.tokens)


@pytest.mark.slow
@pytest.mark.parametrize("generates", [False, True])
def test_a_sweep_records_failures_and_keeps_the_rest(generates, tmp_path, caplog):
    model = tiny_bridge("llama")
    task = write_task(tmp_path, kind="generate" if generates else "texts")
    bad = hooked("overflow", [("blocks.1.hook_out", lambda x, hook: x * math.nan)])
    if generates:
        donor = tiny_bridge("llama", seed=1)
        with torch.no_grad():
            next(models.decoder(donor).mlps[1].parameters())[0, 0] = math.nan
        bad = "swap:1"
    with caplog.at_level(logging.WARNING, logger="interp"):
        run = sweep(
            model, [str(task)], ["layer:0", bad], out=tmp_path / "run", limit=6,
            donor=donor if generates else None,
        )  # fmt: skip
    said = [r.getMessage() for r in caplog.records if "not finite" in r.getMessage()]
    assert len(said) == 1
    assert "in 6 of 6 examples" in said[0]
    rows = run.responses()
    failed = rows["failure"] != ""
    assert set(rows["ablation"][failed]) == {"swap:1" if generates else "hook:overflow"}
    assert failed.sum() == 6
    metrics = rows.columns[rows.columns.get_loc("failure") + 1 :]
    assert rows.loc[failed, metrics].isna().all(axis=None)
    assert rows.loc[~failed, metrics].notna().all(axis=None)
    shards = [pq.read_table(path) for path in (tmp_path / "run" / "units").glob("*.parquet")]
    values = [v for t in shards for pairs in t["metrics"].to_pylist() for _, v in pairs]
    assert None in values
    assert all(v is None or np.isfinite(v) for v in values)
    for path in export_harness(run, tmp_path / "harness"):
        assert "NaN" not in path.read_text()
    shown = run.importance(short=True).set_index("ablation")
    name = next(text for text in shown.index if text != "layer:0")
    assert shown.loc[name, "failures"] == 6
    assert np.isnan(shown.loc[name, "drop"])
    assert np.isfinite(shown.loc["layer:0", "drop"])
    assert f"failed, without a drop: 1 ablations ({name} 6 of 6 examples)" in run.summary()
    assert run.ties()["share"].notna().all()


def test_generate_in_a_repl_says_it_in_one_line():
    import interp

    with pytest.raises(UserError, match="logits are not finite after 0 new tokens"):
        interp.generate(poisoned("llama"), f"w9 w{BAD}", max_new_tokens=3)


@pytest.mark.parametrize("ablation", ["cut:0-1@answering/last", "cut:1@last/gold"])
def test_a_model_of_nan_is_named_where_attention_is_cut(ablation):
    model = tiny_bridge("llama", seed=9)
    models.decoder(model).root.get_input_embeddings().weight.data.fill_(math.nan)
    edits = checked_edits(model, ablation)
    with pytest.raises(UserError, match=r"residual stream is not finite \(NaN\) at depth 0"):
        refuse_impossible(model, [edits])
