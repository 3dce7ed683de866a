"""Loss on text: windows, files as tasks, and whole sweeps against lm-evaluation-harness' model."""

import itertools
import math
import random

import numpy as np
import pandas as pd
import pytest
import yaml
from lm_eval.api.registry import get_aggregation

import interp
from interp.errors import UserError
from interp.models import decoder
from interp.results.export import harness_results
from interp.stats import Sample, weighted_losses
from interp.stats.weighted import loss_row
from interp.tasks import build_requests, load_task
from interp.tasks.text_files import PASSAGE, passages
from tests.helpers.families import deleted, tiny_bridge, tiny_tokenizer
from tests.helpers.task_files import WORDS


def text(words, seed=0):
    rng = random.Random(seed)
    return "".join(rng.choice(WORDS) + rng.choice("    \n") for _ in range(words))


def write_rolling(folder, sizes=(20, 150, 9, 70)):
    """A task of kind `loglikelihood_rolling` over documents of so many words."""
    rows = "".join(f'{{"page": "{text(n, n).strip()!r}"}}\n'.replace("'", "") for n in sizes)
    (folder / "pages.jsonl").write_text(rows.replace("\\n", " "))
    path = folder / "rolling.yaml"
    metrics = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    config = {
        "task": "pages",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "pages.jsonl")}},
        "output_type": "loglikelihood_rolling",
        "test_split": "test",
        "doc_to_text": "",
        "doc_to_target": "page",
        "metric_list": [{"metric": name} for name in metrics],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_rolling_task_equals_the_harness_on_deleted_layers(tmp_path, family):
    """Documents longer than the context, in windows; perplexities of all documents together."""
    from lm_eval.models.huggingface import HFLM

    path = write_rolling(tmp_path)
    run = interp.sweep(tiny_bridge(family), [str(path)], ["layer:1"], out=tmp_path / "run")
    task = load_task(path)
    lm = HFLM(
        pretrained=deleted(family, [1]), tokenizer=tiny_tokenizer(), batch_size=1, device="cpu"
    )
    documents = task.documents()
    instances = [
        task._harness.construct_requests(doc, "", metadata=("pages", i, 1))
        for i, doc in enumerate(documents)
    ]
    totals = lm.loglikelihood_rolling(instances, disable_tqdm=True)
    rows = run.responses(ablations="layer:1").set_index("doc_id")
    assert max(len(values) for values in rows["loglikelihoods"]) > 1
    assert [sum(values) for values in rows["loglikelihoods"]] == pytest.approx(totals, abs=1e-3)
    exported = harness_results(run, "layer:1")["results"]["pages"]
    scores = run.scores().query("ablation == 'layer:1'").set_index("metric")
    results = [
        task._harness.process_results(doc, (total,))
        for doc, total in zip(documents, totals, strict=True)
    ]
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        kind = "bits_per_byte" if name == "bits_per_byte" else "weighted_perplexity"
        expected = get_aggregation(kind)([one[name] for one in results])
        assert exported[f"{name},none"] == pytest.approx(expected, rel=1e-4)
        assert scores.loc[name, "value"] == pytest.approx(expected, rel=1e-4)
        assert scores.loc[name, "low"] < expected < scores.loc[name, "high"]
    tokens = sum(sum(counts) for counts in rows["token_counts"])
    assert scores.loc["loss", "value"] == pytest.approx(-sum(totals) / tokens, rel=1e-4)
    assert not any(name.endswith("weight") for name in scores.index)
    drops = run.importance().query("metric == 'loss'").iloc[0]
    assert drops["drop"] == pytest.approx(drops["ablated"] - drops["baseline"])
    assert "loss" in run.summary(metric="loss").__str__()
    assert run.ties().empty


def test_every_token_of_a_document_is_predicted_once(tmp_path, llama):
    task = load_task(write_rolling(tmp_path))
    tokenizer = decoder(llama).tokenizer
    for doc_id, document in enumerate(task.documents()):
        asked = build_requests(task, [doc_id], decoder(llama))
        predicted = [token for request in asked for token in request.continuation]
        assert predicted == tokenizer.encode(document["page"])
        assert asked[0].context == (tokenizer.bos_token_id,)
        assert max(request.row_length for request in asked) <= decoder(llama).max_length
        for before, after in itertools.pairwise(asked):
            assert after.context[-1] == before.continuation[-1]


def test_a_file_is_cut_into_passages_that_are_together_the_file(tmp_path):
    whole = text(3000)
    found = passages(whole)
    assert "".join(found) == whole
    assert all(PASSAGE // 2 <= len(one) <= PASSAGE * 3 // 2 for one in found)
    assert all(one.endswith("\n") for one in found[:-1])
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    task = load_task(f"text:{tmp_path / 'a.txt'}")
    assert (task.name, task.is_text) == ("text:a.txt", True)
    assert [document["text"] for document in task.documents()] == found
    (tmp_path / "b.jsonl").write_text('{"text": "w5 w6"}\n{"text": "w7"}\n')
    assert len(load_task(f"text:{tmp_path / 'b.jsonl'}").documents()) == 2
    (tmp_path / "C.JSONL").write_text('{"text": "w5 w6"}\n')  # no markup is scored
    assert load_task(f"text:{tmp_path / 'C.JSONL'}").documents() == [{"text": "w5 w6"}]
    assert passages("w5") == ["w5"]


def test_what_a_text_cannot_be_is_refused_in_one_line(tmp_path, llama):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "a.txt").write_text(text(30))
    (tmp_path / "b.jsonl").write_text('{"page": "w5"}\n')
    bad = {
        "text:nowhere.txt": "no such file",
        f"text:{tmp_path / 'empty.txt'}": "the file has no text",
        f"text:{tmp_path / 'a.TSV'}": r"plain text and rows with a field `text` .*csv\.gz",
        f"text:{tmp_path / 'b.jsonl'}": "row 1: its field `text` holds no text",
    }
    for name, message in bad.items():
        with pytest.raises(UserError, match=message):
            load_task(name)
    task = load_task(f"text:{tmp_path / 'a.txt'}")
    for ablation in ("layer:1@@prompt", "layer:1@resample"):
        with pytest.raises(UserError, match="have neither prompt nor answer"):
            interp.sweep(llama, [task], [ablation], out=tmp_path / "run")
    with pytest.raises(UserError, match="its texts have no answers"):
        task.gold_options(task.documents()[0])


def losses(rng, n=25):
    """Weights, and log-likelihoods before and after, of texts of very different length."""
    weight = rng.integers(100, 900, n).astype(float)
    before = 3 + rng.normal(0, 0.3, n)
    after = before + 0.1 + rng.normal(0, 0.1, n)
    return np.stack([-weight * before, -weight * after, weight], axis=1)


def test_the_interval_of_a_loss_covers_it():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        found = loss_row(
            Sample(losses(rng), np.arange(25), clustered=False), "nats_per_token", 0.95
        )
        covered += found["low"] <= 0.1 <= found["high"]
        assert (found["p"] < 0.05) == (found["low"] > 0 or found["high"] < 0)
    assert 0.91 <= covered / 300 <= 0.98


def test_a_drop_of_a_loss_is_a_difference_of_ratios():
    table = losses(np.random.default_rng(1))
    names = ["model", "task", "metric", "ablation", "doc_id", "value"]
    rows = [
        ("m", "t", metric, ablation, i, value)
        for metric, ablation, column in (
            ("loss,log-likelihood", "baseline", 0),
            ("loss,log-likelihood", "layer:1", 1),
            ("loss,weight", "baseline", 2),
            ("loss,weight", "layer:1", 2),
        )
        for i, value in enumerate(table[:, column])
    ]
    empty = dict.fromkeys(
        ("baseline", "ablated", "drop", "low", "high", "p", "p_adjusted"), math.nan
    )
    of = {"model": "m", "task": "t", "metric": "loss,log-likelihood", "ablation": "layer:1"}
    drops = pd.DataFrame([{**of, **empty, "interval": ""}])
    values = pd.DataFrame(rows, columns=names)
    found = weighted_losses(drops, values, {("t", "loss"): "nats_per_token"}).iloc[0]
    ratios = -table.sum(axis=0) / table[:, 2].sum()
    assert found["metric"] == "loss"
    assert [found["baseline"], found["ablated"]] == pytest.approx(ratios[:2])
    assert found["drop"] == pytest.approx(ratios[1] - ratios[0])
    assert found["p"] == found["p_adjusted"]
