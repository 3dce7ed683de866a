"""One sweep asked in several ways: a run each, and the components of variance."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import yaml

import interp
from interp.cli import main
from interp.errors import UserError
from interp.report.asked import asked_tasks
from interp.results import Sweep
from interp.tasks import load_task
from tests.helpers.task_files import write_task

OPTIONS = {"limit": 8, "fewshot_seeds": 3, "fewshot_orders": 2}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"), rows=10, num_fewshot=2)


@pytest.fixture(scope="module")
def found(llama, path, tmp_path_factory):
    out = tmp_path_factory.mktemp("vary") / "out"
    return interp.vary(llama, path, ["layer:0", "layer:1"], out=out, **OPTIONS)


def folder(found):
    return found.sweeps["published"].folder.parent


@pytest.mark.slow
def test_each_way_is_a_run_of_its_own_on_the_same_examples(found, llama, path):
    assert list(found.sweeps) == [
        "published", "fewshot-seed-1", "fewshot-seed-2", "fewshot-order-1"
    ]  # fmt: skip
    for way, run in found.sweeps.items():
        assert isinstance(interp.open_run(folder(found) / way), Sweep)
        assert run.manifest.tasks[0].doc_ids == found.sweeps["published"].manifest.tasks[0].doc_ids
    values = found.values()
    assert values["task"].unique().tolist() == ["tiny-texts"]
    plain = interp.sweep(llama, path, ["layer:0", "layer:1"], limit=8)
    mine = values[values["variant"] == "published"].drop(columns="variant")
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), plain.values(), check_like=True)
    logs = values[(values["metric"] == "gold_logprob") & (values["ablation"] == "baseline")]
    means = logs.groupby("variant")["value"].mean()
    assert means.nunique() == 4  # another prompt is another number


@pytest.mark.slow
def test_components_are_those_of_the_values(found):
    table = found.components(metric="gold_logprob").set_index(["varied", "ablation"])
    assert set(table["n_variants"]) == {3, 2}
    drops = found.importance(metric="gold_logprob").set_index(["variant", "ablation"])["drop"]
    ways = ["published", "fewshot-seed-1", "fewshot-seed-2"]
    row = table.loc[("fewshot-seed", "layer:1")]
    seen = [drops[way, "layer:1"] for way in ways]
    assert row["value"] == pytest.approx(np.mean(seen))
    assert (row["least"], row["most"]) == pytest.approx((min(seen), max(seen)))
    assert row["low"] <= row["value"] <= row["high"]
    assert np.isnan(table.loc[("fewshot-order", "layer:1"), "low"])  # two ways tell too little
    assert table.loc[("fewshot-seed", "baseline"), "quantity"] == "score"
    assert "asked as published, fewshot-seed-1" in repr(found)
    assert "sd_variants" in found.summary(metric="gold_logprob")


@pytest.mark.slow
def test_it_continues_opens_again_and_is_extended(found, llama, path, monkeypatch):
    again = interp.open_run(folder(found))
    pd.testing.assert_frame_equal(again.components(), found.components())
    ran = []
    run = interp.sweeps.run._run_here
    monkeypatch.setattr(
        interp.sweeps.run, "_run_here",
        lambda model, shortcuts, plan, waiting, store: (
            ran.append(len(waiting)), run(model, shortcuts, plan, waiting, store))[1],
    )  # fmt: skip
    more = interp.vary(
        llama, path, ["layer:0", "layer:1"], out=folder(found), **(OPTIONS | {"fewshot_seeds": 4})
    )
    assert ran[:3] == [0, 0, 0]
    assert ran[3] > 0
    assert "fewshot-seed-3" in more.sweeps
    assert "fewshot-seed-3" in interp.open_run(folder(found)).sweeps


@pytest.mark.slow
def test_the_command_line_says_the_same(found, path, tmp_path, capsys):
    command = ["sweep", "organism:base", "--tasks", "world-facts:continuation", "--ablate",
               "layer:3", "--limit", "6", "--out", str(tmp_path)]  # fmt: skip
    main([*command, "--fewshot", "2", "--vary", "fewshot-order=2"])
    assert "asked as published, fewshot-order-1" in capsys.readouterr().out
    main(["show", str(tmp_path)])
    assert "what varies most" in capsys.readouterr().out
    assert main([*command, "--vary", "accent=2"]) != 0
    assert "allowed are fewshot-seed=N" in capsys.readouterr().err


def test_what_cannot_be_varied_is_refused_before_anything_is_run(llama, path, tmp_path):
    out = tmp_path / "out"
    plain = write_task(tmp_path, rows=4)
    for task, options, message in (
        (path, {}, "nothing is varied"),
        (path, {"fewshot_seeds": 0}, "fewshot-seed 0: allowed are whole numbers from 2"),
        ([path, plain], {"fewshot_seeds": 2}, "tiny-texts: 0 few-shot examples"),
        (path, {"wordings": 2}, "lists no other wordings"),
    ):
        with pytest.raises(UserError, match=message):
            interp.vary(llama, task, ["layer:0"], out=out, **options)
    assert not out.exists()


@pytest.mark.slow
def test_rows_of_turned_options_are_found_again(llama, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=4)
    shown = "{{choices[0]}} w4 {{choices[1]}} w5 {{choices[2]}} w6 {{choices[3]}} {{question}}"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"doc_to_text": shown}))
    found = interp.vary(llama, path, ["layer:1"], out=tmp_path / "out", option_orders=2)
    turned = found.sweeps["option-order-1"]
    by_gold = turned.importance(by="gold", given=[path], metric="acc")
    before = found.sweeps["published"].importance(by="gold", given=[path], metric="acc")
    assert sorted((int(g) + 1) % 4 for g in before["gold"]) == sorted(map(int, by_gold["gold"]))
    (asked,) = asked_tasks(turned, given=[path]).values()
    assert asked.missing == ""
    assert [asked.gold(n) for n in range(4)] == [
        [(row["gold"] + 1) % 4] for row in load_task(path).documents()
    ]


def test_every_option_of_a_sweep_is_one_of_a_variation():
    mine, its = (inspect.signature(f).parameters for f in (interp.vary, interp.sweep))
    assert its.keys() <= mine.keys()
    assert {name for name in its if mine[name].default != its[name].default} == {"out"}


def test_a_bad_row_of_another_way_is_found_before_the_published_one_is_run(llama, tmp_path):
    path, out = write_task(tmp_path, rows=4), tmp_path / "out"
    config = yaml.safe_load(path.read_text())
    rows = (tmp_path / "texts.jsonl").read_text().splitlines()
    rows[-1] = json.dumps(json.loads(rows[-1]) | {"note": None})
    rows[:-1] = [json.dumps(json.loads(row) | {"note": "w5"}) for row in rows[:-1]]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows))
    config["metadata"] = {"wordings": ["{{note}} {{question}}"]}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"wording-1-tiny-texts, row 3 \(row 4 of .*null"):
        interp.vary(llama, path, ["layer:0"], out=out, wordings=2)
    assert not out.exists()


def test_another_run_in_the_folder_of_a_way_is_found_before_the_first_is_run(llama, tmp_path):
    path, out = write_task(tmp_path, rows=4, num_fewshot=1), tmp_path / "out"
    interp.sweep(llama, path, ["layer:0"], out=out / "fewshot-seed-1")
    with pytest.raises(UserError, match="fewshot-seed-1: "):
        interp.vary(llama, path, ["layer:0"], out=out, fewshot_seeds=2)
    assert not (out / "published").exists()


def test_a_folder_whose_ways_would_hold_other_examples_is_refused(llama, tmp_path, monkeypatch):
    path, out = write_task(tmp_path, rows=4, num_fewshot=1), tmp_path / "out"
    how = {"ablations": ["layer:0"], "out": out}
    interp.vary(llama, path, limit=2, fewshot_seeds=3, **how)
    monkeypatch.setattr("interp.comparison.varying.sweep", lambda *_, **__: pytest.fail("it ran"))
    held = "would hold {} examples of tiny-texts and fewshot-seed-2 {}; ask for all of published"
    with pytest.raises(UserError, match="published " + held.format(4, 2)):
        interp.vary(llama, path, limit=4, fewshot_seeds=2, **how)
    with pytest.raises(UserError, match=r"published would hold 2 .* and fewshot-seed-3 1; ask for"):
        interp.vary(llama, path, limit=1, fewshot_seeds=4, **how)
    monkeypatch.undo()
    # less of all of them is there
    assert interp.vary(llama, path, limit=1, fewshot_seeds=3, **how).kinds == ["fewshot-seed"]
    grown = interp.vary(llama, path, limit=4, fewshot_seeds=3, **how)
    assert {len(run.manifest.tasks[0].doc_ids) for run in grown.sweeps.values()} == {4}
    assert interp.open_run(out).components()["n"].eq(4).all()
