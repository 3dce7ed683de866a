"""The benchmarks that are listed, with their protocols; nothing of a task is loaded."""

from interp.tasks.names import BENCHMARKS, PROTOCOLS, shipped_tasks, split_name


def protocols() -> dict[str, tuple[tuple[str, ...], str]]:
    """The benchmarks that are listed: name to protocols, and whose definitions they are.

    Returns:
        Benchmark to the protocols that there are for it, and to who defined them.
    """
    ours: dict[str, set[str]] = {}
    for name in shipped_tasks():
        benchmark, protocol = split_name(name)
        ours.setdefault(benchmark, set()).add(str(protocol))
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    found["kv-PAIRS"] = (PROTOCOLS, "interp; kv-75, kv-75-at-0, any size and gold position")
    for benchmark in ours.keys() | BENCHMARKS.keys():
        there = ours.get(benchmark, set())
        theirs = set(BENCHMARKS.get(benchmark, ()))
        whose = [w for w, some in (("lm-evaluation-harness", theirs), ("interp", there)) if some]
        found[benchmark] = (tuple(p for p in PROTOCOLS if p in there | theirs), ", ".join(whose))
    return found
