"""The connection to a Ray cluster: found or started, kept quiet, asked what it has, and left as it was."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray

from rltune.errors import ExecutorError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a trial's own folder is ours to choose
    "RAY_AIR_NEW_OUTPUT": "0",  # the other engine prints although it is told not to
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # nothing of Tune's is restored: a study goes on from its journal
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "5",
}
"""For Tune in this process, and for its actors."""

RAYS_OWN = ("RAY_", "TUNE_")
"""How Ray's variables begin. A trainer that uses Ray itself would join our cluster's session by them."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Bundle = Mapping[str, float]
"""Resources by Ray's names, such as `CPU`, `GPU` or one of the cluster's own; all on one node."""


@contextmanager
def connected(
    address: str | None, *, cpus: float, runtime_env: Mapping[str, Any] | None, log: Path | None
) -> Iterator[None]:
    """Ray, usable within; afterwards this process is as before, and what it has started is gone.

    Args:
        address: `auto`, a cluster's address, or None to start a cluster of one node on this machine.
        cpus: How many CPUs that one must have, whatever this machine has.
        runtime_env: As Ray takes it: what the nodes need of the user's code.
        log: Where Ray's own messages go.

    Raises:
        ExecutorError: There is no cluster at that address, or none can be started.
    """
    with ExitStack() as stack:
        stack.enter_context(_variables(_ENVIRONMENT))
        quieten = stack.enter_context(_quiet(log))
        if not ray.is_initialized():
            if address is None:
                place = stack.enter_context(_folder())
                stack.enter_context(_variables(_own_token()))
                start: dict[str, Any] = {"address": "local", "_temp_dir": place, "include_dashboard": False}
                start["num_cpus"] = max(os.cpu_count() or 1, cpus)
            else:
                _refuse_unreachable(address)
                start = {"address": address}
            stack.callback(ray.shutdown)
            with _kept_signals():
                _init(address, start | {"runtime_env": _python() | dict(runtime_env or {}) or None})
            quieten()
            stack.enter_context(_cluster_messages_to(logging.getLogger("ray")))
        yield


_JOIN_SECONDS = 5.0
"""A cluster that does not take a connection within so long is not there; Ray itself would wait for minutes."""


def _refuse_unreachable(address: str) -> None:
    """Raises ExecutorError: nothing listens there, or what listens is not for us."""
    if address.startswith("ray://"):
        message = (
            f"`executor.address: {address}` is that of Ray Client, under which Tune runs on the cluster; "
            "start rltune on a node of the cluster, with `address: auto`"
        )
        raise ExecutorError(message)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return  # `auto`, `local`, or wrong in a way that Ray tells at once
    try:
        socket.create_connection((host, int(port)), timeout=_JOIN_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, str(error)) from error


def _python() -> dict[str, str]:
    """Ray puts the path of Python into a shell's command as it is; one with a space in it would start no worker."""
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"py_executable": quoted}


def _no_cluster(address: str, why: str) -> ExecutorError:
    return ExecutorError(
        f"there is no Ray cluster to join at `executor.address: {address}`: {why}; start one with "
        "`ray start --head`, or leave `address` out to start Ray on this machine"
    )


def _init(address: str | None, arguments: Mapping[str, Any]) -> None:
    try:
        ray.init(**arguments, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if address is None:
            raise ExecutorError(f"Ray cannot be started on this machine: {first}") from error
        raise _no_cluster(address, first) from error


def require(bundles: Sequence[Bundle]) -> None:
    """Refuses what the cluster could never give to one trial, however long it waited.

    Raises:
        ExecutorError: With what each node has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    free = list(nodes)
    for bundle in sorted(bundles, key=lambda b: -sum(b.values())):
        fitting = next((node for node in free if _fits(bundle, node)), None)
        if fitting is None:
            several = f" for each of {len(bundles)} nodes" if len(bundles) > 1 else ""
            raise ExecutorError(
                f"a trial needs {_described(bundle)}{several}, and no "
                f"{'such set of nodes' if several else 'node'} of the cluster has it: "
                f"{_nodes_in_words(nodes)}; lower `executor.resources`, or add nodes to the "
                "cluster first (`executor.autoscaling: true` waits for nodes that do not exist yet)"
            )
        if len(bundles) > 1:
            free.remove(fitting)


def room(bundles: Sequence[Bundle]) -> int:
    """How many trials the whole cluster could run at once, were it empty."""
    total = ray.cluster_resources()
    needs: dict[str, float] = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            needs[name] = needs.get(name, 0.0) + amount
    return max(
        1, min((int(total.get(name, 0.0) / amount + 1e-9) for name, amount in needs.items() if amount), default=1)
    )


def expect_at_most(trials: int) -> None:
    """How many of Tune's actors may wait for room at once: a suggestion that waits knows less than it could."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(trials)


def sees_everywhere(path: Path) -> bool:
    """Whether every node of the cluster has this file."""

    @ray.remote(num_cpus=0)
    def exists() -> bool:
        return path.exists()

    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    where = [NodeAffinitySchedulingStrategy(node_id=node, soft=True) for node in nodes]
    return all(ray.get([exists.options(scheduling_strategy=strategy).remote() for strategy in where]))


def _fits(bundle: Bundle, node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in bundle.items())


def _nodes_in_words(nodes: Sequence[Mapping[str, float]]) -> str:
    counts = Counter(_described(node) for node in nodes)
    return ", ".join(f"{n} x {what}" if n > 1 else what for what, n in sorted(counts.items()))


def _described(resources: Mapping[str, float]) -> str:
    """Without what Ray counts for itself: memory, the object store, the node's own name."""
    shown = {k: v for k, v in resources.items() if ":" not in k and k not in ("memory", "object_store_memory")}
    return " + ".join(f"{amount:g} {name}" for name, amount in sorted(shown.items())) or "nothing"


# --- this process is left as it was ----------------------------------------------------------------------------------


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while, and what Ray sets besides; those that the user has set stay."""
    before = {name: value for name, value in os.environ.items() if name.startswith(RAYS_OWN)}
    os.environ.update({**values, **before})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(RAYS_OWN)]:
            del os.environ[name]
        os.environ.update(before)


@cache
def _own_token() -> Mapping[str, str]:
    """A secret of our own for clusters of our own: Ray would write one into the user's home, which may be read-only.

    One for this process, since Ray reads it once.
    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & os.environ.keys():
        return {}
    return {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray puts handlers of its own in place of ours, which know how to end a study."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    yield
    for number, handler in handlers.items():
        if handler is not signal.getsignal(number) and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


@contextmanager
def _folder() -> Iterator[str]:
    """Short, since the paths of sockets may not be long; Ray would leave its own behind."""
    path = tempfile.mkdtemp(prefix="rltune-ray-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _quiet(log: Path | None) -> Iterator[Callable[[], None]]:
    """Sends the messages of Ray's loggers to a file; gives what does so again after Ray has changed its loggers."""
    handler = logging.FileHandler(log, delay=True) if log is not None else logging.NullHandler()
    handler.addFilter(lambda record: "experiment_analysis" not in record.name)  # it misses files that we forgo
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("ray", "ray._private")]  # the second speaks while Ray starts
    before = [(list(logger.handlers), logger.propagate) for logger in loggers]

    def quieten() -> None:
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False

    quieten()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield quieten
    finally:
        handler.close()
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


@contextmanager
def _cluster_messages_to(logger: logging.Logger) -> Iterator[None]:
    """What Ray prints of its cluster, such as that a node is gone, although it is told not to print of its workers.

    Ray has no public way to redirect it. Where its private one has changed, it prints.
    """
    from ray._private import worker

    prints = getattr(worker, "print_to_stdstream", None)
    if prints is None:
        yield
        return
    worker.print_to_stdstream = lambda data, **_: logger.warning("\n".join(data["lines"]))
    try:
        yield
    finally:
        worker.print_to_stdstream = prints
