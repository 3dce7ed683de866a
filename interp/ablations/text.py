"""The text form of ablations: `layer:7`, `head:7.3@mean`, `layer:3+head:7.2`."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast, get_args

from interp.ablations.base import BASELINE, Ablation, Combination
from interp.ablations.edits import PART_FORMS, Part, Scope
from interp.ablations.experts import AblateExpert
from interp.ablations.knockout import Cut
from interp.ablations.patches import BackPatch, Patch
from interp.ablations.position_classes import CLASS
from interp.ablations.programs import Exchange, Parallel, Repeat, Reverse, parsed_order
from interp.ablations.scoped import Scoped
from interp.ablations.values import (
    AblateHead,
    AblateKVGroup,
    Replace,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    SwapLayer,
    SwapLayers,
)
from interp.ablations.windowed_heads import windowed
from interp.errors import UserError, did_you_mean

NUMBER = r"(0|[1-9][0-9]{0,5})"
PARTS: dict[str | None, Part] = {None: "layer", "-attn": "attention", "-mlp": "mlp"}
PART_OF_FORM: dict[str, Part] = {form: part for part, form in PART_FORMS.items()}
FORMS: tuple[tuple[str, str, Callable[..., Ablation]], ...] = (
    ("layer:7", rf"layer:{NUMBER}", lambda n: SkipLayer(int(n))),
    ("layers:20-27", rf"layers:{NUMBER}-{NUMBER}", lambda a, b: SkipLayers(int(a), int(b))),
    ("attn:7", rf"attn:{NUMBER}", lambda n: SkipAttention(int(n))),
    ("mlp:7", rf"mlp:{NUMBER}", lambda n: SkipMLP(int(n))),
    (
        "layer:7@mean, attn:7@mean, mlp:7@mean, layer:7@resample, attn:7@resample, mlp:7@resample",
        rf"(layer|attn|mlp):{NUMBER}@(mean|resample)",
        lambda form, n, by: Replace(int(n), PART_OF_FORM[form], by),
    ),
    ("layer:7@linear", rf"layer:{NUMBER}@linear", lambda n: Replace(int(n), "layer", "linear")),
    (
        "head:7.3, head:7.3@mean, head:7.3@resample, head:7.3@group",
        rf"head:{NUMBER}\.{NUMBER}(?:@(zero|mean|resample|group))?",
        lambda n, h, by: AblateHead(int(n), int(h), by or "zero"),
    ),
    (
        "L7H3, as TransformerLens prints head:7.3",
        rf"L{NUMBER}H{NUMBER}(?:@(zero|mean|resample|group))?",
        lambda n, h, by: AblateHead(int(n), int(h), by or "zero"),
    ),
    (
        "head:7.3@window, head:7.3@window-4-64",
        rf"(?:head:|L){NUMBER}(?:\.|H){NUMBER}@window(?:-{NUMBER}-{NUMBER})?",
        lambda n, h, sinks, recent: windowed(int(n), int(h), sinks, recent),
    ),
    (
        "expert:7.3, expert:7.3@unnormalised",
        rf"expert:{NUMBER}\.{NUMBER}(@unnormalised)?",
        lambda n, e, unnormalised: AblateExpert(int(n), int(e), not unnormalised),
    ),
    ("repeat:20-26", rf"repeat:{NUMBER}-{NUMBER}", lambda a, b: Repeat(int(a), int(b))),
    ("exchange:7", rf"exchange:{NUMBER}", lambda n: Exchange(int(n))),
    ("reverse:20-26", rf"reverse:{NUMBER}-{NUMBER}", lambda a, b: Reverse(int(a), int(b))),
    ("parallel:10-15", rf"parallel:{NUMBER}-{NUMBER}", lambda a, b: Parallel(int(a), int(b))),
    (
        "order:0-9,12,11,10,13-31",
        rf"order:((?:{NUMBER}(?:-{NUMBER})?,)*{NUMBER}(?:-{NUMBER})?)",
        lambda runs, *_: parsed_order(runs),
    ),
    (
        "cut:10-14@answering/gold, cut:7@last/prompt",
        rf"cut:{NUMBER}(?:-{NUMBER})?@({CLASS})/({CLASS})",
        lambda a, b, queries, keys: Cut(int(a), int(b or a), queries, keys),
    ),
    (
        "patch:resid:7@last, patch:attn:7@gold, patch:mlp:7@gold",
        rf"patch:(resid|attn|mlp):{NUMBER}@({CLASS})",
        lambda site, n, positions: Patch(int(n), site, positions),
    ),
    (
        "patch:head:7.3@last",
        rf"patch:head:{NUMBER}\.{NUMBER}@({CLASS})",
        lambda n, h, positions: Patch(int(n), "head", positions, int(h)),
    ),
    (
        "backpatch:7-3@last",
        rf"backpatch:{NUMBER}-{NUMBER}@({CLASS})",
        lambda source, target, positions: BackPatch(int(source), int(target), positions),
    ),
    ("kvgroup:7.1", rf"kvgroup:{NUMBER}\.{NUMBER}", lambda n, g: AblateKVGroup(int(n), int(g))),
    (
        "swap:7, swap-attn:7, swap-mlp:7",
        rf"swap(-attn|-mlp)?:{NUMBER}",
        lambda part, n: SwapLayer(int(n), part=PARTS[part]),
    ),
    (
        "swaps:0-3, swaps-attn:0-3, swaps-mlp:0-3",
        rf"swaps(-attn|-mlp)?:{NUMBER}-{NUMBER}",
        lambda part, a, b: SwapLayers(int(a), int(b), part=PARTS[part]),
    ),
)

# what else the field calls a kind of ablation
OTHER_NAMES = {
    "attention": "attn",
    "block": "layer",
    "skip": "layer",
    "ffn": "mlp",
    "kv": "kvgroup",
}
KINDS = ("layer", "layers", "attn", "mlp", "head", "expert", "repeat", "exchange", "reverse",
         "parallel", "order", "cut", "patch", "backpatch", "kvgroup", "swap", "swap-attn",
         "swap-mlp", "swaps", "swaps-attn", "swaps-mlp")  # fmt: skip


def parse(text: str) -> Ablation:
    """The ablation that a text form stands for; `parse(a.text) == a` for every ablation.

    Args:
        text: such as `layer:7` or `head:7.3@mean+mlp:2`.

    Returns:
        A single ablation, or a `Combination` of what `+` joins. `baseline` gives the ablation that
        changes nothing.

    Raises:
        UserError: the text is none of the forms.
    """
    if not isinstance(text, str):
        raise UserError(f"ablation {text!r:.80}: allowed is a text such as layer:7")
    if text == BASELINE.text:
        return BASELINE
    parts = [_parse_one(part, text) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else Combination(tuple(parts))


def parsed_or_none(text: str) -> Ablation | None:
    """The ablation of a text in a store or table; None for hooks of a user's own.

    Args:
        text: the text as a store or a table holds it.

    Returns:
        The ablation, or None.
    """
    try:
        return parse(text)
    except UserError:
        return None


def as_ablation(given: "str | Ablation | Iterable[str | Ablation]") -> Ablation:
    """A text, an ablation, or several of them (then their combination), as one ablation.

    Args:
        given: a text, an ablation, or several of them.

    Returns:
        An ablation that was given, as it is; what a text stands for; the `Combination` of several.

    Raises:
        UserError: neither, or a malformed text.
    """
    if isinstance(given, str):
        return parse(given)
    if isinstance(given, Ablation):
        return given
    if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
        raise UserError(
            f"ablation {given!r}: allowed are a text such as 'layer:7', a value such as "
            "interp.SkipLayer(7), and a list of them"
        )
    parts = [as_ablation(ablation) for ablation in given]
    return parts[0] if len(parts) == 1 else Combination(tuple(parts))


def _parse_one(part: str, whole: str) -> Ablation:
    rest, scoped, scope = part.rpartition("@@")
    if scoped and scope in get_args(Scope):
        return Scoped(_parse_one(rest, whole), cast(Scope, scope))
    for _, pattern, build in FORMS:
        if match := re.fullmatch(pattern, part):
            return build(*match.groups())
    shown = f"{part!r} in {whole!r}" if part != whole else f"{part!r}"
    allowed = ", ".join(form for form, _, _ in FORMS)
    raise UserError(
        f"ablation {shown}: allowed are {allowed}, each with @@prompt, @@answer or @@last after "
        f"it, and several joined by +{_suggestion(part)}"
    )


def _suggestion(part: str) -> str:
    """What a mistyped ablation was perhaps meant to be, as the end of a message."""
    name, colon, rest = part.strip().lower().partition(":")
    names = [OTHER_NAMES[name]] if name in OTHER_NAMES else KINDS
    meant = [f"{kind}:{rest}" for kind in names if _has_a_form(f"{kind}:{rest}")]
    return did_you_mean(f"{OTHER_NAMES.get(name, name)}{colon}{rest}", meant)


def _has_a_form(text: str) -> bool:
    return any(re.fullmatch(pattern, text) for _, pattern, _ in FORMS)
