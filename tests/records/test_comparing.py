"""Two requests for one folder: what differs is said in words, and nothing is missed."""

import json
from typing import Any

import pytest

from interp.records import SCHEMA_VERSION, Manifest, SamplingEntry, differences

TASK = {
    "name": "world",
    "version": "1",
    "num_fewshot": 2,
    "variant": {"chat": True, "max_tokens": 20},
    "doc_ids": [3, 1, 2],
    "rows_sha256": "r",
    "fewshot_sha256": "f",
    "config_sha256": "c",
    "code_sha256": "",
    "requests_sha256": "q",
    "cluster": "subject",
    "clusters": ["a", "b", "a"],
    "source_ids": [4, 5],
    "sources_sha256": "o",
    "sampling": {"draws": 2, "temperature": 0.6, "top_k": 0, "top_p": 1.0},
    "metrics": {"acc": {"aggregation": "mean", "higher_is_better": True}},
}
UNIT = {"name": "00-world", "task": 0, "first": 0, "examples": 3, "ablations": [0, 3]}
ENTRIES: dict[str, Any] = {
    "schema": SCHEMA_VERSION,
    "model": "tiny",
    "weights_sha256": "w",
    "config_sha256": "c",
    "code_sha256": "",
    "tokenizer_sha256": "t",
    "dtype": "float32",
    "tasks": [TASK],
    "ablations": ["layer:0", "hook:probe", "swap:1"],
    "hooks": {"hook:probe": "h"},
    "donors": {"swap:1": {"other": "d"}},
    "mean_reference": "the first 64 prompts",
    "resample_donors": "one cycle",
    "seed": 0,
    "limit": 3,
    "units": [UNIT],
    "libraries": {"torch": "2.13.0", "interp-source": "s"},
}


def manifest(**entries: Any) -> Manifest:
    return Manifest.model_validate_json(json.dumps(ENTRIES | entries))


def words(*, task: dict[str, Any] | None = None, **entries: Any) -> list[str]:
    """What differs from the run of this file, in words."""
    if task is not None:
        entries["tasks"] = [TASK | task]
        if "doc_ids" in task:
            entries["units"] = [UNIT | {"examples": len(task["doc_ids"])}]
    if "ablations" in entries:
        entries["units"] = [UNIT | {"ablations": [0, len(entries["ablations"])]}]
    return [difference.words for difference in differences(manifest(), manifest(**entries))]


def test_nothing_differs_from_itself_wherever_it_was_begun():
    assert words() == []
    assert words(origin={"command": ["another"], "device": "cuda"}) == []
    assert words(limit=None) == []
    cut = [UNIT | {"ablations": [0, 1]}, UNIT | {"name": "01", "ablations": [2, 3]}]
    assert words(units=cut) == []


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"model": "other"}, "model: tiny there, other asked"),
        ({"dtype": "float16"}, "dtype: float32 there, float16 asked"),
        ({"weights_sha256": "x"}, "the model's weights are others (weights_sha256)"),
        ({"seed": 1}, "seed 0 there, 1 asked"),
        ({"libraries": {"torch": "2.9", "interp-source": "s"}},
         "libraries.torch: 2.13.0 there, 2.9 asked"),
        ({"ablations": [*ENTRIES["ablations"], "layer:1", "layer:2"]},
         "ablations: 2 more than there"),
        ({"ablations": [*ENTRIES["ablations"], "layer:1"]}, "ablations: layer:1 more than there"),
        ({"ablations": ["layer:1", "hook:probe", "swap:1"]},
         "ablations: layer:1 more than there, layer:0 there and not asked"),
        ({"ablations": ["hook:probe", "layer:0", "swap:1"]},
         "ablations: the same in another order"),
        ({"hooks": {"hook:probe": "g"}},
         "hook:probe: the code of its hooks, or a value they use, has changed"),
        ({"donors": {"swap:1": {"other": "e"}}},
         "swap:1: the weights of its donor other are others (donors)"),
        ({"task": {"rows_sha256": "x"}}, "task world: its rows have changed (rows_sha256)"),
        ({"task": {"requests_sha256": "x"}},
         "task world: its prompts, stop strings or limits have changed (requests_sha256)"),
        ({"task": {"num_fewshot": 0, "fewshot_sha256": "y", "config_sha256": "z",
                   "requests_sha256": "x"}}, "task world: num_fewshot 2 there, 0 asked"),
        ({"task": {"variant": {"chat": False, "max_tokens": 20}, "requests_sha256": "x"}},
         "task world: variant chat True, max_tokens 20 there, chat False, max_tokens 20 asked"),
        ({"task": {"cluster": "", "clusters": []}},
         "task world: clusters subject there, none asked"),
        ({"task": {"sources_sha256": "x"}},
         "task world: the rows that ablations take from have changed (sources_sha256)"),
    ],
)  # fmt: skip
def test_a_difference_is_said_once_and_in_words(entries, said):
    assert words(**entries) == [said]


def test_what_follows_from_a_limit_or_a_seed_is_not_said():
    fewer = {"doc_ids": [3, 1], "rows_sha256": "x", "requests_sha256": "y", "clusters": ["a", "b"]}
    assert words(task=fewer, limit=2) == ["limit 3 there, 2 asked"]
    assert words(task=fewer, limit=2, seed=1) == ["seed 0 there, 1 asked"]
    assert words(task={"requests_sha256": "y"}, seed=1) == ["seed 0 there, 1 asked"]
    assert words(task=fewer, limit=3) == ["task world: 3 rows there, 2 asked"]
    others = fewer | {"doc_ids": [3, 1, 9], "clusters": ["a", "b", "c"]}
    assert words(task=others) == ["task world: 3 rows there, other ones asked"]


def leaves(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to all entries of a document that hold no others."""
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in leaves(one, (*path, key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for i, one in enumerate(value) for leaf in leaves(one, (*path, i))]
    return [path]


def test_no_entry_that_decides_answers_can_change_unnoticed():
    changed = {str: "changed", int: 7, float: 0.25, bool: False}
    for path in leaves(ENTRIES):
        if path[0] in ("schema", "limit", "units"):
            continue
        document = json.loads(json.dumps(ENTRIES))
        place = document
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        if isinstance(old, list):
            place[path[-1]] = [changed[type(old[0])], *old[1:]]
        else:
            place[path[-1]] = changed[type(old)]
        other = Manifest.model_validate_json(json.dumps(document))
        assert other.fingerprint() != manifest().fingerprint(), path
        assert differences(manifest(), other), path
        assert differences(other, manifest()), path


def test_draws_are_positive():
    with pytest.raises(ValueError, match="draws"):
        SamplingEntry(draws=0, temperature=1.0, top_k=0, top_p=1.0)
