"""Words and colours: the same for the same thing everywhere."""

import pytest

from interp.figures import layer_of, palette
from interp.labels import (
    file_names,
    letters,
    metric_label,
    model_label,
    renamed,
    task_label,
)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("world-facts:default", "Knowledge, option letters"),
        ("world-kv:generate", "Retrieval, generated answers"),
        ("mmlu:continuation", "MMLU, option texts"),
        ("gsm8k", "GSM8K"),
        ("mmlu_abstract_algebra:default", "MMLU abstract algebra, option letters"),
        ("tasks/my_task.yaml", "My task"),
        (
            "3-draws-at-0.7-world-arithmetic:generate",
            "Reasoning, 3 draws at temperature 0.7, generated answers",
        ),
        ("1-draws-at-1e-05-gsm8k", "GSM8K, drawn at temperature 1e-05"),
        ("64-tokens-chat-gsm8k", "GSM8K, as a chat, up to 64 tokens"),
    ],
)
def test_task_labels(task: str, words: str) -> None:
    assert task_label(task) == words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("acc", "Accuracy"),
        ("exact_match,strict-match", "Exact match (strict)"),
        ("exact_match,none", "Exact match"),
        ("gold_rank", "Gold rank"),
    ],
)
def test_metric_labels(metric: str, words: str) -> None:
    assert metric_label(metric) == words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("organism:base", "base"),
        ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"),
        ("/models/mine/", "mine"),
    ],
)
def test_model_labels(model: str, words: str) -> None:
    assert model_label(model) == words


def test_a_skill_keeps_its_colour_and_marker() -> None:
    alone = palette.skill_colours(["world-kv"])
    among = palette.skill_colours(["mmlu", "other", "world-arithmetic", "world-kv", "world-facts"])
    assert alone["world-kv"] == among["world-kv"] == palette.VERMILION
    drawn = palette.skill_colours(["chat-3-draws-at-0.7-world-kv"])
    assert drawn["chat-3-draws-at-0.7-world-kv"] == palette.VERMILION
    assert palette.skill_looks(["other", "world-kv"])["world-kv"].marker == "s"
    assert palette.model_colours(["organism:base"]) == {"organism:base": palette.BLUE}


def test_colours_of_one_figure_differ() -> None:
    names = ["world-facts", "world-kv", "world-arithmetic", "piqa", "boolq", "arc", "winogrande"]
    assert len(set(palette.skill_colours(names).values())) == len(names)
    assert set(palette.skill_colours(map(str, range(20))).values()) == set(palette.COLOURS)
    models = ["organism:base", "organism:distilled", "organism:teacher", "gpt2"]
    assert len(set(palette.model_colours(models).values())) == 4


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("layer:7", 7),
        ("layers:2-4", None),
        ("layer:3+head:7.2", None),
        ("baseline", None),
        ("my-hook", None),
        ("hook:7", None),
        ("layer:7@mean", None),
    ],
)
def test_layer_of_an_ablation(text: str, layer: int | None) -> None:
    assert layer_of(text, "layer") == layer


@pytest.mark.parametrize("looks", [palette.skill_looks, palette.model_looks, palette.looks])
def test_no_two_lines_of_a_figure_look_the_same(looks) -> None:
    names = [f"name-{number}" for number in range(20)]
    found = looks(names)
    assert list(found) == names
    assert len(set(found.values())) == 20


def test_letters_do_not_end_at_z() -> None:
    found = letters()
    first = [next(found) for _ in range(28)]
    assert first[0] == "A"
    assert first[25:] == ["Z", "AA", "AB"]


def test_names_of_the_caller_are_printed_and_forgotten() -> None:
    with renamed({"mytask": "My own task", "organism:base": "Model 1"}):
        assert task_label("mytask:default") == "My own task, option letters"
        assert model_label("organism:base") == "Model 1"
        assert palette.model_colours(["organism:base"]) == {"organism:base": palette.BLUE}
    assert task_label("mytask") == "Mytask"


def test_file_names_never_collide() -> None:
    names = [
        "x.v1",
        "x.v2",
        "a/b",
        "a:b",
        "A:B",
        "..",
        "é" * 300,
        "é" * 301,
        "$x$",
        "kv-75:generate",
    ]
    found = file_names(names)
    assert list(found) == names
    assert len({name.lower() for name in found.values()}) == len(names)
    assert all("/" not in name and len(name.encode()) < 200 for name in found.values())
    assert found["x.v1"] == "x.v1"
    assert found["kv-75:generate"] == "kv-75-generate"
