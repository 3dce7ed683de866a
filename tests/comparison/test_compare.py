"""Comparing models: one run each on the same examples, swaps between them, their weights."""

import inspect

import numpy as np
import pytest
import torch
import transformers as hf
import yaml
from pandas.testing import assert_frame_equal

import interp
from interp.cli import main
from interp.comparison import robustness
from interp.comparison.result import comparison_of
from interp.comparison.running import open_comparison
from interp.comparison.swaps import ends_line, swap_curves, swap_sweep
from interp.comparison.weights import distance_and_effect, layer_distances, weight_distances
from interp.errors import UserError
from interp.figures import comparison as figures
from interp.models import decoder, wrap
from interp.results import choose_metric
from interp.sweeps import sweep
from tests.helpers.families import N_LAYERS, tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task


def test_a_comparison_takes_tasks_and_ablations_as_a_sweep_does():
    swept, compared = (inspect.signature(one).parameters for one in (interp.sweep, interp.compare))
    assert [*compared][:3] == ["models", *[*swept][1:3]]
    assert {compared[name].kind for name in ("tasks", "ablations")} == {
        swept[name].kind for name in ("tasks", "ablations")
    }


@pytest.fixture(scope="module")
def other():
    return tiny_bridge("llama", seed=1)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return str(write_task(tmp_path_factory.mktemp("task"), rows=16))


@pytest.fixture(scope="module")
def found(llama, other, task, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    return interp.compare(
        {"one": llama, "other": other}, [task], ablations=["layers", "cumulative"],
        out=out, limit=12,
    )  # fmt: skip


@pytest.fixture(scope="module")
def swaps(llama, other, task, tmp_path_factory):
    return swap_sweep(llama, other, [task], out=tmp_path_factory.mktemp("swaps"), limit=12)


@pytest.mark.slow
def test_one_run_a_model_on_the_same_examples(found):
    values = found.values()
    docs = values.groupby("model")["doc_id"].unique()
    assert set(docs.index) == {"one", "other"}
    assert sorted(docs["one"]) == sorted(docs["other"])
    assert set(found.importance()["model"]) == {"one", "other"}
    differences = found.differences()
    assert (differences.groupby("metric").size() == 5).all()  # three layers, two that go together
    assert (found.correlations()["n_ablations"] == N_LAYERS).all()
    assert set(found.centres()["quantity"]) == {"centre", "spread"}
    assert (found.shifts()["n"] == 12).all()
    assert found.robustness()["n_removed"].unique().tolist() == [3]
    components = found.components(metric="acc").set_index("ablation")
    means = found.importance(metric="acc").groupby("ablation")["drop"].mean()
    assert components.loc["layer:1", "value"] == pytest.approx(means["layer:1"])
    assert components["n_variants"].unique().tolist() == [2]
    assert repr(found) == (
        "Comparison(one (3 layers, float32), other (3 layers, float32); tiny-texts)"
    )


@pytest.mark.slow
def test_it_is_computed_in_parts_and_cut_as_a_sweep_is(found, llama, other, task, tmp_path):
    models, options = {"one": llama, "other": other}, {"limit": 12, "unit_examples": 5}
    for part in ("2/2", "1/2"):
        assert not (tmp_path / "comparison.json").exists()
        interp.compare(models, task, ablations="layers", out=tmp_path, shard=part, **options)
    whole = interp.compare(models, task, ablations="layers", out=tmp_path, **options)
    assert [len(run.manifest.units) for run in whole.sweeps.values()] == [3, 3]
    expected = found.values()
    expected = expected[expected["ablation"].isin(whole.values()["ablation"])]
    columns = list(expected)
    assert_frame_equal(
        whole.values().sort_values(columns).reset_index(drop=True),
        expected.sort_values(columns).reset_index(drop=True),
    )


def test_every_option_of_a_sweep_is_one_of_a_comparison():
    options = inspect.signature(interp.sweep).parameters.keys() - {"model", "donor"}
    assert options <= inspect.signature(interp.compare).parameters.keys() | {"model"}
    shared = ("unit_examples", "unit_ablations", "chat_template", "shard", "token_budget")
    for name in shared:
        asked = inspect.signature(interp.compare).parameters[name]
        assert asked.default == inspect.signature(interp.sweep).parameters[name].default


@pytest.mark.slow
def test_it_opens_again_without_the_models(found):
    again = open_comparison(found.sweeps["one"].folder.parent)
    assert again.differences().equals(found.differences())
    assert again.n_layers == found.n_layers
    with pytest.raises(UserError, match=r"no comparison\.json there"):
        open_comparison(found.sweeps["one"].folder)


@pytest.mark.slow
def test_where_less_is_better_a_drop_is_damage_in_every_table(llama, other, tmp_path):
    path = write_task(tmp_path, rows=40, seed=2)
    config = yaml.safe_load(path.read_text())
    path.write_text(
        yaml.safe_dump(config | {"metric_list": [{"metric": "acc", "higher_is_better": False}]})
    )
    both = interp.compare(
        {"one": llama, "other": other}, [str(path)], ["layers", "cumulative"], out=tmp_path / "out"
    )
    right = both.sweeps["one"].importance(metric="acc").set_index("ablation")
    scores = both.sweeps["one"].scores().query("metric == 'acc'").set_index("ablation")["value"]
    assert right["drop"].abs().max() > 0
    for layer in right.index:
        assert right.loc[layer, "drop"] == pytest.approx(scores[layer] - scores["baseline"])
    found = both.differences().query("metric == 'acc'").set_index("ablation")
    assert found["drop_a"].to_dict() == pytest.approx(right["drop"].to_dict())
    assert both.gains().query("metric == 'acc'")["value"].isin([0, 1]).all()
    values = both.values().query("metric == 'acc'")
    turned = values.assign(value=1 - values["value"])
    left = both.robustness(resamples=100).query("metric == 'acc'").reset_index(drop=True)
    assert_frame_equal(left, robustness(turned, both.n_layers, resamples=100, seed=both.seed))
    assert not left["area"].equals(robustness(values, both.n_layers, resamples=100)["area"])


@pytest.mark.slow
def test_runs_of_other_examples_are_refused(found, llama, task, tmp_path):
    fewer = sweep(llama, [task], ["layer:0"], out=tmp_path / "fewer", limit=8)
    with pytest.raises(UserError, match=r"asked different examples \(doc_ids\)"):
        comparison_of({"a": found.sweeps["one"], "b": fewer}, {"a": 3, "b": 3})
    elsewhere = str(write_task(tmp_path, kind="letters"))
    run = sweep(llama, [elsewhere], ["layer:0"], out=tmp_path / "elsewhere", limit=8)
    with pytest.raises(UserError, match="the run of b does not have it"):
        comparison_of({"a": found.sweeps["one"], "b": run}, {"a": 3, "b": 3})


@pytest.mark.parametrize(
    ("models", "ablations", "message"),
    [
        ({"one": "organism:base"}, "layers", "at least two are compared"),
        ({"one/two": "organism:base", "b": "organism:base"}, "layers", "it names a folder"),
        ({"one": "organism:none", "b": "organism:base"}, "layers", "shipped organisms are"),
        ({"one": None, "b": None}, "swaps", "a swap needs a donor"),
        ({"one": None, "b": None}, "layer:9", "layer 9: the model has layers 0-2"),
    ],
)
def test_bad_requests_write_nothing(llama, task, tmp_path, models, ablations, message):
    models = {name: given or llama for name, given in models.items()}
    with pytest.raises(UserError, match=message):
        interp.compare(models, [task], ablations=ablations, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_swap_curves_hold_every_step_with_its_score(swaps, llama):
    table = swap_curves(swaps, recipient="one")
    assert set(table["part"]) == {"layer", "attention", "mlp"}
    metrics = set(swaps.importance()["metric"])
    for (_, curve, metric), rows in table.groupby(["part", "curve", "metric"]):
        steps = rows["n_swapped"].tolist()
        assert steps == ([0, 1, 1, 1] if curve == "single" else [0, 1, 2, 3])
        assert metric in metrics
        if curve == "down":
            assert rows["first"].tolist()[1:] == [2, 1, 0]
    scores = swaps.scores().set_index(["ablation", "metric"])["value"]
    for row in table.to_dict("records"):
        assert row["value"] == scores[row["ablation"], row["metric"]]
        if row["n_swapped"]:
            assert row["drop"] == pytest.approx(scores["baseline", row["metric"]] - row["value"])
    assert (table["recipient"] == "one").all()


def test_runs_without_swaps_have_no_curves(found):
    with pytest.raises(UserError, match="swaps from one donor are needed; it has none"):
        swap_curves(found.sweeps["one"])


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_distances_are_those_of_the_matrices(family):
    distances = weight_distances(tiny_bridge(family), tiny_bridge(family, seed=1))
    state, its = (tiny_model(family, seed=seed).state_dict() for seed in (0, 1))
    keys = [k for k in state if ".1." in k and k.endswith(("weight", "proj"))]
    for row in distances[distances["layer"] == 1].to_dict("records"):
        name = next((k for k in keys if row["matrix"] in k), None)
        if name is None:
            continue  # biases
        mine, change = state[name].double().numpy(), (its[name] - state[name]).double().numpy()
        assert row["norm"] == pytest.approx(np.linalg.norm(mine), rel=1e-5)
        whole = np.linalg.norm(change) / np.linalg.norm(mine)
        assert row["frobenius"] == pytest.approx(whole, rel=1e-5)
        if mine.ndim > 1:
            spectral = np.linalg.svd(change, compute_uv=False).max()
            spectral /= np.linalg.svd(mine, compute_uv=False).max()
            assert row["spectral"] == pytest.approx(spectral, rel=1e-4)
    assert len(distances) == N_LAYERS * len(
        list(decoder(tiny_bridge(family)).blocks[0].parameters())
    )
    layers = layer_distances(distances)
    whole = layers[layers["part"] == "layer"].set_index("layer")["frobenius"]
    one = distances[distances["layer"] == 2]
    assert whole[2] == pytest.approx(
        np.sqrt((one["change"] ** 2).sum()) / np.sqrt((one["norm"] ** 2).sum())
    )


def test_only_what_moved_is_far():
    moved = tiny_model("llama")
    with torch.no_grad():
        moved.model.layers[1].mlp.down_proj.weight.mul_(1.5)
    table = weight_distances(tiny_bridge("llama"), wrap(moved, tiny_tokenizer(), name="moved"))
    far = table[table["frobenius"] > 0]
    assert far[["layer", "matrix", "part"]].to_numpy().tolist() == [[1, "mlp.down_proj", "mlp"]]
    assert far[["frobenius", "spectral"]].to_numpy().tolist() == [[pytest.approx(0.5)] * 2]


def test_models_of_different_depth_are_not_compared_weight_by_weight(llama):
    short = wrap(
        hf.LlamaForCausalLM(hf.LlamaConfig(**{**llama_config(), "num_hidden_layers": 2})).eval(),
        tiny_tokenizer(),
        name="short",
    )
    with pytest.raises(UserError, match="tiny-llama has 3 layers, short 2"):
        weight_distances(llama, short)


def llama_config():
    config = tiny_model("llama").config.to_dict()
    return {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size",
                                   "num_attention_heads", "num_key_value_heads")}  # fmt: skip


def test_the_line_on_the_ends_names_both_and_their_distance(llama, other):
    line = ends_line(llama, other)
    assert "swaps:0-2 of tiny-llama is the layers of tiny-llama between" in line
    models = (llama, other)
    mine, its = (decoder(m).root.get_input_embeddings().weight.detach() for m in models)
    expected = 100 * float((its - mine).norm() / mine.norm())
    assert f"embedding {expected:.3g}%" in line
    assert "unembedding" in line.partition("of these:")[2]


@pytest.mark.slow
def test_distance_beside_effect_and_all_figures(found, swaps, llama, other):
    layers = layer_distances(weight_distances(llama, other))
    values = choose_metric(swaps.values())
    table, points = distance_and_effect(layers, values, seed=3)
    assert set(table["measure"]) == {"Frobenius distance", "spectral distance"}
    assert (table["n_layers"] == N_LAYERS).all()
    assert points["layer"].tolist() == 2 * [0, 1, 2]
    curves = swap_curves(swaps)
    for figure in (
        figures.profiles(found.importance(), found.n_layers),
        figures.differences(found.differences()),
        figures.swap_curves(curves),
        figures.weights(layers, choose_metric(curves), table),
    ):
        assert "n = 12 examples" in figure.footnote
        assert "95%" in figure.footnote
        assert len(figure.data)


@pytest.mark.slow
def test_the_command_writes_tables_and_figures(tmp_path, task, capsys):
    folders = []
    for name, seed in (("host", 0), ("donor", 1)):
        folder = tmp_path / name
        tiny_model("llama", seed=seed).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        folders.append(str(folder))
    out = tmp_path / "out"
    command = ["compare", *folders, "--tasks", task, "--limit", "6", "--out", str(out)]
    assert main([*command, "--dry-run", "--swaps"]) == 0
    assert "baseline and 21 ablations of 6 examples" in capsys.readouterr().out
    assert not out.exists()
    assert main([*command, "--ablate", "layers", "cumulative", "--swaps", "--weights"]) == 0
    said = capsys.readouterr().out
    assert "swaps:0-2 of host is the layers of donor between the embedding" in said
    for name in ("importance", "differences", "correlations", "centres", "robustness", "swaps",
                 "weights", "weights-and-swaps"):  # fmt: skip
        assert (out / f"{name}.csv").is_file(), name
    for name in ("profiles", "differences", "swaps-tiny-texts", "weights-tiny-texts"):
        assert (out / "figures" / f"{name}.pdf").is_file(), name
    assert main([*command[:2], *command[3:]]) == 2
    assert "at least two are compared" in capsys.readouterr().err
    assert main([*command, "--ablate", "swaps"]) == 2
    assert "models are swapped with each other by --swaps" in capsys.readouterr().err


def test_another_run_of_the_second_model_is_found_before_the_first_is_run(
    llama, other, task, tmp_path
):
    sweep(other, task, ["layer:0"], limit=2, seed=1, out=tmp_path / "other")
    with pytest.raises(UserError, match=r"other: .*seed 1 there, 0 asked"):
        interp.compare({"one": llama, "other": other}, task, "layers", limit=2, out=tmp_path)
    assert not (tmp_path / "one").exists()


def test_a_model_more_with_fewer_examples_is_refused_before_it_is_run(llama, other, task, tmp_path):
    two = {"one": llama, "other": other}
    interp.compare(two, task, ["layer:0"], limit=3, out=tmp_path)
    with pytest.raises(UserError, match=r"one would hold 3 examples of .* and third 2; ask for"):
        interp.compare(two | {"third": llama}, task, ["layer:0"], limit=2, out=tmp_path)
    assert not (tmp_path / "third").exists()
    assert len(interp.open_run(tmp_path).sweeps) == 2
