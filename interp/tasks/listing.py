"""The benchmarks that are listed, with their protocols; nothing of a task is loaded."""

from interp.tasks.names import BENCHMARKS, PROTOCOLS, shipped_tasks, split_name


def protocols() -> dict[str, tuple[tuple[str, ...], str]]:
    """The benchmarks that are listed: name to protocols, and whose definitions they are.

    Returns:
        Benchmark to the protocols that there are for it, and to who defined them.
    """
    of_interp: dict[str, set[str]] = {}
    for name in shipped_tasks():
        benchmark, protocol = split_name(name)
        of_interp.setdefault(benchmark, set()).add(str(protocol))
    table: dict[str, tuple[tuple[str, ...], str]] = {}
    table["kv-PAIRS"] = (PROTOCOLS, "interp; kv-75, kv-75-at-0, any size and gold position")
    for benchmark in of_interp.keys() | BENCHMARKS.keys():
        protocols_of_interp = of_interp.get(benchmark, set())
        of_harness = set(BENCHMARKS.get(benchmark, ()))
        whose = [
            w
            for w, some in (("lm-evaluation-harness", of_harness), ("interp", protocols_of_interp))
            if some
        ]
        table[benchmark] = (
            tuple(p for p in PROTOCOLS if p in protocols_of_interp | of_harness),
            ", ".join(whose),
        )
    return table
