"""What decides the answers of a run: weights, configuration, tokenizer, tasks, library versions.

Hashes of all of it are in a run's manifest, and the hash of the manifest is in every shard, so
that answers of one model, task or ablation can never be taken for another's.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Ablation, Combination, Hooked, donors
from interp.engine import end_tokens
from interp.errors import UserError
from interp.models import Decoder, decoder, model_name, weights_hash, weights_kept
from interp.records import SOURCE, TaskEntry, as_text, code_sha256, is_library
from interp.tasks import Task, described_metrics, functions_of

PACKAGE = Path(__file__).parent.parent
# the packages that an answer goes through; the others read or show answers
COMPUTES = ("ablations", "engine", "models", "records", "sweeps", "tasks")
LIBRARIES = ("interp", "torch", "transformer-lens", "transformers", "lm-eval", "tokenizers")
# of a configuration: where it was and how it is run, not what it computes
_NOT_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
# of a module: how it is run, and what grows while it runs
_NOT_THE_MODULE = (
    "training", "gradient_checkpointing", "name_or_path", "max_seq_len_cached", "is_loaded_in_8bit",
)  # fmt: skip
# of a tokenizer: what is no part of its files and changes what it reads or writes
_TOKENIZER_SETTINGS = (
    "clean_up_tokenization_spaces", "split_special_tokens", "add_bos_token", "add_eos_token",
    "add_prefix_space", "do_lower_case", "legacy",
)  # fmt: skip
_TRIED_TEXT = "We 're here , is n't it ? ( 12 ) , no !  Two\n\n\tlines : \u00e9\u4e2d."
# of a task's YAML: where the rows were; the rows themselves are hashed
_NOT_THE_TASK = ("dataset_path", "dataset_name", "dataset_kwargs")


def describe_model(model: TransformerBridge) -> dict[str, Any]:
    """Name and precision, and hashes of weights, configuration, code and tokenizer.

    A changed RoPE base changes no weight, and neither do a changed end token, tokenizer or method
    of a model's own class.

    Returns:
        Plain data, as entries of a manifest.
    """
    decoder_of = decoder(model)
    return {
        "model": as_text(model_name(model)),
        "weights_sha256": weights_hash(model),
        "config_sha256": _configuration_hash(decoder_of),
        "code_sha256": _model_code(decoder_of.root),
        "tokenizer_sha256": _tokenizer_hash(decoder_of.tokenizer),
        "dtype": weights_kept(model),
    }


def describe_hooks(ablations: Sequence[Ablation]) -> dict[str, str]:
    """For each hook of the user's own, its text and the hash of its code and what that uses.

    Returns:
        Text form to hash; empty without hooks of the user's own.

    Raises:
        UserError: two different hooks have one name.
    """
    hashes: dict[str, str] = {}
    for ablation in ablations:
        parts = ablation.parts if isinstance(ablation, Combination) else (ablation,)
        for part in parts:
            if isinstance(part, Hooked):
                code = code_sha256(part.fwd_hooks)
                if hashes.setdefault(part.text, code) != code:
                    raise UserError(f"{part.text}: two different hooks have this name")
    return hashes


def describe_donors(ablations: Sequence[Ablation]) -> dict[str, dict[str, str]]:
    """For each ablation with a swap: its donors' names and weights' hashes."""
    hashes: dict[int, str] = {}
    described: dict[str, dict[str, str]] = {}
    for ablation in ablations:
        for donor in donors(ablation):
            if id(donor) not in hashes:
                hashes[id(donor)] = weights_hash(donor)
            entry = described.setdefault(ablation.text, {})
            if entry.setdefault(model_name(donor), hashes[id(donor)]) != hashes[id(donor)]:
                raise UserError(f"{ablation.text}: two donors are named {model_name(donor)}")
    return described


def describe_task(
    task: Task,
    doc_ids: Sequence[int],
    *,
    cluster: str | None = None,
    source_ids: Sequence[int] = (),
) -> TaskEntry:
    """Name, version, rows and hashes of all that makes a task's prompts and metrics.

    Args:
        task: the task.
        doc_ids: its rows in the run.
        cluster: the field of a row that names what examples share (a passage, a subject); by
            default what the task's YAML says (`metadata: {cluster: FIELD}`).
        source_ids: further rows that ablations take from.

    Returns:
        An entry of a manifest.

    Raises:
        UserError: a row has no such field.
    """
    documents = task.documents()
    config = {k: v for k, v in task.configuration.items() if k not in _NOT_THE_TASK}
    clusters: tuple[str, ...] = ()
    field = cluster or task.cluster_field
    if field is not None:
        lacking = next((i for i in doc_ids if documents[i].get(field) is None), None)
        if lacking is not None:
            existing_fields = ", ".join(documents[lacking])
            raise UserError(
                f"task {task.name}, row {lacking}: no field {field} to cluster by; "
                f"it has {existing_fields}"
            )
        clusters = tuple(_cluster_name(documents[i][field]) for i in doc_ids)
    return TaskEntry(
        name=task.name,
        version=as_text(task.version),
        num_fewshot=task.num_fewshot,
        doc_ids=tuple(doc_ids),
        # in whatever order they were added
        rows_sha256=_sha256([documents[i] for i in sorted(doc_ids)]),
        fewshot_sha256=_sha256(task.fewshot_documents()),
        config_sha256=_sha256(_without_paths(config)),
        code_sha256=_code_of_functions(task),
        cluster=as_text(field or ""),
        variant=task.described_variant(),
        metrics=described_metrics(task.metrics()),
        clusters=clusters,
        source_ids=tuple(source_ids),
        sources_sha256=_sha256([documents[i] for i in source_ids]) if source_ids else "",
    )


def asked_hash(task: Task, doc_ids: Sequence[int], requests_sha256: str) -> str:
    """Hash of some rows and of what is asked about them, for the work unit that has them."""
    documents = task.documents()
    return _sha256([[documents[i] for i in doc_ids], requests_sha256])


def libraries() -> dict[str, str]:
    """Versions of the libraries that the answers depend on, and the hash of this package's code.

    A checkout changes without its version; `interp-source` then tells one state from another.

    Returns:
        Library to version.
    """
    return {name: version(name) for name in LIBRARIES} | {SOURCE: source_hash()}


@lru_cache
def source_hash(package: Path = PACKAGE) -> str:
    """The first 16 digits of a SHA-256 over the code that answers go through.

    All Python files of the packages `COMPUTES`, by their place in the package; where it is
    installed and how its lines end make no difference. Read once per process.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    for place in sorted(files):
        if place.split("/")[0] in COMPUTES:
            content = files[place].read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{place}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _cluster_name(value: Any) -> str:
    """Short values as they are; a passage by its hash."""
    text = as_text(value)
    return text if len(text) <= 40 else hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """A metric or filter may be given as a function; its address in memory says nothing."""
    text = json.dumps(config, sort_keys=True, default=_named)
    configuration: dict[str, Any] = json.loads(text)
    return configuration


def _named(value: Any) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _configuration_hash(decoder_of: Decoder) -> str:
    """Hash of what the model reads from its configuration, and of where its answers end.

    A module may keep a number that it read when it was made (a norm's epsilon): it counts, too.
    """
    config = cast(Any, decoder_of.root).config.to_dict()
    config = {k: v for k, v in config.items() if k not in _NOT_THE_MODEL and "attn_impl" not in k}
    kept = {
        name: {
            key: value
            for key, value in sorted(vars(module).items())
            if isinstance(value, bool | int | float | str)
            and key[0] != "_"
            and key not in _NOT_THE_MODULE
        }
        for name, module in decoder_of.root.named_modules()
    }
    return _sha256([config, sorted(end_tokens(decoder_of)), decoder_of.max_length, kept])


def _model_code(root: nn.Module) -> str:
    """Hash of the classes of a model that come with the checkpoint; empty where none does."""
    kinds = {type(module) for module in root.modules()}
    files = sorted(
        (kind for kind in kinds if not is_library(kind.__module__)), key=lambda k: k.__qualname__
    )
    return code_sha256(*files) if files else ""


def _code_of_functions(task: Task) -> str:
    """Hash of the functions of a task and of what they call; empty where all are the harness'."""
    hashes = [
        function
        for function in functions_of(task)
        if not is_library(getattr(function, "__module__", None))
    ]
    return code_sha256(*hashes) if hashes else ""


def _tokenizer_hash(tokenizer: Any) -> str:
    """Hash of a tokenizer's parts and settings, and of what it makes of a text."""
    if tokenizer is None:
        return ""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    body = fast.to_str() if fast is not None else sorted(tokenizer.get_vocab().items())
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    settings = {name: getattr(tokenizer, name, None) for name in _TOKENIZER_SETTINGS}
    tokens = tokenizer.encode(_TRIED_TEXT)
    return _sha256([body, special, settings, tokens, tokenizer.decode(tokens)])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
