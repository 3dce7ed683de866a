"""The lines of the GPU benchmark: what each runs, and the numbers that it gives.

Every function is called in a process of its own. Times are of the wall, behind a synchronised GPU.
The peer is lm-evaluation-harness' `HFLM` on the whole model and on models with a layer deleted in
memory; it is timed on a few layers and scaled to all.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from experiments.benchmarks.arithmetic import generation_operations, remaining_operations
from experiments.benchmarks.generation_workloads import gsm_shaped
from experiments.benchmarks.gpu_models import SHAPES, peak_bytes, random_model
from experiments.benchmarks.gpu_rates import (
    MatrixBytes,
    launched,
    matmul_rate,
    memory_rate,
    timed,
)
from experiments.benchmarks.workloads import D_VOCAB, make_task, tokenizer
from interp import models
from interp.ablations import Edits, checked_edits, each_layer
from interp.attention import attention_rows
from interp.engine import generate, score_requests
from interp.models import wrap
from interp.tasks import Task, build_requests, harness_requests, with_budget

PEER_BATCH = 16


@dataclass(frozen=True)
class Size:
    """How much a line runs.

    Attributes:
        device: `cuda`, or `cpu` for the self-test.
        large: the shape in bfloat16.
        small: the shape in float32.
        examples: rows of a benchmark.
        peer_layers: deleted layers that the peer is timed on.
        new_tokens: the new tokens of a generated answer.
        context: the context of the traced prompt, in tokens.
        matrix: side of the matrices whose multiplication is timed.
        half: type of the large model; a CPU multiplies bfloat16 very slowly.
    """

    device: str = "cuda"
    large: str = "8B"
    small: str = "1B"
    examples: int = 32
    peer_layers: int = 1
    new_tokens: int = 64
    context: int = 32_768
    matrix: int = 8192
    half: torch.dtype = torch.bfloat16


SELF_TEST = Size("cpu", "tiny", "tiny", 2, 1, 4, 256, 128, torch.float32)


def rates(size: Size) -> dict[str, Any]:
    """The limits of the machine: matrix multiplication and copying."""
    found: dict[str, Any] = {}
    for dtype in dict.fromkeys((size.half, torch.float32)):
        found[f"{_shown(dtype)}_tflops"] = matmul_rate(size.device, size.matrix, dtype) / 1e12
    found["copied_gb_a_second"] = memory_rate(size.device) / 1e9
    return found


def parity_float32(size: Size) -> dict[str, Any]:
    """Scores and answers in float32 against `HFLM` on deleted layers."""
    return _compared(size, size.small, torch.float32)


def parity_bfloat16(size: Size) -> dict[str, Any]:
    """Scores and answers in bfloat16, beside what another batch size changes in `HFLM` itself."""
    found = _compared(size, size.small, size.half)
    task, asked = (
        _task("mmlu-letters", size),
        with_budget(gsm_shaped(4), size.new_tokens),
    )
    model = random_model(size.small, size.half, size.device)
    alone, together = (_harness_scores(model, task, size.examples, n) for n in (1, PEER_BATCH))
    moved = [abs(a - b) for a, b in zip(alone, together, strict=True)]
    written = [_harness_texts(model, asked, 4, batch_size=n) for n in (1, PEER_BATCH)]
    unlike = sum(a != b for a, b in zip(*written, strict=True))
    return found | {"noise_floor_nats": max(moved), "noise_floor_texts_of_4": unlike}


def _compared(size: Size, name: str, dtype: torch.dtype) -> dict[str, Any]:
    task, n_layers = _task("mmlu-letters", size), SHAPES[name].n_layers
    layers = sorted({0, n_layers // 2, n_layers - 1})
    model = wrap(random_model(name, dtype, size.device), tokenizer(), name="random")
    edits = [Edits(), *(checked_edits(model, f"layer:{layer}") for layer in layers)]
    requests = _requests(task, size.examples, model)
    found = score_requests(model, requests, edits)
    asked = with_budget(gsm_shaped(4), size.new_tokens)
    written = generate(model, _requests(asked, 4, model), edits)
    del model
    apart, unlike, count = 0.0, 0, 0
    plain = random_model(name, dtype, size.device)
    whole = list(plain.model.layers)
    for number, gone in enumerate([None, *layers]):
        _keep_layers(plain, whole, gone)
        theirs = _harness_scores(plain, task, size.examples, PEER_BATCH)
        mine = [value for value, _ in found[number]]
        apart = max(apart, *(abs(a - b) for a, b in zip(mine, theirs, strict=True)))
        texts = _harness_texts(plain, asked, 4)
        unlike += sum(a.text != b for a, b in zip(written.answers[number], texts, strict=True))
        count += len(texts)
    return {"largest_difference_nats": apart, "texts": count, "different_texts": unlike}


def letters(size: Size) -> dict[str, Any]:
    """All layers, five-shot option letters."""
    return _scored(size, "mmlu-letters")


def texts(size: Size) -> dict[str, Any]:
    """All layers, five-shot option texts."""
    return _scored(size, "mmlu-texts")


def endings(size: Size) -> dict[str, Any]:
    """All layers, zero-shot endings."""
    return _scored(size, "hellaswag")


def _scored(size: Size, shape: str) -> dict[str, Any]:
    rate = matmul_rate(size.device, size.matrix, size.half)
    task = _task(shape, size)
    model = wrap(random_model(size.large, size.half, size.device), tokenizer(), name="random")
    edits = [Edits(), *(checked_edits(model, a) for a in each_layer(model))]
    requests = _requests(task, size.examples, model)
    score_requests(model, requests[:8], edits[:2])  # first use: shortcuts are tried, kernels load
    seconds, _ = timed(size.device, lambda: score_requests(model, requests, edits))
    operations = remaining_operations(model, requests, edits)
    held = peak_bytes(size.device)
    del model
    peer = _peer_seconds(
        size, lambda plain: _harness_scores(plain, task, size.examples, PEER_BATCH)
    )
    return {
        **_beside(size.examples, edits, seconds, peer),
        "share_of_matmul_rate": operations / seconds / rate,
        "peak_gib": held / 2**30,
    }


def generation(size: Size) -> dict[str, Any]:
    """All layers, generated answers."""
    rate, moved_a_second = (
        matmul_rate(size.device, size.matrix, size.half),
        memory_rate(size.device),
    )
    count = max(size.examples // 4, 2)
    task = with_budget(gsm_shaped(count), size.new_tokens)
    model = wrap(random_model(size.large, size.half, size.device), tokenizer(), name="random")
    edits = [Edits(), *(checked_edits(model, a) for a in each_layer(model))]
    requests = _requests(task, count, model)
    generate(model, requests[:1], edits[:2])
    seconds, found = timed(size.device, lambda: generate(model, requests, edits))
    operations = generation_operations(model, requests, edits, found.answers)
    held = peak_bytes(size.device)
    with MatrixBytes() as moved:
        generate(model, requests, edits)
    del model
    peer = _peer_seconds(size, lambda plain: _harness_texts(plain, task, count))
    return {
        **_beside(count, edits, seconds, peer),
        "share_of_matmul_rate": operations / seconds / rate,
        "share_of_memory_rate": moved.count / seconds / moved_a_second,
        "peak_gib": held / 2**30,
        "paths": list(found.paths),
    }


def heads(size: Size) -> dict[str, Any]:
    """All heads of two layers, against TransformerLens' `run_with_hooks` on two heads."""
    shape, task = SHAPES[size.large], _task("mmlu-letters", size)
    model = wrap(random_model(size.large, size.half, size.device), tokenizer(), name="random")
    layers = sorted({shape.n_layers // 4, 3 * shape.n_layers // 4})
    asked = [(layer, head) for layer in layers for head in range(shape.n_heads)]
    edits = [Edits(), *(checked_edits(model, f"head:{layer}.{head}") for layer, head in asked)]
    requests = _requests(task, size.examples, model)
    score_requests(model, requests[:8], edits[:2])
    seconds, _ = timed(size.device, lambda: score_requests(model, requests, edits))
    prompts = [
        torch.tensor([[*r.context, *r.continuation]], device=size.device) for r in requests[::4]
    ]

    def hooked() -> None:
        for layer, head in random.Random(0).sample(asked, 2):

            def zero(z: torch.Tensor, hook: Any, head: int = head) -> torch.Tensor:
                z[:, :, head] = 0
                return z

            for prompt in prompts:
                with torch.no_grad():
                    model.run_with_hooks(prompt, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", zero)])

    peer, _ = timed(size.device, hooked)
    peer *= len(edits) / 2
    return {
        **_beside(size.examples, edits, seconds, peer),
        "peak_gib": peak_bytes(size.device) / 2**30,
    }


def tracing(size: Size) -> dict[str, Any]:
    """Attention rows of one long prompt, in every head."""
    model = wrap(random_model(size.large, size.half, size.device), tokenizer(), name="random")
    tokens = torch.randint(
        4, _words(size), (size.context,), generator=torch.Generator().manual_seed(0)
    )
    weights = peak_bytes(size.device)
    seconds, rows = timed(size.device, lambda: attention_rows(model, tokens.tolist(), queries=[-1]))
    return {
        "context": size.context,
        "seconds": seconds,
        "sums_to_one": float((rows.rows.float().sum(dim=-1) - 1).abs().max()),
        "extra_gib": (peak_bytes(size.device) - weights) / 2**30,
        "peak_gib": peak_bytes(size.device) / 2**30,
    }


def swaps(size: Size) -> dict[str, Any]:
    """Every layer of another model in turn; both models are resident."""
    model, donor = (
        wrap(
            random_model(size.small, torch.float32, size.device, seed=s), tokenizer(), name=f"m{s}"
        )
        for s in (0, 1)
    )
    task = _task("mmlu-letters", size)
    n_layers = SHAPES[size.small].n_layers
    edits = [
        Edits(),
        *(checked_edits(model, f"swap:{layer}", donor=donor) for layer in range(n_layers)),
    ]
    requests = _requests(task, size.examples, model)
    seconds, found = timed(size.device, lambda: score_requests(model, requests, edits))
    moved = max(abs(a[0] - b[0]) for a, b in zip(found[0], found[1], strict=True))
    return {
        "examples": size.examples,
        "ablations": len(edits),
        "seconds": seconds,
        "largest_change_nats": moved,
        "peak_gib": peak_bytes(size.device) / 2**30,
    }


def launches(size: Size) -> dict[str, Any]:
    """Kernels a block: of a plain forward pass, of one decoded token, and of a scored sweep."""
    model = wrap(random_model(size.large, size.half, size.device), tokenizer(), name="random")
    decoder, n_layers = models.decoder(model), SHAPES[size.large].n_layers
    prompt = torch.randint(4, _words(size), (1, 256), device=size.device)
    task = _task("mmlu-letters", size)
    # a profile of a whole sweep would take longer than the sweep
    requests = _requests(task, max(size.examples // 4, 1), model)
    edits = [Edits(), *(checked_edits(model, a) for a in each_layer(model))]
    score_requests(model, requests[:8], edits[:2])
    # a sweep that begins at each layer runs, summed over layers, so many blocks
    blocks = n_layers + sum(n_layers - layer - 1 for layer in range(n_layers))
    with torch.no_grad():
        decoder.root(prompt)
        whole, _ = launched(size.device, lambda: decoder.root(prompt))
        one, one_busy = launched(size.device, lambda: decoder.root(prompt[:, :1]))
    swept, busy = launched(size.device, lambda: score_requests(model, requests, edits))
    return {
        "forward_a_block": whole / n_layers,
        "token_a_block": one / n_layers,
        "sweep_a_block_and_ablation": swept / blocks,
        # the rest of the time the GPU waits to be given work: launches bind
        "token_busy_share": one_busy,
        "sweep_busy_share": busy,
    }


LINES: dict[str, Callable[[Size], dict[str, Any]]] = {
    "rates": rates,
    "parity-float32": parity_float32,
    "parity-bfloat16": parity_bfloat16,
    "letters": letters,
    "texts": texts,
    "endings": endings,
    "generation": generation,
    "heads": heads,
    "tracing": tracing,
    "swaps": swaps,
    "launches": launches,
}
"""In the order in which they run: what matters most comes first."""


def _words(size: Size) -> int:
    """Words of the rows: no more than the smaller model has."""
    return min(D_VOCAB, SHAPES[size.small].d_vocab)


def _task(shape: str, size: Size) -> Task:
    return make_task(shape, size.examples, d_vocab=_words(size))


def _peer_seconds(size: Size, work: Callable[[Any], Any]) -> float:
    """Seconds of the peer on the whole model and some layers, scaled to all."""
    plain = random_model(size.large, size.half, size.device)
    whole = list(plain.model.layers)
    asked = random.Random(0).sample(range(len(whole)), size.peer_layers)
    baseline, _ = timed(size.device, lambda: work(plain))
    deleted = 0.0
    for gone in asked:
        _keep_layers(plain, whole, gone)
        seconds, _ = timed(size.device, lambda: work(plain))
        deleted += seconds
    return baseline + deleted / len(asked) * len(whole)


def _keep_layers(plain: Any, whole: list[Any], gone: int | None) -> None:
    kept = [block for number, block in enumerate(whole) if number != gone]
    for number, block in enumerate(kept):
        block.self_attn.layer_idx = number
    plain.model.layers = torch.nn.ModuleList(kept)
    plain.config.num_hidden_layers = len(kept)


def _harness(plain: Any, batch_size: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=plain, tokenizer=tokenizer(), batch_size=batch_size, device=str(plain.device)
    )


def _harness_scores(plain: Any, task: Task, count: int, batch_size: int) -> list[float]:
    asked = [one for doc_id in range(count) for one in harness_requests(task, doc_id)]
    found = _harness(plain, batch_size).loglikelihood(asked, disable_tqdm=True)
    return [value for value, _ in found]


def _harness_texts(
    plain: Any, task: Task, count: int, *, batch_size: int = PEER_BATCH
) -> list[str]:
    asked = [one for doc_id in range(count) for one in harness_requests(task, doc_id)]
    found: list[str] = _harness(plain, batch_size).generate_until(asked, disable_tqdm=True)
    return found


def _beside(examples: int, edits: list[Edits], seconds: float, peer: float) -> dict[str, Any]:
    """The numbers of a line that has a peer: of both sides."""
    return {
        "examples": examples,
        "ablations": len(edits),
        "seconds": seconds,
        "peer_seconds": peer,
        "ratio": peer / seconds,
    }


def _requests(task: Task, count: int, model: Any) -> Any:
    return build_requests(task, range(count), models.decoder(model))


def _shown(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
