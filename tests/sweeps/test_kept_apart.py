"""What decides an answer is in a run's identity: changed, it is refused, and said in words."""

import copy
import importlib
import sys

import pytest
import torch
from torch import nn

import interp
from interp.errors import UserError
from interp.models import decoder, wrap
from interp.sweeps import make_plan
from interp.tasks import as_chat
from tests.helpers.families import tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task


@pytest.fixture
def llama():
    """A model of its own: these tests change it."""
    return wrap(tiny_model("llama"), copy.deepcopy(tiny_tokenizer()), name="tiny-llama")


def planned(model, task, ablations=("layer:0",)):
    return make_plan(model, [task], ablations, limit=4).manifest


def changed(before, after) -> set[str]:
    """Entries of the identity in which two manifests differ."""
    one, other = before.identity(), after.identity()
    found = {name for name in one if one[name] != other[name]}
    if "tasks" in found:
        one, other = one["tasks"][0], other["tasks"][0]
        found |= {f"task {name}" for name in one if one[name] != other.get(name)}
        found.remove("tasks")
    return found


@pytest.mark.slow
def test_nothing_changes_by_itself(llama, tmp_path):
    task = str(write_task(tmp_path))
    before = planned(llama, task)
    interp.sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=4)
    assert changed(before, planned(llama, task)) == set()
    other = tiny_bridge("llama")
    assert changed(before, planned(other, task)) == set()


def test_end_tokens_are_part_of_the_model(llama, tmp_path):
    task = str(write_task(tmp_path, kind="generate"))
    before = planned(llama, task)
    decoder(llama).root.generation_config.eos_token_id = [2, 60]
    assert changed(before, planned(llama, task)) == {"config_sha256"}


def test_buffers_are_part_of_the_weights(llama, tmp_path):
    task, root = str(write_task(tmp_path)), decoder(llama).root
    root.register_buffer("balance", torch.zeros(3))
    root.register_buffer("made_anew", torch.zeros(3), persistent=False)
    before = planned(llama, task)
    root.made_anew += 1
    assert changed(before, planned(llama, task)) == set()
    root.balance[1] = 1
    assert changed(before, planned(llama, task)) == {"weights_sha256"}


def test_numbers_that_a_module_keeps_are_part_of_its_configuration(llama, tmp_path):
    task = str(write_task(tmp_path))
    before = planned(llama, task)
    norm = next(m for m in decoder(llama).root.modules() if hasattr(m, "variance_epsilon"))
    norm.variance_epsilon = 0.5
    assert changed(before, planned(llama, task)) == {"config_sha256"}


def test_a_tokenizer_that_reads_or_writes_otherwise_is_another(llama, tmp_path):
    task, tokenizer = str(write_task(tmp_path)), decoder(llama).tokenizer
    before = planned(llama, task)
    tokenizer.clean_up_tokenization_spaces = not tokenizer.clean_up_tokenization_spaces
    assert "tokenizer_sha256" in changed(before, planned(llama, task))


def test_code_that_comes_with_a_model_is_part_of_it(llama, tmp_path, monkeypatch):
    task, root = str(write_task(tmp_path)), decoder(llama).root
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = root.model.norm

    def norm_of(factor: int) -> nn.Module:
        (tmp_path / "their_norm.py").write_text(
            "import torch\n\nclass Norm(torch.nn.Module):\n"
            "    def __init__(self, inner):\n        super().__init__()\n"
            "        self.inner = inner\n"
            f"    def forward(self, x):\n        return self.inner(x) * {factor}\n"
        )
        sys.modules.pop("their_norm", None)
        importlib.invalidate_caches()
        return importlib.import_module("their_norm").Norm(kept)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert planned(llama, task).code_sha256 == ""
    root.model.norm = norm_of(1)
    before = planned(llama, task)
    root.model.norm = norm_of(1)
    assert changed(before, planned(llama, task)) == set()
    root.model.norm = norm_of(2)
    assert changed(before, planned(llama, task)) == {"code_sha256"}


@pytest.mark.slow
def test_a_changed_hook_is_refused_by_its_name(llama, tmp_path):
    task, out = str(write_task(tmp_path)), tmp_path / "run"

    def probe(factor: float):
        return interp.hooked(
            "probe", [("blocks.0.hook_mlp_out", lambda value, hook: value * factor)]
        )

    run = interp.sweep(llama, [task], [probe(1.0)], out=out, limit=4)
    again = interp.sweep(llama, [task], [probe(1.0)], out=out, limit=4)
    assert again.responses().equals(run.responses())
    with pytest.raises(UserError, match=r"hook:probe: the code of its hooks, or a value they use"):
        interp.sweep(llama, [task], [probe(0.0)], out=out, limit=4)
    both = [probe(1.0), interp.SkipLayer(0) + probe(0.0)]
    with pytest.raises(UserError, match="hook:probe: two different hooks have this name"):
        interp.sweep(llama, [task], both, out=tmp_path / "other", limit=4)


def test_a_function_that_a_function_of_a_task_calls_is_part_of_it(llama, tmp_path):
    path = write_task(tmp_path)
    path.write_text(
        path.read_text().replace("doc_to_text: ", "doc_to_text: !function named.asked\nold: ", 1)
    )
    lines = [line for line in path.read_text().splitlines() if not line.startswith("old:")]
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "named.py").write_text(
        "import called\n\ndef asked(doc):\n    return called.text(doc)\n"
    )

    def task():
        for name in [n for n, m in sys.modules.items()
                     if str(getattr(m, "__file__", "")).startswith(str(tmp_path))]:  # fmt: skip
            del sys.modules[name]
        importlib.invalidate_caches()
        return interp.load_task(path, allow_code=True)

    sys.path.insert(0, str(tmp_path))
    sys.dont_write_bytecode = True
    try:
        (tmp_path / "called.py").write_text("def text(doc):\n    return doc['question']\n")
        before = planned(llama, task())
        assert changed(before, planned(llama, task())) == set()
        (tmp_path / "called.py").write_text("def text(doc):\n    return 'w9 ' + doc['question']\n")
        assert "task code_sha256" in changed(before, planned(llama, task()))
    finally:
        sys.path.remove(str(tmp_path))
        sys.dont_write_bytecode = False


def test_a_changed_chat_template_changes_what_is_asked(llama, tmp_path, monkeypatch):
    task = interp.load_task(write_task(tmp_path, kind="generate"))
    found = []
    for template in ("{{ messages[0].content }}", "w9 {{ messages[0].content }}"):
        monkeypatch.setattr(decoder(llama).tokenizer, "chat_template", template)
        found.append(planned(llama, as_chat(task, llama)))
    assert "task requests_sha256" in changed(*found)


@pytest.mark.slow
def test_runs_of_other_requests_do_not_merge(llama, tmp_path):
    from interp.records import merge

    task = str(write_task(tmp_path, kind="generate"))
    asked = {"limit": 4, "unit_examples": 2}
    interp.sweep(llama, [task], ["layer:0"], out=tmp_path / "a", shard="1/2", **asked)
    decoder(llama).root.generation_config.eos_token_id = [2, 60]
    interp.sweep(llama, [task], ["layer:0"], out=tmp_path / "b", shard="2/2", **asked)
    with pytest.raises(UserError, match="end tokens are others"):
        merge(tmp_path / "a", [tmp_path / "b"])
    with pytest.raises(UserError, match="end tokens are others"):
        interp.sweep(llama, [task], ["layer:0"], out=tmp_path / "a", **asked)


@pytest.mark.slow
def test_a_refusal_says_what_was_asked_and_lists_nothing(tmp_path):
    model, task = tiny_bridge("llama"), str(write_task(tmp_path))
    out = tmp_path / "run"
    interp.sweep(model, [task], ["layer:0"], out=out, limit=4)
    for options, ablations, said in [
        (
            {"limit": 8},
            ["layer:1"],
            "(it holds what is not asked, ablations: layer:0, and lacks "
            "ablations: layer:1, 4 examples of tiny-texts there, 8 asked; a run is extended by",
        ),
        ({"limit": 8, "seed": 3}, ["layer:0"], "(seed 0 there, 3 asked)"),
    ]:
        with pytest.raises(UserError) as caught:
            interp.sweep(model, [task], ablations, out=out, **options)
        assert said in str(caught.value)
