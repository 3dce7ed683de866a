"""The tuned lens: better than the plain one, saved whole, and tied to its model."""

import errno
import inspect
import json

import pytest
import torch

from interp.errors import UserError
from interp.lens import (
    TunedLens,
    held_out_table,
    load_tuned_lens,
    logit_lens,
    prompt_grid,
    train_tuned_lens,
)
from interp.lens.residual_stream import residual_stack
from interp.lens.training import Training
from interp.lens.tuned import translated
from interp.models import decoder
from tests.helpers.families import random_tokens, tiny_bridge
from tests.helpers.task_files import write_task

TEXTS = [" ".join(f"w{t}" for t in random_tokens(1, 20, seed=s)[0].tolist()) for s in range(60)]
TRAINING = Training(steps=60, learning_rate=3e-3, sublayers=True)


@pytest.fixture(scope="module")
def tuned(llama):
    before = {n: p.clone() for n, p in llama.named_parameters()}
    lens = train_tuned_lens(llama, TEXTS, source="random words", training=TRAINING)
    for name, parameter in llama.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
    return lens


@pytest.mark.slow
def test_it_beats_the_plain_lens_at_every_depth_but_the_last(tuned):
    rows = held_out_table(tuned.card).to_dict("records")
    assert len(rows) == 7
    for row in rows[:-1]:
        assert row["tuned"] < 0.97 * row["plain"]
    assert rows[-1]["tuned"] == pytest.approx(rows[-1]["plain"], abs=1e-6)


@pytest.mark.slow
def test_training_is_a_function_of_its_seed(llama, tuned):
    again = train_tuned_lens(llama, TEXTS, source="random words", training=TRAINING)
    torch.testing.assert_close(again.matrices, tuned.matrices, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_it_is_saved_with_its_card(tuned, tmp_path):
    tuned.save(tmp_path / "lens")
    back = load_tuned_lens(tmp_path / "lens")
    assert torch.equal(back.matrices, tuned.matrices)
    assert back.card == json.loads(json.dumps(tuned.card))
    card = (tmp_path / "lens" / "README.md").read_text()
    assert "random words" in card
    assert f"| {tuned.card['held_out_kl_plain'][0]:.4f} |" in card
    with pytest.raises(UserError, match="not empty"):
        tuned.save(tmp_path / "lens")
    with pytest.raises(UserError, match="no tuned-lens"):
        load_tuned_lens(tmp_path)
    (tmp_path / "lens" / "tuned-lens.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        load_tuned_lens(tmp_path / "lens")


def test_on_a_full_disk_no_half_of_it_is_left(tuned, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        tuned.save(tmp_path / "lens")
    assert not list((tmp_path / "lens").iterdir())


def test_the_maps_are_affine_and_leave_the_last_depth():
    stack = torch.randn(3, 5, 8)
    matrices, biases = torch.randn(2, 8, 8), torch.randn(2, 8)
    found = translated(matrices, biases)(stack)
    assert torch.equal(found[2], stack[2])
    for depth in (0, 1):
        for vector in range(5):
            h = stack[depth, vector]
            expected = h + matrices[depth] @ h + biases[depth]
            torch.testing.assert_close(found[depth, vector], expected, atol=1e-5, rtol=1e-5)


def test_it_reads_tasks_and_prompts(llama, tuned, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=8)
    plain = logit_lens(llama, path)
    found = logit_lens(llama, path, tuned=tuned)
    assert found.kind == "tuned lens"
    for lens in (plain, found):
        assert len(lens.depths) == 7
    kl = [x.table().query("quantity == 'kl'")["value"].to_numpy() for x in (plain, found)]
    assert (kl[1][:-1] < kl[0][:-1]).all()
    # the maps of layers alone, where depths behind attentions are not read
    layers = logit_lens(llama, path, tuned=tuned, sublayers=False).table()
    every = found.table()
    both = every[every["after"] != "attention"]["value"].to_numpy()
    torch.testing.assert_close(torch.tensor(layers["value"].to_numpy()), torch.tensor(both))
    end = prompt_grid(llama, "w5 w6", tuned=tuned).query("depth == 3")
    assert (
        end["top_id"].tolist() == prompt_grid(llama, "w5 w6").query("depth == 3")["top_id"].tolist()
    )


def test_it_is_refused_where_it_does_not_belong(llama, tuned, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=2)
    with pytest.raises(UserError, match="trained for other weights"):
        logit_lens(tiny_bridge("llama", seed=1), path, tuned=tuned)
    with pytest.raises(UserError, match="needs 5 and more"):
        train_tuned_lens(llama, TEXTS[:3], source="too little")
    broken = tiny_bridge("llama", seed=7)
    decoder(broken).root.get_parameter("model.layers.1.mlp.down_proj.weight").data[0, 0] = torch.nan
    with pytest.raises(UserError, match="what its lens predicts is not finite"):
        train_tuned_lens(broken, TEXTS, source="words", training=Training(steps=1))
    layers_only = TunedLens(tuned.matrices[::2], tuned.biases[::2], False, tuned.card)
    with pytest.raises(UserError, match="layers only"):
        layers_only.translator(llama, sublayers=True)
    lens = logit_lens(llama, path, tuned=layers_only)
    assert len(lens.depths) == 4
    assert residual_stack(llama, [[5, 6]], [(0, 1)], sublayers=False).shape == (4, 1, 32)


@pytest.mark.parametrize(
    "option",
    [{"steps": 0}, {"rows": 1.5}, {"vectors": "8"}, {"row_tokens": 1}, {"learning_rate": 0},
     {"learning_rate": float("nan")}, {"sublayers": "no"}, {"seed": -1}, {"seed": 2**64}],
)  # fmt: skip
def test_the_options_of_a_training_check_themselves(option):
    (name,) = option
    with pytest.raises(UserError, match=f"^{name} .*: allowed"):
        inspect.unwrap(Training.__init__)(object.__new__(Training), **option)
