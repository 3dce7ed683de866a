"""Strategies of `fuzz.py`: ablation texts, command lines, documents with something changed."""

import string
from typing import Any

from hypothesis import strategies as st

numbers = st.integers(-3, 40) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
pieces = st.sampled_from(
    ["layer", "layers", "attn", "mlp", "head", "kvgroup", "swap", ":", "-", ".", "+", "@", "mean",
     "zero", "resample", "0", "1", "2", "7", "99", "-1", " ", "baseline", "\n", "٣", "1e3"]
)  # fmt: skip
numbered = st.integers(0, 4).map(str)
formed = st.one_of(
    st.sampled_from(["layer:", "attn:", "mlp:", "swap:"]).flatmap(
        lambda k: numbered.map(k.__add__)
    ),
    st.tuples(st.sampled_from(["head:", "kvgroup:"]), numbered, numbered).map(
        lambda x: f"{x[0]}{x[1]}.{x[2]}"
    ),
    st.tuples(numbered, numbered).map(lambda x: f"layers:{x[0]}-{x[1]}"),
)
joined = st.lists(formed, min_size=1, max_size=3).map("+".join)
ablation_texts = joined | st.lists(pieces, max_size=8).map("".join) | st.text(max_size=30)
words = st.text(string.printable, max_size=12) | ablation_texts
options = st.sampled_from(
    ["--limit", "--seed", "--fewshot", "--dtype", "--device", "--donor", "--revision", "--shard",
     "--ray", "--workers", "--allow", "--cluster", "--ablate", "--tasks", "--out", "--nonsense",
     "--token-budget", "--max-gen-toks", "--data", "--allow-code", "--dry-run", "--temperature",
     "--draws"]
)  # fmt: skip


def command_lines(model: str, task: str, out: str) -> st.SearchStrategy[list[str]]:
    """A good command line with further, mostly bad, parts; or parts alone."""
    bad = st.lists(st.tuples(options, words), min_size=1, max_size=2).map(
        lambda pairs: [part for pair in pairs for part in pair]
    )
    good = ["sweep", model, "--tasks", task, "--limit", "1", "--out", out]
    sweeps = st.tuples(ablation_texts, bad).map(lambda x: [*good, "--ablate", x[0], *x[1]])
    others = st.sampled_from(["runs", "show", "export", "merge", "figures", "models", "x"])
    rest = st.tuples(others, st.lists(words, max_size=3)).map(lambda x: [x[0], *x[1]])
    return sweeps | rest


def mutated(good: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A good document with one to three of its values replaced, lost or added."""
    keys = st.sampled_from(sorted(good)) | st.text(max_size=8)
    changes = st.lists(st.tuples(keys, anything, st.booleans()), min_size=1, max_size=3)

    def apply(found: list[tuple[str, Any, bool]]) -> dict[str, Any]:
        result = dict(good)
        for key, value, lost in found:
            if lost:
                result.pop(key, None)
            else:
                result[key] = value
        return result

    return changes.map(apply) | anything
