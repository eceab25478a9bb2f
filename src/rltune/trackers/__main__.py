"""A tracker's own process: follows the study's folder until it is told that nothing more comes.

Started by `rltune.trackers.processes`; the first line of its input is the order, and any line after it, or the end of
the tuner, means that the session is over. Then it has some seconds for the rest, however the tracker hangs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rltune.trackers.processes import Order

POLL_SECONDS = 1.0
"""How far a tracker is behind at most, where it is fast."""


def main() -> None:
    from rltune.trackers.processes import Order

    os.nice(10)  # trials come first
    told = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - unbuffered, so that no lock is held while we wait
    order = Order.from_line(told.readline())
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(told, over, order.closing_seconds), daemon=True).start()
    sys.path[:] = list(dict.fromkeys([order.base, *sys.path, *order.path]))
    print(time.strftime("--- %Y-%m-%d %H:%M:%S"), f"{order.name} follows {order.study}", flush=True)
    follow(order, over)


def follow(order: Order, over: threading.Event) -> None:
    """Until the session is over and the tracker has all of it."""
    from rltune.folder import StudyDir
    from rltune.objective import Objective
    from rltune.storage import open_study
    from rltune.trackers.mirror import Mirror
    from rltune.trackers.registry import TRACKERS
    from rltune.trackers.tracked import TrackedStudy, Tracker

    folder = StudyDir(Path(order.folder))
    objectives = tuple(Objective(metric, direction) for metric, direction in order.objectives)
    study = open_study(order.storage, folder, order.study, [o.direction for o in objectives], create=False)

    def make(known_as: str) -> Tracker:
        seen = TrackedStudy(known_as, order.study, folder.path, objectives, tuple(order.parameters))
        tracker: Tracker = TRACKERS.find(order.name)(seen, **order.options)
        return tracker

    mirror = Mirror(study, folder, Path(order.file), order.study, make)
    while True:
        is_last = over.is_set()
        mirror.update()
        if is_last:
            break
        over.wait(POLL_SECONDS)
    mirror.close()


def _wait_for_the_end(told: IO[bytes], over: threading.Event, seconds: float) -> None:
    told.readline()
    over.set()
    time.sleep(seconds)
    print("the session has ended, and this tracker has not", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
