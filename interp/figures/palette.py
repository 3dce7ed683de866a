"""Colours and markers, which are the same for the same thing in every figure.

The colours are those of Okabe & Ito (2008), which remain distinct for colour-blind readers.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from interp.labels import PAIRS, SKILLS, model_name, plain_benchmark

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"


YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"


COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)


"""Yellow is left out: it is too pale for a line on white paper."""


MARKERS = ("o", "s", "^", "D", "v", "<", ">")


"""One for each of `COLOURS`, so that a figure can be read without colour."""


SKILL_COLOURS = {
    **dict(zip(SKILLS, (BLUE, VERMILION, GREEN), strict=True)),
    "world2-facts": BLUE,
    "world2-kv": VERMILION,
    "world2-arithmetic": GREEN,
    "world2-unwritten": PURPLE,
    "mmlu": BLUE,
    "kv": VERMILION,
    "gsm8k": GREEN,
    "mathqa": PURPLE,
    "hellaswag": ORANGE,
    "openbookqa": BLUE,
    "qasc": BLUE,
    "nq-open": BLUE,
    **dict.fromkeys(
        ("world-facts-passage", "openbookqa-fact", "qasc-facts", "nq-open-gold"), ORANGE
    ),
}


"""A public benchmark has the colour of the skill that it measures."""


MODEL_COLOURS = {
    **dict.fromkeys(("base", "base12"), BLUE),
    **dict.fromkeys(("teacher", "teacher12"), ORANGE),
    **dict.fromkeys(("distilled", "distilled12"), PURPLE),
    "Llama-3.1-8B": BLUE,
    "Qwen3-8B": GREEN,
    "DeepSeek-R1-Distill-Llama-8B": PURPLE,
}


METRIC_COLOURS = {
    "acc": BLACK,
    "acc_ce": VERMILION,
    "acc_norm": SKY,
    "gold_prob": GREEN,
}


class Look(NamedTuple):
    """The colour and the marker of a line; no two lines of a figure have both in common."""

    colour: str
    marker: str


def skill_colours(benchmarks: Iterable[str]) -> dict[str, str]:
    """The colour of each benchmark, the same in every figure."""
    names = list(benchmarks)
    plain = {name: PAIRS.sub("kv", plain_benchmark(name)) for name in names}
    return _assign(names, {n: SKILL_COLOURS.get(plain[n], "") for n in names})


def skill_looks(benchmarks: Iterable[str]) -> dict[str, Look]:
    """The colour and marker of each benchmark; each colour has its marker."""
    colours = skill_colours(benchmarks)
    marker = dict(zip(COLOURS, MARKERS, strict=True))
    return _distinct(colours, [marker[colour] for colour in colours.values()])


def model_colours(models: Iterable[str]) -> dict[str, str]:
    """The colour of each model, the same in every figure."""
    names = list(models)
    return _assign(names, {name: MODEL_COLOURS.get(model_name(name), "") for name in names})


def model_looks(models: Iterable[str]) -> dict[str, Look]:
    """The colour and marker of each model."""
    return _distinct(model_colours(models))


def metric_looks(metrics: Iterable[str]) -> dict[str, Look]:
    """The colour and marker of each metric."""
    return _distinct(_assign(metrics, METRIC_COLOURS))


def looks(names: Iterable[Any]) -> dict[Any, Look]:
    """The colours and markers of names without a fixed colour, one after the other."""
    distinct = list(dict.fromkeys(names))
    return _distinct({n: COLOURS[place % len(COLOURS)] for place, n in enumerate(distinct)})


def _distinct(colours: Mapping[Any, str], wished: Sequence[str] | None = None) -> dict[Any, Look]:
    """A marker for each colour; a colour that occurs again gets another marker."""
    by_name: dict[Any, Look] = {}
    for place, (name, colour) in enumerate(colours.items()):
        start = MARKERS.index(wished[place]) if wished else place
        order = [MARKERS[(start + step) % len(MARKERS)] for step in range(len(MARKERS))]
        free = [m for m in order if Look(colour, m) not in by_name.values()]
        by_name[name] = Look(colour, [*free, *order][0])
    return by_name


def _assign(names: Iterable[str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Fixed colours for known names, and colours by the hash of the name for others.

    If two names of one figure would have the same colour, the later one gets the next free one.
    """
    chosen: dict[str, str] = {}
    distinct = list(dict.fromkeys(names))
    reserved = {fixed[name] for name in distinct if fixed.get(name)}
    for name in sorted(distinct, key=lambda name: not fixed.get(name)):
        start = zlib.crc32(name.encode("utf-8", "surrogatepass"))
        order = [COLOURS[(start + step) % len(COLOURS)] for step in range(len(COLOURS))]
        wished = [fixed[name]] if fixed.get(name) else [c for c in order if c not in reserved]
        # if all are taken, the one with the fewest names
        fewest = sorted([*wished, *order], key=list(chosen.values()).count)
        chosen[name] = fewest[0]
    return {name: chosen[name] for name in distinct}
