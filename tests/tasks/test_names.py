"""Names: what a person guesses is what the harness defines."""

import json

import pytest

from interp.errors import UserError
from interp.tasks import harness_folder, load_task, shipped_tasks
from interp.tasks.names import PROTOCOLS, definitions, split_name


def members(folder: str) -> set[str]:
    paths = (harness_folder() / "mmlu" / folder).glob("mmlu_*.yaml")
    return {p.stem for p in paths}


@pytest.mark.parametrize(
    ("names", "folder", "ending"),
    [
        (("mmlu", "mmlu:default"), "default", ""),
        (("mmlu_continuation", "mmlu:continuation"), "continuation", "_continuation"),
        (("mmlu_generative", "mmlu:generate"), "generative", "_generative"),
    ],
)
def test_mmlu_is_its_57_subjects_under_each_protocol(names, folder, ending):
    for name in names:
        found = definitions(name)
        assert len(found) == len({one.name for one in found}) == 57
        assert {one.path.parent.name for one in found} == {folder}
        assert {one.name for one in found} == {f"{stem}{ending}" for stem in members(folder)}


@pytest.mark.slow
def test_the_members_of_a_group_are_those_of_the_harness_own_factory():
    """Its task manager, told to index this folder alone."""
    from lm_eval.tasks._factory import TaskFactory
    from lm_eval.tasks._index import TaskIndex

    built: list[str] = []

    class Names(TaskFactory):
        def _build_task(self, entry, overrides):
            built.append(entry.name)
            task = type("Named", (), {"task_name": entry.name})
            return task()

    for group in ("mmlu", "mmlu_continuation", "mmlu_humanities"):
        registry = TaskIndex.build([harness_folder() / "mmlu"])
        built.clear()
        Names().build(registry[group], registry=registry)
        assert [one.name for one in definitions(group)] == built


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("hellaswag", "hellaswag"),
        ("hellaswag:continuation", "hellaswag"),
        ("gsm8k:generate", "gsm8k"),
        ("boolq", "default"),
        ("piqa:continuation", "piqa"),
        ("winogrande", "default"),
        ("mmlu_anatomy:generate", "mmlu_anatomy"),
        ("arc_challenge", "arc_challenge"),
    ],
)
def test_harness_tasks_are_found_by_name_and_protocol(name, stem):
    (found,) = definitions(name)
    assert found.path.stem == stem
    assert found.path.is_relative_to(harness_folder())


@pytest.mark.slow
def test_every_benchmark_of_the_study_has_its_protocols():
    for benchmark in ("hellaswag", "mathqa", "openbookqa", "arc_easy", "arc_challenge", "mmlu"):
        for protocol in PROTOCOLS:
            assert definitions(f"{benchmark}:{protocol}")


@pytest.mark.slow
def test_names_without_a_task_are_refused(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "1 + 1?", "answer": "#### 2"}
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match="task gsm8k:default: it has only the protocol generate"):
        load_task("gsm8k:default", data=tmp_path, num_fewshot=0)
    with pytest.raises(UserError, match="task qasc:nonsense: no such task"):
        definitions("qasc:nonsense")
    for empty in ("", " ", ":"):  # each would be a part of every file's text
        with pytest.raises(UserError, match=f"task '{empty}': it names no task"):
            definitions(empty)
    with pytest.raises(UserError, match="task text:: it names no file"):
        load_task("text:")
    with pytest.raises(UserError, match=r"ai2_arc: a tag .* singly: arc_challenge, arc_easy"):
        definitions("ai2_arc")


def test_a_group_without_a_common_score_names_its_tasks():
    with pytest.raises(UserError, match=r"group whose tasks have no common score .* singly: "):
        definitions("libra_simple_information_retrieval")


def test_a_name_may_hold_colons():
    assert split_name("world-facts:default") == ("world-facts", "default")
    assert split_name("some:task") == ("some:task", None)
    assert all(split_name(name)[1] in PROTOCOLS for name in shipped_tasks())
