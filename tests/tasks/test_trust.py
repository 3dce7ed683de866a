"""What comes from strangers: pickles, code, names that lead elsewhere. Refused, in one line."""

import json
import pickle
import resource
import signal
import threading
from pathlib import Path

import pytest
import torch
import yaml

import interp
from interp.cli import main
from interp.errors import UserError
from interp.tasks import harness_folder, load_task, refuse_code_below, templates
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task


class Exploit:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.pth", "x.ckpt"])
def test_pickled_weights_are_not_opened(folder, tmp_path, name):
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "ran"
    (folder / name).write_bytes(pickle.dumps(Exploit(mark)))
    with pytest.raises(UserError, match=r"only pickles .*allow_pickle=True") as caught:
        interp.load_model(folder)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_pickle_beside_safetensors_is_not_opened(folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploit(mark)))
    interp.load_model(folder, device="cpu")
    assert not mark.exists()


def test_code_that_comes_with_a_model_is_not_run(folder, tmp_path):
    mark = tmp_path / "ran"
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoModelForCausalLM": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    with pytest.raises(UserError, match="trust_remote_code=True"):
        interp.load_model(folder)
    assert not mark.exists()


@pytest.mark.parametrize("trick", ["../../outside.safetensors", "/etc/hostname"])
def test_an_index_that_leads_out_of_the_folder_is_refused(folder, tmp_path, trick):
    (folder / "model.safetensors").rename(tmp_path.parent / "outside.safetensors")
    weights = {name: trick for name, _ in tiny_model("llama").named_parameters()}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weights})
    )
    (folder / "decoy.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json names .*; allowed are"):
        interp.load_model(folder)


def test_a_task_that_runs_python_needs_a_flag(tmp_path):
    path, mark = write_task(tmp_path), tmp_path / "ran"
    (tmp_path / "theirs.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\ndef f(x): return x\n"
    )
    with path.open("a") as file:
        file.write("process_docs: !function theirs.f\n")
    with pytest.raises(UserError, match="runs Python code"):
        load_task(path)
    included = tmp_path / "outer.yaml"
    included.write_text(f"include: {path.name}\ntask: outer\n")
    with pytest.raises(UserError, match="runs Python code"):
        load_task(included)
    assert not mark.exists()
    load_task(path, allow_code=True)
    assert mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        "process_docs: !function theirs.f",
        "process_docs: !<!function> theirs.f",
        "process_docs: !func%74ion theirs.f",
        "metadata: {version: 1.0, deep: [{x: !function theirs.f}]}",
        '"class": !function theirs.C',
        "include: 'inner.yaml'",
        "include: [inner.yaml]",
        '"include": inner.yaml',
        "metric_list: [{metric: ./theirs.py}]",
        "metric_list: [{metric: acc, hf_evaluate: true}]",
    ],
)
def test_every_way_to_name_python_is_refused(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    path, mark = write_task(tmp_path), tmp_path / "ran"
    config = path.read_text()
    if line.startswith("metric"):
        loaded = yaml.safe_load(config)
        del loaded["metric_list"]
        config = yaml.safe_dump(loaded)
    path.write_text(f"{config}{line}\n")
    (tmp_path / "inner.yaml").write_text("process_docs: !function theirs.f\n")
    (tmp_path / "theirs.py").write_text(
        f"open({str(mark)!r}, 'w').close()\ndef f(x): return x\nC = 1\n"
    )
    with pytest.raises(UserError, match="runs Python code"):
        load_task(path)
    assert not mark.exists()


def test_a_yaml_that_leads_back_to_itself_is_one_line(tmp_path):
    path = write_task(tmp_path)
    with path.open("a") as file:
        file.write(f"include: {path.name}\ndeep: &a [*a]\n")
    with pytest.raises(UserError, match="is no task YAML") as caught:
        load_task(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ question['__cl' ~ 'ass__'].__mro__ }}",
        "{{ (question|attr('__class__')).__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_templates_do_not_reach_python(llama, tmp_path, template):
    path = write_task(tmp_path)
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"doc_to_text": template}))
    with pytest.raises(UserError, match=r"cannot be (used|asked)|lack something"):
        interp.sweep(llama, str(path), ["layer:0"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_in_a_store_do_not_lead_out_of_it(llama, tmp_path):
    path = write_task(tmp_path)
    path.write_text(path.read_text().replace("task: tiny-texts", "task: ../../../escape"))
    run = interp.sweep(llama, [str(path)], ["layer:0"], out=tmp_path / "a" / "run", limit=2)
    (shard,) = (run.folder / "units").iterdir()
    assert shard.name == "00----------escape-0000-000.parquet"
    assert not list(tmp_path.parent.glob("*escape*"))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "content",
    [
        "task: x\nprocess_docs: !function evil.f\ninclude: missing.yaml\n",
        "- !function evil.f\n",
        "task: x\n---\nprocess_docs: !function evil.f\n",
        "? !function evil.f\n: 1\n",
        "task: [unclosed\nprocess_docs: !function evil.f\n",
        "include: missing.yaml\n",
    ],
)
@pytest.mark.parametrize("name", ["a.yaml", "deep/a.yaml"])
def test_a_folder_of_tasks_runs_nothing_and_hides_nothing(tmp_path, content, name):
    """What our reading cannot make sense of, the harness' own reading might run."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(x): return x\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "evil.py").write_text((tmp_path / "evil.py").read_text())
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"runs Python code|is no task YAML") as caught:
        refuse_code_below(tmp_path, (harness_folder(),))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_the_command_line_of_the_harness_has_the_same_door(tmp_path, capsys):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(x): return x\n")
    (tmp_path / "a.yaml").write_text(
        "task: x\nprocess_docs: !function evil.f\ninclude: missing.yaml\n"
    )
    command = ["harness", "run", "--model", "interp", "--model_args", "pretrained=organism:base"]
    assert main([*command, "--tasks", str(tmp_path)]) == 2
    assert "runs Python code (!function)" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("dataset_path: text", "reads files of any kind as rows"),
        ("dataset_path: pandas", "reads files of any kind as rows"),
        ("dataset_path: /etc", "reads files of any kind as rows"),
        ("dataset_kwargs: {cache_dir: DIR}", r"where files are kept \(dataset_kwargs: cache_dir"),
        ("dataset_kwargs: {data_files: {test: /etc/passwd}}", "reads rows from /etc/passwd"),
        ("dataset_kwargs: {data_files: [a.csv, b.pem.gz]}", "reads rows from b.pem.gz"),
    ],
)
def test_a_yaml_from_elsewhere_reads_files_of_rows_only(tmp_path, line, reason):
    path = write_task(tmp_path)
    config = yaml.safe_load(path.read_text()) | yaml.safe_load(line)
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=f"{reason}.* or with --allow-code"):
        load_task(path)


def test_a_yaml_that_grows_when_it_is_read_is_refused(tmp_path):
    path = write_task(tmp_path)
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    indented = "".join(f"  {line}\n" for line in lines)
    path.write_text(path.read_text().replace("metadata:\n", f"metadata:\n{indented}"))
    with pytest.raises(UserError, match="holds more than 100,000 values"):
        load_task(path)


def test_threads_leave_the_limit_of_memory_as_it_was():
    inside, leave = threading.Barrier(2), threading.Barrier(2)

    def render():
        with templates.bounded():
            inside.wait(10)
            leave.wait(10)

    other = threading.Thread(target=render)
    with templates.bounded():
        other.start()
        inside.wait(10)
    leave.wait(10)
    other.join(10)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 'x'|center(100000000) }}", "a template writes 100,000,000 characters"),
        ("{{ 'x'|center(10000000000) }}", "more than 4 GiB of memory"),
        ("{{ 'x'.ljust(10000000000) }}", "more than 4 GiB of memory"),
        ("{{ '%10000000000d' % 1 }}", "more than 4 GiB of memory"),
        ("{{ [1, 2]|random }}", "No filter named 'random'"),
        ("{{ 2**1000000000 }}", "asks for the power"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "more than",
        ),
        ("{{ ('a'*40 ~ 'b')|regex_replace('(a+)+$', '') }}", "more than"),
    ],
)
def test_templates_have_a_bound(tmp_path, monkeypatch, template, reason):
    monkeypatch.setattr(templates, "SECONDS", 1.0)
    path = write_task(tmp_path)
    config = yaml.safe_load(path.read_text()) | {"doc_to_text": template}
    path.write_text(yaml.safe_dump(config))
    handler = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(UserError, match=reason) as caught:
        load_task(path)
    assert "\n" not in str(caught.value)
    assert signal.getsignal(signal.SIGVTALRM) is handler
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
