"""Manifests: what may differ when a run is opened again, and what is no manifest."""

import json

import pytest

from interp.errors import UserError
from interp.records import (
    MANIFEST,
    SCHEMA_VERSION,
    SOURCE,
    open_store,
    read_manifest,
)
from tests.helpers.stores import ENTRIES, MADE, changed


def test_the_same_run_opens_again_and_another_is_named(store):
    assert open_store(store, changed(origin={"created": "now"})).origin.created == "then"
    with pytest.raises(UserError, match=r"it holds another run \(seed 0 there, 1 asked\)"):
        open_store(store, changed(seed=1))


def test_only_listed_differences_that_mix_no_answers_can_be_allowed(tmp_path):
    made = changed(libraries={"torch": "2.12.0"})
    asked = changed(libraries={"torch": "2.13.0"})
    open_store(tmp_path / "run", made)
    with pytest.raises(
        UserError, match=r"libraries\.torch: 2\.12\.0 there, 2\.13\.0 asked.*--allow"
    ):
        open_store(tmp_path / "run", asked)
    with pytest.raises(UserError, match=r"libraries\.torch"):
        open_store(tmp_path / "run", asked, allow=["libraries.numpy"])
    kept = open_store(tmp_path / "run", asked, allow=["libraries.torch"])
    (note,) = kept.allowed
    assert (note.name, note.there, note.asked) == ("libraries.torch", "2.12.0", "2.13.0")
    assert kept == read_manifest(tmp_path / "run")
    assert kept.fingerprint() == made.fingerprint()
    with pytest.raises(UserError, match=r"--allow weights_sha256: answers would be mixed"):
        open_store(
            tmp_path / "run",
            changed(libraries={"torch": "2.12.0"}, weights_sha256="bb"),
            allow=["weights_sha256"],
        )


def test_the_hash_of_the_package_s_code_is_compared(tmp_path):
    made, asked = (changed(libraries={"torch": "2.13.0", SOURCE: code}) for code in ("aa", "bb"))
    open_store(tmp_path / "run", made)
    with pytest.raises(UserError, match=r"interp-source: aa there, bb asked\).*--allow lib"):
        open_store(tmp_path / "run", asked)
    kept = open_store(tmp_path / "run", asked, allow=[f"libraries.{SOURCE}"])
    assert [note.as_dict() for note in kept.allowed] == [
        {"name": f"libraries.{SOURCE}", "there": "aa", "asked": "bb"}
    ]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="it is not empty and holds no run"):
        open_store(tmp_path, MADE)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_manifests_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json there"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path)
    for version, message in [
        (99, f"a newer interp wrote it \\(schema 99; this one reads {SCHEMA_VERSION}\\)"),
        (2, "an earlier interp wrote it .schema 2.*run the sweep again in another folder"),
        ("two", "names no schema"),
        (True, "names no schema"),
    ]:
        (tmp_path / MANIFEST).write_text(json.dumps(ENTRIES | {"schema": version}))
        with pytest.raises(UserError, match=message) as caught:
            read_manifest(tmp_path)
        assert "\n" not in str(caught.value)


UNIT = ENTRIES["units"][0]
TASK = ENTRIES["tasks"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": [UNIT | {"name": "../../etc/passwd"}]}, "units.0.name"),
        ({"units": [UNIT | {"name": ".hidden"}]}, "units.0.name"),
        ({"units": [UNIT | {"name": "n" * 250}]}, "units.0.name"),
        ({"units": [UNIT | {"name": "half a \ud800 pair"}]}, "cannot be used"),
        ({"units": [3]}, "units.0"),
        ({"units": None}, "units: "),
        ({"units": []}, "units: "),
        ({"units": ENTRIES["units"][1:]}, "not all examples under all ablations"),
        ({"units": [*ENTRIES["units"], UNIT]}, "unit unit-0 is there twice"),
        ({"units": [UNIT | {"examples": 99}]}, "not all examples under all ablations"),
        ({"units": [UNIT | {"task": 7}]}, "not all examples under all ablations"),
        ({"tasks": [{}]}, "tasks.0.name: "),
        ({"tasks": [{"name": "t"}]}, "tasks.0.doc_ids: "),
        ({"tasks": []}, "tasks: "),
        ({"tasks": [TASK, TASK]}, "task task is there twice"),
        ({"tasks": [TASK | {"sampling": 1}]}, "tasks.0.sampling"),
        ({"tasks": [TASK | {"doc_ids": [-1]}]}, "tasks.0.doc_ids.0"),
        ({"ablations": [1]}, "ablations.0: "),
        ({"ablations": ["baseline"]}, "ablation baseline is there twice"),
        ({"model": 3}, "model: "),
        ({"seed": -1}, "seed: "),
        ({"seed": True}, "seed: "),
        ({"libraries": {"torch": 2}}, "libraries.torch: "),
        ({"origin": {"command": None}}, "origin.command: "),
        ({"origin": {"command": 5}}, "origin.command: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_manifests_that_say_nonsense_are_refused(tmp_path, change, message):
    (tmp_path / MANIFEST).write_text(json.dumps(ENTRIES | change))
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_is_read_as_it_was_written(store):
    assert read_manifest(store) == MADE
    assert json.loads((store / MANIFEST).read_text())["tasks"][0]["name"] == "task"
