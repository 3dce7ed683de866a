"""What `out=` of a measure writes: opened again as it was, continued, never mixed."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import interp
from interp.errors import UserError
from interp.results import (
    claim_folder,
    kind_of,
    read_result,
    released_if_refused,
    save_result,
)
from interp.similarity import layer_similarity
from tests.helpers.task_files import write_task

TEXTS = [f"w{n} w{n + 1} w{n + 2}" for n in range(4, 12)]


@pytest.fixture(scope="module")
def base():
    return interp.load_model("organism:base")


def same(one, other, tables):
    for name in tables:
        pd.testing.assert_frame_equal(getattr(one, name)(), getattr(other, name)())
    assert repr(one) == repr(other)
    assert one.summary() == other.summary()
    assert "<table" in one._repr_html_()
    assert one._repr_html_() == other._repr_html_()


def test_a_lens_is_opened_as_it_was(llama, tmp_path, monkeypatch):
    task, out = write_task(tmp_path, kind="letters"), tmp_path / "lens"
    asked = {"limit": 5, "ablation": "layer:1", "resamples": 50, "seed": 3}
    lens = interp.logit_lens(llama, task, out=out, **asked)
    same(lens, interp.open_run(out), ("table", "decided", "decision_depth"))
    assert len(lens.summary().splitlines()) == 3
    with pytest.raises(UserError, match=r"limit 5 there, 4 asked.; give another folder"):
        interp.logit_lens(llama, task, out=out, **{**asked, "limit": 4})
    # the result that is there is not computed again
    monkeypatch.setattr("interp.lens.tasks.build_answers", None)
    same(lens, interp.logit_lens(llama, task, out=out, **asked), ("table",))
    # arrays of another number of depths belong to another lens
    saved = read_result(out, "lens")
    for name in ("0.decisions.sums", "0.values.totals"):
        cut = saved.arrays | {name: saved.arrays[name].T[:-1].T}
        forged = replace(saved, arrays=cut)
        monkeypatch.setattr("interp.lens.saved.read_result", lambda *_, forged=forged: forged)
        with pytest.raises(UserError, match=r"its lens cannot be read .* of another shape"):
            interp.open_run(out)


@pytest.mark.slow
def test_retrieval_heads_are_opened_as_they_were(base, tmp_path):
    out = tmp_path / "trace"
    heads = interp.retrieval_heads(base, "world-kv:generate", limit=4, out=out)
    kept = interp.open_run(out)
    same(heads, kept, ("table",))
    np.testing.assert_array_equal(heads.scores, kept.scores)
    pd.testing.assert_frame_equal(heads.by("layer"), kept.by("layer"))
    assert "score" in heads.by("n_pairs")
    with pytest.raises(UserError, match="limit 4 there, 3 asked"):
        interp.retrieval_heads(base, "world-kv:generate", limit=3, out=out)
    with pytest.raises(UserError, match="kind retrieval heads there, similarity asked"):
        layer_similarity(base, ["a text"] * 4, out=out)
    # the best head stands first, as in the table
    order = [tuple(pair) for pair in heads.table()[["layer", "head"]].head(10).to_numpy()]
    assert heads.top(10).text == "+".join(f"head:{layer}.{head}@mean" for layer, head in order)


def test_a_similarity_is_opened_as_it_was(llama, tmp_path):
    out = tmp_path / "similarity"
    found = layer_similarity(llama, TEXTS, resamples=50, out=out)
    same(found, interp.open_run(out), ("table", "measures"))
    assert list(found.table()["layer"]) == [0, 1, 2]
    with pytest.raises(UserError, match="another texts_sha256"):
        layer_similarity(llama, TEXTS[:-1] + ["w50 w51"], resamples=50, out=out)


def test_what_is_in_a_folder_is_neither_mixed_nor_overwritten(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="it is not empty"):
        claim_folder(tmp_path / "notes", "lens", {"limit": 1})
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]
    out, table = tmp_path / "out", pd.DataFrame({"x": [1.5, 2.0], "name": ["=a", "b"]})
    assert not claim_folder(out, "lens", {"limit": 1, "options": {"a": 2}})
    # an interrupted one is computed again, by the same request alone
    assert not claim_folder(out, "lens", {"limit": 1, "options": {"a": 2}})
    with pytest.raises(UserError, match="its lens is not finished"):
        read_result(out, "lens")
    with pytest.raises(UserError, match=r"options\.a 2 there, 3 asked"):
        claim_folder(out, "lens", {"limit": 1, "options": {"a": 3}})
    save_result(out, "lens", {"limit": 1, "options": {"a": 2}}, facts={"n": 3},
                tables={"t": table}, arrays={"a": np.arange(3)},
                for_reading={"t": table})  # fmt: skip
    assert claim_folder(out, "lens", {"limit": 1, "options": {"a": 2}})
    saved = read_result(out, "lens")
    pd.testing.assert_frame_equal(saved.tables["t"], table)
    assert saved.arrays["a"].tolist() == [0, 1, 2]
    assert saved.facts == {"n": 3}
    assert (out / "t.csv").read_text().splitlines()[1] == "1.5,'=a"
    with pytest.raises(UserError, match="of lens, not of similarity"):
        read_result(out, "similarity")
    (out / "t.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match="it is damaged"):
        read_result(out, "lens")


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1}', '{"version": 2, "kind": "lens", '
                                  '"finished": true, "request": {}}', "null"])  # fmt: skip
def test_a_broken_file_is_one_line(text, tmp_path):
    (tmp_path / "result.json").write_text(text)
    for call in (kind_of, lambda folder: claim_folder(folder, "lens", {})):
        with pytest.raises(UserError, match=r"its result\.json") as refused:
            call(tmp_path)
        assert "\n" not in str(refused.value)


def test_names_in_a_received_result_lead_nowhere_else(tmp_path):
    (tmp_path / "secret.parquet").write_bytes(b"x")
    inner = tmp_path / "inner"
    claim_folder(inner, "lens", {})
    save_result(inner, "lens", {})
    head = json.loads((inner / "result.json").read_text())
    (inner / "result.json").write_text(json.dumps(head | {"files": {"../secret.parquet": "00"}}))
    with pytest.raises(UserError, match=r"inner/secret\.parquet: it cannot be read"):
        read_result(inner, "lens")


def test_a_folder_of_nothing_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json there, and no result"):
        interp.open_run(tmp_path)


def test_results_in_a_folder_that_is_none_are_named(tmp_path):
    for number in range(7):
        inner = tmp_path / f"lens-{number}"
        claim_folder(inner, "lens", {})
        save_result(inner, "lens", {})
    (tmp_path / "another").mkdir()
    named = ", ".join(f"lens-{number}" for number in range(5))
    with pytest.raises(
        UserError, match=rf"no result itself; open one of those in it: {named} \.\.\."
    ):
        interp.open_run(tmp_path)


def test_a_refusal_gives_its_folder_back(tmp_path):
    """What the message advises can be asked for in the same folder."""
    out = tmp_path / "out"

    def refused(error, *, written=False):
        claim_folder(out, "lens", {"answers": "right"})
        if written:
            (out / "kept.csv").write_text("x")
        with pytest.raises(type(error)), released_if_refused(out):
            raise error

    refused(UserError("no answer is right"))
    assert not out.exists()
    refused(KeyboardInterrupt())
    with pytest.raises(UserError, match="it holds another result"):
        claim_folder(out, "lens", {"answers": "all"})
    refused(UserError("no answer is right"), written=True)
    assert (out / "kept.csv").exists()
