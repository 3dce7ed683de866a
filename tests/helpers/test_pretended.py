"""The rules of the pretended devices against torch's own FakeTensorMode, which has no numbers.

FakeTensorMode lets a tensor be on a GPU that is not there, and refuses what the GPU would refuse.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from tests.helpers.pretended import PretendedDevices

# a and twin on cuda:0, b on cuda:1, c on the CPU; n a number on the CPU, m one on cuda:1;
# i, j, k indices on cuda:0, cuda:1, the CPU; g a mask of cuda:1
CASES = {
    "add": lambda t: t["a"] + t["b"],
    "add alike": lambda t: t["a"] + t["twin"],
    "add cpu": lambda t: t["a"] + t["c"],
    "add a number": lambda t: t["a"] + t["n"],
    "add a gpu's number": lambda t: t["a"] + t["m"],
    "multiply by python's": lambda t: t["a"] * 2.0,
    "in place": lambda t: t["a"].add_(t["b"]),
    "matmul": lambda t: t["a"] @ t["b"],
    "linear": lambda t: functional.linear(t["a"], t["b"]),
    "cat": lambda t: torch.cat([t["a"], t["b"]]),
    "stack": lambda t: torch.stack([t["a"], t["c"]]),
    "where": lambda t: torch.where(t["g"], t["b"], t["n"]),
    "where mixed": lambda t: torch.where(t["g"], t["a"], t["b"]),
    "masked_fill": lambda t: t["a"].masked_fill(t["g"], 0.0),
    "attention": lambda t: functional.scaled_dot_product_attention(
        t["a"][None], t["a"][None], t["b"][None]
    ),
    "moved": lambda t: t["a"].to("cuda:1") + t["b"],
    "moved by another": lambda t: t["a"].to(t["b"]) + t["b"],
    "moved to its device": lambda t: t["a"].to(t["b"].device) + t["b"],
    "moved with a type": lambda t: t["a"].to("cuda:1", torch.float64) + t["b"],
    "moved to the cpu": lambda t: t["a"].cpu() + t["c"],
    "made there": lambda t: torch.zeros(3, 3, device=t["b"].device) + t["b"],
    "made on the cpu": lambda t: torch.zeros(3, 3) + t["b"],
    "new_zeros": lambda t: t["b"].new_zeros(3, 3) + t["b"],
    "zeros_like": lambda t: torch.zeros_like(t["b"]) + t["a"],
    "copied": lambda t: t["a"].copy_(t["b"]),
    "indexed": lambda t: t["a"][t["i"]],
    "indexed from afar": lambda t: t["a"][t["j"]],
    "indexed from the cpu": lambda t: t["a"][t["k"]],
    "cpu indexed by a gpu": lambda t: t["c"][t["i"]],
    "two indices": lambda t: t["a"][t["i"], t["j"]],
    "gather": lambda t: t["a"].gather(0, t["j"][None]),
    "embedding": lambda t: functional.embedding(t["j"], t["a"]),
    "part is set": lambda t: t["a"].__setitem__(slice(0, 2), t["b"][:2]),
    "indices are set": lambda t: t["a"].__setitem__(t["i"], t["b"]),
    "indices from afar are set": lambda t: t["a"].__setitem__(t["j"], 0.0),
    "unbound": lambda t: next(iter(t["a"])) + t["b"][0],
    "norm": lambda t: functional.layer_norm(t["a"], (3,), t["b"][0]),
}


# what FakeTensorMode cannot try where torch is built without CUDA, or lets pass although CUDA does
# not: as torch documents `copy_`, and as ATen checks indices
KNOWN = {
    "copied": "cuda:0",
    "indexed": "cuda:0",
    "indexed from the cpu": "cuda:0",
    "indexed from afar": "refused",
    "two indices": "refused",
    "cpu indexed by a gpu": "refused",
    "part is set": "done",
    "indices are set": "refused",
    "indices from afar are set": "refused",
    "attention": "refused",
    "gather": "refused",
    "unbound": "refused",
    "norm": "refused",
}
REFUSALS = [
    "Expected all tensors to be on the same device",
    "Unhandled FakeTensor Device Propagation",
    "indices should be either on cpu or on the same device",
]


def ran(case) -> str:
    tensors = {
        "a": torch.ones(3, 3).to("cuda:0"),
        "twin": torch.ones(3, 3).to("cuda:0"),
        "b": torch.ones(3, 3).to("cuda:1"),
        "c": torch.ones(3, 3),
        "n": torch.tensor(2.0),
        "m": torch.tensor(2.0).to("cuda:1"),
        "i": torch.tensor([0, 2, 1]).to("cuda:0"),
        "j": torch.tensor([0, 2, 1]).to("cuda:1"),
        "k": torch.tensor([0, 2, 1]),
        "g": torch.ones(3, 3).bool().to("cuda:1"),
    }
    try:
        found = case(tensors)
    except RuntimeError as error:
        if not any(said in str(error) for said in REFUSALS):
            raise
        return "refused"
    return str(found.device) if isinstance(found, torch.Tensor) else "done"


@pytest.mark.parametrize("name", CASES)
def test_what_meets_is_what_torch_lets_meet(name):
    expected = KNOWN.get(name)
    if expected is None:
        with FakeTensorMode():
            expected = ran(CASES[name])
    with PretendedDevices():
        found = ran(CASES[name])
    assert found == expected


def test_numbers_are_kept_and_the_host_cannot_read_a_gpu():
    with PretendedDevices() as mode:
        there = torch.tensor([1.0, 2.0]).to("cuda:1")
        assert (there + there).tolist() == [2.0, 4.0]
        with pytest.raises(TypeError, match="can't convert cuda:1 device type tensor to numpy"):
            there.numpy()
        assert there.cpu().numpy().sum() == 3.0
        assert there.to("cuda:0").device == torch.device("cuda:0")
        assert mode.crossings == 1
        layer = torch.nn.Linear(2, 2).to("cuda:1")
        assert torch.nn.Parameter(layer.weight.data).device == torch.device("cuda:1")
        with pytest.raises(RuntimeError, match="to be on the same device"):
            layer(torch.ones(1, 2).to("cuda:0"))
    assert torch.ones(1).device.type == "cpu"
