"""The same work units on Ray: one actor a device, which keeps the model loaded.

Units are handed out largest first, so that the last one is a small one. The driver alone writes
the store: a shard is there once, however often its unit was tried. A worker that dies costs its
unit, which another one takes; a unit that does not fit in memory is halved.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from interp.engine import out_of_memory, release_memory
from interp.errors import UserError, first_line
from interp.records import Record
from interp.sweeps.execution import halves, in_order, runner
from interp.sweeps.plan import Plan, size
from interp.sweeps.transport import Request, unpack_request
from interp.sweeps.units import WorkUnit

TRIES = 3
Finish = Callable[[WorkUnit, list[Record]], Any]


@dataclass(order=True)
class Piece:
    """A unit, or a part of one, that waits for a worker; the largest sorts first.

    Attributes:
        rank: minus its size.
        name: of the unit it belongs to.
        unit: its examples and ablations.
        tries: how often a worker died over it.
    """

    rank: float
    name: str
    unit: WorkUnit = field(compare=False)
    tries: int = field(default=0, compare=False)


class Board:
    """What waits, what has come back, what failed; knows nothing of Ray.

    Attributes:
        failed: name of a unit to the reason.
    """

    def __init__(self, plan: Plan, units: Sequence[WorkUnit], finish: Finish) -> None:
        self.plan, self.finish = plan, finish
        self.units = {unit.name: unit for unit in units}
        self.waiting = [Piece(-size(plan, unit), unit.name, unit) for unit in units]
        heapq.heapify(self.waiting)
        self.found: dict[str, dict[tuple[int, ...], list[Record]]] = {}
        self.failed: dict[str, str] = {}

    def take(self) -> Piece | None:
        """The largest piece whose unit has not failed."""
        while self.waiting:
            piece = heapq.heappop(self.waiting)
            if piece.name not in self.failed:
                return piece
        return None

    def done(self, piece: Piece, records: list[Record]) -> None:
        """Keep a piece's records; the last piece of a unit finishes it."""
        unit = self.units.get(piece.name)
        if unit is None or piece.name in self.failed:
            return
        parts = self.found.setdefault(piece.name, {})
        parts[piece.unit.doc_ids] = records
        if sum(map(len, parts)) == len(unit.doc_ids):
            joined = [record for part in parts.values() for record in part]
            del self.found[piece.name], self.units[piece.name]
            self.finish(unit, in_order(self.plan, unit, joined))

    def too_large(self, piece: Piece, reason: str) -> None:
        """Put a piece back in halves; one example that does not fit fails its unit."""
        parts = halves(piece.unit)
        if len(parts) == 1:
            self.fail(piece, f"out of memory: {reason}")
            return
        for unit in parts:
            rank = piece.rank * len(unit.doc_ids) / len(piece.unit.doc_ids)
            heapq.heappush(self.waiting, Piece(rank, piece.name, unit, piece.tries))

    def died(self, piece: Piece, reason: str) -> None:
        """Put a piece back after its worker died: whole at first, then smaller, then never."""
        piece.tries += 1
        if piece.tries >= TRIES:
            self.fail(piece, f"its worker died {piece.tries} times: {reason}")
        elif piece.tries == 1 or len(piece.unit.doc_ids) == 1:
            heapq.heappush(self.waiting, piece)
        else:
            self.too_large(piece, reason)

    def fail(self, piece: Piece, reason: str) -> None:
        """Give a unit up; its other pieces are not run any more."""
        self.failed[piece.name] = reason
        self.found.pop(piece.name, None)


class Worker:
    """Runs pieces on one device; becomes a Ray actor.

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
        self.wrong = None
        if self.plan.manifest.fingerprint() != expected:
            self.wrong = f"versions there: {self.plan.manifest.libraries}"
        self.run = runner(model, self.plan)

    def ready(self) -> str | None:
        """What differs from the driver's plan, in words; None where nothing does."""
        return self.wrong

    def compute(self, unit: WorkUnit) -> list[Record] | str:
        """A piece's records, or why they did not fit in memory."""
        try:
            return self.run(unit, lambda _: None)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = first_line(error)
        release_memory()
        return reason


def start(ray: Any, request: Request, plan: Plan, workers: int | None = None) -> "Crew":
    """Workers that have loaded their models and wait; `Crew.work` uses them."""
    crew = Crew(ray, request, plan, workers)
    for _ in range(crew.count):
        crew.hire()
    ray.wait(list(crew.busy), num_returns=len(crew.busy))
    return crew


class Crew:
    """The actors, and what each of them is at.

    Attributes:
        count: how many work at a time.
        busy: what Ray promised, and who will deliver it.
    """

    def __init__(self, ray: Any, request: Request, plan: Plan, workers: int | None) -> None:
        self.ray = ray
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.device = "cuda" if gpus else "cpu"
        most = gpus or int(resources.get("CPU", 1))
        if workers is not None and not 1 <= workers <= most:
            raise UserError(f"workers {workers}: allowed are 1-{most}, one a {_device_name(gpus)}")
        self.count = workers or most
        self.arguments = (ray.put(request), plan.manifest.fingerprint(), self.device)
        needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self.factory = ray.remote(Worker).options(max_restarts=0, **needs)
        self.busy: dict[Any, tuple[Any, Piece | None]] = {}
        self.barren = 0

    def work(self, board: Board, tell: Callable[[str], Any]) -> dict[str, str]:
        """Hand out pieces until none waits and none is being run."""
        try:
            for _ in range(min(self.count, len(board.waiting)) - len(self.busy)):
                self.hire()
            while self.busy:
                (future,), _ = self.ray.wait(list(self.busy), num_returns=1)
                worker, piece = self.busy.pop(future)
                worker = self._settle(board, future, worker, piece, tell)
                self._next(board, worker)
        finally:
            for worker, _ in self.busy.values():
                self.ray.kill(worker)
        return board.failed

    def hire(self) -> None:
        """Start one more worker."""
        worker = self.factory.remote(*self.arguments)
        self.busy[worker.ready.remote()] = (worker, None)

    def _next(self, board: Board, worker: Any | None) -> None:
        piece = board.take()
        if piece is None:
            if worker is not None:
                self.ray.kill(worker)
        elif worker is not None:
            self.busy[worker.compute.remote(piece.unit)] = (worker, piece)
        else:
            heapq.heappush(board.waiting, piece)
            self.hire()

    def _settle(
        self,
        board: Board,
        future: Any,
        worker: Any,
        piece: Piece | None,
        tell: Callable[[str], Any],
    ) -> Any | None:
        """Enter what came of a piece; the worker if it lives."""
        errors = self.ray.exceptions
        try:
            found = self.ray.get(future)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            self._buried(board, piece, _line(error), tell)
            return None
        except errors.RayTaskError as error:
            if piece is None:
                raise UserError(f"ray: a worker could not begin ({_line(error.cause)})") from error
            board.fail(piece, _line(error.cause))
            tell(f"unit {piece.name}: failed ({_line(error.cause)})")
            return worker
        self.barren = 0
        if piece is None:
            if found is not None:
                raise UserError(f"ray: a worker would compute another run ({found})")
        elif isinstance(found, str):
            tell(f"unit {piece.name}: {len(piece.unit.doc_ids)} examples do not fit ({found})")
            board.too_large(piece, found)
        else:
            board.done(piece, found)
        return worker

    def _buried(
        self, board: Board, piece: Piece | None, reason: str, tell: Callable[[str], Any]
    ) -> None:
        if piece is not None:
            tell(f"unit {piece.name}: its worker died ({reason})")
            board.died(piece, reason)
            return
        self.barren += 1
        if self.barren > TRIES * self.count:
            raise UserError(f"ray: workers die before they begin ({reason})")


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected until the block ends; a connection that is there already is used and left.

    Args:
        address: `auto` (a cluster that runs here, or else a new one on this machine), `local`, or
            the address of a cluster.

    Raises:
        UserError: Ray is not installed or not reachable.
    """
    try:
        import ray
    except ImportError:
        raise UserError("ray: it is not installed; pip install 'interp[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        if address == "local" or (address == "auto" and not _runs_here(ray)):
            _start_here(ray)
        elif address != "auto":
            ray.init(address, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises plain exceptions, too
        ray.shutdown()
        raise UserError(f"ray {address}: no cluster there ({_line(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _runs_here(ray: Any) -> bool:
    """Connect to a cluster that this machine is part of, if there is one."""
    try:
        ray.init("auto", log_to_driver=False, logging_level="error")
    except ConnectionError:
        return False
    return True


def _start_here(ray: Any) -> None:
    """Start a cluster of this machine alone; Ray waits half a minute, too short on a busy one."""
    for attempt in range(1, TRIES + 1):
        try:
            ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="error")
            return
        except Exception:
            ray.shutdown()
            if attempt == TRIES:
                raise


def _device_name(gpus: int) -> str:
    return "GPU of the cluster" if gpus else "core of the cluster"


def _line(error: BaseException) -> str:
    first = first_line(error)
    # what was raised while an actor began is at the end of its traceback
    return str(error).strip().splitlines()[-1].strip() if "creation task" in first else first
