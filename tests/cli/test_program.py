"""The command line: quick help, one-line errors, the same runs as from Python."""

import copy
import re
import signal
import subprocess
import sys

import pytest

from interp.cli import main
from interp.results import open_run
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task, write_task_with_code


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from interp.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sweep" in shown.stdout
    assert shown.stdout.strip().endswith("[]")


def test_models_and_tasks_are_listed(capsys):
    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    table = re.findall(r"(?m)^((\S+) +)(default|continuation|generate)(.*)", listed)
    known = {name: first + more for _, name, first, more in table}
    assert known["world-kv"].startswith("default, continuation, generate")
    assert known["mmlu"].startswith("default, continuation, generate")
    assert len({len(column) for column, *_ in table}) == 1, "the second column is aligned"
    assert "A task is named BENCHMARK:PROTOCOL" in listed
    assert main(["models"]) == 0
    assert "Any hub name can be given, too, or a folder" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_and_its_figures(folder, tmp_path, capsys):
    task, out = str(write_task(tmp_path)), str(tmp_path / "run")
    assert main(["sweep", folder, "--tasks", task, "--ablate", "layers", "head:0.1",
                 "blocks:2", "--out", out, "--limit", "6"]) == 0  # fmt: skip
    assert list(open_run(out).manifest.ablations) == [
        "layer:0", "layer:1", "layer:2", "head:0.1", "layers:0-1", "layers:1-2",
    ]  # fmt: skip
    capsys.readouterr()
    assert main(["figures", out]) == 0
    written = capsys.readouterr().out.split()
    assert {path.rsplit(".")[-1] for path in written} >= {"pdf", "png", "svg", "csv"}


TEMPLATE = "{% for m in messages %}w9 {{ m['content'] }} w8 {% endfor %}"


@pytest.mark.slow
def test_a_chat_template_and_a_budget_of_tokens(folder, tmp_path, capsys):
    task = str(write_task(tmp_path, kind="generate", rows=4))
    asked = ["sweep", folder, "--tasks", task, "--ablate", "layer:1", "--chat-template"]
    asked += ["--max-gen-toks", "2", "--out", str(tmp_path / "run")]
    assert main(asked) == 2
    assert "no chat template" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    assert main(asked) == 0
    rows = open_run(tmp_path / "run").responses()
    assert set(rows["task"]) == {"chat-2-tokens-tiny-generate"}
    assert {n for counts in rows["token_counts"] for n in counts} <= {1, 2}
    assert main([*asked[:-2], "--out", str(tmp_path / "none"), "--max-gen-toks", "0"]) == 2
    assert "max_gen_toks 0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_says_the_cost_and_writes_nothing(folder, tmp_path, capsys):
    task, out = str(write_task(tmp_path, rows=30)), tmp_path / "run"
    assert main(["sweep", folder, "--tasks", task, "--ablate", "layers", "head:0.1@mean",
                 "--out", str(out), "--limit", "20", "--dry-run"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "tiny-texts: 20 of 30 examples; 95% interval of a score: up to ±20.1 points" in said
    assert "baseline and 4 ablations of 20 examples" in said
    assert "parameters on cpu" in said
    assert "expected: " in said
    assert not out.exists()


@pytest.mark.slow
def test_a_swap_that_is_named_gets_the_donor_also_in_a_dry_run(folder, tmp_path, capsys):
    task = str(write_task(tmp_path))
    command = ["sweep", folder, "--tasks", task, "--ablate", "swap:0", "--limit", "3", "--dry-run"]
    assert main([*command, "--out", str(tmp_path / "run"), "--donor", folder]) == 0
    assert "baseline and 1 ablations of 3 examples" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert "swap:0: a swap needs a donor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ablate", "layer:9"], "layer 9: the model has layers 0-2"),
        (["--ablate", "swaps"], "a swap needs a donor; give donor=MODEL (--donor MODEL)"),
        (["--ablate", "blocks:x"], "allowed is blocks:N"),
        (["--ablate", "blocks:9"], "block size 9: allowed are 1-3"),
        (["--ablate", "layers", "--limit", "0"], "limit 0"),
        (["--ablate", "layers", "--dtype", "int4"], "dtype int4"),
        (["--ablate", "layers", "--shard", "17/16"], "shard '17/16': allowed is K/N"),
        (["--ablate", "layers", "--token-budget", "0"], "token_budget 0: allowed are 1"),
        (["--ablate", "layers", "--ray", "local", "--workers", "0"], "workers 0: allowed are 1"),
        (["--ablate", "layers", "--workers", "2"], "workers 2: they are those of Ray; give ray"),
        (["--ablate", "layers", "--donor", "FOLDER"], "donor: no ablation is a swap; add one"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folder, tmp_path, capsys, arguments, message):
    task, out = str(write_task(tmp_path)), tmp_path / "run"
    arguments = [folder if one == "FOLDER" else one for one in arguments]
    assert main(["sweep", folder, "--tasks", task, "--out", str(out), *arguments]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert message in shown[-1]
    assert shown[-1].startswith("interp: ")
    assert "Traceback" not in "\n".join(shown)
    assert not out.exists()


@pytest.mark.parametrize("option", [("--shard", "0/4"), ("--token-budget", "-1")])
def test_how_a_run_is_carried_out_is_checked_before_any_work(tmp_path, capsys, option):
    # no such model, no such task: whatever is looked at first is what the message names
    command = ["sweep", "no/such", "--tasks", "nonsense", "--ablate", "layers", *option]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert option[0].strip("-").replace("-", "_") in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "sweep MODEL --tasks TASK --ablate layer:0 --limit 2",
        "compare a=MODEL b=MODEL --tasks TASK --ablate layers --limit 4",
        "lens MODEL --tasks TASK --limit 4",
        "similarity MODEL --task TASK --limit 4",
    ],
    ids=lambda command: command.split()[0],
)
def test_python_in_a_task_from_elsewhere_runs_with_the_flag_alone(
    folder, tmp_path, capsys, command
):
    (task, mark), out = write_task_with_code(tmp_path), tmp_path / "run"
    words = [word.replace("MODEL", folder).replace("TASK", str(task)) for word in command.split()]
    words += ["--out", str(out)]
    assert main(words) == 2
    assert "or with --allow-code" in capsys.readouterr().err
    assert not mark.exists()
    assert not out.exists()
    assert main([*words, "--allow-code"]) == 0
    assert mark.exists()


def test_a_trace_runs_the_python_of_a_task_with_the_flag_alone(tmp_path, capsys):
    (task, mark), out = write_task_with_code(tmp_path, kind="generate"), tmp_path / "trace"
    words = ["trace", "no/such/model", "--task", str(task), "--out", str(out)]
    assert main(words) == 2
    assert "or with --allow-code" in capsys.readouterr().err
    assert not mark.exists()
    # with it the task is loaded, and the model is what is missing
    assert main([*words, "--allow-code"]) == 2
    assert "model no/such/model" in capsys.readouterr().err
    assert mark.exists()


@pytest.mark.slow
def test_a_report_runs_the_python_of_a_task_with_the_flag_alone(folder, tmp_path, capsys):
    (task, mark), out, page = (
        write_task_with_code(tmp_path),
        tmp_path / "run",
        tmp_path / "page.html",
    )
    words = ["sweep", folder, "--tasks", str(task), "--ablate", "layer:0", "--out", str(out)]
    assert main([*words, "--allow-code"]) == 0
    mark.unlink()
    # the harness keeps what it imported
    for name in [name for name in sys.modules if name.endswith("/theirs")]:
        del sys.modules[name]
    capsys.readouterr()
    words = ["report", str(out), "--tasks", str(task), "--out", str(page)]
    assert main(words) == 2
    assert "or with --allow-code" in capsys.readouterr().err
    assert not mark.exists()
    assert not page.exists()
    assert main([*words, "--allow-code"]) == 0
    assert mark.exists()
    assert "w4" in page.read_text()  # the rows are shown


@pytest.mark.slow
def test_control_c_is_one_line_and_the_same_command_continues(
    folder, tmp_path, capsys, monkeypatch
):
    import interp.sweeps.execution as module

    task, out, plain = str(write_task(tmp_path)), tmp_path / "run", module.run_unit
    command = ["sweep", folder, "--tasks", task, "--ablate", "layer:0", "--out", str(out)]

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **options)

    monkeypatch.setattr(module, "run_unit", interrupted)
    # a worker of a parallel test run ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(command) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "interp: interrupted; the same command continues"
    )
    assert not list(out.rglob("*.part"))
    monkeypatch.setattr(module, "run_unit", plain)
    assert main(command) == 0
    assert len(open_run(out).responses()) == 24


@pytest.mark.slow
def test_unknown_models_runs_and_tasks(tmp_path, folder, capsys):
    task = str(write_task(tmp_path))
    for arguments, message in [
        (["sweep", "no/such", "--tasks", task, "--ablate", "layers"], "model no/such"),
        (["sweep", folder, "--tasks", "nonsense", "--ablate", "layers"], "task nonsense"),
    ]:
        assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
    assert main(["figures", str(tmp_path)]) == 2
    assert "no manifest.json there" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_line_break_in_an_argument_makes_no_second_line(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "x", "--tasks", "y", "--ablate", "layer:0", "--nonsense", "a\nb"])
    assert capsys.readouterr().err.count("\n") == 1
