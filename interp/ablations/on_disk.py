"""A model without some of its layers, as a Hugging Face folder of its own.

Works on the files: tensors are copied as they are, in their type, one shard at a time, so that a
model of any size can be pruned on any machine. What has to match is matched: layers are numbered
anew, every list in the configuration that has one entry a layer is cut (`layer_types`), lists of
layer numbers are renumbered (`mlp_only_layers`), and what the architecture would derive from a
layer's number is written out. A model whose layers compute by their number in a way that a
configuration cannot say is refused.
"""

import copy
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from interp.ablations.edits import Shape
from interp.ablations.pruned_files import check_loads, copy_side_files, renumber_names, set_modes
from interp.ablations.text import as_ablation
from interp.ablations.values import Ablation, Combination, SkipLayer, SkipLayers
from interp.errors import UserError, first_line
from interp.models import INDEX, check_files, check_n_layers, model_folder

# the outermost number in a tensor's name is the layer's: experts are numbered inside it
LAYER = re.compile(r"(?P<stack>(?:.*?\.)?(?:layers|h|blocks|block))\.(?P<number>\d+)\.")
NUMBERS = ("layer_idx", "layer_number", "layer_id", "layer_index", "block_idx")
# lists that have other entries than layers, however many there are; lists of layer numbers, and
# what else then has to say that they are the whole truth
OTHER = re.compile(r"_ids?$|^architectures$|modules|label")
NUMBERED = {"mlp_only_layers": {"decoder_sparse_step": 1}}


@dataclass(frozen=True)
class Pruned:
    """What was written.

    Attributes:
        folder: of the pruned model.
        kept: the numbers that its layers had before.
        bytes: of its weights.
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
    import transformers

    given, out = as_ablation(ablation), Path(out)
    source = model_folder(str(name), revision)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out {out}: it exists and is not an empty folder")
    # that only safetensors are pruned is said with the weights
    check_files(str(name), source, allow_pickle=True)
    check_n_layers(str(name), source)
    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=True)
        n_layers = int(config.get_text_config().num_hidden_layers)
    except Exception as error:  # a configuration of a stranger raises anything
        raise UserError(
            f"model {name}: its configuration cannot be used without code of its own "
            f"({first_line(error)})"
        ) from error
    removed = _removed(given, n_layers)
    kept = tuple(n for n in range(n_layers) if n not in removed)
    shards = _shards(source, str(name))
    further = int(getattr(config.get_text_config(), "num_nextn_predict_layers", None) or 0)
    every = [key for keys in shards.values() for key in keys]
    stack = _stack(every, n_layers, further, str(name))
    pruned = pruned_config(config, kept)
    _refuse_numbered(config, pruned, kept, str(name))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        folder = Path(work) / "model"
        folder.mkdir()
        written = _write_weights(source, folder, shards, stack, kept)
        pruned.save_pretrained(folder)
        copy_side_files(source, folder)
        renumber_names(folder, {old: new for new, old in enumerate(kept)}, str(name))
        check_loads(source, folder, str(name))
        (folder / "README.md").write_text(_note(str(name), given, kept, n_layers, revision))
        set_modes(folder)
        if out.exists():
            out.rmdir()
        folder.replace(out)
    return Pruned(out, kept, written)


def pruned_config(config: Any, kept: Sequence[int]) -> Any:
    """A copy of a configuration for the layers that are kept, old numbers in their order.

    Lists with one entry a layer are cut, lists of layer numbers renumbered; counts follow.
    """
    pruned = copy.deepcopy(config)
    text = pruned.get_text_config()
    n_layers = int(text.num_hidden_layers)
    places = {old: new for new, old in enumerate(kept)}
    changes: dict[str, Any] = {}
    for name, value in vars(text).items():
        if name in NUMBERED:
            dense = set(value or ()) | _between_experts(text, n_layers)
            changes |= {name: sorted(places[n] for n in dense if n in places), **NUMBERED[name]}
        elif isinstance(value, list | tuple) and len(value) == n_layers and not OTHER.search(name):
            changes[name] = [value[n] for n in kept]
        elif isinstance(value, dict) and name not in ("quantization_config", "id2label"):
            changes[name] = _nested(value, kept, n_layers)
    # windows that begin at a layer's number are said by layer_types already
    if getattr(text, "max_window_layers", None) is not None:
        changes["max_window_layers"] = sum(n < text.max_window_layers for n in kept)
    # they predict from what the removed layers gave
    if getattr(text, "num_nextn_predict_layers", None):
        changes["num_nextn_predict_layers"] = 0
    for name, value in changes.items():
        setattr(text, name, value)
    text.num_hidden_layers = len(kept)
    return pruned


def _nested(values: dict[str, Any], kept: Sequence[int], n_layers: int) -> dict[str, Any]:
    """A dict of a configuration with its lists of layers cut: only those that say so by name.

    The factors that stretch rotary angles can be as many as layers.
    """
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _nested(value, kept, n_layers)
        elif isinstance(value, list | tuple) and len(value) == n_layers and "layer" in str(name):
            value = [value[n] for n in kept]
        found[name] = value
    return found


def _between_experts(text: Any, n_layers: int) -> set[int]:
    step = getattr(text, "decoder_sparse_step", None) or 1
    return {n for n in range(n_layers) if (n + 1) % step}


def _removed(ablation: Ablation, n_layers: int) -> set[int]:
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
    return removed


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
    found = {}
    for file in files:
        with safe_open(source / file, framework="pt") as tensors:
            found[file] = list(tensors.keys())
    return found


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
    found = [s for s, seen in numbers.items() if seen in allowed]
    if len(found) != 1:
        raise UserError(
            f"model {name}: {len(found)} stacks of {n_layers} layers in its weights "
            f"({', '.join(numbers) or 'no layers at all'}); exactly one is needed"
        )
    return found[0]


def _refuse_numbered(config: Any, pruned: Any, kept: Sequence[int], name: str) -> None:
    """Refuse a model whose kept layers would not be built the same under their new numbers."""
    before, after = _built(config, name), _built(pruned, name)
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
        mine, theirs = _plain(left[key]), _plain(right[key])
        for field in sorted(mine.keys() | theirs.keys()):
            if mine.get(field) != theirs.get(field):
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
    from safetensors.torch import save_file

    places = {old: new for new, old in enumerate(kept)}
    index: dict[str, str] = {}
    total = 0
    for file, keys in tqdm(shards.items(), unit="shard", desc="pruning"):
        with safe_open(source / file, framework="pt") as tensors:
            renamed = {key: _renamed(key, stack, places) for key in keys}
            chosen = {new: tensors.get_tensor(old) for old, new in renamed.items() if new}
        if chosen:
            save_file(chosen, folder / file, metadata={"format": "pt"})
        total += sum(t.numel() * t.element_size() for t in chosen.values())
        index |= dict.fromkeys(chosen, file)
    if (source / INDEX).is_file():
        content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n")
    return total


def _renamed(key: str, stack: str, places: dict[int, int]) -> str | None:
    """A tensor's name under the new numbers; None where its layer is gone."""
    if not key.startswith(f"{stack}."):
        return key
    number, dot, rest = key[len(stack) + 1 :].partition(".")
    if not number.isdigit():
        return key
    new = places.get(int(number))
    return None if new is None else f"{stack}.{new}{dot}{rest}"


def _note(
    name: str, ablation: Ablation, kept: Sequence[int], n_layers: int, revision: str | None
) -> str:
    from_hub = f" (revision {revision})" if revision else ""
    rows = "".join(f"| {new} | {old} |\n" for new, old in enumerate(kept))
    return (
        f"# {Path(name).name} without {ablation.text}\n\n"
        f"Layers were removed from `{name}`{from_hub}, which has {n_layers}; {len(kept)} are left. "
        "No weight was changed and nothing was trained afterwards: the model computes what the "
        f"original computes under the ablation `{ablation.text}`. Licence and terms are those of "
        f"the original.\n\nMade by `interp prune`, interp {version('interp')}.\n\n"
        f"| layer here | layer of the original |\n| --- | --- |\n{rows}"
    )
