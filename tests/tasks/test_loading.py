"""Tasks: names, paths, rows, and what is refused."""

import json

import pytest
import yaml

import interp
from interp.errors import UserError
from interp.tasks import Task, load_task, shipped_tasks
from interp.tasks.names import PROTOCOLS
from tests.helpers.task_files import write_task, write_task_with_code


@pytest.mark.slow
def test_every_task_of_the_world_loads_with_its_rows():
    names = [
        name for name in shipped_tasks() if name.startswith("world-") and "-forms:" not in name
    ]
    assert len(names) == 9
    assert {name.split(":")[1] for name in names} == set(PROTOCOLS)
    for name in names:
        task = load_task(name)
        assert task.name == name
        assert task.protocol == name.split(":")[1]
        assert task.generates == (task.protocol == "generate")
        assert len(task.documents()) >= 200


def test_few_shot_examples_can_be_asked_for():
    assert load_task("world-facts:default", num_fewshot=3).num_fewshot == 3


def test_a_task_by_the_path_of_its_yaml(tmp_path):
    task = load_task(write_task(tmp_path))
    assert task.name == "tiny-texts"
    assert len(task.documents()) == 12


@pytest.mark.slow
def test_unknown_tasks_name_what_there_is(tmp_path):
    with pytest.raises(UserError, match="task nonsense-of-mine: no such task; allowed are"):
        load_task("nonsense-of-mine")
    with pytest.raises(UserError, match=r"no such task; did you mean world-facts:default"):
        load_task("world-fact:default")
    with pytest.raises(UserError, match=r"did you mean hellaswag:continuation"):
        load_task("helaswag:continuation")
    with pytest.raises(UserError, match="no such file"):
        load_task(str(tmp_path / "nothing.yaml"))


def test_missing_rows_are_named(tmp_path):
    path = write_task(tmp_path)
    (tmp_path / "texts.jsonl").unlink()
    with pytest.raises(UserError, match=r"its rows are missing \(.*texts\.jsonl\)"):
        load_task(path)


def test_a_broken_yaml_is_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("task: [unclosed")
    with pytest.raises(UserError, match="is no task YAML"):
        load_task(path)


def test_python_in_a_yaml_from_elsewhere_is_refused(tmp_path):
    path = write_task(tmp_path)
    path.write_text(path.read_text() + "\nprocess_docs: !function code.run\n")
    (tmp_path / "code.py").write_text("raise SystemExit('this must never run')")
    with pytest.raises(UserError, match="runs Python code"):
        load_task(path)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("task: facts-easy  # my first task", "facts-easy"),
        ("task: my facts", "my facts"),
        ("task: 'facts # 1'", "facts # 1"),
        ("task: &anchor facts", "facts"),
        ('{"task": "facts"}', "facts"),
        ("description: |\n  x\n\n  task: wrong\ntask: right", "right"),
        ("note: 'a\ntask: wrong\n'\ntask: right", "right"),
        ("include: base.yaml", "tiny-texts"),
    ],
)
def test_a_name_is_what_the_parsed_yaml_says(tmp_path, line, name):
    whole = yaml.safe_load(write_task(tmp_path).read_text())
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(whole))
    given = tmp_path / "given.yaml"
    if line.startswith("{"):
        given.write_text(json.dumps(whole | json.loads(line)))
    else:
        whole.pop("task")
        (tmp_path / "rest.yaml").write_text(yaml.safe_dump(whole))
        include = "" if line.startswith("include") else "\ninclude: rest.yaml"
        given.write_text(line.replace("note", "metadata: {version: 1}\ntask_alias") + include)
    assert load_task(given).name == name


@pytest.mark.parametrize("name", ["''", "' '", "5", "null", "[a]"])
def test_a_task_without_a_name_is_refused(tmp_path, name):
    path = write_task(tmp_path)
    path.write_text(path.read_text().replace("task: tiny-texts", f"task: {name}"))
    with pytest.raises(UserError, match="names no single task"):
        load_task(path)
    with pytest.raises(UserError, match="its name is empty"):
        Task("", None)


def test_two_tasks_of_one_name_are_refused(llama, tmp_path):
    """Two files that include the same one without a name of their own."""
    path = write_task(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"include: {path.name}  # {name}\n")
    both = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    with pytest.raises(UserError, match="task tiny-texts: given twice"):
        interp.sweep(llama, both, ["layer:0"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_rows_that_is_not_used_is_said(tmp_path):
    path = write_task(tmp_path)
    with pytest.warns(UserWarning, match=r"its rows come with it; those in .* are not used"):
        load_task(path, data=tmp_path)
    with pytest.warns(UserWarning, match="are not used"):
        load_task("kv-4", data=tmp_path)
    for name in (path, "kv-4", "mmlu"):
        with pytest.raises(UserError, match="no such folder"):
            load_task(name, data=tmp_path / "nothing")


@pytest.mark.parametrize(
    "name", ["humaneval", "rouge_of_mine.yaml", "glue/mrpc.yaml", "truthfulqa_gen"]
)
def test_a_name_that_somebody_else_wrote_leads_to_no_code(tmp_path, monkeypatch, name):
    """`humaneval` asks the library `evaluate`, which prefers the code of the current folder."""
    (tmp_path / "code_eval").mkdir()
    mark = tmp_path / "ran"
    (tmp_path / "code_eval" / "code_eval.py").write_text(f"open({str(mark)!r}, 'w').close()")
    write_task_with_code(tmp_path)[0].rename(tmp_path / "rouge_of_mine.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"runs Python code that is not known|is not followed"):
        load_task(name, trusted_only=True)
    assert not mark.exists()


def test_names_whose_code_is_known_are_found(tmp_path):
    rows = [{"question": "1 + 1?", "answer": "#### 2"}]
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(rows[0]))
    assert load_task("world-facts:generate", trusted_only=True)
    assert load_task("gsm8k", data=tmp_path, num_fewshot=0, trusted_only=True)
    for name in ("hellaswag", "winogrande", "mathqa"):
        with pytest.raises(UserError, match="no rows in"):
            load_task(name, data=tmp_path, trusted_only=True)


@pytest.mark.parametrize("path", [{"a": None}, ["json"], 3, "x" * 300, ""])
def test_a_data_set_without_a_name_is_refused(tmp_path, path):
    file = write_task(tmp_path)
    config = yaml.safe_load(file.read_text()) | {"dataset_path": path}
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"dataset_path .* is no name of a data set"):
        load_task(file)
