"""The same work units on Ray: an actor per device or group of GPUs, which keeps the model loaded.

Units are handed out largest first, so that the last one is a small one. The driver alone writes
the store: a shard is there once, however often its unit was tried. A worker that dies costs its
unit, which another one takes; a unit that does not fit in memory is halved.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from interp.engine import out_of_memory, release_memory
from interp.errors import UserError, first_line
from interp.records import Record
from interp.sweeps.execution import halves, in_order, runner
from interp.sweeps.plan import Plan, size
from interp.sweeps.ray_cluster import TRIES, device_of, said, worker_count
from interp.sweeps.telling import NOBODY
from interp.sweeps.transport import Request, unpack_request
from interp.sweeps.units import WorkUnit

Finish = Callable[[WorkUnit, list[Record]], Any]


@dataclass(order=True)
class Chunk:
    """A unit, or a part of one, that waits for a worker; the largest sorts first.

    Attributes:
        rank: minus its size.
        name: the name of the unit it belongs to.
        unit: its examples and ablations.
        tries: how often a worker died over it.
    """

    rank: float
    name: str
    unit: WorkUnit = field(compare=False)
    tries: int = field(default=0, compare=False)


class TaskQueue:
    """Which chunks wait, have come back or failed; it does not use Ray.

    Attributes:
        failed: name of a unit to the reason.
    """

    def __init__(self, plan: Plan, units: Sequence[WorkUnit], finish: Finish) -> None:
        self.plan, self.finish = plan, finish
        self.units = {unit.name: unit for unit in units}
        self.waiting = [Chunk(-size(plan, unit), unit.name, unit) for unit in units]
        heapq.heapify(self.waiting)
        self.found: dict[str, dict[tuple[int, ...], list[Record]]] = {}
        self.failed: dict[str, str] = {}

    def take(self) -> Chunk | None:
        """The largest chunk whose unit has not failed."""
        while self.waiting:
            chunk = heapq.heappop(self.waiting)
            if chunk.name not in self.failed:
                return chunk
        return None

    def done(self, chunk: Chunk, records: list[Record]) -> None:
        """Keep a chunk's records; the last chunk of a unit finishes it."""
        unit = self.units.get(chunk.name)
        if unit is None or chunk.name in self.failed:
            return
        parts = self.found.setdefault(chunk.name, {})
        parts[chunk.unit.doc_ids] = records
        if sum(map(len, parts)) == len(unit.doc_ids):
            joined = [record for part in parts.values() for record in part]
            del self.found[chunk.name], self.units[chunk.name]
            self.finish(unit, in_order(self.plan, unit, joined))

    def too_large(self, chunk: Chunk, reason: str) -> None:
        """Put a chunk back in halves; one example that does not fit fails its unit."""
        parts = halves(chunk.unit)
        if len(parts) == 1:
            self.fail(chunk, f"out of memory: {reason}")
            return
        for unit in parts:
            rank = chunk.rank * len(unit.doc_ids) / len(chunk.unit.doc_ids)
            heapq.heappush(self.waiting, Chunk(rank, chunk.name, unit, chunk.tries))

    def died(self, chunk: Chunk, reason: str) -> None:
        """Put a chunk back after its worker died: whole at first, then smaller, then never."""
        chunk.tries += 1
        if chunk.tries >= TRIES:
            self.fail(chunk, f"its worker died {chunk.tries} times: {reason}")
        elif chunk.tries == 1 or len(chunk.unit.doc_ids) == 1:
            heapq.heappush(self.waiting, chunk)
        else:
            self.too_large(chunk, reason)

    def fail(self, chunk: Chunk, reason: str) -> None:
        """Give up a unit; its other chunks are not run."""
        self.failed[chunk.name] = reason
        self.found.pop(chunk.name, None)


@dataclass(frozen=True)
class Finished:
    """A chunk was computed.

    Attributes:
        records: the records of all its examples and ablations.
    """

    records: list[Record]


@dataclass(frozen=True)
class DoesNotFit:
    """Memory ran out over a chunk.

    Attributes:
        reason: what the device said.
    """

    reason: str


@dataclass(frozen=True)
class Died:
    """The worker is gone.

    Attributes:
        reason: what Ray said.
    """

    reason: str


@dataclass(frozen=True)
class Failed:
    """The code of the chunk, or of the worker's start, raised an error.

    Attributes:
        reason: its first line.
    """

    reason: str


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model.

    Attributes:
        differs: what its plan has other than the driver's; empty where it is the same.
    """

    differs: str = ""


Outcome = Finished | DoesNotFit | Died | Failed | Ready


class Worker:
    """Runs chunks on one device; becomes a Ray actor.

    Args:
        request: what the plan is made from.
        expected: fingerprint of the driver's plan.
        device: `cpu` (one core) or `cuda`.
    """

    def __init__(self, request: Request, expected: str, device: str) -> None:
        import torch

        if device == "cpu":
            torch.set_num_threads(1)
        model, self.plan = unpack_request(request, device)
        same = self.plan.manifest.fingerprint() == expected
        self.differs = "" if same else f"versions there: {self.plan.manifest.libraries}"
        self.run = runner(model, self.plan)

    def ready(self) -> Ready:
        """Whether its plan is the driver's."""
        return Ready(self.differs)

    def compute(self, unit: WorkUnit) -> "Finished | DoesNotFit":
        """A chunk's records, or why they did not fit in memory."""
        try:
            return Finished(self.run(unit, NOBODY))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = first_line(error)
        release_memory()
        return DoesNotFit(reason)


def start(ray: Any, request: Request, plan: Plan, workers: int | None = None) -> "WorkerPool":
    """Workers that have loaded their models and wait; `WorkerPool.work` uses them."""
    pool = WorkerPool(ray, request, workers, plan)
    for _ in range(pool.count):
        pool.hire()
    ray.wait(list(pool.busy), num_returns=len(pool.busy))
    return pool


class WorkerPool:
    """The actors, and what each of them is computing.

    Attributes:
        count: how many work at a time.
        busy: what Ray promised, and who will deliver it.
    """

    def __init__(self, ray: Any, request: Request, workers: int | None, plan: Plan) -> None:
        self.ray = ray
        self.device, self.count = device_of(ray), worker_count(ray, request, workers)
        # the plan of a run that is extended has the order of the run
        sent = replace(request, manifest=plan.manifest)
        self.arguments = (ray.put(sent), plan.manifest.fingerprint(), self.device)
        needs = {"num_gpus": request.group} if self.device == "cuda" else {"num_cpus": 1}
        self.factory = ray.remote(Worker).options(max_restarts=0, **needs)
        self.busy: dict[Any, tuple[Any, Chunk | None]] = {}
        self.failed_starts = 0

    def work(self, queue: TaskQueue, tell: Callable[[str], Any]) -> dict[str, str]:
        """Hand out chunks until none waits and none is being run."""
        try:
            for _ in range(min(self.count, len(queue.waiting)) - len(self.busy)):
                self.hire()
            while self.busy:
                (future,), _ = self.ray.wait(list(self.busy), num_returns=1)
                worker, chunk = self.busy.pop(future)
                outcome = self._outcome(future)
                if chunk is None:
                    self._begun(outcome)
                else:
                    _enter(queue, chunk, outcome, tell)
                self._next(queue, None if isinstance(outcome, Died) else worker)
        finally:
            for worker, _ in self.busy.values():
                self.ray.kill(worker)
        return queue.failed

    def hire(self) -> None:
        """Start one more worker."""
        worker = self.factory.remote(*self.arguments)
        self.busy[worker.ready.remote()] = (worker, None)

    def _next(self, queue: TaskQueue, worker: Any | None) -> None:
        chunk = queue.take()
        if chunk is None:
            if worker is not None:
                self.ray.kill(worker)
        elif worker is not None:
            self.busy[worker.compute.remote(chunk.unit)] = (worker, chunk)
        else:
            heapq.heappush(queue.waiting, chunk)
            self.hire()

    def _outcome(self, future: Any) -> Outcome:
        """The result of a call of a worker."""
        errors = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(future)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            return Died(said(error))
        except errors.RayTaskError as error:
            return Failed(said(error.cause))
        return outcome

    def _begun(self, outcome: Outcome) -> None:
        """Count the starts that failed; a worker with another plan ends the run."""
        if isinstance(outcome, Failed):
            raise UserError(f"ray: a worker could not begin ({outcome.reason})")
        if isinstance(outcome, Ready) and outcome.differs:
            raise UserError(f"ray: a worker would compute another run ({outcome.differs})")
        if not isinstance(outcome, Died):
            self.failed_starts = 0
            return
        self.failed_starts += 1
        if self.failed_starts > TRIES * self.count:
            raise UserError(f"ray: workers die before they begin ({outcome.reason})")


def _enter(queue: TaskQueue, chunk: Chunk, outcome: Outcome, tell: Callable[[str], Any]) -> None:
    """Take in the result of a chunk."""
    if isinstance(outcome, Finished):
        queue.done(chunk, outcome.records)
    elif isinstance(outcome, DoesNotFit):
        count = len(chunk.unit.doc_ids)
        tell(f"unit {chunk.name}: {count} examples do not fit ({outcome.reason})")
        queue.too_large(chunk, outcome.reason)
    elif isinstance(outcome, Died):
        tell(f"unit {chunk.name}: its worker died ({outcome.reason})")
        queue.died(chunk, outcome.reason)
    elif isinstance(outcome, Failed):
        tell(f"unit {chunk.name}: failed ({outcome.reason})")
        queue.fail(chunk, outcome.reason)
