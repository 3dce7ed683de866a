"""Rates of a machine, and what some work does on it: time, kernels, bytes that products move."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.benchmarks.gpu_models import synchronised


def matmul_rate(device: str, side: int, dtype: torch.dtype) -> float:
    """Operations a second of a large square product (a multiply-add is two)."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / each(device, lambda: a @ b, 3 if device == "cpu" else 20)


def memory_rate(device: str) -> float:
    """Bytes a second that a large copy reads and writes."""
    count = 2**20 if device == "cpu" else 2**28
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    seconds = each(device, lambda: target.copy_(source), 3 if device == "cpu" else 20)
    return 2 * 4 * count / seconds


class MatrixBytes(TorchDispatchMode):
    """Counts what matrix products and attention read and write: each tensor once a call.

    Attributes:
        count: bytes so far.
    """

    PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul")
    ATTENTION = ("scaled_dot_product", "_scaled_dot_product")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Counts one call."""
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in self.PRODUCTS or name.startswith(self.ATTENTION):
            made = found if isinstance(found, tuple) else (found,)
            tensors = [one for one in (*args, *made) if isinstance(one, torch.Tensor)]
            self.count += sum(one.numel() * one.element_size() for one in tensors)
        return found


def launched(device: str, work: Callable[[], Any]) -> tuple[int, float]:
    """Kernels that were launched, and the share of the time in which one of them ran."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.startswith("cuda"):
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as seen:
        seconds, _ = timed(device, work)
    events = seen.key_averages()
    launch = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
    if device.startswith("cuda"):
        kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
        busy = sum(e.self_device_time_total for e in kernels) / 1e6 / seconds
        count = sum(e.count for e in events if e.key in launch)
        if not count:
            raise RuntimeError("the profiler saw no launches; does CUPTI have its permissions?")
        return count, busy
    # a CPU launches nothing: its operators stand in, so that the line can be tried
    own = sum(e.self_cpu_time_total for e in events) / 1e6 / seconds
    return sum(e.count for e in events if e.key.startswith("aten::")), own


def timed(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of some work, and what it gives; the device is waited for."""
    synchronised(device)
    began = time.perf_counter()
    found = work()
    synchronised(device)
    return time.perf_counter() - began, found


def each(device: str, work: Callable[[], Any], repeats: int) -> float:
    """Seconds of one of several repeats, after two that do not count."""
    for _ in range(2):
        work()
    seconds, _ = timed(device, lambda: [work() for _ in range(repeats)])
    return seconds / repeats
