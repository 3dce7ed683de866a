"""Direct and total effects: they add up, and a planted eraser shows as self-repair."""

import numpy as np
import pytest
import torch

import interp
from interp import models
from interp.errors import UserError
from interp.figures import self_repair as draw
from interp.lens import self_repair
from interp.lens.answers import build_answers
from interp.lens.repairing import effect_intervals
from interp.models import wrap
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge, tiny_tokenizer
from tests.helpers.planted import FACTS, planted_model, write_planted
from tests.helpers.task_files import write_task


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_effects_add_up_and_the_total_is_that_of_the_ablated_model(name, tmp_path):
    model, task = tiny_bridge(name), load_task(write_task(tmp_path, kind="letters", rows=5))
    found = self_repair(model, task, ["attn:0", "mlp:1", "layer:1", "head:1.2", "mlp:2"])
    rows = found.effects.set_index("ablation")
    sums = rows["direct"] + rows["later"] + rows["norm"]
    np.testing.assert_allclose(sums, rows["total"], atol=1e-4)
    np.testing.assert_allclose(rows["repair"], rows["direct"] - rows["total"], atol=1e-9)
    assert rows.loc["mlp:2", "later"] == pytest.approx(0, abs=1e-5)  # nothing comes after it
    assert abs(rows.loc["attn:0", "later"]) > 1e-3
    changes = found.changes.groupby("ablation")["change"].sum()
    for text in ("attn:0", "mlp:1", "layer:1", "head:1.2"):
        assert changes[text] == pytest.approx(-rows.loc[text, "later"], abs=1e-4)
    assert "mlp:2" not in changes
    for text in ("attn:0", "head:1.2"):
        assert rows.loc[text, "total"] == pytest.approx(falls(model, task, text), abs=1e-3)


def falls(model, task, text):
    """By how much the margin over the whole model's rival falls, from logits alone."""
    found = []
    for answer in build_answers(model, task, range(5)):
        right = answer.options[answer.right]
        wrong = [o.continuation[0] for o in answer.options if o is not right]
        tokens = torch.tensor([right.context])
        with torch.no_grad():
            whole = model(tokens)[0, -1]
            rival = max(wrong, key=lambda token: float(whole[token]))
            with interp.ablate(model, text):
                ablated = model(tokens)[0, -1]
        token = right.continuation[0]
        margins = [float(one[token] - one[rival]) for one in (whole, ablated)]
        found.append(margins[0] - margins[1])
    return np.mean(found)


@pytest.mark.slow
def test_a_part_that_erases_what_an_earlier_one_writes_repairs_its_loss(tmp_path):
    """The MLP of layer 3 takes half of each fact away again, and nothing where there is none."""
    llama = planted_model(1)
    with torch.no_grad():
        mlp = llama.model.layers[3].mlp
        for neuron, fact in enumerate(FACTS):
            mlp.gate_proj.weight[neuron, fact] = 1.0
            mlp.up_proj.weight[neuron, fact] = 1.0
            mlp.down_proj.weight[fact, neuron] = -0.1 - 0.01 * neuron  # no two facts alike
    erasing = wrap(llama, tiny_tokenizer(), name="erasing")
    path = write_planted(tmp_path, kind="letters")
    rows = self_repair(erasing, path, ["mlp:1", "mlp:2"]).effects.set_index("ablation")
    assert rows.loc["mlp:1", "direct"] > 0
    assert rows.loc["mlp:1", "later"] < 0
    assert rows.loc["mlp:1", "repair_low"] > 0
    assert 0 < rows.loc["mlp:1", "repaired"] < 1
    assert rows.loc["mlp:2", "direct"] == pytest.approx(0, abs=1e-5)
    assert np.isnan(rows.loc["mlp:2", "repaired"])
    plain = wrap(planted_model(1), tiny_tokenizer(), name="plain")
    whole = self_repair(plain, path, ["mlp:1"]).effects.iloc[0]
    assert whole["later"] == pytest.approx(0, abs=1e-5)
    found = self_repair(erasing, path, ["mlp:1"])
    (eraser,) = found.changes[found.changes["change"].abs() > 1e-4]["component"]
    assert eraser == "mlp:3"


def test_what_it_cannot_take_apart_is_refused(llama, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=4)
    for ablation in ("layers:0-1", "layer:0+mlp:1", "attn:0@resample"):
        with pytest.raises(UserError, match="one layer, attention, MLP or head"):
            self_repair(llama, path, [ablation])


@pytest.mark.slow
def test_the_scatter_is_drawn(llama, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=4)
    found = self_repair(llama, path, ["mlps", "heads@mean"])
    assert "4 examples" in repr(found)
    figure = draw(found.effects)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Direct effect (logits)"
    assert len(axes.containers) >= 2
    assert models.decoder(llama).n_layers + 12 == len(found.effects)


def test_the_share_repaired_is_fiellers_and_has_none_where_nothing_is_direct():
    rng = np.random.default_rng(0)
    direct = rng.normal([1.0, 0.0], 0.5, size=(80, 2))
    repair = 0.4 * direct + rng.normal(0, 0.1, size=(80, 2))
    values = np.stack([direct, direct - repair, -repair, 0 * repair, repair], axis=2)
    found = effect_intervals(values)
    low, high = found["repaired_low"][0], found["repaired_high"][0]
    assert low < 0.4 < high
    assert high - low < 0.15
    assert np.isnan(found["repaired"][1])
    assert np.isnan(found["norm_low"]).all()  # the same in every example: no interval
