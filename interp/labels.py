"""Words for the names of tasks, protocols, metrics and models, as tables and figures print them."""

import re
from collections.abc import Iterable

SKILLS = {"world-facts": "Knowledge", "world-kv": "Retrieval", "world-arithmetic": "Reasoning"}


PROTOCOLS = {
    "default": "Option letters",
    "continuation": "Option texts",
    "generate": "Generated answers",
}


METRICS = {
    "acc": "Accuracy",
    "acc_norm": "Length-normalised accuracy",
    "acc_ce": "Cross-entropy accuracy",
    "exact_match": "Exact match",
    "f1": "F1",
    "cut": "Share of cut answers",
}


FILTERS = {"flexible-extract": "flexible", "strict-match": "strict", "none": ""}


BENCHMARKS = {
    "world-facts-passage": "Knowledge, passage given",
    "openbookqa-fact": "OpenBookQA, fact given",
    "qasc-facts": "QASC, facts given",
    "nq-open": "Natural Questions",
    "nq-open-gold": "Natural Questions, passage given",
}


"""Whole benchmarks whose words are more than those of their names."""


NAMES = {
    "arc": "ARC",
    "boolq": "BoolQ",
    "gsm": "GSM",
    "gsm8k": "GSM8K",
    "hellaswag": "HellaSwag",
    "kv": "KV retrieval",
    "mathqa": "MathQA",
    "mmlu": "MMLU",
    "openbookqa": "OpenBookQA",
    "piqa": "PIQA",
    "qasc": "QASC",
    "triviaqa": "TriviaQA",
    "winogrande": "WinoGrande",
}


PAIRS = re.compile(r"kv-(\d+)")


"""Key-value retrieval of any size has one colour."""


ASKED = {
    re.compile(r"chat-(.+)"): "as a chat",
    re.compile(r"(\d+)-tokens-(.+)"): "up to {} tokens",
    re.compile(r"1-draws-at-([\d.]+(?:e[+-]?\d+)?)-(.+)"): "drawn at temperature {}",
    re.compile(r"(\d+)-draws-at-([\d.]+(?:e[+-]?\d+)?)-(.+)"): "{} draws at temperature {}",
}


"""What `interp.tasks.variants` puts in front of a task's name, in words that follow it."""


def split_task(task: str) -> tuple[str, str]:
    """A task's benchmark and protocol; a task without protocol has an empty one."""
    benchmark, _, protocol = task.partition(":")
    return benchmark, protocol


def benchmark_label(benchmark: str) -> str:
    """Words for a benchmark: the skill of ours, the printed name of a known one."""
    rest, asked = _how_asked(benchmark)
    if asked:
        return f"{benchmark_label(rest)}, {asked}"
    whole = SKILLS | BENCHMARKS
    if benchmark in whole:
        return whole[benchmark]
    if pairs := PAIRS.fullmatch(benchmark):
        return f"KV retrieval, {pairs[1]} pairs"
    words = re.split(r"[_\s-]+", re.sub(r"\.ya?ml$", "", benchmark.rsplit("/", 1)[-1]))
    known = [NAMES.get(word.lower(), word) for word in words]
    return " ".join([known[0][:1].upper() + known[0][1:], *known[1:]])


def plain_benchmark(benchmark: str) -> str:
    """A benchmark however it was asked: `chat-gsm8k` is `gsm8k`."""
    rest, asked = _how_asked(benchmark)
    return plain_benchmark(rest) if asked else benchmark


def _how_asked(benchmark: str) -> tuple[str, str]:
    """What stands behind the first of the prefixes of `ASKED`, and its words; else no words."""
    for pattern, words in ASKED.items():
        if found := pattern.fullmatch(benchmark):
            *numbers, rest = found.groups()
            return rest, words.format(*numbers)
    return benchmark, ""


def protocol_label(protocol: str) -> str:
    """Words for a protocol."""
    return PROTOCOLS.get(protocol, protocol.replace("_", " ").capitalize() or "As published")


def task_label(task: str) -> str:
    """Words for a benchmark under a protocol."""
    benchmark, protocol = split_task(task)
    words = benchmark_label(benchmark)
    return f"{words}, {uncapitalised(protocol_label(protocol))}" if protocol else words


def series_titles(series: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Words over the panel of each model and task: what differs between the panels."""
    names = list(series)
    models, tasks = ({name[i] for name in names} for i in (0, 1))

    def words(model: str, task: str) -> str:
        if len(models) == 1:
            return task_label(task)
        return model_label(model) + (f"\n{task_label(task)}" if len(tasks) > 1 else "")

    return {name: words(*name) for name in names}


def source_label(source: str) -> str:
    """Words for what similarity was measured on: a task, or texts."""
    if source == "texts":
        return "Texts"
    return source[:1].upper() + source[1:] if source.startswith("texts") else task_label(source)


def metric_label(metric: str, *, filtered: bool = True) -> str:
    """Words for a metric; a filter of the harness (``exact_match,strict-match``) follows."""
    name, _, chosen = metric.partition(",")
    words = METRICS.get(name, name.replace("_", " ").capitalize())
    parts = chosen.split(",")
    chosen = ", ".join(FILTERS.get(part, part.replace("-", " ")) for part in parts)
    return f"{words} ({chosen})" if chosen and filtered else words


def uncapitalised(words: str) -> str:
    """Words for the middle of a sentence; names such as F1 and GSM8K stay as they are."""
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def model_label(model: str) -> str:
    """The last part of a model's name: of a hub name, a folder, or ``organism:NAME``."""
    return re.split(r"[/:]", model.rstrip("/"))[-1]
