"""A Ray cluster: joined or started here, what it has, and how many workers fit on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interp.errors import UserError, first_line
from interp.sweeps.transport import Request

TRIES = 3
"""Deaths of a worker over one unit, and attempts to start a cluster."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected until the block ends; a connection that is there already is used and left.

    Args:
        address: `auto` (a cluster that runs here, or else a new one on this machine), `local`, or
            the address of a cluster.

    Yields:
        The module `ray`.

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
        raise UserError(f"ray {address}: no cluster there ({said(error)})") from error
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


def device_of(ray: Any) -> str:
    """What workers compute on: `cuda` where the cluster has GPUs, else `cpu`."""
    return "cuda" if int(ray.cluster_resources().get("GPU", 0)) else "cpu"


def worker_count(ray: Any, request: Request, workers: int | None) -> int:
    """How many workers a request has.

    Args:
        ray: the module, connected.
        request: the request, with the model.
        workers: as many as were asked for; None for as many as the cluster has room for.

    Returns:
        At least 1.

    Raises:
        UserError: the cluster has not as many devices, or none of its machines enough GPUs.
    """
    gpus, group = device_of(ray) == "cuda", request.group
    most = _most(ray, group) if gpus else int(ray.cluster_resources().get("CPU", 1))
    if group > 1 and not most:
        raise UserError(
            f"ray: model {request.model.name} needs {group} GPUs at once, and no machine of the "
            "cluster has as many"
        )
    if workers is not None and not 1 <= workers <= most:
        worker_text = f"group of {group} GPUs" if gpus and group > 1 else _device_name(gpus)
        raise UserError(f"workers {workers}: allowed are 1-{most}, one per {worker_text}")
    return workers or most


def _most(ray: Any, group: int) -> int:
    """Workers that the cluster's GPUs are enough for; the group of one is on one machine."""
    if group == 1:
        return int(ray.cluster_resources()["GPU"])
    alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return sum(int(resources.get("GPU", 0)) // group for resources in alive)


def _device_name(gpus: bool) -> str:
    return "GPU of the cluster" if gpus else "core of the cluster"


def said(error: BaseException) -> str:
    """What an error of Ray says, in one line."""
    first = first_line(error)
    # what was raised while an actor began is at the end of its traceback
    return str(error).strip().splitlines()[-1].strip() if "creation task" in first else first
