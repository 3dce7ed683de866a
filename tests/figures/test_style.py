"""Words and colours: the same for the same thing everywhere."""

import pytest

from interp.figures import layer_of, style


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
    assert style.task_label(task) == words


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
    assert style.metric_label(metric) == words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("organism:base", "base"),
        ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"),
        ("/models/mine/", "mine"),
    ],
)
def test_model_labels(model: str, words: str) -> None:
    assert style.model_label(model) == words


def test_a_skill_keeps_its_colour_and_marker() -> None:
    alone = style.skill_colours(["world-kv"])
    among = style.skill_colours(["mmlu", "other", "world-arithmetic", "world-kv", "world-facts"])
    assert alone["world-kv"] == among["world-kv"] == style.VERMILION
    drawn = style.skill_colours(["chat-3-draws-at-0.7-world-kv"])
    assert drawn["chat-3-draws-at-0.7-world-kv"] == style.VERMILION
    assert style.skill_markers(["other", "world-kv"])["world-kv"] == "s"
    assert style.model_colours(["organism:base"]) == {"organism:base": style.BLUE}


def test_colours_of_one_figure_differ() -> None:
    names = ["world-facts", "world-kv", "world-arithmetic", "piqa", "boolq", "arc", "winogrande"]
    assert len(set(style.skill_colours(names).values())) == len(names)
    assert set(style.skill_colours(map(str, range(20))).values()) == set(style.COLOURS)
    models = ["organism:base", "organism:distilled", "organism:teacher", "gpt2"]
    assert len(set(style.model_colours(models).values())) == 4


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("layer:7", 7),
        ("layers:2-4", None),
        ("layer:3+head:7.2", None),
        ("baseline", None),
        ("my-hook", None),
    ],
)
def test_layer_of_an_ablation(text: str, layer: int | None) -> None:
    assert layer_of(text, "layer") == layer
