"""Ablate, score, generate, read, trace and prune one small model; compare, or keep the refusal."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.families.configurations import D_VOCAB, n_experts, small_model
from experiments.families.further import FURTHER, differences
from experiments.families.plain import Plain
from experiments.words import numbered_words, word_tokenizer
from interp.ablations import Edits, checked_edits, prune
from interp.attention import attention_rows
from interp.engine import generate, record, refuse_impossible, score_requests
from interp.errors import UserError, first_line
from interp.lens import prompt_grid
from interp.models import decoder
from interp.tasks import GenerationRequest, OptionRequest

Outcome = Literal["exact", "refused", "wrong", "raises", "not built"]
PARTS = ("layer", "attn", "mlp", "head", "expert")
REGIMES = ("longer than its window", "short beside long", "behind a shared start")
USES = (
    "load",
    *(f"{part} scored" for part in PARTS),
    *REGIMES,
    *(f"{part} generated" for part in PARTS),
    "parts add up",
    "lens",
    "attention rows",
    "pruned folder",
    *FURTHER,
)
TOLERANCE = 1e-4
LENGTH = 20
END = 2
MAX_NEW_TOKENS = 4
# one of each kind where layers of two kinds alternate
LAYERS = (1, 2)
# tokens behind the shared start, which is longer than a window
ROWS = (3, 9, 21)
# the first answer goes on across the length at which LongRoPE changes
PROMPTS = (7, 18)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """What one way of using one architecture gave.

    Attributes:
        architecture: class of transformers.
        use: `load`, `layer scored`, `head generated`, `lens`, `attention rows`, `pruned folder` ...
        outcome: `exact`, `refused` (in one line, before any work), `not built` (transformers itself
            makes no small model here), else a fault.
        difference: largest, in nats, logits or shares of attention; of texts the share that differ.
        tried: ablations, rows or folders that were compared.
        reason: the refusal's line, or the error.
    """

    architecture: str
    use: str
    outcome: Outcome
    difference: float = math.nan
    tried: int = 0
    reason: str = ""


WORDS = "w5 w70"
"""Two words of the tokenizer of these checks."""


def check(architecture: str, folder: Path, *, further: bool = False) -> list[Found]:
    """Save, load and try one architecture; a fault is a row of the table, never an exception.

    In reasons the folder is called `FOLDER`, because its name is another one each time.

    Args:
        architecture: one that transformers builds.
        folder: an empty one, for its checkpoint and for pruned ones.
        further: try loading, and the uses of `FURTHER` only.

    Returns:
        One entry for each use, in the same order for every architecture; only `load` where it is
        refused.
    """
    rows = _checked(architecture, folder, further=further)
    return [replace(row, reason=row.reason.replace(str(folder), "FOLDER")) for row in rows]


def _checked(architecture: str, folder: Path, *, further: bool) -> list[Found]:
    source = folder / "model"
    try:
        plain = small_model(architecture)
    except Exception as error:  # not ours: another library is missing, sizes that do not fit
        return [Found(architecture, "load", "not built", reason=first_line(error))]
    plain.save_pretrained(source)
    tokenizer = word_tokenizer(numbered_words(D_VOCAB))
    # as in many checkpoints: padding has no row of the embedding
    tokenizer.add_special_tokens({"pad_token": "<outside>"})
    tokenizer.save_pretrained(source)
    # some tie what was made untied, once it is read
    plain = type(plain).from_pretrained(source, attn_implementation="eager").eval()
    loaded = list[TransformerBridge]()

    def load() -> tuple[float, int]:
        loaded.append(interp.load_model(source))
        other = Plain(plain, decoder(loaded[0]))
        tokens = tokens_of(1, LENGTH, seed=1)[0]
        own = loaded[0](torch.tensor([tokens]), return_type="logits")[0]
        return _difference(own, other.logits(tokens)), 1

    found = [_tried(architecture, "load", load)]
    if not loaded or found[0].outcome != "exact":
        return found
    if not further:
        found += _uses(architecture, loaded[0], plain, source, folder)
    read = loaded[0]
    if decoder(read).tokenizer.encode(WORDS) != tokenizer.encode(WORDS):
        # transformers reads any tokenizer of some kinds of models as one of bytes
        read = interp.load_model(type(plain).from_pretrained(source), tokenizer=tokenizer)
    return [*found, *_further(architecture, read, plain)]


def _further(architecture: str, model: TransformerBridge, plain: Any) -> Iterator[Found]:
    other = Plain(plain, decoder(model))
    for use in FURTHER:
        found = _compared(partial(differences, use, model, other))
        if isinstance(found, Found):
            yield replace(found, architecture=architecture, use=use)
        else:
            worst, tried, refusals = found
            yield _judged(architecture, use, worst, tried, "; ".join(refusals))


def _uses(
    architecture: str, model: TransformerBridge, plain: Any, source: Path, folder: Path
) -> Iterator[Found]:
    other = Plain(plain, decoder(model))
    kept, refusals = allowed(model)
    texts = [text for part in PARTS for text in kept[part]]
    for use, by_text in (("scored", _scores), ("generated", _texts)):
        found = _compared(partial(by_text, model, other, texts))
        for part in PARTS:
            name, more = f"{part} {use}", "; ".join(refusals[part])
            if not kept[part]:
                if more:
                    yield Found(architecture, name, "refused", reason=more)
            elif isinstance(found, Found):
                yield replace(found, architecture=architecture, use=name)
            else:
                worst = max(max(found[text]) for text in ("baseline", *kept[part]))
                yield _judged(architecture, name, worst, len(kept[part]), more)
        if use == "scored" and not isinstance(found, Found):
            short = len(ROWS)
            for name, rows in zip(REGIMES, ((short - 1,), (short,), range(short)), strict=True):
                worst = max(each[row] for each in found.values() for row in rows)
                yield _judged(architecture, name, worst, len(found) * len(rows))
    if _one_stream(model):
        yield _tried(architecture, "parts add up", partial(_adds_up, model, kept))
    yield _tried(architecture, "lens", partial(_lens, model, other))
    yield _tried(architecture, "attention rows", partial(_attention, model, other))
    yield _tried(architecture, "pruned folder", partial(_pruned, source, folder, other))


def _judged(architecture: str, use: str, difference: float, tried: int, reason: str = "") -> Found:
    exact = difference <= (0 if "generated" in use else TOLERANCE)
    return Found(architecture, use, "exact" if exact else "wrong", difference, tried, reason)


def _compared(compare: Callable[[], Result]) -> Result | Found:
    """What a comparison gives, or its refusal or fault."""
    try:
        return compare()
    except UserError as error:
        line = str(error)
        return Found("", "", "raises" if "\n" in line else "refused", reason=line)
    except Exception as error:  # what the table is there to show
        return Found("", "", "raises", reason=f"{type(error).__name__}: {first_line(error)}")


def _tried(architecture: str, use: str, compare: Callable[[], tuple[float, int]]) -> Found:
    found = _compared(compare)
    if isinstance(found, Found):
        return replace(found, architecture=architecture, use=use)
    return _judged(architecture, use, *found)


def allowed(model: TransformerBridge) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of each part, in two layers of unlike kinds, what is not refused; and the refusals."""
    kept: dict[str, list[str]] = {part: [] for part in PARTS}
    refusals: dict[str, list[str]] = {part: [] for part in PARTS}
    alike = len(set(decoder(model).parts)) == 1
    mixture = n_experts(decoder(model).root.config)
    for part in PARTS if mixture else PARTS[:-1]:
        # layers of experts can alternate with others that look alike
        for layer in LAYERS if part in ("layer", "expert") or not alike else LAYERS[:1]:
            within = {"head": f".{decoder(model).n_heads - 1}@zero", "expert": ".1@unnormalised"}
            text = f"{part}:{layer}{within.get(part, '')}"
            try:
                refuse_impossible(model, [checked_edits(model, text)])
                kept[part].append(text)
            except UserError as error:
                refusals[part].append(str(error))
    return kept, refusals


def tokens_of(rows: int, positions: int, *, seed: int) -> list[list[int]]:
    """Random token ids without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, D_VOCAB, (rows, positions), generator=generator).tolist()


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference of what both leave finite; infinite where one is not."""
    difference = (found - expected).detach().abs()
    return float(difference.max()) if bool(difference.isfinite().all()) else math.inf


def option_requests() -> list[OptionRequest]:
    """Two options each, of rows that share a start, from short to beyond every window."""
    start, *own = tokens_of(1 + len(ROWS), 30, seed=2)
    rows = [(1, *start[:12], *row[:length]) for row, length in zip(own, ROWS, strict=True)]
    return [
        OptionRequest(n, k, row, end)
        for n, row in enumerate([*rows, (1, *own[0][:4])])
        for k, end in enumerate([(7,), (7, 12, 13)])
    ]


def _edits(model: TransformerBridge, texts: Sequence[str]) -> list[Edits]:
    return [Edits(), *(checked_edits(model, text) for text in texts)]


def _scores(model: TransformerBridge, other: Plain, texts: Sequence[str]) -> dict[str, list[float]]:
    """By ablation the largest difference in each row."""
    requests, worst = option_requests(), dict[str, list[float]]()
    found = score_requests(model, requests, _edits(model, texts))
    for text, scores in zip(["baseline", *texts], found, strict=True):
        worst[text] = []
        with other.edited(text):
            for at in range(1, len(requests), 2):
                options = [requests[n].continuation for n in (at - 1, at)]
                expected = other.option_scores(requests[at].context, options)
                own = torch.tensor([scores[at - 1][0], scores[at][0]])
                worst[text].append(_difference(own, torch.tensor(expected)))
    return worst


def _texts(model: TransformerBridge, other: Plain, texts: Sequence[str]) -> dict[str, list[float]]:
    """By ablation whether each answer differs."""
    start, *own = tokens_of(1 + len(PROMPTS), 24, seed=3)
    prompts = [(1, *start[:6], *row[:length]) for row, length in zip(own, PROMPTS, strict=True)]
    requests = [GenerationRequest(n, p, (), MAX_NEW_TOKENS) for n, p in enumerate(prompts)]
    wrong = dict[str, list[float]]()
    for text, answers in zip(
        ["baseline", *texts], generate(model, requests, _edits(model, texts)), strict=True
    ):
        with other.edited(text):
            wrong[text] = []
            for prompt, answer in zip(prompts, answers, strict=True):
                tokens = list(answer.tokens)
                ended = len(tokens) == MAX_NEW_TOKENS or tokens[-1:] == [END]
                same = ended and tokens == other.greedy_after(prompt, tokens)
                wrong[text].append(0.0 if same else 1.0)
    return wrong


def _one_stream(model: TransformerBridge) -> bool:
    """Whether a layer without its parts hands on what it is given: not where it mixes streams."""
    tokens = torch.tensor(tokens_of(1, LENGTH, seed=4))
    return all(resid.ndim == 3 for resid in record(decoder(model), tokens).residuals)


def _adds_up(model: TransformerBridge, kept: Mapping[str, Sequence[str]]) -> tuple[float, int]:
    """Without its attention and its MLP a layer adds nothing: no other part was forgotten."""
    tokens, worst, tried = torch.tensor(tokens_of(1, LENGTH, seed=4)), 0.0, 0
    for layer in LAYERS:
        parts = [f"{part}:{layer}" for part in ("attn", "mlp") if f"{part}:{layer}" in kept[part]]
        if not parts or f"layer:{layer}" not in kept["layer"]:
            continue
        with interp.ablate(model, parts):
            found = model(tokens, return_type="logits")
        with interp.ablate(model, f"layer:{layer}"):
            worst = max(worst, _difference(found, model(tokens, return_type="logits")))
        tried += 1
    return worst, tried


def _lens(model: TransformerBridge, other: Plain) -> tuple[float, int]:
    """The lens at a depth is what the model says without the layers behind it."""
    prompt = " ".join(f"w{n}" for n in range(10, 22))
    grid = prompt_grid(model, prompt)
    tokens, worst = decoder(model).tokenizer.encode(prompt), 0.0
    n_layers = decoder(model).n_layers
    for depth in range(n_layers + 1):
        here = grid[grid["depth"] == depth].sort_values("position")
        with other.edited("+".join(f"layer:{n}" for n in range(depth, n_layers))):
            probabilities = other.logits(tokens).softmax(-1)
        at = torch.tensor(here["top_id"].to_numpy())
        expected = probabilities.gather(1, at[:, None])[:, 0]
        worst = max(worst, _difference(torch.tensor(here["probability"].to_numpy()), expected))
        worst = max(worst, _difference(expected, probabilities.max(-1).values))
    return worst, n_layers + 1


def _attention(model: TransformerBridge, other: Plain) -> tuple[float, int]:
    tokens = tokens_of(1, LENGTH, seed=4)[0]
    found = attention_rows(model, tokens, queries=range(LENGTH)).rows
    with torch.no_grad(), _eager(other.model):
        given = other.model(
            input_ids=torch.tensor([tokens]), output_attentions=True, use_cache=False
        ).attentions
    worst, tried = 0.0, 0
    # hybrids give one entry for each layer that has an attention, or None for the others
    patterns = [one for one in given if one is not None]
    own = [rows for rows in found if bool(rows.any())]
    for rows, expected in zip(own, patterns, strict=True):
        worst, tried = max(worst, _difference(rows, expected[0])), tried + 1
    return worst, tried


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    model.set_attn_implementation("eager")
    yield


def _pruned(source: Path, folder: Path, other: Plain) -> tuple[float, int]:
    tokens, worst = tokens_of(1, LENGTH, seed=5)[0], 0.0
    # of layers of one kind one stands for all
    layers = LAYERS if len(set(other.decoder.parts)) > 1 else LAYERS[:1]
    for layer in layers:
        out = prune(source, f"layer:{layer}", out=folder / f"without-{layer}").folder
        saved = type(other.model).from_pretrained(out, attn_implementation="eager").eval()
        with torch.no_grad(), other.edited(f"layer:{layer}"):
            own = saved(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
            worst = max(worst, _difference(own, other.logits(tokens)))
    return worst, len(layers)
