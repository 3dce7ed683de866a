"""The search in two stages: the planted head is found, and chance is paid for."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import interp
from experiments.validity.planted import build, circuit_plan
from experiments.validity.questions import planted_task
from interp.errors import UserError
from interp.results import recovery
from interp.sweeps import patch_search, two_stages
from interp.sweeps.two_stages import chosen_layers, found_heads
from interp.tasks import halves_of_pairs, load_task
from tests.helpers.task_files import write_task

PLAN = circuit_plan(0)  # L0H3 writes the token before, L3H1 copies, L4H2 only looks


@pytest.fixture(scope="module")
def planted():
    model = build(PLAN)
    return model, interp.twins(model, planted_task(PLAN, "kv", rows=16), by="key")


@pytest.mark.slow
def test_the_head_that_copies_is_found_and_the_one_that_looks_is_not(planted):
    model, pairs = planted
    found = patch_search(model, pairs, most=2)
    ((layer, head),) = PLAN.induction
    assert found.layers["ablation"].iloc[0] == f"patch:attn:{layer}@last"
    assert found.found == [f"patch:head:{layer}.{head}@last"]
    # the second stage has the other half of the pairs
    rows = [stage.manifest.tasks[0].rows_sha256 for stage in found.stages]
    assert found.heads["n"].tolist() == [len(pairs.documents()) // 4] * len(found.heads)
    assert rows[0] != rows[1]
    assert repr(found).startswith("PatchSearch(layers patch:attn:3@last; heads patch:head:3.1@last")
    again = patch_search(model, pairs, most=2)
    pd.testing.assert_frame_equal(found.heads, again.heads)


def test_halves_are_of_whole_pairs_and_cover_all(planted):
    _, pairs = planted
    one, other = halves_of_pairs(pairs, seed=3)
    prompts = [[row["prompt"] for row in part.documents()] for part in (one, other)]
    assert sorted(prompts[0] + prompts[1]) == sorted(row["prompt"] for row in pairs.documents())
    for part in (one, other):
        rows = part.documents()
        assert all(a["twin"] == b["prompt"] for a, b in zip(rows[::2], rows[1::2], strict=True))
    with pytest.raises(UserError, match="it has no pairs"):
        halves_of_pairs(planted_task(PLAN, "kv", rows=8))


@pytest.mark.slow
def test_pairs_keep_the_clusters_of_their_task_and_no_half_tears_one(planted):
    model, _ = planted
    task = planted_task(PLAN, "kv", rows=16, cluster="key")
    pairs = interp.twins(model, task, by="gold")
    rows = pairs.documents()
    assert pairs.cluster_field == "cluster"
    assert all(row["cluster"] == task.documents()[row["pair"]]["key"] for row in rows)
    halves = [{row["cluster"] for row in half.documents()} for half in halves_of_pairs(pairs)]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == {row["cluster"] for row in rows}
    run = interp.sweep(model, pairs, ["patch:attn:3@last"])
    assert set(run.recovery()["interval"]) == {"fieller by cluster"}
    assert run.responses()["cluster"].tolist() == run.values().query("metric == 'acc'")[
        "cluster"].tolist()  # fmt: skip


def test_a_bad_row_of_the_second_half_is_found_before_the_first_is_run(
    planted, llama, tmp_path, monkeypatch
):
    path = write_task(tmp_path, rows=4)
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write('{"question": "w5", "choices": ["w6", "w7"], "gold": 2}\n')
    halves = planted[1], load_task(path)
    monkeypatch.setattr(two_stages, "halves_of_pairs", lambda *_, **__: halves)
    with pytest.raises(UserError, match=r"row 4 \(row 5 of .*2 names no option"):
        patch_search(llama, planted[1], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def made_up(texts, shares, *, pairs, noise, rng):
    """Responses in which every patch brings its share of the twin's difference, and noise."""
    rows = []
    for doc_id in range(2 * pairs):
        gaps = {"baseline": -4.0}
        gaps |= {t: -4.0 + 8 * s + noise * rng.standard_normal() for t, s in
                 zip(texts, shares, strict=True)}  # fmt: skip
        rows += [{"model": "m", "task": "twins-key-kv", "doc_id": doc_id, "ablation": text,
                  "loglikelihoods": (-1.0, -1.0 + gap)} for text, gap in gaps.items()]  # fmt: skip
    return recovery(pd.DataFrame(rows))


@pytest.mark.slow
def test_where_layers_matter_and_no_head_does_few_heads_are_found():
    """Three layers bring a fifth each and no head of them anything: 30 searches."""
    layers = [f"patch:attn:{n}@last" for n in range(6)]
    heads = [f"patch:head:{n}.{h}@last" for n in range(3) for h in range(4)]
    alarms, naive = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        first = made_up(layers, [0.2] * 3 + [0.0] * 3, pairs=12, noise=1.0, rng=rng)
        chosen = chosen_layers(first, most=3, direction="denoising")
        assert chosen["chosen"].sum() <= 3
        second = made_up([*layers[:3], *heads], [0.2] * 3 + [0.0] * 12, pairs=12, noise=1.0,
                         rng=rng)  # fmt: skip
        found = found_heads(second, "denoising")
        quiet = found[found["ablation"].str.startswith("patch:head")]
        alarms += bool(quiet["found"].any())
        naive += bool((quiet["low"] > 0).any())
    # 5% two-sided is 2.5% of 30 on the upper side; without correction a quarter would be
    assert alarms <= 3
    assert naive > 4


def test_a_model_of_two_layers_is_searched_by_default(llama, monkeypatch):
    class Asked(Exception):
        pass

    def shape(_):
        return dataclasses.replace(plain(llama), n_layers=2)

    def asked(*_, **__):
        raise Asked

    plain = two_stages.shape_of
    monkeypatch.setattr(two_stages, "shape_of", shape)
    monkeypatch.setattr(two_stages, "halves_of_pairs", asked)
    with pytest.raises(Asked):
        patch_search(llama, load_task("kv-5:generate"))
    with pytest.raises(UserError, match="most 3: allowed are whole numbers from 1 to 2"):
        patch_search(llama, load_task("kv-5:generate"), most=3)
