"""Small GPT-2 models with hand-written circuits among random, harmless heads and MLPs.

The residual stream of 256 numbers is cut into subspaces: the token here, its position, the token
before it, an intermediate result, and the answer that the unembedding reads. Harmless parts read
and write everywhere, with small random weights.
"""

import functools
import random
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from experiments.words import numbered_words, word_tokenizer
from interp.models import wrap

N_LAYERS, N_HEADS, D_HEAD, D_VOCAB, N_POSITIONS = 5, 4, 64, 64, 32
D_MODEL = N_HEADS * D_HEAD
TOKEN, POSITION, BEFORE, RESULT, ANSWER = (
    slice(0, 64), slice(64, 96), slice(96, 160), slice(160, 170), slice(170, 234),
)  # fmt: skip
KEYS, VALUES = range(4, 20), range(20, 36)
SUBJECTS, OBJECTS = range(36, 44), range(44, 52)
STARTS, ENDS = range(52, 58), range(58, 64)
HARMLESS = 0.02
Head = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """What is built in, and where.

    Attributes:
        seed: the seed of the harmless weights and of the facts.
        previous_token: head that copies the token before to every position.
        induction: heads that look for the query's key and copy its value; any one is enough.
        null: heads that look where an induction head looks, and write nothing.
        fact: layer whose MLP holds the facts.
        chain: the two layers whose MLPs do the first and the second step.
        noise: size of what the harmless parts write.
    """

    seed: int
    previous_token: Head | None = None
    induction: tuple[Head, ...] = ()
    null: tuple[Head, ...] = ()
    fact: int | None = None
    chain: tuple[int, int] | None = None
    noise: float = HARMLESS

    @property
    def layers(self) -> dict[str, set[int]]:
        """Task to the layers without which it cannot be done."""
        retrieval = {self.previous_token[0]} if self.previous_token else set()
        if len({layer for layer, _ in self.induction}) == 1:
            retrieval.add(self.induction[0][0])
        return {
            "kv": retrieval,
            "facts": set() if self.fact is None else {self.fact},
            "chain": set(self.chain or ()),
        }


@dataclass(frozen=True)
class Facts:
    """What a planted model knows: subject to object, start to result, result to end."""

    objects: dict[int, int] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


def circuit_plan(seed: int) -> Plan:
    """A retrieval circuit with one null head, a fact and a chain, at seeded places."""
    rng = random.Random(f"circuit-{seed}")
    first, second = sorted(rng.sample(range(N_LAYERS), 2))
    induction = (second, rng.randrange(N_HEADS))
    places = [
        (n, h) for n in range(first + 1, N_LAYERS) for h in range(N_HEADS) if (n, h) != induction
    ]
    return Plan(
        seed=seed,
        previous_token=(first, rng.randrange(N_HEADS)),
        induction=(induction,),
        null=(rng.choice(places),),
        fact=rng.randrange(N_LAYERS),
        chain=tuple(sorted(rng.sample(range(N_LAYERS), 2))),  # type: ignore[arg-type]
    )


def redundant_plan(seed: int) -> Plan:
    """A retrieval circuit with two induction heads, either of which is enough."""
    rng = random.Random(f"redundant-{seed}")
    first = rng.randrange(N_LAYERS - 1)
    places = [(n, h) for n in range(first + 1, N_LAYERS) for h in range(N_HEADS)]
    both = tuple(sorted(rng.sample(places, 2)))
    return Plan(seed=seed, previous_token=(first, rng.randrange(N_HEADS)), induction=both)


def null_plan(seed: int) -> Plan:
    """Nothing planted: all parts are random, and large enough that they decide the answers."""
    return Plan(seed=seed, noise=15 * HARMLESS)


def facts_of(plan: Plan) -> Facts:
    """The facts of a plan, drawn with its seed."""
    rng = random.Random(f"facts-{plan.seed}")
    steps = rng.sample(range(len(STARTS)), len(STARTS))
    return Facts(
        objects=dict(zip(SUBJECTS, rng.sample(OBJECTS, len(OBJECTS)), strict=True)),
        results=dict(zip(STARTS, steps, strict=True)),
        ends=dict(zip(range(len(ENDS)), rng.sample(ENDS, len(ENDS)), strict=True)),
    )


def build(plan: Plan, facts: Facts | None = None) -> TransformerBridge:
    """The model of a plan, as a bridge with native blocks behind it.

    Args:
        plan: what is built in.
        facts: what it knows; by default the facts of the plan.

    Returns:
        The bridge.
    """
    return wrap(hand_written(plan, facts), tokenizer(), name=f"planted-{plan.seed}")


def hand_written(plan: Plan, facts: Facts | None = None) -> Any:
    """The model of a plan, as a Hugging Face model; knowing other facts, if some are given."""
    config = transformers.GPT2Config(
        vocab_size=D_VOCAB, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS,
        n_positions=N_POSITIONS, n_inner=D_HEAD, tie_word_embeddings=False, bos_token_id=1,
        eos_token_id=2, pad_token_id=0, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    root = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        _write(root, plan, facts or facts_of(plan))
    return root.eval()


@functools.cache
def tokenizer() -> Any:
    """Words w4 to w63 are tokens; BOS is added once; white space separates."""
    return word_tokenizer(numbered_words(D_VOCAB))


def _write(root: Any, plan: Plan, facts: Facts) -> None:
    generator = torch.Generator().manual_seed(plan.seed)

    def noise(*shape: int, size: float) -> Tensor:
        return size * torch.randn(*shape, generator=generator)

    for parameter in root.parameters():
        parameter.zero_()
    for module in root.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.fill_(1.0)
    root.transformer.wte.weight[:, TOKEN] = torch.eye(D_VOCAB)
    root.transformer.wpe.weight[:, POSITION] = torch.eye(N_POSITIONS)
    root.lm_head.weight[:, ANSWER] = 2 * torch.eye(D_VOCAB)
    for block in root.transformer.h:
        # what a head or MLP writes has the size of the noise: its inputs are of size 1
        width = D_MODEL**-0.5
        block.attn.c_attn.weight.copy_(noise(D_MODEL, 3 * D_MODEL, size=width))
        block.attn.c_proj.weight.copy_(noise(D_MODEL, D_MODEL, size=plan.noise * D_HEAD**-0.5))
        block.mlp.c_fc.weight.copy_(noise(D_MODEL, D_HEAD, size=width))
        block.mlp.c_proj.weight.copy_(noise(D_HEAD, D_MODEL, size=plan.noise * D_HEAD**-0.5))
    if plan.previous_token:
        _previous_token(root, *plan.previous_token)
    for layer, head in plan.induction:
        _induction(root, layer, head, writes=0.35)
    for layer, head in plan.null:
        _induction(root, layer, head, writes=0.0)
    if plan.fact is not None:
        look_up(root, plan.fact, TOKEN, ANSWER, facts.objects, first_neuron=0)
    if plan.chain:
        look_up(root, plan.chain[0], TOKEN, RESULT, facts.results, first_neuron=16)
        look_up(root, plan.chain[1], RESULT, ANSWER, facts.ends, first_neuron=32)


def _parts(root: Any, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v `[d_model, d_head]` and o `[d_head, d_model]` of one head, as views set to zero."""
    block, at = root.transformer.h[layer].attn, slice(head * D_HEAD, (head + 1) * D_HEAD)
    q, k, v = (m[:, at] for m in block.c_attn.weight.split(D_MODEL, dim=1))
    views = (q, k, v, block.c_proj.weight[at])
    for view in views:
        view.zero_()
    return views


def _previous_token(root: Any, layer: int, head: int) -> None:
    q, k, v, o = _parts(root, layer, head)
    # position p asks for p - 1
    q[POSITION, : N_POSITIONS - 1] = 2 * torch.eye(N_POSITIONS)[:, 1:]
    k[POSITION, :N_POSITIONS] = torch.eye(N_POSITIONS)
    v[TOKEN] = torch.eye(D_HEAD)
    o[:, BEFORE] = 0.12 * torch.eye(D_HEAD)


def _induction(root: Any, layer: int, head: int, *, writes: float) -> None:
    q, k, v, o = _parts(root, layer, head)
    q[TOKEN] = 2 * torch.eye(D_HEAD)
    k[BEFORE] = torch.eye(D_HEAD)
    v[TOKEN] = torch.eye(D_HEAD)
    o[:, ANSWER] = writes * torch.eye(D_HEAD)


def look_up(
    root: Any, layer: int, reads: slice, writes: slice, pairs: dict[int, int], *, first_neuron: int
) -> None:
    """One neuron a pair: it fires where its input stands, and writes its output."""
    mlp = root.transformer.h[layer].mlp
    for number, (given, answer) in enumerate(pairs.items()):
        neuron = first_neuron + number
        mlp.c_fc.weight[:, neuron] = 0
        mlp.c_fc.weight[reads.start + given, neuron] = 1
        mlp.c_fc.bias[neuron] = -3.0
        mlp.c_proj.weight[neuron] = 0
        mlp.c_proj.weight[neuron, writes.start + answer] = 0.6
