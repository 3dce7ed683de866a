"""One process at a time holds a run, or a shard of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from interp.errors import UserError
from interp.records import (
    Shard,
    locked,
)


def hold(folder: Path, shard: str = "") -> subprocess.Popen:
    """A process that holds a folder until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom interp.records import Shard, locked\n"
        "shard = Shard.parse(sys.argv[2]) if sys.argv[2] else None\n"
        "with locked(Path(sys.argv[1]), shard):\n  print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), shard], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_a_dead_one_blocks_nobody(store):
    with hold(store) as process:
        for shard in (None, Shard(1, 2)):
            with (
                pytest.raises(UserError, match=f"process {process.pid} on .* is working on it"),
                locked(store, shard),
            ):
                pass
        process.kill()
    with locked(store):
        assert (store / ".lock").exists()


def test_processes_of_shards_exclude_their_own_number_and_whole_runs(store):
    with hold(store, "1/2") as process:
        with locked(store, Shard(2, 2)):
            pass
        with pytest.raises(UserError, match=f"process {process.pid}"), locked(store, Shard(1, 2)):
            pass
        with pytest.raises(UserError, match="a shard each"), locked(store):
            pass
        process.kill()
    with locked(store):
        pass


def test_shares_are_a_partition():
    for count in (1, 3, 16):
        owners = [[s for s in range(1, count + 1) if Shard(s, count).holds(i)] for i in range(40)]
        assert all(len(owner) == 1 for owner in owners)
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""):
        with pytest.raises(UserError, match="allowed is K/N"):
            Shard.parse(text)
