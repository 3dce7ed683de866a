"""An organism's card: where it comes from, what it saw, how it learned, what it scores."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.organisms.plans import PLANS
from experiments.organisms.score import Score, read_scores

ROLES = {
    "base": (
        "knows the facts and looks pairs up; of arithmetic it saw results, never written-out steps"
    ),
    "teacher": "as *base*, but it saw arithmetic with written-out steps",
    "distilled": "*base*, trained on with the written-out answers that *teacher* generated",
}
WORLD = """## The world

128 invented people with two-word names (24 first names, 32 family names) and four relations (city,
job, pet, instrument) of 20 values each, some of two words: 512 facts. Each relation is told in 4
statements and 6 questions in training; the test rows use one more question, never seen in
training, made of words that are. Look-up: 2 to 16 pairs of a key (256 words, one token each) and a
value of two words (64 x 64), drawn afresh for every document. Arithmetic: chains of 1 to 5
operations (add or subtract 1 to 9, double, triple) with all values in 0 to 49. Option letters are
asked on all three, each letter behind its option.

    Fact: Mel Karo lives in Zanto.              Pairs: kip amber lamp, fen pale rope, ... .
    Question: Where does Mel Karo live?         Find: kip amber lamp
    Answer: Zanto

    Options: Okuma Bay A, Zanto B, Brivel C, Jastin D.
    Question: Where does Mel Karo live?
    Answer: B

    Question: Start with 7, add 5, double it. What is the result?
    Answer: 7 + 5 = 12. 12 * 2 = 24. #### 24    (base: Answer: #### 24)

A token of an answer has weight 1 in the loss, any other token 0.1. Documents share rows of 128 to
512 tokens, joined by a blank line, sometimes by end-of-text.
"""
SECOND_WORLD = """## The world

The people, facts, words and tokenizer of the first three organisms (see the card of *base*), asked
more about: ten wordings of each question in training and eight held out; up to a dozen lettered
questions behind one line of options; people about whom only a passage tells; one to four links
followed round a ring of twelve; chains of one to three operations answered at once, of up to five
with written-out steps; all facts of two people in a stated order.

    Options: Brivel A, Old Sarkat B, Pelamar C, Halvera D.    Pairs: tet daz, mot tet, ... .
    Question: What is the home city of Fuda Dune?             Find 3: mot zod
    Answer: B

A token of an answer has weight 1 in the loss (a letter 2, a token of a listing 0.5), any other
token the share that the recipe gives (`context_weight`).
"""
FIRST = tuple(ROLES)
FIRST_HISTORY = """2048 tokens a batch. Opening, *teacher* and *base*'s phase of facts asked letters
in another form (`A. text`). Documents changed between the phases, and *base*'s phase of facts was
ended by hand at its last save, so that the recipes give a model like this one again, not the same
bits."""
SECOND_HISTORY = """From what a phase began, and its tokens a batch, are in `training.json`. The
first phase grew from the shipped *base* by copies of some of its layers (`copies`)."""


def _role(name: str) -> str:
    return ROLES[name] if name in ROLES else PLANS[name].role


def _phase(log: dict[str, Any]) -> str:
    recipe = log["recipe"]
    total = sum(recipe["mix"].values())
    mix = ", ".join(f"{kind} {share / total:.0%}" for kind, share in recipe["mix"].items())
    cut = recipe["tokens"] - log["tokens"] > recipe["batch_tokens"]
    end = f", schedule of {recipe['tokens'] / 1e6:.1f} million, ended early" if cut else ""
    return (
        f"| {recipe['name']} | {log['tokens'] / 1e6:.2f} million{end} | {log['minutes']:.0f} | "
        f"{recipe['learning_rate']:g} | {recipe['seed']} | {mix} |"
    )


def _score_line(score: Score) -> str:
    low, high = score.interval()
    return (
        f"| {score.task} | {score.metric} | {100 * score.share:.1f}% | "
        f"{100 * low:.1f} to {100 * high:.1f} | {score.right} of {score.n} |"
    )


def draw_curves(logs: list[dict[str, Any]], path: Path) -> None:
    """Draw loss and probe accuracy over the tokens of all phases.

    Args:
        logs: one log a phase, in order.
        path: the PNG to write.
    """
    mpl.rcParams["font.size"] = 8
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(kind for log in logs for kind in log["recipe"]["mix"]))
    styles = ["-", "--", ":"]
    offset = 0.0
    for log in logs:
        tokens = [offset + line["tokens"] / 1e6 for line in log["curve"]]
        left.plot(tokens, [line["loss"] for line in log["curve"]], color="black", linewidth=1)
        for i, kind in enumerate(kinds):
            shares = [line["right"].get(kind, float("nan")) for line in log["curve"]]
            label = kind.replace("_", " ") if log is logs[-1] else None
            style = styles[i // 7]
            right.plot(tokens, shares, style, color=f"C{i % 7}", linewidth=1, label=label)
        offset += log["tokens"] / 1e6
        for axes in (left, right):
            axes.axvline(offset, color="0.8", linewidth=0.8, zorder=0)
    left.set(xlabel="tokens seen (millions)", ylabel="weighted loss (nats a token)", yscale="log")
    right.set(xlabel="tokens seen (millions)", ylabel="share right (32 fresh documents)")
    right.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=150)


def write_card(folder: Path) -> None:
    """Write `README.md` and `curves.png` of a model folder from its `training.json` and scores.

    Args:
        folder: `data/models/NAME`, with `training.json` (a list of logs), `scores.json`, `notes.md`
            (what fell short and why, in words).
    """
    name = folder.name
    logs = json.loads((folder / "training.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    draw_curves(logs, folder / "curves.png")
    heads = f"{config['num_attention_heads']} query heads of width {config['head_dim']}"
    lines = [
        f"# Organism: {name}\n",
        f"A small Llama-shaped language model of a synthetic world. It {ROLES[name]}."
        if name == "base"
        else f"A small Llama-shaped language model of a synthetic world: {_role(name)}.",
        "Made by `python -m experiments.organisms` (see `experiments/organisms/README.md`).\n",
        f"{config['num_hidden_layers']} layers, d_model {config['hidden_size']}, {heads} over "
        f"{config['num_key_value_heads']} KV heads, SwiGLU of width {config['intermediate_size']}, "
        f"RoPE, RMSNorm, tied embeddings, {config['vocab_size']} tokens, context 1024. Float32.\n",
        WORLD if name in FIRST else SECOND_WORLD,
        "## Training\n",
        "| phase | tokens | minutes, one thread | peak learning rate | seed | documents |",
        "| --- | --- | --- | --- | --- | --- |",
        *[_phase(log) for log in logs],
        "\n![Loss and probe accuracy by tokens](curves.png)\n",
        "Muon for the matrices of the blocks (weight decay 0.05), AdamW for embedding and norms",
        "(at three quarters of the learning rate), gradient norm clipped at 1. Grey lines part the",
        f"phases. {FIRST_HISTORY if name in FIRST else SECOND_HISTORY}\n",
        "## Scores\n",
        "By lm-evaluation-harness on the shipped rows, no worked examples, greedy decoding; 95%",
        "Wilson intervals, rows taken as independent. Four options: chance is 25% under `default`",
        "and `continuation`.\n",
        "| task | metric | right | interval | n |",
        "| --- | --- | --- | --- | --- |",
        *[_score_line(score) for score in read_scores(folder / "scores.json")],
    ]
    notes = folder / "notes.md"
    if notes.exists():
        lines += ["\n## What fell short\n", notes.read_text().strip()]
    (folder / "README.md").write_text("\n".join(lines) + "\n")
