"""The options that commands share, and the doors around them: help, version, pipes, messages."""

import argparse
import logging
import subprocess
import sys
import warnings

import pytest

import interp
from interp.cli import main
from interp.cli.messages import plain_messages
from interp.cli.program import _parser
from interp.errors import UserError
from interp.results import choose_metric
from interp.tasks import check_draw
from tests.helpers.task_files import write_task

LOADS = ("sweep", "compare", "trace", "lens", "similarity")
SHARED = {"--limit", "--seed", "--data", "--dtype", "--device", "--revision", "--allow-code",
          "--out", "--task", "--tasks", "--quiet"}  # fmt: skip


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.mark.parametrize("name", LOADS)
def test_every_command_that_loads_a_model_has_the_shared_options(name):
    command = commands()[name]
    assert set(command._option_string_actions) >= SHARED
    helps = {a.dest: a.help for a in command._actions}
    others = {a.dest: a.help for a in commands()["sweep"]._actions}
    for option in ("limit", "seed", "data", "dtype", "device", "revision", "tasks", "out"):
        assert helps[option] == others[option]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["swep"], "did you mean sweep?"),
        (["show", "x", "--correction", "hol"], "did you mean holm?"),
        (["sweep", "m", "--task", "t", "--ablate", "layers", "--seed", "-1"], "--seed: -1"),
        (["sweep", "m", "--ablate", "layers"], "the following arguments are required: --tasks"),
    ],
)
def test_a_mistyped_word_is_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("interp: ")
    assert said in line


def test_mistyped_models_and_metrics_have_a_suggestion(tmp_path, capsys):
    task = str(write_task(tmp_path))
    for name in ("organism:bse", "base"):
        words = ["sweep", name, "--task", task, "--ablate", "layers", "--out", str(tmp_path / "x")]
        assert main(words) == 2
        assert "did you mean organism:base?" in capsys.readouterr().err
    import pandas as pd

    table = pd.DataFrame({"task": ["t"] * 2, "metric": ["acc", "acc_norm"]})
    with pytest.raises(UserError, match=r"no metric acc_nrm.*did you mean acc_norm\?"):
        choose_metric(table, "acc_nrm")


@pytest.mark.parametrize(
    ("limit", "seed"), [(0, 0), (-3, 0), ("5", 0), (2.5, 0), (True, 0), (5, -1), (5, "x"), (5, 0.5)]
)
def test_a_limit_or_seed_that_no_draw_can_have_is_refused(limit, seed):
    with pytest.raises(UserError, match="allowed are"):
        check_draw(limit, seed)


@pytest.mark.slow
def test_a_dry_run_needs_no_folder_and_a_run_does(tmp_path, capsys):
    words = ["--task", str(write_task(tmp_path)), "--ablate", "layer:1", "--limit", "3"]
    assert main(["sweep", "organism:base", *words, "--dry-run"]) == 0
    assert "baseline and 1 ablations of 3 examples" in capsys.readouterr().out
    assert main(["sweep", "organism:base", *words]) == 2
    assert "--out DIR is missing" in capsys.readouterr().err


def test_one_task_is_wanted_where_one_is_taken(tmp_path, capsys):
    for name in ("trace", "similarity"):
        words = [name, "organism:base", "--tasks", "a", "b", "--out", str(tmp_path / "x")]
        assert main(words) == 2
        assert "--tasks: 2 given; this command takes one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["kv:5", "kv-5"])
def test_a_key_value_task_is_written_in_two_ways(name, tmp_path, capsys):
    out = tmp_path / name.replace(":", "-or-")
    words = ["trace", "organism:base", "--task", name, "--gold", "9", "--out", str(out)]
    assert main(words) == 2
    assert "gold position 9: 5 pairs have 0-4" in capsys.readouterr().err


def test_lines_that_are_no_text_are_refused(tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    words = ["--texts", str(tmp_path / "latin.txt"), "--out", str(tmp_path / "x")]
    assert main(["similarity", "organism:base", *words]) == 2
    assert "it is not UTF-8 text" in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"interp {interp.__version__}\n"


@pytest.mark.parametrize("words", ["--help", "models"])
def test_a_reader_that_has_seen_enough_is_no_error(words):
    # the reader is gone before the first line is written
    script = f"{sys.executable} -m interp {words} | true; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0"
    assert found.stderr == ""


def test_messages_of_the_library_are_plain_lines_on_standard_error(capsys):
    for quiet, expected in ((False, ["interp: 2 prompts are cut", "interp: rows are missing"]),
                            (True, [])):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with plain_messages(quiet=quiet):
                logging.getLogger("interp.sweeps").warning("%d prompts are cut", 2)
                warnings.warn("rows are missing", stacklevel=1)
        shown = capsys.readouterr()
        assert shown.err.splitlines() == expected
        assert not shown.out
    assert not [h for h in logging.getLogger("interp").handlers if "Lines" in type(h).__name__]


@pytest.mark.slow
def test_the_harness_help_and_its_own_models(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["harness", "--help"])
    assert stopped.value.code == 0
    assert "--allow-code" in capsys.readouterr().out
    words = ["--model", "hf", "--model_args", "pretrained=/nowhere", "--tasks", "nosuchtask"]
    assert main(["lm-eval", "run", *words]) == 2
    assert "Tasks not found: nosuchtask" in capsys.readouterr().err
    import lm_eval.api.registry as registry

    assert "hf" in registry.model_registry
    assert "interp" in registry.model_registry
