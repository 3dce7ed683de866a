"""Which rows of a task are one independent unit, and which measures resample them together."""

import numpy as np
import pytest

from interp.errors import UserError
from interp.lens import direct_logit_attribution, logit_lens, self_repair
from interp.similarity import layer_shapley, layer_similarity
from interp.tasks import cluster_units, load_task
from tests.helpers.clusters import write_clustered
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


def test_units_are_clusters_where_the_task_declares_them(tmp_path):
    task = load_task(write_clustered(tmp_path, kind="letters", rows=8, clusters=3))
    assert cluster_units(task, [7, 0, 1, 3]) == [1, 0, 1, 0]
    (tmp_path / "plain").mkdir()
    plain = load_task(write_task(tmp_path / "plain", kind="letters", rows=4))
    assert cluster_units(plain, [3, 1]) == [3, 1]
    shipped = load_task("world2-facts:continuation")
    units, documents = cluster_units(shipped, range(200)), shipped.documents()
    assert len(set(units)) == len({documents[n]["wording"] for n in range(200)})


def test_a_row_without_its_cluster_is_named(tmp_path):
    path = write_clustered(tmp_path, kind="letters", rows=3)
    data = tmp_path / "letters.jsonl"
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines[:2], lines[2].replace('"passage"', '"other"')]) + "\n")
    with pytest.raises(UserError, match="row 2: no field passage to cluster by"):
        cluster_units(load_task(path), [0, 2])


def test_measures_of_a_task_with_clusters_resample_them(tmp_path):
    model, path = tiny_bridge("llama"), write_clustered(tmp_path, kind="letters", rows=8)
    task = load_task(path)
    repair = self_repair(model, task, ["mlp:0"])
    assert "by cluster" in repair.effects["interval"].iloc[0]
    assert "by cluster" in direct_logit_attribution(model, task, heads=False)["interval"].iloc[0]
    lens = logit_lens(model, task, sublayers=False, resamples=100, out=tmp_path / "lens")
    for table in (lens.table(), lens.decided(), lens.decision_depth()):
        assert table["interval"].str.contains("by cluster").all()
    from interp.lens import open_lens

    kept = open_lens(tmp_path / "lens").table()
    np.testing.assert_allclose(kept["low"], lens.table()["low"])
    similar = layer_similarity(model, task, resamples=100)
    for table in (similar.influence, similar.angular):
        assert table["interval"].str.endswith("by cluster").all()
    assert set(similar.cka["interval"]) == {"none"}  # too few clusters for one
    shapley = layer_shapley(model, task, orders=3, out=tmp_path / "s", metric="gold_logprob")
    assert shapley["interval"].str.endswith("by cluster").all()
