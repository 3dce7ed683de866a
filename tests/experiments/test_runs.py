"""Sweeps that are shared and kept, and the tables of the experiments."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import presets, reasoning, retrieval, runs, tasks
from experiments.presets import FIRST_WORLD, STUDY
from experiments.protocols import between_protocols
from experiments.runs import Job
from interp.stats import importance
from tests.helpers.shared import SHARED

TINY = replace(FIRST_WORLD, models={"base": "organism:base"}, caps={"layers": 6})


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@pytest.mark.slow
def test_a_finished_sweep_is_opened_without_the_model(out, monkeypatch):
    job = Job("base", "world-kv:continuation", "layers")
    first = runs.finished(TINY, out, job)
    scores = runs.scores(TINY, out, [job])
    monkeypatch.setattr(presets, "loaded", lambda *a: pytest.fail("a model was loaded"))
    again = runs.finished(TINY, out, job)
    assert again.folder == first.folder
    pd.testing.assert_frame_equal(again.scores(), scores)
    pd.testing.assert_frame_equal(runs.scores(TINY, out, [job]), scores)
    # other examples are another question: the model is asked for
    other = replace(TINY, seed=1)
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        runs.finished(other, out, job)
    # and so are other weights under the same name
    monkeypatch.setattr(runs, "weights_stamp", lambda name: "of another training")
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        runs.finished(TINY, out, job)


def test_weights_that_change_are_seen(tmp_path):
    assert runs.weights_stamp("organism:base") != runs.weights_stamp("organism:teacher")
    assert runs.weights_stamp("meta-llama/Llama-3.1-8B") is None
    stamps = set()
    for content in (b"one", b"two"):
        (tmp_path / "model.safetensors").write_bytes(content)
        stamps.add(runs.weights_stamp(str(tmp_path)))
        runs.weights_stamp.cache_clear()
    assert len(stamps) == 2


@pytest.mark.slow
def test_a_table_of_another_run_is_made_again(out):
    job = Job("base", "world-kv:continuation", "layers")
    scores = runs.scores(TINY, out, [job])
    kept = runs.finished(TINY, out, job).folder / "scores.parquet"
    spoilt = scores.assign(value=0.0)
    spoilt.attrs["manifest"] = "of another run"
    spoilt.to_parquet(kept)
    pd.testing.assert_frame_equal(runs.scores(TINY, out, [job]), scores)


def test_a_reading_is_made_once_for_what_is_asked(tmp_path):
    made = []

    def make() -> dict[str, pd.DataFrame]:
        made.append(1)
        return {"x": pd.DataFrame({"a": [1.0, np.nan]})}

    for asked in ({"n": 1}, {"n": 1}, {"n": 2}):
        found = runs.reading(TINY, tmp_path, "some", asked, make)
        pd.testing.assert_frame_equal(found["x"], pd.DataFrame({"a": [1.0, np.nan]}))
    assert len(made) == 2


def values(rows: dict[tuple[str, str, str], list[float]], metric: str = "acc") -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {"model": model, "task": task, "metric": metric, "ablation": ablation,
             "doc_id": range(len(found)), "value": found}
        )
        for (model, task, ablation), found in rows.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_the_gain_of_a_passage_is_paired():
    rng = np.random.default_rng(0)
    alone, given = rng.random(60) < 0.4, rng.random(60) < 0.7
    table = values(
        {
            ("m", "alone", "baseline"): alone * 1.0, ("m", "given", "baseline"): given * 1.0,
            ("m", "alone", "layer:0"): alone * 1.0, ("m", "given", "layer:0"): alone * 1.0,
        }
    )  # fmt: skip
    gains = retrieval.passage_gain(table).set_index("ablation")
    assert gains.loc["baseline", "gain"] == pytest.approx(100 * (given.mean() - alone.mean()))
    assert gains.loc["baseline", "low"] <= gains.loc["baseline", "gain"]
    assert gains.loc["baseline", "gain"] <= gains.loc["baseline", "high"]
    assert gains.loc["layer:0", "gain"] == 0
    assert gains.loc["layer:0", "p"] == 1
    # the same as the paired drop of the other direction
    swapped = values({("m", "t", "baseline"): given * 1.0, ("m", "t", "x"): alone * 1.0})
    drop = importance(swapped).iloc[0]
    assert gains.loc["baseline", ["low", "high"]].tolist() == pytest.approx([drop.low, drop.high])


def test_answers_that_metrics_count_differently():
    acc = values({("m", "t", "baseline"): [1.0, 1, 0, 0], ("m", "t", "layer:0"): [1.0, 0, 0, 0]})
    norm = values(
        {("m", "t", "baseline"): [1.0, 0, 0, 0], ("m", "t", "layer:0"): [1.0, 1, 0, 0]}, "acc_norm"
    )
    found = tasks.differing(pd.concat([acc, norm], ignore_index=True))
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["other"], row["share"], row["pairs"], row["n"]) == ("acc_norm", 25.0, 8, 4)


def test_profiles_are_compared_within_a_benchmark_and_within_a_task():
    rng = np.random.default_rng(0)
    texts = ["baseline", *(f"layer:{n}" for n in range(4))]
    rows = {
        (model, task, ablation): (rng.random(30) < 0.5) * 1.0
        for model in ("m", "o")
        for task in ("a:default", "a:continuation", "b:default")
        for ablation in texts
    }
    table = values(rows)
    pairs = [(r.a, r.b) for r in between_protocols(table).itertuples()]
    assert pairs == [
        ("m, a:default, acc", "m, a:continuation, acc"),
        ("o, a:default, acc", "o, a:continuation, acc"),
    ]
    alike = reasoning.between_models(table)
    assert len(alike) == 3
    assert all(r.a.split(", ")[1] == r.b.split(", ")[1] for r in alike.itertuples())


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real rows in {SHARED}")
def test_public_rows_and_a_public_model(tmp_path):
    mine = replace(
        STUDY,
        models={"base": str(SHARED / "models" / "stories260K")},
        tasks=STUDY.tasks | {"options": ("hellaswag:continuation", "mathqa:continuation")},
        caps={"layers": 4},
        data=SHARED / "data",
        dtype="float32",
        device="cpu",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="task .* of its .* tasks have no rows")
        found = tasks.run(mine, tmp_path)
    names = set(found.tables["scores"]["metric"])
    assert {"acc", "acc_norm", "acc_ce"} <= names
    assert "HellaSwag, option texts" in found.figures["layers"][0].axes[0].get_title()
