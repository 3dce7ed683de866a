"""A request as plain data, so that a process on another machine can carry out part of it.

A model is sent as its modules without numbers, its numbers as flat arrays (which Ray keeps once a
machine, in shared memory), and its tokenizer as files. Nothing is read from the hub or from the
sender's disk, and weights that were changed in memory are sent as they are.
"""

import io
import pickle
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import BASELINE, Ablation, Combination, SwapLayer, SwapLayers, donors, parse
from interp.errors import UserError
from interp.models import (
    fewest_gpus,
    model_name,
    put_over_gpus,
    refuse_quantised,
    weights_on_cpu,
    wrap,
)
from interp.records import Manifest
from interp.sweeps.extending import in_order_of
from interp.sweeps.plan import Plan, make_plan
from interp.tasks import Task


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A model as plain data.

    Attributes:
        name: the name as it is shown.
        modules: pickled modules, with numbers in place of their tensors.
        arrays: the bytes of each tensor.
        tensors: type, shape and whether it is a parameter, for each tensor.
        tokenizer: its files, name to content.
        n_devices: over how many GPUs its layers are placed; 1 on any one device.
    """

    name: str
    modules: bytes = field(repr=False)
    arrays: list[np.ndarray] = field(repr=False)
    tensors: list[tuple[torch.dtype, tuple[int, ...], bool]] = field(repr=False)
    tokenizer: dict[str, bytes] = field(repr=False)
    n_devices: int = 1


@dataclass(frozen=True, eq=False)
class Request:
    """What a plan is made from, with models packed.

    Attributes:
        model: the model.
        donors: the other models of swaps.
        tasks: the tasks, with their rows.
        ablations: text, and for each swap in it the number of its donor.
        limit: examples per task.
        manifest: the manifest of the plan, which says the seed, the units, and the order of
            everything.
        cluster: field of the rows that names what examples share.
        group: GPUs that one worker needs for the model and its donors.
    """

    model: PackedModel
    donors: list[PackedModel]
    tasks: tuple[Task, ...]
    ablations: list[tuple[str, tuple[int, ...]]]
    limit: int | None
    manifest: Manifest
    cluster: str | None = None
    group: int = 1


def pack_model(model: TransformerBridge) -> PackedModel:
    """A model as plain data.

    Returns:
        Bytes and arrays that can be sent to another process, weights included.

    Raises:
        UserError: it was booted by hand, so that there are no native blocks to send, or its weights
            are quantised.
    """
    decoder = models.decoder(model)
    if not isinstance(decoder.root, transformers.PreTrainedModel) or any(
        hasattr(block, "original_component") for block in decoder.blocks
    ):
        raise UserError(f"model {model_name(model)}: Ray needs one from interp.load_model")
    # scales lie beside the tensors, and would be left behind
    refuse_quantised(model, "Ray")
    packer = _Packer()
    with _without_hooks(decoder.root):
        packer.dump(decoder.root)
    return PackedModel(
        name=model_name(model),
        modules=packer.stream.getvalue(),
        arrays=packer.arrays,
        tensors=packer.tensors,
        tokenizer=_tokenizer_files(decoder.tokenizer),
        n_devices=len(decoder.devices),
    )


@contextmanager
def gpus_left_free(model: TransformerBridge, ablations: Sequence[Ablation]) -> Iterator[None]:
    """Inside the context, models that are placed over several GPUs lie on the CPU.

    The GPUs of this machine are those of the workers, too, and have no room for a second copy.

    Args:
        model: the model.
        ablations: values, with their donors.

    Yields:
        None; afterwards the models are where they were.
    """
    bridges_by_id = {
        id(bridge): bridge for bridge in (model, *(d for a in ablations for d in donors(a)))
    }
    roots = [models.decoder(bridge).root for bridge in bridges_by_id.values()]
    placed = any(
        len(set(map(str, models.decoder(bridge).devices))) > 1 for bridge in bridges_by_id.values()
    )
    with weights_on_cpu(roots if placed else []):
        yield


@contextmanager
def _without_hooks(root: nn.Module) -> Iterator[None]:
    """Inside the context, no module has forward hooks.

    transformers leaves hooks that cannot be pickled on a model whose hidden states were asked for;
    they do nothing unless hidden states are asked for.
    """
    kept = [(module, module._forward_hooks) for module in root.modules()]
    try:
        for module, hooks in kept:
            module._forward_hooks = type(hooks)()
        yield
    finally:
        for module, hooks in kept:
            module._forward_hooks = hooks


def unpack_model(packed: PackedModel, device: str | torch.device = "cpu") -> TransformerBridge:
    """The model again.

    Args:
        packed: the model as plain data.
        device: where it goes; one that was placed over several GPUs goes over all visible ones.

    Returns:
        A bridge, as `interp.load_model` gives it.

    Raises:
        UserError: the visible GPUs have no room for it.
    """
    root = _Unpacker(packed).load()
    if packed.n_devices > 1 and torch.device(device).type == "cuda":
        put_over_gpus(root, packed.name)
    else:
        root = root.to(device)
    folder = tempfile.TemporaryDirectory(prefix="interp-tokenizer-")
    tokenizer = None
    if packed.tokenizer:
        for name, content in packed.tokenizer.items():
            (Path(folder.name) / name).write_bytes(content)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder.name, local_files_only=True)
    bridge = wrap(root.eval(), tokenizer, name=packed.name)
    # TransformerLens may read the tokenizer's files again for as long as the bridge lives
    weakref.finalize(bridge, folder.cleanup)
    return bridge


def pack_request(
    model: TransformerBridge,
    plan: Plan,
    ablations: Sequence[Ablation],
    *,
    limit: int | None,
) -> Request:
    """All that another process needs to make the same plan.

    Args:
        model: the model.
        plan: made from the same arguments.
        ablations: values, with their donors.
        limit: as for `make_plan`.

    Returns:
        Plain data that can be sent to another process, weights included.

    Raises:
        UserError: an ablation has hooks of the user's own, or the model cannot be sent.
    """
    for ablation in ablations:
        try:
            parse(ablation.text)
        except UserError:
            raise UserError(
                f"{ablation.text}: hooks of your own cannot be sent to Ray's workers; allowed are "
                "ablations with a text form"
            ) from None
    donors_by_id = {id(d): d for ablation in ablations for d in donors(ablation)}
    number = {key: i for i, key in enumerate(donors_by_id)}
    return Request(
        model=pack_model(model),
        donors=[pack_model(d) for d in donors_by_id.values()],
        tasks=tuple(planned.task for planned in plan.tasks),
        ablations=[(a.text, tuple(number[id(d)] for d in donors(a))) for a in ablations],
        limit=limit,
        manifest=plan.manifest,
        cluster=plan.cluster,
        group=fewest_gpus(
            [models.decoder(bridge).root for bridge in (model, *donors_by_id.values())]
        ),
    )


def unpack_request(
    request: Request, device: str | torch.device = "cpu"
) -> tuple[TransformerBridge, Plan]:
    """The model and the plan, made anew from the request."""
    model = unpack_model(request.model, device)
    donor_models = [unpack_model(packed, device) for packed in request.donors]
    ablations = [
        _with_donors(parse(text), [donor_models[i] for i in numbers])
        for text, numbers in request.ablations
    ]
    plan = make_plan(
        model,
        request.tasks,
        ablations,
        limit=request.limit,
        seed=request.manifest.seed,
        cluster=request.cluster,
    )
    return model, in_order_of(plan, request.manifest)


def _with_donors(ablation: Ablation, given: list[Any]) -> Ablation:
    """Fill the swaps of an ablation, in their order; takes donors from the list."""
    if isinstance(ablation, Combination) and ablation != BASELINE:
        return Combination(tuple(_with_donors(part, given) for part in ablation.parts))
    if isinstance(ablation, SwapLayer | SwapLayers):
        return replace(ablation, donor=given.pop(0))
    return ablation


def _tokenizer_files(tokenizer: Any) -> dict[str, bytes]:
    if tokenizer is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="interp-tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


class _Packer(pickle.Pickler):
    """Pickles modules, and puts their tensors aside; a tensor that is shared stays shared."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        super().__init__(self.stream, protocol=5)
        self.arrays: list[np.ndarray] = []
        self.tensors: list[tuple[torch.dtype, tuple[int, ...], bool]] = []
        self.numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, torch.Tensor):
            return None
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.arrays)
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            self.arrays.append(flat.numpy())
            parameter = isinstance(value, torch.nn.Parameter)
            self.tensors.append((value.dtype, tuple(value.shape), parameter))
        return self.numbers[id(value)]


class _Unpacker(pickle.Unpickler):
    """The other way; tensors are copied, because Ray's memory is read-only."""

    def __init__(self, packed: PackedModel) -> None:
        super().__init__(io.BytesIO(packed.modules))
        self.packed = packed
        self.made: dict[int, torch.Tensor] = {}

    def persistent_load(self, number: Any) -> torch.Tensor:
        if number not in self.made:
            dtype, shape, parameter = self.packed.tensors[number]
            data = torch.from_numpy(self.packed.arrays[number].copy()).view(dtype).view(shape)
            self.made[number] = torch.nn.Parameter(data) if parameter else data
        return self.made[number]
