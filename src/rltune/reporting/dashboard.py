"""optuna-dashboard on a study's storage, on this machine alone, to look at and not to change."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy

from rltune.errors import RltuneError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOST = "127.0.0.1"
_READING = ("GET", "HEAD")
_NAMES = (_HOST, "localhost")
_METRIC_NAMES = "study:metric_names"  # where Optuna keeps them
_WRITES = ("create_", "delete_", "set_", "record_heartbeat", "fail_stale")
"""How the methods of Optuna's storages begin that change something."""


def dashboard_server(study: optuna.Study, metrics: Sequence[str], port: int) -> WSGIServer:
    """The server, which listens already; it answers once it is told to.

    Args:
        study: To show, with all others in its storage.
        metrics: What its objectives are called.
        port: Where to listen; 0 for a free one.

    Raises:
        RltuneError: optuna-dashboard is missing.
        OSError: The port cannot be listened on.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise RltuneError(f"the dashboard is optuna-dashboard: pip install 'rltune[dashboard]' ({error})") from error
    app = _for_this_machine(wsgi(_read_only(study._storage, study._study_id, metrics)))
    return make_server(_HOST, port, app, _Server, _Quiet)


def address(server: WSGIServer, study: optuna.Study) -> str:
    """Of the study's page."""
    return f"http://{_HOST}:{server.server_port}/dashboard/studies/{study._study_id}"


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: the page asks for several things at once. None of them keeps the process alive."""

    daemon_threads = True
    block_on_close = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names them
        """Nothing: the page asks every few seconds."""

    def address_string(self) -> str:
        return str(self.client_address[0])  # no name server is asked


def _for_this_machine(app: WSGIApplication) -> WSGIApplication:
    """The application for reading, which optuna-dashboard does by GET alone, and under a name of this machine.

    A page of somebody else's that calls this machine by a name of its own would read the study in a user's browser.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_HOST", "").rpartition(":")[0] not in _NAMES:
            return _refused("403 Forbidden", f"rltune dashboard answers {' and '.join(_NAMES)} alone", start_response)
        if environ["REQUEST_METHOD"] not in _READING:
            return _refused("405 Method Not Allowed", "rltune dashboard is read-only", start_response)
        return app(environ, start_response)

    return guarded


def _refused(status: str, reason: str, start_response: StartResponse) -> Iterable[bytes]:
    body = json.dumps({"reason": reason}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    allowed = [("Allow", ", ".join(_READING))] if status.startswith("405") else []
    start_response(status, headers + allowed)
    return [body]


def _read_only(storage: BaseStorage, study_id: int, metrics: Sequence[str]) -> BaseStorage:
    """The storage without its writing methods, in case something is written where the page only looks.

    The study's objectives have their metrics' names, which a study does not keep in Optuna's way.
    """

    def get_all_studies() -> list[FrozenStudy]:
        return [_named(study, metrics) if study._study_id == study_id else study for study in storage.get_all_studies()]

    names = [name for name in dir(BaseStorage) if not name.startswith("_")]
    methods = {name: _refusal(name) if name.startswith(_WRITES) else getattr(storage, name) for name in names}
    methods["get_all_studies"] = get_all_studies
    view: BaseStorage = type("ReadOnly", (BaseStorage,), {n: staticmethod(m) for n, m in methods.items()})()
    return view


def _named(study: FrozenStudy, metrics: Sequence[str]) -> FrozenStudy:
    shown = copy.copy(study)
    shown.system_attrs = {_METRIC_NAMES: list(metrics), **study.system_attrs}
    return shown


def _refusal(name: str) -> Callable[..., None]:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise PermissionError(f"{name}: rltune dashboard is read-only")

    return refuse
