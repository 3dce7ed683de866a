"""Tasks: names, paths, rows, and what is refused."""

import pytest

from interp.errors import UserError
from interp.tasks import load_task, shipped_tasks
from interp.tasks.names import PROTOCOLS
from tests.helpers.task_files import write_task


def test_every_task_of_the_world_loads_with_its_rows():
    names = [name for name in shipped_tasks() if name.startswith("world-")]
    assert len(names) == 9
    assert {name.split(":")[1] for name in names} == set(PROTOCOLS)
    for name in names:
        task = load_task(name)
        assert task.name == name
        assert task.protocol == name.split(":")[1]
        assert task.generates == (task.protocol == "generate")
        assert len(task.documents()) >= 200


def test_worked_examples_can_be_asked_for():
    assert load_task("world-facts:default", num_fewshot=3).num_fewshot == 3


def test_a_task_by_the_path_of_its_yaml(tmp_path):
    task = load_task(write_task(tmp_path))
    assert task.name == "tiny-texts"
    assert len(task.documents()) == 12


def test_unknown_tasks_name_what_there_is(tmp_path):
    with pytest.raises(UserError, match="task nonsense: no such task; shipped are arc_"):
        load_task("nonsense")
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
