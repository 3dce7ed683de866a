"""Strategies and checks of `fuzz.py` for files of others: models, rows, templates, YAMLs.

A folder with an `evil.py` lies beside the YAMLs; it leaves a mark where it is imported, and a mark
is a defect. So is a run that was begun before a bad input was found.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

MOST_SECONDS = 30.0
"""A refused or accepted input of this size takes a second or two, on a busy machine some more."""

Check = Callable[[Any], bool]
Attempt = Callable[[Callable[[], Any]], bool]
"""Runs an action: True where it succeeds, False where a UserError of one line refuses it."""

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
option_names = st.sampled_from(
    ["limit", "seed", "unit_examples", "unit_ablations", "shard", "allow", "cluster", "workers",
     "token_budget", "num_fewshot"]
)  # fmt: skip
expressions = st.sampled_from(
    ["{{question}}", "{{choices}}", "{{gold}}", "{{ 'x' * 10**7 }}", "{{ 'x'|center(10**9) }}",
     "{{ lipsum(n=100000) }}", "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}"
     "{% endfor %}", "{{ ''.__class__.__mro__ }}", "{{ self.__init__.__globals__ }}", "{% raw %}",
     "{{ question|regex_replace('(a+)+$', '') }}", "{{ missing.field }}", "{% include 'x' %}"]
)  # fmt: skip
templates = st.lists(expressions | st.text(max_size=8), min_size=1, max_size=3).map("".join)


def model_changes(names: list[str]) -> st.SearchStrategy[list[tuple[str, str, Any]]]:
    """One to three changes of a model folder: (what, name, value)."""
    tensor = st.tuples(
        st.sampled_from(["drop", "rename", "nan", "shape", "spare"]),
        st.sampled_from(names),
        st.none(),
    )
    setting: st.SearchStrategy[tuple[str, str, Any]] = st.tuples(
        st.just("config"),
        st.sampled_from(
            ["num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads",
             "vocab_size", "architectures", "model_type", "max_position_embeddings",
             "tie_word_embeddings", "rope_theta", "head_dim", "pad_token_id", "eos_token_id"]
        ),
        st.sampled_from([None, 0, -1, 1, 2, 6, "x", [], {}, True, 1.5, 10**9, ["BertForMaskedLM"]]),
    )  # fmt: skip
    return st.lists(tensor | setting, min_size=1, max_size=3)


def kinds(
    model: Path, task: Path, folder: Path, attempt: Attempt, bridge: Any
) -> dict[str, tuple[st.SearchStrategy[Any], Check]]:
    """The kinds of input that others wrote: name to strategy and check."""
    from safetensors.numpy import load_file

    tensors = load_file(model / "model.safetensors")
    return {
        "model folders": (model_changes(sorted(tensors)), _model_check(model, folder, attempt)),
        "rows": (_rows(task), _rows_check(task, folder, attempt, bridge)),
        "templates": (templates, _template_check(task, folder, attempt, bridge)),
        "option values": (
            st.dictionaries(option_names, anything, min_size=1, max_size=2),
            _option_check(task, folder, attempt, bridge),
        ),
        "code": (st.sampled_from(_code_texts(task)), _code_check(folder, attempt, bridge)),
    }


def _model_check(model: Path, folder: Path, attempt: Attempt) -> Check:
    from safetensors.numpy import load_file, save_file

    import interp

    def check(changes: list[tuple[str, str, Any]]) -> bool:
        changed = folder / "changed-model"
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(model, changed)
        tensors = load_file(changed / "model.safetensors")
        config = json.loads((changed / "config.json").read_text())
        lost = False
        for what, name, value in changes:
            if what == "config":
                config[name] = value
            elif what == "spare":
                tensors["model.layers.77.spare.weight"] = np.zeros(2, dtype=np.float32)
            elif name in tensors:
                lost |= what in ("drop", "rename")
                _change(tensors, what, name)
        save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
        (changed / "config.json").write_text(json.dumps(config))
        accepted = attempt(lambda: interp.load_model(changed, device="cpu"))
        assert not (accepted and lost), f"a model without its tensors was loaded: {changes}"
        return accepted

    return check


def _change(tensors: dict[str, np.ndarray], what: str, name: str) -> None:
    if what == "drop":
        del tensors[name]
    elif what == "rename":
        tensors[f"other.{name}"] = tensors.pop(name)
    elif what == "nan":
        tensors[name] = np.full_like(tensors[name], np.nan)
    else:
        tensors[name] = np.ascontiguousarray(tensors[name][..., :-1])


def _rows(task: Path) -> st.SearchStrategy[list[Any]]:
    data = task.parent / "rows.jsonl"
    good = [json.loads(line) for line in data.read_text().splitlines()]
    changed = st.tuples(
        st.integers(0, len(good) - 1), st.sampled_from([*good[0], "new"]), st.booleans(), anything
    )

    def apply(changes: list[tuple[int, str, bool, Any]]) -> list[Any]:
        rows = [dict(row) for row in good]
        for place, field, lost, value in changes:
            if lost:
                rows[place].pop(field, None)
            else:
                rows[place][field] = value
        return rows

    return st.lists(changed, min_size=1, max_size=3).map(apply)


def _rows_check(task: Path, folder: Path, attempt: Attempt, bridge: Any) -> Check:
    import interp

    def check(rows: list[Any]) -> bool:
        place = folder / "changed-rows.jsonl"
        text = "".join(json.dumps(row) + "\n" for row in rows)
        place.write_bytes(text.encode("utf-8", "surrogatepass"))
        config = yaml.safe_load(task.read_text())
        config["dataset_kwargs"] = {"data_files": {"test": str(place)}}
        (folder / "changed.yaml").write_text(yaml.safe_dump(config))
        out = folder / "out"
        accepted = attempt(
            lambda: interp.sweep(bridge, str(folder / "changed.yaml"), ["layer:0"], out=out)
        )
        left = out.exists()
        shutil.rmtree(out, ignore_errors=True)
        assert accepted or not left, "work was done before a bad row was found"
        return accepted

    return check


def _template_check(task: Path, folder: Path, attempt: Attempt, bridge: Any) -> Check:
    import interp

    def check(template: str) -> bool:
        config = yaml.safe_load(task.read_text()) | {"doc_to_text": template}
        path, out = folder / "template.yaml", folder / "out"
        path.write_bytes(yaml.safe_dump(config).encode("utf-8", "surrogatepass"))
        start = time.process_time()
        accepted = attempt(lambda: interp.sweep(bridge, str(path), ["layer:0"], limit=1, out=out))
        taken = time.process_time() - start
        shutil.rmtree(out, ignore_errors=True)
        assert taken < MOST_SECONDS, f"{template!r} took {taken:.0f} s"
        return accepted

    return check


def _option_check(task: Path, folder: Path, attempt: Attempt, bridge: Any) -> Check:
    import interp

    def check(options: dict[str, Any]) -> bool:
        out = folder / "out"
        accepted = attempt(lambda: interp.sweep(bridge, str(task), ["layer:0"], out=out, **options))
        left = out.exists()
        shutil.rmtree(out, ignore_errors=True)
        assert accepted or not left, f"a refused option left a folder: {options!r}"
        return accepted

    return check


def _code_texts(task: Path) -> tuple[str, ...]:
    base = task.read_text()
    return (
        base + "process_docs: !function evil.f\n",
        base + "process_docs: !function evil.f\ninclude: missing.yaml\n",
        "- !function evil.f\n",
        base + "metadata: {deep: [{x: !function evil.f}]}\n",
        base.replace("doc_to_text:", "doc_to_text: !function evil.f\nunused:"),
        base + "aggregation: !function 'evil.f'\n",
    )


def _code_check(folder: Path, attempt: Attempt, bridge: Any) -> Check:
    import interp

    mark = folder / "mark"
    place = folder / "from-elsewhere"
    place.mkdir(exist_ok=True)
    (place / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\ndef f(x=None): return x\n")
    (place / "other.yaml").write_text("process_docs: !function evil.f\n")

    def check(text: str) -> bool:
        path, out = place / "code.yaml", folder / "out"
        path.write_text(text)
        accepted = attempt(lambda: interp.sweep(bridge, str(path), ["layer:0"], limit=1, out=out))
        shutil.rmtree(out, ignore_errors=True)
        assert not mark.exists(), f"code of a stranger was run by {text!r}"
        return accepted

    return check
