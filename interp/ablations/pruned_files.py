"""The files beside the weights of a pruned model: what is taken along, and what has to change."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import UserError, failed_file, first_line, folder_given
from interp.models import check_loaded

if TYPE_CHECKING:
    import torch

TAKEN = (
    "tokenizer*.json",
    "*.model",
    "*.tiktoken",
    "vocab*.json",
    "vocab*.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "normalizer.json",
    "generation_config.json",
    "chat_template*",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "preprocessor_config.json",
    "processor_config.json",
)
"""What belongs to the tokenizer and to generation; never code, weights or notes of the original."""

NAMED = re.compile(r"(?P<stack>(?:^|.*?\.)(?:layers|h|blocks|block))\.(?P<number>\d+)(?=\.|$)")


def refuse_place(out: Path) -> None:
    """Refuse what cannot be replaced by a folder that is made beside it and then renamed.

    Args:
        out: the folder that is asked for.

    Raises:
        UserError: it is not empty, a link or a mount point, or nothing can be written there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out {out}: it exists and is not an empty folder")
    folder_given("out", out)
    folder_given("out", out.parent)
    if out.is_symlink() or os.path.ismount(out) or out.absolute() == Path.cwd():
        raise UserError(
            f"out {out}: a link, a mount point or the current folder cannot be replaced; give a "
            f"folder in it, such as {out / 'model'}"
        )


@contextmanager
def made_beside(out: Path) -> Iterator[Path]:
    """A folder that takes a place when all of it is written; else nothing is there.

    Args:
        out: the place.

    Yields:
        The folder, empty.

    Raises:
        UserError: it cannot be written, say because the disk is full.
    """
    work = ""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:40]}-") as work:
            folder = Path(work) / "model"
            folder.mkdir()
            yield folder
            if out.exists():
                out.rmdir()
            folder.replace(out)
    except OSError as error:
        own = error.filename is None or str(error.filename).startswith(work or str(out.parent))
        reason = (error.strerror or first_line(error)) if own else failed_file(error)
        raise UserError(f"out {out}: {reason}; nothing was written there") from error


def save_tensors(tensors: "dict[str, torch.Tensor]", path: Path) -> None:
    """Write tensors as safetensors.

    Args:
        tensors: name to tensor; no two share memory.
        path: the file.

    Raises:
        OSError: it cannot be written, say because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # also where the file system has a reason
        raise OSError(errno.EIO, first_line(error), str(path)) from error


def copy_side_files(source: Path, folder: Path, name: str) -> None:
    """Tokenizer, chat templates and generation settings, without names of code.

    Args:
        source: the original's folder.
        folder: the folder that they are copied to.
        name: the name of the model, for messages.

    Raises:
        UserError: the tokenizer's settings cannot be read.
    """
    for pattern in TAKEN:
        for file in sorted(source.glob(pattern)):
            if not file.is_file() or file.name.endswith(".index.json"):
                continue
            target = folder / file.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
    without_code(folder / "tokenizer_config.json", name)
    without_code(folder / "config.json", name)


def without_code(file: Path, name: str) -> None:
    """A JSON file without `auto_map`: what is pruned is built by transformers' own classes."""
    if not file.is_file():
        return
    try:
        content = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"model {name}: its {file.name} cannot be read ({first_line(error)})"
        ) from error
    if content.pop("auto_map", None) is not None:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        file.write_text(text, encoding="utf-8")


def renumber_names(folder: Path, places: Mapping[int, int], name: str) -> None:
    """Layers that the quantisation names (`model.layers.2.mlp`) get their new numbers.

    Args:
        folder: the folder with `config.json`.
        places: old number of a layer to its new one; layers that are not there are gone.
        name: the name of the model, for messages.

    Raises:
        UserError: layers are named by a regular expression.
    """
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for owner in (content, content.get("text_config") or {}):
        if isinstance(owner.get("quantization_config"), dict):
            owner["quantization_config"] = _renumbered(owner["quantization_config"], places, name)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


GONE = object()


def _renumbered(value: Any, places: Mapping[int, int], name: str) -> Any:
    if isinstance(value, dict):
        pairs = [(_renumbered(k, places, name), _renumbered(v, places, name))
                 for k, v in value.items()]  # fmt: skip
        return {k: v for k, v in pairs if k is not GONE and v is not GONE}
    if isinstance(value, list):
        entries = [_renumbered(entry, places, name) for entry in value]
        return [entry for entry in entries if entry is not GONE]
    if not isinstance(value, str):
        return value
    if value.startswith("re:") and re.search(r"(layers|h|blocks?)\\?\.\(?\[?\d", value):
        raise UserError(
            f"model {name}: its quantization_config names layers by an expression ({value[:60]}), "
            "which cannot be renumbered"
        )
    match = NAMED.match(value)
    if not match:
        return value
    new = places.get(int(match["number"]))
    return GONE if new is None else f"{match['stack']}.{new}{value[match.end() :]}"


def check_loads(source: Path, folder: Path, name: str) -> None:
    """Raise UserError where what was written does not load as the original does.

    Both are loaded by plain transformers without memory for their weights.

    Args:
        source: the original; what does not load there need not load here.
        folder: the pruned model.
        name: the name of the model, for messages.
    """
    for load in (_load_weights, _load_tokenizer):
        try:
            load(source)
        except Exception:  # such as a quantisation whose package is not installed
            continue
        try:
            load(folder)
        except Exception as error:  # files of strangers raise anything
            raise UserError(
                f"model {name}: the pruned model does not load ({first_line(error)}); nothing was "
                "written"
            ) from error


def _load_weights(folder: Path) -> None:
    import transformers

    _, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map="meta", local_files_only=True, output_loading_info=True
    )
    check_loaded(folder.name, info)


def _load_tokenizer(folder: Path) -> None:
    import transformers

    transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def set_modes(folder: Path) -> None:
    """Every file may be read as the user's umask says; safetensors writes for its owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
