"""Pretended devices: a machine with several GPUs, on a machine with none.

Every tensor stays on the CPU, with its numbers, and carries the name of the device that it would
be on. Each call of torch is checked as CUDA would check it: tensors of two devices do not meet,
a tensor on a GPU does not become an array; and on Apple's MPS nothing is of float64. So values and
device flow are tested in one run. What meets inside one kernel or one C++ function is not seen;
`tests/helpers/test_pretended.py` compares the rules with those of torch's own FakeTensorMode.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")
MIXED = "Expected all tensors to be on the same device"
NO_DOUBLE = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"
)


def device_named(name: Any) -> torch.device:
    """A device with its number, as torch shows it."""
    found = torch.device("cuda", name) if isinstance(name, int) else torch.device(name)
    return torch.device(found.type, 0) if str(found) in ("cuda", "mps") else found


def device_of(tensor: Tensor) -> torch.device:
    """Where a tensor is said to be."""
    found: torch.device = tensor.__dict__.get("_pretended", CPU)
    return found


def put(value: Any, device: torch.device) -> Any:
    """Say that tensors (of a tuple, list or dict) are on a device; Apple's has no float64."""
    for tensor in _tensors(value):
        if device.type == "mps" and tensor.dtype in (torch.float64, torch.complex128):
            raise TypeError(NO_DOUBLE)
        tensor._pretended = device
    return value


def put_modules(root: nn.Module, places: Mapping[str, str]) -> None:
    """Say that a model's parameters and buffers are where a device map puts them."""
    named = [*root.named_parameters(remove_duplicate=False), *root.named_buffers()]
    for name, tensor in named:
        fitting = [key for key in places if name == key or name.startswith(f"{key}.")]
        assert fitting, f"{name} is in no entry of the map"
        put(tensor, device_named(places[max(fitting, key=len)]))


class PretendedDevices(TorchFunctionMode):
    """Inside the context tensors are where they are said to be, and do not meet across devices.

    Attributes:
        crossings: how many tensors went from one GPU to another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crossings = 0

    def __enter__(self) -> "PretendedDevices":
        # the one way to a new tensor on which torch calls no mode: `nn.Parameter(data)`
        make = Tensor._make_subclass

        def made(cls: Any, data: Tensor, *args: Any, **kwargs: Any) -> Any:
            return put(make(cls, data, *args, **kwargs), data.__dict__.get("_pretended", CPU))

        self._restore = make
        Tensor._make_subclass = staticmethod(made)  # type: ignore[method-assign]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        Tensor._make_subclass = self._restore  # type: ignore[method-assign]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, func, args, kwargs)
        given = kwargs.pop("device", None)
        places = _places([*args, *kwargs.values()])
        _refuse_mixed(func, places)
        there = device_named(given) if given is not None else next(iter(places), CPU)
        return put(func(*args, **kwargs), there)

    def move(self, tensor: Tensor, found: Tensor, device: torch.device) -> Tensor:
        """What `to` gives: the tensor itself where it is there already, else a copy."""
        if device != device_of(tensor):
            self.crossings += "cpu" not in (device.type, device_of(tensor).type)
            found = found.clone() if found is tensor else found
        return put(found, device)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)


def _places(values: Any) -> dict[torch.device, None]:
    """Devices of all tensors, but for numbers on the CPU beside others: they may go anywhere."""
    tensors = list(_tensors(values))
    found = {device_of(t): None for t in tensors if t.ndim or device_of(t) != CPU}
    return found or {CPU: None}


def _refuse_mixed(func: Any, places: Any) -> None:
    if len(places) > 1:
        name = getattr(func, "__name__", func)
        raise RuntimeError(f"{MIXED}, but found {', '.join(map(str, places))} ({name})")


def _device(_mode: Any, _func: Any, args: Any, _kwargs: Any) -> torch.device:
    return device_of(args[0])


def _is_cuda(_mode: Any, _func: Any, args: Any, _kwargs: Any) -> bool:
    return device_of(args[0]).type == "cuda"


def _is_cpu(_mode: Any, _func: Any, args: Any, _kwargs: Any) -> bool:
    return device_of(args[0]).type == "cpu"


def _to(mode: PretendedDevices, _func: Any, args: Any, kwargs: Any) -> Tensor:
    """Of `to(device, dtype, ...)`, `to(dtype)` and `to(other)` in their spellings."""
    tensor, given = args[0], [*args[1:], *kwargs.values()]
    device, dtype = device_of(tensor), tensor.dtype
    for one in given:
        if isinstance(one, Tensor):
            device, dtype = device_of(one), one.dtype
        elif isinstance(one, torch.dtype):
            dtype = one
        elif isinstance(one, str | int | torch.device) and not isinstance(one, bool):
            device = device_named(one)
    return mode.move(tensor, tensor.to(dtype), device)


def _cpu(mode: PretendedDevices, _func: Any, args: Any, _kwargs: Any) -> Tensor:
    return mode.move(args[0], args[0], CPU)


def _host_only(_mode: Any, func: Any, args: Any, kwargs: Any) -> Any:
    if device_of(args[0]) != CPU:
        raise TypeError(f"can't convert {device_of(args[0])} device type tensor to numpy")
    return func(*args, **kwargs)


def _alike(_mode: Any, func: Any, args: Any, kwargs: Any) -> bool:
    return device_of(args[0]) == device_of(args[1]) and bool(func(*args, **kwargs))


def _copy(mode: PretendedDevices, func: Any, args: Any, kwargs: Any) -> Any:
    device = device_of(args[0])
    return put(func(*args, **kwargs), device)


def _check_index(tensor: Tensor, index: Any) -> bool:
    """Whether tensors are in an index; they must be on the CPU or beside what is indexed."""
    places = [device_of(one) for one in _tensors(index)]
    odd = [one for one in places if one not in (CPU, device_of(tensor))]
    if odd:
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor "
            f"({device_of(tensor)}), not on {odd[0]}"
        )
    return bool(places)


def _getitem(_mode: Any, func: Any, args: Any, kwargs: Any) -> Tensor:
    _check_index(args[0], args[1])
    return put(func(*args, **kwargs), device_of(args[0]))


def _setitem(_mode: Any, func: Any, args: Any, kwargs: Any) -> None:
    tensor, index, value = args
    by_tensors = _check_index(tensor, index)
    if by_tensors and isinstance(value, Tensor) and value.ndim:
        _refuse_mixed(func, dict.fromkeys((device_of(tensor), device_of(value))))
    func(*args, **kwargs)


def _iter(_mode: Any, _func: Any, args: Any, _kwargs: Any) -> Iterator[Tensor]:
    return iter(put(list(args[0].unbind(0)), device_of(args[0])))


def _histogram(_mode: Any, func: Any, args: Any, kwargs: Any) -> Tensor:
    """CUDA counts whole numbers, the CPU does not."""
    found = func(args[0].float(), *args[1:], **kwargs)
    return put(found.to(args[0].dtype), device_of(args[0]))


def _set_data(_mode: Any, func: Any, args: Any, kwargs: Any) -> None:
    device = device_of(args[1])
    func(*args, **kwargs)
    put(args[0], device)


_SPECIAL: dict[Any, Any] = {
    Tensor.device.__get__: _device,
    Tensor.is_cuda.__get__: _is_cuda,
    Tensor.is_cpu.__get__: _is_cpu,
    Tensor.to: _to,
    Tensor.cpu: _cpu,
    Tensor.numpy: _host_only,
    Tensor.__array__: _host_only,
    Tensor.copy_: _copy,
    Tensor.__deepcopy__: _copy,
    Tensor.__getitem__: _getitem,
    Tensor.__setitem__: _setitem,
    Tensor.__iter__: _iter,
    torch._has_compatible_shallow_copy_type: _alike,
    torch.histc: _histogram,
    Tensor.data.__set__: _set_data,
}
