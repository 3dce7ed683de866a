"""Sweeps of tasks that sample: the harness' metrics of the draws, the store, pairing."""

import shutil
from dataclasses import asdict

import numpy as np
import pyarrow.parquet
import pytest

import interp
from interp.errors import UserError
from interp.integrations.lm_eval import AblatedModel
from interp.models import decoder
from interp.records import SCHEMA
from interp.records.shards import read_units
from interp.report import provenance
from interp.sweeps import NOBODY, Told, UnitSizes, make_plan, runner
from interp.sweeps.execution import pairs
from interp.tasks import as_chat, build_requests, load_task, recomputed, with_budget, with_draws
from tests.helpers.families import tiny_bridge
from tests.helpers.sampling_tasks import (
    ABLATIONS,
    ScriptedModel,
    by_harness,
    sampling_task,
    with_answers,
)
from tests.helpers.task_files import write_task


def test_metrics_are_those_that_the_harness_computes_from_the_draws(swept):
    task, run = swept
    rows = run.responses()
    for ablation in ("baseline", *ABLATIONS):
        own = rows[rows["ablation"] == ablation].set_index("doc_id")
        results, samples = by_harness(ScriptedModel(own["draws"]), task)
        for sample in samples:
            name = f"exact_match,{sample['filter']}"
            assert own.loc[sample["doc_id"], name] == sample["exact_match"]
        for name in ("first", "vote", "vote-of-3", "all"):
            assert own[f"exact_match,{name}"].mean() == results[f"exact_match,{name}"]
    base = rows[rows["ablation"] == "baseline"]
    # and they differ from each other, and from nothing at all
    names = [f"exact_match,{name}" for name in ("first", "vote", "all")]
    assert base[names].mean().gt(0).all()
    assert len({tuple(base[name]) for name in names}) == 3


def test_the_mean_over_draws_is_one_value_an_example(swept):
    _, run = swept
    rows = run.responses()
    mean = "exact_match,first,mean-of-draws"
    # the harness itself has it where no filter takes one: the mean over the answers
    assert rows[mean].tolist() == pytest.approx(rows["exact_match,all"].tolist())
    assert set(rows[mean] * 5) <= {0, 1, 2, 3, 4, 5}
    assert not {f"exact_match,{n},mean-of-draws" for n in ("vote", "vote-of-3", "all")} & set(rows)
    drops = run.importance().query("metric == @mean")
    assert (drops["n"] == 6).all()
    base = rows[rows["ablation"] == "baseline"].set_index("doc_id")[mean]
    for ablation, drop in zip(drops["ablation"], drops["drop"], strict=True):
        own = rows[rows["ablation"] == ablation].set_index("doc_id")[mean]
        assert drop == pytest.approx((base - own).mean())


def test_by_default_the_first_draw_counts_and_the_mean_stands_beside_it(tmp_path):
    model = tiny_bridge("llama")
    task = with_answers(sampling_task(tmp_path, filters=None, draws=3), model)
    rows = interp.sweep(model, [task], ["layer:1"], out=tmp_path / "run").responses()
    for draws, target, first, mean in zip(
        rows["draws"], rows["target"], rows["exact_match"], rows["exact_match,mean-of-draws"],
        strict=True,
    ):  # fmt: skip
        right = [text == target for text in draws]
        assert (first, mean) == (right[0], pytest.approx(np.mean(right)))


def test_greedy_answers_count_as_often_as_the_harness_repeats_them(tmp_path):
    path = sampling_task(tmp_path, do_sample=False, temperature=0.0, draws=3)
    task = load_task(path)
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run")
    rows = run.responses()
    assert rows["draws"].isna().all()
    assert run.manifest.tasks[0].sampling is None
    base = rows[rows["ablation"] == "baseline"].set_index("doc_id")
    _, samples = by_harness(
        ScriptedModel({i: 3 * [text] for i, text in base["text"].items()}), task
    )
    for sample in samples:
        assert (
            base.loc[sample["doc_id"], f"exact_match,{sample['filter']}"] == sample["exact_match"]
        )


@pytest.mark.parametrize("ablation", ["baseline", "layer:1"])
def test_the_engine_in_the_harness_draws_what_a_sweep_draws(swept, ablation):
    task, run = swept
    rows = run.responses(ablations=ablation).set_index("doc_id")
    lm = AblatedModel(tiny_bridge("llama"), ablation=ablation, seed=3)
    _, samples = by_harness(lm, task)
    for sample in samples:
        assert sample["resps"][0] == list(rows.loc[sample["doc_id"], "draws"])


def test_every_draw_is_stored_and_scored_again_without_the_model(swept):
    task, run = swept
    rows = interp.open_run(run.folder).responses()
    assert [len(draws) for draws in rows["draws"]] == [5] * 24
    assert [draws[0] for draws in rows["draws"]] == rows["text"].tolist()
    assert len({tuple(draws) for draws in rows["draws"]}) > 15
    assert any(len(set(draws)) > 1 for draws in rows["draws"])
    lengths = [[len(text.split()) for text in draws] for draws in rows["draws"]]
    for counts, texts in zip(rows["token_counts"], lengths, strict=True):
        assert len(counts) == 5
        assert all(count >= words for count, words in zip(counts, texts, strict=True))
    again = recomputed(rows, task)
    assert len(again.columns) == 5
    for name in again:
        assert again[name].tolist() == rows[name].tolist()
    assert run.manifest.tasks[0].sampling.as_dict() == {
        "draws": 5, "temperature": 0.3, "top_k": 0, "top_p": 1.0
    }  # fmt: skip
    assert run.manifest.seed == 3


def test_shards_from_before_there_were_draws_are_read(tmp_path):
    task = load_task(write_task(tmp_path, kind="generate", rows=3))
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run")
    expected, names = run.responses(), run.manifest.unit_names
    (path,) = (tmp_path / "run" / "units").glob("*.parquet")
    table = read_units(tmp_path / "run", names).drop_columns(["draws"])
    pyarrow.parquet.write_table(table, path)
    found = read_units(tmp_path / "run", names)
    assert found.schema == SCHEMA
    assert found["draws"].to_pylist() == [None] * 6
    assert found["text"].to_pylist() == expected["text"].tolist()
    whole = recomputed(expected, task)
    assert recomputed(expected.drop(columns="draws"), task).equals(whole)


def contents(folder):
    return {p.name: p.read_bytes() for p in (folder / "units").iterdir()}


@pytest.mark.slow
def test_resumed_and_shared_runs_are_the_same_byte_for_byte(swept, tmp_path):
    task, _ = swept
    how = {"seed": 3, "unit_examples": 2, "unit_ablations": 2}

    def run(name, model, **more):
        return interp.sweep(model, [task], ABLATIONS, out=tmp_path / name, **how, **more)

    run("whole", tiny_bridge("llama"))
    whole = contents(tmp_path / "whole")
    assert len(whole) == 6
    for part in (3, 1, 2):
        run("shared", tiny_bridge("llama"), shard=f"{part}/3")
    assert contents(tmp_path / "shared") == whole
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    for name in list(whole)[::2]:
        (tmp_path / "resumed" / "units" / name).unlink()
    run("resumed", tiny_bridge("llama"))
    assert contents(tmp_path / "resumed") == whole


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [UnitSizes(1, 1), UnitSizes(4, 3), UnitSizes(128, 64)], ids=str)
def test_how_a_run_is_cut_changes_no_draw(swept, sizes):
    task, run = swept
    model = tiny_bridge("llama")
    # another order of the ablations, and one more
    plan = make_plan(model, [task], ["mlp:2", "attn:0", *ABLATIONS[:2]], seed=3, sizes=sizes)
    work, told = runner(model, plan), []
    found = [record for unit in plan.units for record in work(unit, Told(told.append))]
    kept = run.responses().set_index(["ablation", "doc_id"])
    for record in found:
        if record.ablation != "attn:0":
            row = kept.loc[record.ablation, record.doc_id]
            assert record.draws == tuple(row["draws"])
            assert record.metrics == {name: row[name] for name in record.metrics}
    # progress counts examples, and not draws
    assert sum(told) == sum(map(pairs, plan.units))


@pytest.mark.slow
def test_the_seed_decides(swept, tmp_path):
    task, run = swept
    other = interp.sweep(tiny_bridge("llama"), [task], ABLATIONS, out=tmp_path / "run", seed=4)
    both = zip(run.responses()["draws"], other.responses()["draws"], strict=True)
    assert sum(tuple(a) == tuple(b) for a, b in both) < 5
    with pytest.raises(UserError, match="it holds another run"):
        interp.sweep(tiny_bridge("llama"), [task], ABLATIONS, out=tmp_path / "run", seed=5)


@pytest.mark.slow
def test_draws_without_a_yaml(tmp_path):
    model, plain = tiny_bridge("llama"), load_task(write_task(tmp_path, kind="generate", rows=4))
    task = interp.with_draws(plain, temperature=0.6, draws=4)
    assert task.name == "4-draws-at-0.6-tiny-generate"
    run = interp.sweep(model, [task, plain], ["layer:1"], out=tmp_path / "run", seed=2)
    (drawn, greedy) = run.manifest.tasks
    assert drawn.sampling.draws == 4
    assert drawn.sampling.temperature == 0.6
    assert greedy.sampling is None
    rows = run.responses(tasks=task.name).set_index(["ablation", "doc_id"])
    for ablation, edit in (("baseline", []), ("layer:1", ["layer:1"])):
        for doc_id in range(4):
            # `interp.generate` numbers its prompts as the task its rows
            prompts = [d["question"] for d in plain.documents()]
            texts = interp.generate(
                model, prompts, *edit, temperature=0.6, draws=4, seed=2, max_new_tokens=6,
                until=["w61", "w62 w63"],
            )  # fmt: skip
            found = tuple(rows.loc[(ablation, doc_id), "draws"])
            assert found == tuple(texts[4 * doc_id : 4 * doc_id + 4])
    lines = dict(provenance.pairs(run))
    assert lines["Answers"] == f"4 answers an example drawn at temperature 0.6, in {task.name}"


def test_draws_budgets_and_chats_go_together_in_any_order(tmp_path, monkeypatch):
    model, plain = tiny_bridge("llama"), load_task(write_task(tmp_path, kind="generate", rows=4))
    template = "{% for m in messages %}{{ m['content'] }} w60 {% endfor %}"
    monkeypatch.setattr(decoder(model).tokenizer, "chat_template", template)
    steps = [
        lambda task: with_draws(task, temperature=1e-5, draws=2),
        lambda task: with_budget(task, 2),
        lambda task: as_chat(task, model),
    ]
    made = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        task = plain
        for number in order:
            task = steps[number](task)
        made.append(build_requests(task, [0, 2], decoder(model), seed=7))
    assert made[0] == made[1] == made[2]
    assert [(r.doc_id, r.draw, r.max_gen_toks) for r in made[0]] == [
        (0, 0, 2), (0, 1, 2), (2, 0, 2), (2, 1, 2)
    ]  # fmt: skip
    assert asdict(made[0][0].sampling) == {
        "temperature": 1e-5, "seed": 7, "top_k": 0, "top_p": 1.0
    }  # fmt: skip


@pytest.mark.slow
def test_resampled_heads_draw_with_the_same_numbers(tmp_path):
    plain = load_task(write_task(tmp_path, kind="generate", rows=5))
    name, model = "head:1.2@resample", tiny_bridge("llama")
    cold = with_draws(plain, temperature=1e-5, draws=2)
    run = interp.sweep(model, [plain, cold], [name], out=tmp_path / "run")
    rows = run.responses(ablations=name).set_index(["task", "doc_id"])
    for doc_id in range(5):
        greedy = rows.loc[(plain.name, doc_id), "text"]
        assert list(rows.loc[(cold.name, doc_id), "draws"]) == [greedy, greedy]
    warm = with_draws(plain, temperature=0.8, draws=3)
    whole, parts = (
        [
            record
            for unit in plan.units
            for record in runner(model, plan)(unit, NOBODY)
            if record.ablation == name
        ]
        for plan in (make_plan(model, [warm], [name], sizes=UnitSizes(size)) for size in (5, 2))
    )
    assert whole == parts
    assert any(len(set(record.draws)) > 1 for record in whole)
