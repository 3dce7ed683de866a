"""A model without some of its layers, or with them in another order, as a folder of its own.

Works on the files: tensors are copied as they are, in their type, one shard at a time, so that a
model of any size can be rewritten on any machine. What has to match is matched: layers are numbered
anew, every list in the configuration that has one entry per layer is cut (`layer_types`), lists of
layer numbers are renumbered (`mlp_only_layers`), and what the architecture would derive from a
layer's number is written out. A model whose layers compute by their number in a way that a
configuration cannot say is refused.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from interp.ablations.base import Ablation, Combination
from interp.ablations.edits import Shape
from interp.ablations.programs import Exchange, Order, Repeat, Reverse
from interp.ablations.pruned_files import (
    check_loads,
    copy_side_files,
    made_beside,
    refuse_place,
    renumber_names,
    save_tensors,
    set_modes,
)
from interp.ablations.text import as_ablation
from interp.ablations.values import SkipLayer, SkipLayers
from interp.errors import UserError, first_line, path_given
from interp.models import (
    INDEX,
    NUMBERS,
    check_files,
    check_n_layers,
    model_folder,
    read_configuration,
    relist,
)

# the outermost number in a tensor's name is the layer's: experts are numbered inside it
OTHER_TOWERS = re.compile("vision|visual|image|audio")
LAYER = re.compile(r"(?P<stack>(?:.*?\.)?(?:layers|h|blocks|block))\.(?P<number>\d+)\.")


@dataclass(frozen=True)
class Pruned:
    """What was written.

    Attributes:
        folder: the folder of the pruned model.
        kept: the numbers that its layers had before.
        bytes: the size of its weights, in bytes.
    """

    folder: Path
    kept: tuple[int, ...]
    bytes: int

    def __repr__(self) -> str:
        return f"Pruned({self.folder}: {len(self.kept)} layers, {self.bytes / 1e6:,.1f} MB)"


def prune(
    name: str | Path, ablation: str | Ablation, *, out: str | Path, revision: str | None = None
) -> Pruned:
    """Save a model without the layers that an ablation skips.

    Args:
        name: hub name, folder, or `organism:NAME`.
        ablation: `layer:7`, `layers:20-23`, or several joined by `+`.
        out: folder, new or empty.
        revision: branch, tag or commit on the hub.

    Returns:
        The written folder. It loads in plain transformers and gives what the ablated model gives.

    Raises:
        UserError: before anything is written: no such model or layer, an ablation that removes no
            whole layers, all layers, weights that are not safetensors, an architecture whose
            layers compute by their number, a folder that is not empty.
    """
    ablation_value = as_ablation(ablation)
    return _written(
        name,
        ablation_value,
        partial(_kept, ablation_value),
        out=path_given("out", out),
        revision=revision,
    )


def rearrange(
    name: str | Path, program: str | Ablation, *, out: str | Path, revision: str | None = None
) -> Pruned:
    """Save a model with its layers in the order of a layer program.

    Args:
        name: hub name, folder, or `organism:NAME`.
        program: `repeat:20-26`, `exchange:7`, `reverse:3-5` or `order:...`. Layers that run twice
            are written twice.
        out: folder, new or empty.
        revision: branch, tag or commit on the hub.

    Returns:
        The written folder. It loads in plain transformers and gives what the program gives.

    Raises:
        UserError: as `prune`; an ablation that is no order of layers.
    """
    program_value = as_ablation(program)
    return _written(
        name,
        program_value,
        partial(_arranged, program_value),
        out=path_given("out", out),
        revision=revision,
    )


def _written(
    name: str | Path,
    given: Ablation,
    order_of: Callable[[int], tuple[int, ...]],
    *,
    out: Path,
    revision: str | None,
) -> Pruned:
    """Write a model's layers in an order, which follows from their number."""
    import transformers

    refuse_place(out)
    source = model_folder(str(name), revision)
    # that only safetensors are pruned is said with the weights
    configuration = read_configuration(str(name), source)
    check_files(str(name), source, configuration, allow_pickle=True)
    check_n_layers(str(name), source, configuration)
    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=True)
        n_layers = int(config.get_text_config().num_hidden_layers)
    except Exception as error:  # a configuration of a stranger raises anything
        raise UserError(
            f"model {name}: its configuration cannot be used without code of its own "
            f"({first_line(error)})"
        ) from error
    order = order_of(n_layers)
    _refuse_quantised_twice(config, order, str(name))
    shards = _shards(source, str(name))
    further = int(getattr(config.get_text_config(), "num_nextn_predict_layers", None) or 0)
    every = [key for keys in shards.values() for key in keys]
    stack = _stack(every, n_layers, further, str(name))
    with _refusing(str(name), order):
        pruned = pruned_config(config, order)
    _refuse_numbered(config, pruned, order, str(name))
    with made_beside(out) as folder:
        written = _write_weights(source, folder, shards, stack, order)
        with _refusing(str(name), order):
            pruned.save_pretrained(folder)
        copy_side_files(source, folder, str(name))
        renumber_names(folder, {old: new for new, old in enumerate(order)}, str(name))
        check_loads(source, folder, str(name))
        note = _note(str(name), given, order, n_layers, revision)
        (folder / "README.md").write_text(note, encoding="utf-8", errors="replace")
        set_modes(folder)
    return Pruned(out, order, written)


@contextmanager
def _refusing(name: str, layers: Sequence[int]) -> Iterator[None]:
    """Say in one line that transformers takes no configuration of these layers."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a class of transformers raises anything
        shown = ", ".join(map(str, layers))
        raise UserError(
            f"model {name}: transformers takes no configuration of its layers {shown} alone "
            f"({first_line(error)}); it cannot be pruned so, but ablated in memory"
        ) from error


def pruned_config(config: Any, order: Sequence[int]) -> Any:
    """A copy of a configuration for layers in an order of their old numbers (see `relist`)."""
    pruned = copy.deepcopy(config)
    relist(pruned, order, int(pruned.get_text_config().num_hidden_layers))
    return pruned


def _kept(ablation: Ablation, n_layers: int) -> tuple[int, ...]:
    """The layers that are left when others are removed."""
    parts = ablation.parts if isinstance(ablation, Combination) else (ablation,)
    if not parts or not all(isinstance(part, SkipLayer | SkipLayers) for part in parts):
        raise UserError(
            f"prune {ablation.text}: only whole layers can be removed from a checkpoint; allowed "
            "are layer:7, layers:20-27, and several joined by +"
        )
    shape = Shape(n_layers, 1, 1)
    removed = {layer for part in parts for layer in part.edits(shape)}
    if len(removed) == n_layers:
        raise UserError(f"prune {ablation.text}: no layer would be left")
    return tuple(n for n in range(n_layers) if n not in removed)


def _arranged(ablation: Ablation, n_layers: int) -> tuple[int, ...]:
    """The order that a layer program names."""
    if not isinstance(ablation, Repeat | Exchange | Reverse | Order):
        raise UserError(
            f"rearrange {ablation.text}: no checkpoint says this; allowed are repeat:20-26, "
            "exchange:7, reverse:3-5 and order:0-9,11,10,12-31"
        )
    return ablation.edits(Shape(n_layers, 1, 1)).order or tuple(range(n_layers))


def _refuse_quantised_twice(config: Any, order: Sequence[int], name: str) -> None:
    quantised = getattr(config, "quantization_config", None) is not None
    if quantised and len(set(order)) < len(order):
        raise UserError(f"model {name}: it is quantised, and none of its layers can be there twice")


def _shards(source: Path, name: str) -> dict[str, list[str]]:
    """The weight files and the tensors in each."""
    from safetensors import safe_open

    if (source / INDEX).is_file():
        places = json.loads((source / INDEX).read_text())["weight_map"]
        files = sorted(set(places.values()))
    else:
        files = ["model.safetensors"]
    missing = [f for f in files if not (source / f).is_file()]
    if missing:
        raise UserError(f"model {name}: no {missing[0]} in {source}; only safetensors are pruned")
    shards = {}
    for file in files:
        try:
            with safe_open(source / file, framework="pt") as tensors:
                shards[file] = list(tensors.keys())
        except Exception as error:  # safetensors raises its own and others
            raise UserError(
                f"model {name}: its {file} cannot be read ({first_line(error)})"
            ) from error
    return shards


def _stack(keys: Sequence[str], n_layers: int, further: int, name: str) -> str:
    """What the names of the layers' tensors begin with: `model.layers`, `transformer.h`.

    Layers that predict further tokens may stand after the last; they are left out of what is
    written.
    """
    numbers: dict[str, set[int]] = {}
    for key in keys:
        match = LAYER.match(key)
        if match:
            numbers.setdefault(match["stack"], set()).add(int(match["number"]))
    allowed = (set(range(n_layers)), set(range(n_layers + further)))
    candidates = [s for s, seen in numbers.items() if seen in allowed]
    if len(candidates) > 1:
        candidates = [stack for stack in candidates if not OTHER_TOWERS.search(stack)] or candidates
    if len(candidates) != 1:
        raise UserError(
            f"model {name}: {len(candidates)} stacks of {n_layers} layers in its weights "
            f"({', '.join(numbers) or 'no layers at all'}); exactly one is needed"
        )
    return candidates[0]


def _refuse_numbered(config: Any, pruned: Any, kept: Sequence[int], name: str) -> None:
    """Refuse a model whose kept layers would not be built the same under their new numbers."""
    with _refusing(name, range(int(config.get_text_config().num_hidden_layers))):
        before = _built(config, name)
    with _refusing(name, kept):
        after = _built(pruned, name)
    if len(after) != len(kept):
        raise UserError(f"model {name}: its configuration still builds {len(after)} layers")
    for new, old in enumerate(kept):
        difference = _difference(before[old], after[new])
        if difference:
            raise UserError(
                f"model {name}: layer {old} would compute differently as layer {new} "
                f"({difference}), and its configuration cannot say otherwise"
            )


def _built(config: Any, name: str) -> list[Any]:
    """The layers that a configuration builds, without memory for their weights."""
    import torch
    import transformers

    config = copy.deepcopy(config)
    n_layers = int(config.get_text_config().num_hidden_layers)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    stacks = [
        list(module)
        for key, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers
        if (match := LAYER.match(f"{key}.0.")) and match["stack"] == key
    ]
    if len(stacks) != 1:
        raise UserError(f"model {name}: {len(stacks)} stacks of {n_layers} layers are built")
    return stacks[0]


def _difference(old: Any, new: Any) -> str:
    """The first thing in which two layers differ but for their number; empty where they agree."""
    left, right = dict(old.named_modules()), dict(new.named_modules())
    for key in left | right:
        if key not in left or key not in right or type(left[key]) is not type(right[key]):
            return key or "its class"
        left_value, right_value = _plain(left[key]), _plain(right[key])
        for field in sorted(left_value.keys() | right_value.keys()):
            if left_value.get(field) != right_value.get(field):
                return f"{key}.{field}".lstrip(".")
    shapes = [{k: tuple(p.shape) for k, p in m.named_parameters()} for m in (old, new)]
    return "" if shapes[0] == shapes[1] else "the shapes of its weights"


def _plain(module: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, bool | int | float | str | None) and key not in NUMBERS
    }


def _write_weights(
    source: Path, folder: Path, shards: dict[str, list[str]], stack: str, kept: Sequence[int]
) -> int:
    """Copy the tensors that stay, layers under their new numbers; returns their bytes."""
    from safetensors import safe_open

    places: dict[int, list[int]] = {}
    for new, old in enumerate(kept):
        places.setdefault(old, []).append(new)
    index: dict[str, str] = {}
    total = 0
    for file, keys in tqdm(shards.items(), unit="shard", desc="pruning"):
        with safe_open(source / file, framework="pt") as tensors:
            renamed = {key: _renamed(key, stack, places) for key in keys}
            # one storage may not be written under two names
            chosen = {
                new: tensors.get_tensor(old).clone() if at else tensors.get_tensor(old)
                for old, several in renamed.items()
                for at, new in enumerate(several)
            }
        if chosen:
            save_tensors(chosen, folder / file)
        total += sum(t.numel() * t.element_size() for t in chosen.values())
        index |= dict.fromkeys(chosen, file)
    if (source / INDEX).is_file():
        content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n")
    return total


def _renamed(key: str, stack: str, places: dict[int, list[int]]) -> list[str]:
    """A tensor's names under the new numbers; none where its layer is gone."""
    if not key.startswith(f"{stack}."):
        return [key]
    number, dot, rest = key[len(stack) + 1 :].partition(".")
    if not number.isdigit():
        return [key]
    return [f"{stack}.{new}{dot}{rest}" for new in places.get(int(number), [])]


def _note(
    name: str, ablation: Ablation, kept: Sequence[int], n_layers: int, revision: str | None
) -> str:
    from_hub = f" (revision {revision})" if revision else ""
    rows = "".join(f"| {new} | {old} |\n" for new, old in enumerate(kept))
    how, done, command = "without", "removed from", "prune"
    if set(kept) == set(range(n_layers)):
        how, done, command = "under", "listed anew in", "rearrange"
    return (
        f"# {Path(name).name} {how} {ablation.text}\n\n"
        f"Layers were {done} `{name}`{from_hub}, which has {n_layers}; this one has {len(kept)}. "
        "No weight was changed and nothing was trained afterwards: the model computes what the "
        f"original computes under the ablation `{ablation.text}`. Licence and terms are those of "
        f"the original.\n\nMade by `interp {command}`, interp {version('interp')}.\n\n"
        f"| layer here | layer of the original |\n| --- | --- |\n{rows}"
    )
