"""Words for the names of tasks, protocols, metrics, models and ablations, as figures print them."""

import hashlib
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count, product

from interp.errors import UserError
from interp.position_labels import class_label, cut_words, site_label

SKILLS = {"world-facts": "Knowledge", "world-kv": "Retrieval", "world-arithmetic": "Reasoning"}

PROTOCOLS = {"default": "Option letters", "continuation": "Option texts",
             "generate": "Generated answers"}  # fmt: skip

METRICS = {
    "acc": "Accuracy",
    "acc_norm": "Length-normalised accuracy",
    "acc_ce": "Cross-entropy accuracy",
    "exact_match": "Exact match",
    "f1": "F1",
    "cut": "Share of cut answers",
    "kl": "KL divergence (nats)",
    "loss": "Loss (nats per token)",
    "top1_agreement": "Top-1 agreement",
}

FILTERS = {"flexible-extract": "flexible", "strict-match": "strict", "none": ""}

BENCHMARKS = {
    "world-facts-passage": "Knowledge, passage given",
    "world2-facts-passage": "Facts, passage given",
    "world2-facts": "Facts",
    "world2-kv": "Pair look-up",
    "world2-arithmetic": "Written arithmetic",
    "world2-unwritten": "Unwritten arithmetic",
    "world2-hops": "Chains of links",
    "world2-listing": "Listings",
    "world2-passage": "Facts of strangers, passage given",
    "world2-passage-untold": "Facts of strangers, no passage",
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
    re.compile(r"fewshot-seed-(\d+)-(.+)"): "other few-shot examples ({})",
    re.compile(r"fewshot-order-(\d+)-(.+)"): "few-shot examples in another order ({})",
    re.compile(r"wording-(\d+)-(.+)"): "another wording ({})",
    re.compile(r"option-order-(\d+)-(.+)"): "options in another order ({})",
    re.compile(r"chat-(.+)"): "as a chat",
    re.compile(r"twins-([^-]+)-(.+)"): "pairs by {}",
    re.compile(r"(\d+)-tokens-(.+)"): "up to {} tokens",
    re.compile(r"1-draws-at-([\d.]+(?:e[+-]?\d+)?)-(.+)"): "drawn at temperature {}",
    re.compile(r"(\d+)-draws-at-([\d.]+(?:e[+-]?\d+)?)-(.+)"): "{} draws at temperature {}",
}

"""What `interp.tasks.variants` puts before a task's name, in words that follow it."""

LAYER_AXES = {
    "layer": "Skipped layer",
    "attn": "Layer with its attention skipped",
    "mlp": "Layer with its MLP skipped",
    "swap": "Swapped layer",
    "swap-attn": "Layer with its attention swapped",
    "swap-mlp": "Layer with its MLP swapped",
    "exchange": "Layer exchanged with the next",
}

"""Ablations of one layer, and the name of their axis."""

KINDS = {
    "layer": "layers skipped",
    "attn": "attentions skipped",
    "mlp": "MLPs skipped",
    "swap": "layers swapped",
    "swap-attn": "attentions swapped",
    "swap-mlp": "MLPs swapped",
    "exchange": "layers exchanged with the next",
    "layers": "blocks of layers skipped",
    "swaps": "blocks of layers swapped",
    "swaps-attn": "blocks of attentions swapped",
    "swaps-mlp": "blocks of MLPs swapped",
    "repeat": "blocks of layers run twice",
    "reverse": "blocks of layers run in reverse order",
    "parallel": "blocks of layers run side by side",
    "cumulative": "growing sets of layers skipped",
    "head": "heads put to zero",
    "head@mean": "heads put to their mean",
    "head@resample": "heads given their value on another example",
    "head@group": "heads put to zero with their groups",
    "expert": "experts removed, the others' weights renormalised",
    "expert@unnormalised": "experts removed, the others' weights as they are",
    "kvgroup": "key/value groups put to zero",
    "others": "other ablations",
}
"""What ablations of a kind are called."""

PLURALS = {"layer": "layers", "attn": "attentions", "mlp": "MLPs", "head": "heads"}
PARTS = {"layer": "Layer", "attn": "Layer with its attention", "mlp": "Layer with its MLP"}
REPLACED = {
    "mean": "replaced by the mean", "resample": "replaced by that of another example",
    "linear": "replaced by its best affine map",
}  # fmt: skip
SCOPES = {
    "prompt": "at the prompt only", "answer": "at the answer only",
    "last": "at the last prompt token only",
}  # fmt: skip

BLOCKS = {
    "layers": "skipped", "swaps": "swapped", "swaps-attn": "with their attention swapped",
    "swaps-mlp": "with their MLP swapped", "repeat": "run twice",
    "reverse": "run in reverse order", "parallel": "run side by side",
}  # fmt: skip

"""Ablations of several layers, and what is done to these."""

_GIVEN: ContextVar[Mapping[str, str] | None] = ContextVar("labels", default=None)


@contextmanager
def renamed(labels: Mapping[str, str] | None) -> Iterator[None]:
    """Let the functions of this module print some names as the caller wants them.

    Args:
        labels: Name of a task, benchmark, protocol, metric or model to the words for it; None
            changes nothing.

    Yields:
        None; the names are printed as usual afterwards.
    """
    if labels is not None and not isinstance(labels, Mapping):
        raise UserError(f"labels {labels!r:.80}: allowed are names, each with the words for it")
    token = _GIVEN.set({**(_GIVEN.get() or {}), **(labels or {})})
    try:
        yield
    finally:
        _GIVEN.reset(token)


def _given(name: str) -> str | None:
    return (_GIVEN.get() or {}).get(name)


def split_task(task: str) -> tuple[str, str]:
    """A task's benchmark and protocol; a task without protocol has an empty one."""
    benchmark, _, protocol = task.partition(":")
    return benchmark, protocol


def benchmark_label(benchmark: str) -> str:
    """Words for a benchmark: the skill of ours, the printed name of a known one."""
    if (given := _given(benchmark)) is not None:
        return given
    rest, way_text = _how_asked(benchmark)
    if way_text:
        return f"{benchmark_label(rest)}, {way_text}"
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
    rest, way_text = _how_asked(benchmark)
    return plain_benchmark(rest) if way_text else benchmark


def _how_asked(benchmark: str) -> tuple[str, str]:
    """What follows the first of the prefixes of `ASKED`, and its words; else no words."""
    for pattern, words in ASKED.items():
        if match := pattern.fullmatch(benchmark):
            *numbers, rest = match.groups()
            return rest, words.format(*numbers)
    return benchmark, ""


def protocol_label(protocol: str) -> str:
    """Words for a protocol."""
    if (given := _given(protocol)) is not None:
        return given
    return PROTOCOLS.get(protocol, protocol.replace("_", " ").capitalize() or "As published")


def task_label(task: str) -> str:
    """Words for a benchmark under a protocol."""
    if (given := _given(task)) is not None:
        return given
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
    """Words for a metric; a filter of the harness (`exact_match,strict-match`) follows."""
    if (given := _given(metric)) is not None:
        return given
    name, _, chosen = metric.partition(",")
    words = METRICS.get(name, name.replace("_", " ").capitalize())
    parts = chosen.split(",")
    chosen = ", ".join(FILTERS.get(part, part.replace("-", " ")) for part in parts)
    return f"{words} ({chosen})" if chosen and filtered else words


def uncapitalised(words: str) -> str:
    """Words for the middle of a sentence; names such as F1 and GSM8K stay as they are."""
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def model_label(model: str) -> str:
    """Words for a model: the last part of its name, unless the caller has others."""
    return model_name(model) if (given := _given(model)) is None else given


def typed(model: str, dtype: str) -> str:
    """A model's name with the type of its weights, where that is known."""
    return f"{model} in {dtype}" if dtype else model


def model_name(model: str) -> str:
    """The last part of a model's name: of a hub name, a folder, or `organism:NAME`."""
    return re.split(r"[/:]", model.rstrip("/"))[-1]


def kind_label(kind: str) -> str:
    """Words for ablations of a kind, in the plural (`layers skipped`).

    Args:
        kind: The name of a kind of `interp.figures.kinds`.

    Returns:
        Words for a title or a line of small print.
    """
    form, at, by = kind.partition("@")
    if kind in KINDS:
        return KINDS[kind]
    if at and by in REPLACED and form in PLURALS:
        return f"{PLURALS[form]} {REPLACED[by]}"
    if form == "cut":
        return f"attention {cut_words(by)}"
    if form.removesuffix("-up").removesuffix("-down") in KINDS:
        return KINDS[form.removesuffix("-up").removesuffix("-down")]
    patched = f"{site_label(form[6:])} patched at {class_label(by)}"
    return patched if form.startswith("patch:") else f"ablations {kind}"


def layer_axis(kind: str) -> str:
    """Words for the axis of ablations of one layer.

    Args:
        kind: The text form without its number: `layer`, `attn@mean`, `mlp@@prompt`.

    Returns:
        A label that begins with a capital letter.
    """
    if kind in LAYER_AXES:
        return LAYER_AXES[kind]
    rest, scoped, scope = kind.partition("@@")
    form, _, by = rest.partition("@")
    words = LAYER_AXES.get(rest, f"Layer of {rest}")
    if form.startswith("patch:"):
        words = f"Layer with its {site_label(form[6:])} patched at {class_label(by)}"
    if by in REPLACED and form in PARTS:
        words = f"{PARTS[form]} {REPLACED[by]}"
    return words + (f", {SCOPES.get(scope, scope)}" if scoped else "")


def block_axis(kind: str, size: int | None) -> str:
    """Words for the axis of ablations of several consecutive layers.

    Args:
        kind: The text form without its numbers: `layers`, `swaps`, `repeat`, ...
        size: Layers in each block; None where blocks have several sizes.

    Returns:
        A label that begins with a capital letter.
    """
    number = "" if size is None else f"{size} "
    form, _, classes = kind.partition("@")
    done = cut_words(classes) if form == "cut" else BLOCKS.get(kind, f"of {kind}")
    return f"First of the {number}layers {done}"


def count_axis(kind: str, way: str) -> str:
    """Words for the axis of ablations that take one layer more at a time.

    Args:
        kind: As for `block_axis`, or for `layer_axis` where the layers are named singly.
        way: `up` from the first layer, `down` from the last; empty where the order is another.

    Returns:
        A label that begins with a capital letter.
    """
    done = BLOCKS.get({"layer": "layers", "swap": "swaps"}.get(kind, kind), f"of {kind}")
    ways = {"up": ", from the first up", "down": ", from the last down"}
    return f"Layers {done}{ways.get(way, '')}"


def letters() -> Iterator[str]:
    """The letters of panels: A to Z, then AA, AB, and so on."""
    for length in count(1):
        yield from map("".join, product(string.ascii_uppercase, repeat=length))


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name, without suffix, for each of some names; no two of them are the same.

    A name keeps its letters, digits, `.`, `_`, `=`, `+` and `-`. Names that would be equal on a
    file system that ignores case, or that are too long for one, end in digits of their hash.

    Args:
        names: Of tasks, models or ablations.

    Returns:
        Name to file name.
    """
    distinct = list(dict.fromkeys(names))
    plain = {name: re.sub(r"[^\w.=+-]+", "-", name).strip("-.")[:60] for name in distinct}
    taken = [words.lower() for words in plain.values()]
    names_of = {}
    for name, words in plain.items():
        alone = words and len(name) <= 60 and taken.count(words.lower()) == 1
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        names_of[name] = words if alone else f"{words or 'name'}-{digest}"
    return names_of


def p_text(p: float, least: float = 0.0) -> str:
    """A p-value to two digits, `<= 0.001` where it is as small as the resampling can tell.

    Args:
        p: the value; `none` where it is not a number.
        least: one over the number of resamples and one, 0 for an exact test.

    Returns:
        The text without `p`.
    """
    if p != p:
        return "none"
    return f"<= {least:.2g}" if p <= least * (1 + 1e-9) else f"{p:.2g}"


def p_words(p: float, least: float = 0.0) -> str:
    """The same in a sentence: `p = 0.02`, `p <= 0.001`."""
    text = p_text(p, least)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def three_digits(value: float) -> str:
    """A number of a printed table."""
    return f"{value:.3g}"
