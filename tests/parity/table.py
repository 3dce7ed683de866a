"""The table of model families: what is exact, what is refused and why; made, not written.

    python -m tests.parity.table        # writes tests/parity/README.md

Each family is a tiny random checkpoint that is saved to disk and loaded through
`interp.load_model`. The other side is plain Hugging Face: the same checkpoint with layers deleted.
"""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import transformers as hf
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

import interp
from interp.ablations import checked_edits, prune
from interp.attention import attention_rows
from interp.engine import generate, score_requests
from interp.engine.capabilities import capabilities
from interp.errors import UserError
from interp.tasks import GenerationRequest, OptionRequest
from tests.helpers.families import (
    FAMILIES,
    N_LAYERS,
    delete_layers,
    random_tokens,
    tiny_model,
    tiny_tokenizer,
)

HUB = {
    "llama": "LLaMA 2",
    "llama3": "LLaMA 3.1, 3.2, 3.3, DeepSeek-R1-Distill-Llama",
    "qwen2": "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen",
    "qwen3": "Qwen3",
    "qwen3_moe": "Qwen3-MoE (30B-A3B, 235B-A22B)",
    "mistral": "Mistral 7B",
    "mixtral": "Mixtral",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 (text)",
    "phi3": "Phi-3, Phi-4",
    "olmo2": "OLMo 2",
    "gpt2": "GPT-2",
    "gpt_neox": "Pythia, GPT-NeoX",
    "opt": "OPT",
    "bloom": "BLOOM",
}
README = Path(__file__).parent / "README.md"
# tokens of the rows: longer than the sliding windows of the tiny models
LENGTH = 20


@dataclass(frozen=True)
class Row:
    """What was found for one family.

    Attributes:
        family: name in `tests.helpers.families`.
        logits: largest difference to a model with a layer deleted, any layer.
        scores: largest difference of a log-likelihood, in nats, any layer.
        texts: ablated generations that differ, of all.
        attention: largest difference of an attention row to TransformerLens' pattern.
        pruned: largest difference of a pruned folder's logits, any layer.
        refused: what is not done, and why.
        slower: shortcuts that are not exact for it, so that they are not taken.
    """

    family: str
    logits: float
    scores: float
    texts: tuple[int, int]
    attention: float
    pruned: float
    refused: tuple[str, ...]
    slower: tuple[str, ...]


def check(family: str, folder: Path) -> Row:
    """Save, load, ablate, score, generate, trace and prune one family."""
    tiny_model(family).save_pretrained(folder / family)
    tiny_tokenizer().save_pretrained(folder / family)
    model = interp.load_model(folder / family)
    deleted = [
        delete_layers(hf.AutoModelForCausalLM.from_pretrained(folder / family).eval(), [layer])
        for layer in range(N_LAYERS)
    ]
    can = capabilities(model)
    slower = [
        name
        for name, exact in (
            ("replay", can.replays),
            ("options side by side", can.packs(LENGTH)),
            ("attention reused", can.reuses_attention),
        )
        if not exact
    ]
    refused: list[str] = []
    attention = float("nan")
    try:
        attention = _attention(model)
    except UserError as error:
        refused.append(f"tracing ({error})")
    return Row(
        family=family,
        logits=_logits(model, deleted),
        scores=_scores(model, deleted),
        texts=_texts(model, deleted),
        attention=attention,
        pruned=_pruned(folder, family, deleted),
        refused=tuple(refused),
        slower=tuple(slower),
    )


def _logits(model: TransformerBridge, deleted: list[hf.PreTrainedModel]) -> float:
    tokens, worst = random_tokens(3, LENGTH, seed=1), 0.0
    with torch.no_grad():
        for layer, plain in enumerate(deleted):
            with interp.ablate(model, f"layer:{layer}"):
                found = model(tokens, return_type="logits")
            worst = max(worst, float((found - plain(tokens).logits).abs().max()))
    return worst


def _scores(model: TransformerBridge, deleted: list[hf.PreTrainedModel]) -> float:
    """Two contexts with four options each, of one to three tokens."""
    tokens = random_tokens(8, LENGTH, seed=2).tolist()
    requests = [
        OptionRequest(n // 4, n % 4, (1, *tokens[n // 4]), tuple(tokens[n][: 1 + n % 3]))
        for n in range(8)
    ]
    edits = [checked_edits(model, interp.parse(f"layer:{n}")) for n in range(N_LAYERS)]
    worst = 0.0
    for plain, found in zip(deleted, score_requests(model, requests, edits), strict=True):
        for request, (value, _) in zip(requests, found, strict=True):
            row = torch.tensor([[*request.context, *request.continuation]])
            with torch.no_grad():
                logprobs = plain(row).logits[0].log_softmax(-1)
            at = range(len(request.context) - 1, row.shape[1] - 1)
            expected = sum(float(logprobs[p, row[0, p + 1]]) for p in at)
            worst = max(worst, abs(value - expected))
    return worst


def _texts(model: TransformerBridge, deleted: list[hf.PreTrainedModel]) -> tuple[int, int]:
    prompts = [
        row[: LENGTH - 3 * n] for n, row in enumerate(random_tokens(3, LENGTH, seed=3).tolist())
    ]
    requests = [GenerationRequest(n, tuple(p), ("w61",), 8) for n, p in enumerate(prompts)]
    edits = [checked_edits(model, interp.parse(f"layer:{n}")) for n in range(N_LAYERS)]
    wrong = 0
    for plain, answers in zip(deleted, generate(model, requests, edits), strict=True):
        for prompt, answer in zip(prompts, answers, strict=True):
            row = torch.tensor([prompt])
            whole = plain.generate(
                row, attention_mask=torch.ones_like(row), max_new_tokens=8, do_sample=False
            )
            expected = whole[0, len(prompt) :].tolist()[: len(answer.tokens)]
            ended = answer.finished or len(answer.tokens) == 8
            wrong += list(answer.tokens) != expected or not ended
    return wrong, len(prompts) * len(deleted)


def _attention(model: TransformerBridge) -> float:
    tokens = random_tokens(1, LENGTH, seed=4)
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens)
    found = attention_rows(model, tokens[0].tolist(), queries=range(LENGTH)).rows
    expected = torch.stack([cache["pattern", layer][0] for layer in range(N_LAYERS)])
    return float((found - expected).abs().max())


def _pruned(folder: Path, family: str, deleted: list[hf.PreTrainedModel]) -> float:
    tokens, worst = random_tokens(2, LENGTH, seed=5), 0.0
    for layer, plain in enumerate(deleted):
        out = prune(folder / family, f"layer:{layer}", out=folder / f"{family}-{layer}").folder
        saved = hf.AutoModelForCausalLM.from_pretrained(out).eval()
        with torch.no_grad():
            worst = max(worst, float((saved(tokens).logits - plain(tokens).logits).abs().max()))
    return worst


def page(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "# Model families",
        "",
        "Made by `python -m tests.parity.table`; every number is measured, none written by hand.",
        "",
        f"Tiny random checkpoints ({N_LAYERS} layers, float32), saved to disk, loaded by "
        "`interp.load_model` and compared with plain Hugging Face models that have the layer "
        f"deleted, over all layers; rows of {LENGTH} tokens, beyond the sliding windows. "
        f"transformers {version('transformers')}, transformer-lens {version('transformer-lens')}, "
        f"torch {version('torch')}. Differences are the largest found; the contract is 1e-4.",
        "",
        "| family | models on the hub | ablated logits | log-likelihoods | generated texts that "
        "differ | attention rows | pruned folder | refused | not shared (slower, same results) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        lines.append(
            f"| {r.family} | {HUB[r.family]} | {r.logits:.0e} | {r.scores:.0e} | {r.texts[0]} of "
            f"{r.texts[1]} | {r.attention:.0e} | {r.pruned:.0e} "
            f"| {'; '.join(r.refused) or 'nothing'} | {', '.join(r.slower) or 'nothing'} |"
        )
    return "\n".join([*lines, "", *NOTES]) + "\n"


NOTES = [
    "Refused for every family: encoder-decoder models; weights that are pickles and Python code",
    "that comes with a model, unless asked for; a bridge whose weights were rewritten by",
    "`enable_compatibility_mode()`. `interp prune` refuses layers that compute by their number in",
    "a way that a configuration cannot say (GPT-2 with `scale_attn_by_inverse_layer_idx`).",
    "",
    "Random weights show that an architecture is handled; they say nothing of trained models,",
    "whose weights were not at hand, except a Llama of 260,032 parameters trained on TinyStories:",
    "there, real rows of the benchmarks give what lm-evaluation-harness gives",
    "(`test_real_rows.py`).",
]


def main() -> None:
    """Check every family and write the page."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for family in tqdm([f for f in HUB if f in FAMILIES], unit="family"):
            with contextlib.redirect_stderr(io.StringIO()):
                rows.append(check(family, Path(folder)))
    README.write_text(page(rows))
    print(README)


if __name__ == "__main__":
    main()
