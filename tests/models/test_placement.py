"""Before any weight is read: on one device, over several GPUs, or refused with bytes."""

from itertools import product

import psutil
import pytest
import torch
from hypothesis import given, strategies as st

import interp
from interp.errors import UserError
from interp.models.placement import (
    asked_device,
    block_stack,
    device_map,
    fitting,
    place,
    weight_bytes,
)
from tests.helpers.families import FAMILIES, N_LAYERS, tiny_bridge, tiny_model, tiny_tokenizer


def test_a_model_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    count = sum(p.numel() for p in model.parameters())
    assert weight_bytes(tmp_path, torch.float32) == 4 * count
    assert weight_bytes(tmp_path, torch.bfloat16) == 2 * count
    memory = psutil.virtual_memory()._replace(available=3 * count)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    said = rf"needs {int(1.1 * 4 * count):,} bytes as float32, and {3 * count:,} are free"
    with pytest.raises(UserError, match=said):
        interp.load_model(tmp_path)


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are GPUs with so many free bytes each; nothing is put on them."""

    def pretend(*free: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[number(device)], 0))

    def number(device: int | torch.device) -> int:
        return device if isinstance(device, int) else device.index or 0

    return pretend


def asked(folder, device=None):
    """What `load_model` decides: a device, or None for several."""
    return fitting(folder, torch.float32, asked_device("tiny", device), "tiny")


@pytest.mark.parametrize("device", [None, "auto", "cuda"])
def test_one_gpu_is_enough_where_one_has_room(folder, gpus, device):
    needed = int(1.1 * weight_bytes(folder, torch.float32))
    gpus(needed, 2 * needed)
    assert asked(folder, device) == torch.device("cuda")
    gpus(needed - 1, needed)
    assert asked(folder, device) == torch.device("cuda:1")
    gpus(needed - 1, needed - 1)
    assert asked(folder, device) is None
    gpus()
    assert device == "cuda" or asked(folder, device) == torch.device("cpu")


def test_a_named_gpu_is_never_left(folder, gpus):
    needed = int(1.1 * weight_bytes(folder, torch.float32))
    gpus(2 * needed, needed - 1)
    said = rf"needs {needed:,} bytes as float32, and {needed - 1:,} are free in cuda:1; dtype"
    with pytest.raises(UserError, match=said):
        interp.load_model(folder, device="cuda:1")
    gpus(needed - 1)
    with pytest.raises(UserError, match=rf"and {needed - 1:,} are free in cuda; dtype"):
        interp.load_model(folder)


def test_what_no_gpus_hold_together_is_refused_with_all_bytes(folder, gpus):
    count = sum(p.numel() for p in tiny_model("llama").parameters()) * 4
    gpus(count // 3, count // 4)
    with pytest.raises(UserError) as error:
        interp.load_model(folder)
    said = str(error.value)
    # buffers come to the weights
    assert f"it needs {int(1.1 * (count + 2 * 16)):,} bytes as float32 (undivided: a lay" in said
    assert f"{count // 3:,} in cuda:0, {count // 4:,} in cuda:1 are free; dtype bfloat16" in said
    assert "\n" not in said


def test_a_configuration_from_which_nothing_is_built_is_one_line(folder, gpus, monkeypatch):
    def broken(*_arguments, **_options):
        raise ValueError("no such architecture\nand more")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", broken)
    gpus(1000, 1000)
    with pytest.raises(UserError, match=r"model .*: no such architecture$"):
        interp.load_model(folder)


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_map_holds_whole_blocks_and_everything_else_in_one_place(family):
    model = tiny_model(family)
    stack = block_stack(model, N_LAYERS)
    assert stack == tiny_bridge(family).adapter.component_mapping["blocks"].name
    count = sum(p.numel() for p in model.parameters()) * 4
    free = {"cuda:0": int(0.8 * count), "cuda:1": int(0.8 * count)}
    places = device_map(model, N_LAYERS, torch.float32, free, family)
    named = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    covered = {n: [k for k in places if n == k or n.startswith(f"{k}.")] for n in named}
    assert all(len(keys) == 1 for keys in covered.values())
    blocks = [f"{stack}.{layer}" for layer in range(N_LAYERS)]
    assert {places[key] for key in places if key not in blocks} == {places[blocks[0]]}
    assert [places[block] for block in blocks] == sorted(places[block] for block in blocks)
    assert len(set(places.values())) == 2
    # the same from the configuration alone, without memory
    with torch.device("meta"):
        built = type(model)(model.config)
    assert device_map(built, N_LAYERS, torch.float32, free, family) == places


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.lists(st.integers(0, 20), min_size=1, max_size=3),
)
def test_the_fullest_device_is_left_as_much_room_as_can_be(sizes, room):
    devices = {f"cuda:{i}": bytes_ for i, bytes_ in enumerate(room)}

    def spare(places):
        """Room on the fullest device that is used; None where something does not fit."""
        left = dict(devices)
        for size, device in zip(sizes, places, strict=True):
            left[device] -= size
        least = min(left[device] for device in places)
        return None if least < 0 else least

    in_order = (p for p in product(devices, repeat=len(sizes)) if list(p) == sorted(p))
    every = [found for found in map(spare, in_order) if found is not None]
    found = place(sizes, devices)
    assert (found is None) == (not every)
    if found is not None:
        assert found == sorted(found)
        assert spare(found) == max(every)
