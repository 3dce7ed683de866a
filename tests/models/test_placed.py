"""A model over several GPUs computes what it computes on one device; on pretended GPUs.

No GPU is needed and none was used: every tensor is on the CPU and says that it is elsewhere
(`tests/helpers/pretended.py`), and a call in which tensors of two GPUs meet fails.
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import models
from interp.ablations import Edits, checked_edits, mean_outputs
from interp.attention import attention_rows
from interp.attention.tracing import trace
from interp.comparison.weights import weight_distances
from interp.engine import EVERY, Settings, exact_shortcuts, generate, score_requests
from interp.engine.capabilities import capabilities
from interp.engine.shortcuts import NONE
from interp.errors import UserError
from interp.lens import direct_logit_attribution, prompt_grid, train_tuned_lens
from interp.lens.training import Training
from interp.models import weights_hash, wrap
from interp.models.placement import block_stack, device_map
from interp.similarity import cka_between, study_angular_distance
from interp.sweeps import estimate
from interp.tasks import Sampling, build_requests, load_task
from tests.helpers.families import FAMILIES, N_LAYERS, random_tokens, tiny_model, tiny_tokenizer
from tests.helpers.key_value import make_task
from tests.helpers.pretended import PretendedDevices, put_modules
from tests.helpers.prompts import requests
from tests.helpers.task_files import write_task

# by architecture: rotary angles handed in, positions in the embedding, both masks, ALiBi,
# parallel blocks, MLP on flattened rows
SOME = ["llama", "gemma3", "gpt2", "gpt_neox", "opt", "bloom"]
FREE, TOTAL = 1 << 30, 1 << 40
ABLATIONS = [
    "layer:0", "layer:1", "layer:2", "layers:0-1", "layers:1-2", "attn:1", "attn:2", "mlp:0",
    "mlp:1", "mlp:2", "head:1.2", "head:2.1", "head:0.1@mean", "head:2.3@mean", "kvgroup:1.1",
    "head:1.0@resample", "head:2.0@resample", "swap:1", "swap:2", "layer:0+head:2.1",
]  # fmt: skip


def places_of(root, gpus: int) -> dict[str, str]:
    """The map over so many equal GPUs, none of which is left out."""
    blocks = root.get_submodule(block_stack(root, N_LAYERS))
    sizes = [sum(p.numel() for p in one.parameters()) * 4 for one in blocks]
    ends = sum(p.numel() for p in root.parameters()) * 4 - sum(sizes)
    most = max(sizes) + (max(sizes) if gpus < N_LAYERS else ends)
    free = {f"cuda:{i}": int(1.1 * (most + 2000)) for i in range(gpus)}
    places = device_map(root, N_LAYERS, torch.float32, free, "tiny")
    assert set(places.values()) == set(free)
    return places


def put_on_gpus(family: str, *, gpus: int = 3, seed: int = 0):
    """A bridge over pretended GPUs; call it inside `PretendedDevices()`."""
    root = tiny_model(family, seed=seed)
    # accelerate leaves its map on the model, where TransformerLens looks for it
    root.hf_device_map = places_of(root, gpus)
    put_modules(root, root.hf_device_map)
    return wrap(root, tiny_tokenizer(), name=f"tiny-{family}")


def on_one_device(family: str, seed: int = 0):
    return wrap(tiny_model(family, seed=seed), tiny_tokenizer(), name=f"tiny-{family}")


@contextmanager
def pretending(monkeypatch, free: int = FREE) -> Iterator[PretendedDevices]:
    with monkeypatch.context() as patch, PretendedDevices() as mode:
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, TOTAL))
        # the first GPUs on which experts run in one kernel are of version 8.0
        patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
        patch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device=None: None)
        patch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: 1000)
        yield mode


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, atol=1e-5, rtol=1e-5, check_exact=False)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize("any_family", sorted(FAMILIES))
def test_a_folder_is_loaded_over_two_gpus(any_family, tmp_path, monkeypatch):
    """The whole path: configuration, map, transformers' and accelerate's loading, our hooks."""
    saved = tiny_model(any_family)
    saved.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    plain, ids = interp.load_model(tmp_path, device="cpu"), random_tokens(2, 12)
    with torch.no_grad():
        expected = [models.decoder(plain).root(ids).logits, plain(ids)]
    # modes are of one thread
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    free = int(0.7 * 1.1 * sum(p.numel() for p in saved.parameters()) * 4)
    with pretending(monkeypatch, free) as mode, torch.no_grad():
        for name, value in (("is_available", True), ("device_count", 2)):
            monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
        for name in ("memory_reserved", "memory_allocated"):
            monkeypatch.setattr(torch.cuda, name, lambda device=None: 0)
        placed = interp.load_model(tmp_path)
        decoder, ids = models.decoder(placed), ids.to("cuda:0")
        assert [str(d) for d in decoder.devices] == ["cuda:0", "cuda:1"]
        assert (placed.cfg.device, placed.cfg.n_devices) == ("cuda:0", 2)
        found = [decoder.root(ids).logits, placed(ids)]
        assert mode.crossings
        assert weights_hash(placed) == weights_hash(plain)
        # nothing of accelerate's is left
        modules = [*decoder.root.modules(), *placed.modules()]
        kept = {"_hf_hook", "_old_forward", "forward", "to", "cuda"}
        assert not any(kept & set(module.__dict__) for module in modules)
        # both trees hold the same weights
        assert {id(p) for p in decoder.root.parameters()} <= {id(p) for p in placed.parameters()}
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def halved(value, hook=None):
    return value / 2


@pytest.fixture(params=SOME)
def family(request):
    return request.param


def _exact(model):
    can = capabilities(model)
    return [exact_shortcuts(model, EVERY, 64), can.narrows_last_block, can.rounding(24) is None]


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize("gpus", [2, 3])
@pytest.mark.parametrize("any_family", sorted(FAMILIES))
def test_logits_and_shortcuts_are_those_of_one_device(any_family, gpus, monkeypatch):
    plain, ids = on_one_device(any_family), random_tokens(2, 12)
    decoder = models.decoder(plain)
    with torch.no_grad():
        expected = [decoder.root(ids).logits, plain(ids)]
    known = _exact(plain)
    with pretending(monkeypatch) as mode, torch.no_grad():
        placed = put_on_gpus(any_family, gpus=gpus)
        decoder, ids = models.decoder(placed), ids.to("cuda:0")
        assert len(decoder.devices) == gpus
        found = [decoder.root(ids).logits, placed(ids)]
        assert mode.crossings >= 2 * gpus
        assert {logits.device for logits in found} == {decoder.device}
        assert _exact(placed) == known
        assert weights_hash(placed) == weights_hash(plain)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["texts", "letters", "generate"])
def test_sweeps_of_three_protocols(family, kind, tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, kind=kind, rows=8, num_fewshot=2))
    asked = ABLATIONS
    if kind != "generate":
        asked = [*asked, interp.hooked("half", [("blocks.1.hook_out", halved)])]

    def swept(model, donor, out):
        ablations = [
            interp.SwapLayer(int(a[-1]), donor=donor) if str(a).startswith("swap:") else a
            for a in asked
        ]
        return interp.sweep(model, [task], ablations, out=tmp_path / out, limit=6).responses()

    expected = swept(on_one_device(family), on_one_device(family, seed=1), "plain")
    with pretending(monkeypatch):
        # the donor is placed otherwise
        placed, donor = put_on_gpus(family), put_on_gpus(family, gpus=2, seed=1)
        found = swept(placed, donor, "placed")
        origin = interp.open_run(tmp_path / "placed").manifest.origin
        assert origin.device == "cuda:0, cuda:1, cuda:2"
    assert found["ablation"].nunique() == len(asked) + 1
    same(found, expected)


def both(family, monkeypatch, work, **options):
    """What some work gives on one device, and what it gives on pretended GPUs."""
    expected = work(on_one_device(family))
    with pretending(monkeypatch):
        return work(put_on_gpus(family, **options)), expected


DECODING = [
    Settings(rows=3, latency_knee=64),
    Settings(plain=True),
]  # sweeps decode by default settings


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_generation_with_other_settings(family, monkeypatch):
    def work(model):
        edits = [checked_edits(model, text) for text in ["layer:1", "head:2.1@mean"]]
        means = mean_outputs(model, ["w5 w6 w7", "w8 w9"])
        found = [generate(model, requests(), edits, means=means, settings=s) for s in DECODING]
        # drafts of several pieces, of which some rows go on
        found.append(
            generate(model, requests(longest=40, until=()), [Edits(), *edits], means=means)
        )
        asked = [replace(request, sampling=Sampling(1.0, seed=3)) for request in requests()]
        drawn = generate(model, asked, edits, means=means)
        return [f.answers for f in (*found, drawn)], [f.paths for f in found]

    found, expected = both(family, monkeypatch, work)
    assert found == expected


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_the_repl_under_ablate(family, monkeypatch):
    texts = ["w5 w6 w7", "w8 w9"]

    def work(model):
        written = []
        for text in ("head:1.0@mean", "layer:1", "head:2.1@resample", "mlp:2", "attn:1"):
            with interp.ablate(model, text, reference=texts):
                written.append(model.generate("w5 w6 w7", max_new_tokens=4, do_sample=False))
                logits, cache = model.run_with_cache(
                    random_tokens(2, 6).to(models.decoder(model).device)
                )
                written += [logits.cpu(), cache["blocks.2.hook_out"].cpu()]
        written.append(interp.generate(model, "w5 w6", "layer:1", max_new_tokens=5))
        written.append("".join(interp.stream(model, "w5 w6", max_new_tokens=5)))
        return written

    found, expected = both(family, monkeypatch, work)
    for mine, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)
        else:
            assert mine == theirs


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_lens_and_attribution(family, tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, kind="letters", rows=6))
    heads = family != "gemma3"  # its heads enter the stream through a norm
    texts = [" ".join(f"w{5 + (i * j) % 50}" for j in range(9)) for i in range(1, 9)]
    brief = Training(steps=3, rows=2, vectors=8)

    def work(model):
        tuned = train_tuned_lens(model, texts, source="words", training=brief)
        return [
            interp.logit_lens(model, task).table(),
            interp.logit_lens(model, task, ablation="head:2.1@mean").table(),
            interp.logit_lens(model, task, ablation="layer:1", tuned=tuned).table(),
            prompt_grid(model, "w5 w6 w7", sublayers=True).drop(columns="top_token"),
            direct_logit_attribution(model, task, heads=heads),
        ]

    for mine, theirs in zip(*both(family, monkeypatch, work), strict=True):
        same(mine, theirs)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_attention_and_similarity(family, monkeypatch):
    texts = ["w5 w6 w7", "w8 w9", "w10 w11 w12 w13", "w14", "w5 w15 w16"]

    def work(model):
        traced = trace(model, make_task(), piece=4)
        alike = interp.layer_similarity(model, texts)
        arrays = [traced.retrieval, *traced.attention.values()]
        arrays.append(attention_rows(model, "w5 w6 w7 w8", queries=(-1, 1), piece=2).rows)
        tables = [traced.examples, alike.influence, alike.angular, alike.cka]
        return arrays, [*tables, study_angular_distance(model, texts)]

    (arrays, tables), (their_arrays, their_tables) = both(family, monkeypatch, work)
    for mine, theirs in zip(arrays, their_arrays, strict=True):
        torch.testing.assert_close(
            torch.as_tensor(mine), torch.as_tensor(theirs), atol=1e-5, rtol=1e-5
        )
    for mine, theirs in zip(tables, their_tables, strict=True):
        same(mine, theirs)


@pytest.mark.slow
def test_two_models_placed_differently_are_compared(monkeypatch):
    texts = ["w5 w6 w7", "w8 w9", "w10 w11 w12 w13", "w14", "w5 w15 w16"]
    plain, other = on_one_device("llama"), on_one_device("llama", seed=1)
    expected = [weight_distances(plain, other), cka_between(plain, other, texts)]
    with pretending(monkeypatch):
        placed, second = put_on_gpus("llama"), put_on_gpus("llama", gpus=2, seed=1)
        found = [weight_distances(placed, second), cka_between(placed, second, texts)]
    for mine, theirs in zip(found, expected, strict=True):
        same(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("donor_place", ["cpu", "cuda:1"])
def test_a_donor_may_be_on_one_device(donor_place, monkeypatch):
    asked, ids = ["swap:0", "swap-attn:1", "swap-mlp:2"], random_tokens(2, 8)

    def work(model, donor, ids):
        found = []
        for text in asked:
            with interp.ablate(model, text, donor=donor), torch.no_grad():
                found.append(model(ids))
        with torch.no_grad():
            return [*found, model(ids)]

    expected = work(on_one_device("llama"), on_one_device("llama", seed=1), ids)
    with pretending(monkeypatch):
        root = tiny_model("llama", seed=1)
        put_modules(root, {"model": donor_place, "lm_head": donor_place})
        donor = wrap(root, tiny_tokenizer(), name="donor")
        found = work(put_on_gpus("llama"), donor, ids.to("cuda:0"))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_scoring_without_shortcuts(family, tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, rows=5))

    def work(model):
        asked = build_requests(task, range(5), models.decoder(model))
        edits = [checked_edits(model, text) for text in ["baseline", "layer:1", "mlp:2"]]
        return [score_requests(model, asked, edits, shortcuts=s) for s in (EVERY, NONE)]

    found, expected = both(family, monkeypatch, work)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(theirs), atol=1e-5)


@pytest.mark.slow
def test_the_estimate_names_all_gpus(tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, rows=8))
    with pretending(monkeypatch):
        found = estimate(put_on_gpus("llama"), [task], ["layer:1"])
    assert found.device == "cuda:0, cuda:1, cuda:2"
    assert found.peak_bytes == 3 * 1000


class PlayedRay:
    """Ray's interface over plain calls, on a cluster of one machine."""

    def __init__(self, gpus: int) -> None:
        self.gpus, self.needs, self.waiting = gpus, [], {}

    def cluster_resources(self):
        return {"CPU": 8.0, "GPU": float(self.gpus)}

    def nodes(self):
        return [{"Alive": True, "Resources": self.cluster_resources()}]

    def put(self, value):
        return value

    def kill(self, _worker):
        pass

    def remote(self, made):
        def options(**needs):
            def hired(*arguments):
                self.needs.append(needs["num_gpus"])
                worker = made(*arguments)
                calls = {name: self.call(getattr(worker, name)) for name in ("ready", "compute")}
                return SimpleNamespace(worker=worker, **calls)

            return SimpleNamespace(remote=hired)

        return SimpleNamespace(options=options)

    def call(self, method):
        def promised(*arguments):
            future = object()
            self.waiting[future] = partial(method, *arguments)
            return future

        return SimpleNamespace(remote=promised)

    def wait(self, futures, num_returns):
        return futures[-num_returns:], []

    def get(self, future):
        return self.waiting.pop(future)()

    class exceptions:
        class RayActorError(Exception):
            pass

        OutOfMemoryError = NodeDiedError = RayTaskError = RayActorError


@pytest.mark.slow
def test_on_ray_each_worker_has_the_gpus_that_hold_the_model(tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, kind="letters", rows=6))
    asked = {"ablations": ["layer:1", "mlp:2"], "limit": 5, "unit_examples": 2}
    expected = interp.sweep(on_one_device("llama"), [task], **asked)
    ray, bytes_of_all = PlayedRay(5), sum(p.numel() * 4 for p in tiny_model("llama").parameters())
    played = contextlib.nullcontext(ray)
    monkeypatch.setattr("interp.sweeps.run.connected", lambda address: played)
    with pretending(monkeypatch, FREE):
        model = put_on_gpus("llama", gpus=3)
        # what a worker sees: two GPUs, neither of which holds the model
        each = int(0.7 * 1.1 * bytes_of_all)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (each, each))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        places = [str(p.device) for p in models.decoder(model).root.parameters()]
        found = interp.sweep(model, [task], ray="auto", **asked)
        assert [str(p.device) for p in models.decoder(model).root.parameters()] == places
    assert ray.needs == [2, 2]
    same(found.values(), expected.values())


def test_a_cluster_whose_machines_have_too_few_gpus_is_refused(tmp_path, monkeypatch):
    task = load_task(write_task(tmp_path, kind="letters", rows=6))
    ray = PlayedRay(1)
    monkeypatch.setattr("interp.sweeps.run.connected", lambda address: contextlib.nullcontext(ray))
    with pretending(monkeypatch):
        model = put_on_gpus("llama", gpus=2)
        places = [str(p.device) for p in model.parameters()]
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (FREE, 40_000))
        with pytest.raises(UserError, match="needs 4 GPUs at once, and no machine"):
            interp.sweep(model, [task], ["layer:1"], limit=5, ray="auto", out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        # the weights are where they were
        assert [str(p.device) for p in model.parameters()] == places


def test_without_its_hooks_tensors_of_two_gpus_meet(monkeypatch):
    monkeypatch.setattr("interp.models.native_blocks.join_blocks", lambda blocks, home: None)
    # the model's own forward pass is tried when it is wrapped
    with (
        pretending(monkeypatch),
        pytest.raises(UserError, match="to be on the same device, but found cuda:"),
    ):
        put_on_gpus("llama")
