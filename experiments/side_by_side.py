"""Experiments by several processes, each with one thread: small models do not fill two cores.

First the sweeps, each once, whoever needs it; then the experiments, which find them finished and
make what is theirs alone: readings, curves in an order that a sweep gives, tables, figures.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.pool import Pool
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from experiments.presets import Preset
from experiments.runs import FAMILIES, Job, finished, folder_of
from experiments.sections import write

LONGEST_FIRST = ("heads", "programs", "swap-curves", "pairs", "layers")
"""Families whose sweeps are begun before others': one long sweep at the end would run alone."""
ORDER = (
    "lens",
    "headline",
    "heads",
    "similarity",
    "distillation",
    "cause",
    "text_loss",
    "downstream",
)
"""Experiments that have most work of their own, the longest first."""


@dataclass(frozen=True)
class Page:
    """The page of one experiment.

    Attributes:
        path: where it is.
        seconds: how long it took, the shared sweeps left out.
    """

    path: Path
    seconds: float


def run_sweeps(preset: Preset, out: Path, jobs: Sequence[Job], workers: int) -> None:
    """Run the sweeps of some experiments, each once.

    Args:
        preset: models, tasks, sizes.
        out: the folder of the experiments; what is finished in it is kept.
        jobs: the jobs of all experiments.
        workers: how many processes work at once.

    Raises:
        UserError: as `interp.sweep`.
    """
    sweeps = {folder_of(preset, out, job): job for job in jobs if job.family in FAMILIES}

    def rank(folder: Path) -> tuple[int, Path]:
        family = sweeps[folder].family
        return (
            LONGEST_FIRST.index(family) if family in LONGEST_FIRST else len(LONGEST_FIRST),
            folder,
        )

    work = [(preset, out, sweeps[folder]) for folder in sorted(sweeps, key=rank)]
    with _processes(workers) as pool:
        for _ in tqdm(
            pool.imap_unordered(_sweep, work), total=len(work), desc="sweeps", unit="sweep"
        ):
            pass


def make_pages(
    preset: Preset, out: Path, chosen: Sequence[ModuleType], workers: int
) -> dict[str, Page]:
    """The page of each experiment, in the given order; their sweeps are there already.

    Args:
        preset: models, tasks, sizes.
        out: the folder of the experiments.
        chosen: the modules of the experiments.
        workers: how many processes work at once.

    Raises:
        UserError: as the experiment.
    """
    names = [module.__name__.rpartition(".")[2] for module in chosen]
    order = sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    work, pages = [(preset, out, name) for name in order], {}
    with _processes(workers) as pool:
        for name, page in pool.imap_unordered(_page, work):
            pages[name] = page
            print(f"== {name}: {page.seconds:.0f} seconds", flush=True)
    return {name: pages[name] for name in names}


@contextmanager
def _processes(count: int) -> Iterator[Pool]:
    """Processes that start anew, with a thread each; bars of several would overwrite each other."""
    settings = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with multiprocessing.get_context("spawn").Pool(count) as pool:
            yield pool
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _sweep(work: tuple[Preset, Path, Job]) -> None:
    finished(*work)


def _page(work: tuple[Preset, Path, str]) -> tuple[str, Page]:
    preset, out, name = work
    began = time.monotonic()
    path = write(import_module(f"experiments.{name}").run(preset, out), out)[0]
    return name, Page(path, time.monotonic() - began)
