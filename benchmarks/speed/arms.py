"""An arm is one contestant of one comparison: a function of `ours` or `peers`, run in a Python of its own.

So every contestant pays for its own imports, none inherits another's memory, and what it leaves behind can be found:
all its processes carry a mark in their environment, and all its files lie in one folder.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_MARK = "RLTUNE_BENCHMARK"
_LIMIT_SECONDS = 900

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Arm:
    """A contestant.

    Attributes:
        who: Its name in the table.
        function: `module.function` in this package; called with a folder and the options, returns numbers by name.
        needs: The library without which it cannot run; the table says so where it is missing.
    """

    who: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: str = "rltune"


class ArmError(Exception):
    """It ended without numbers; the message ends with what it printed."""


def run(arm: Arm) -> Numbers:
    """Runs an arm once. Afterwards none of its processes is alive and its folder is gone.

    Raises:
        ArmError: It did not come to its end.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlb-"))  # short: Ray's sockets lie below it
    mark = uuid.uuid4().hex
    try:
        with (folder / "output.txt").open("w") as output:
            status = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.speed.arms",
                    arm.function,
                    str(folder),
                    json.dumps(dict(arm.options)),
                ],
                cwd=ROOT,
                env=os.environ | {_MARK: mark, "PYTHONPATH": _path()},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_LIMIT_SECONDS,
                check=False,
            ).returncode
        if status != 0:
            tail = (folder / "output.txt").read_text(errors="replace")[-2000:]
            raise ArmError(f"{arm.function} ended with status {status}:\n{tail}")
        numbers: Numbers = json.loads((folder / "numbers.json").read_text())
        return numbers
    except subprocess.TimeoutExpired as error:
        raise ArmError(f"{arm.function} ran longer than {_LIMIT_SECONDS} s") from error
    finally:
        _end_processes(mark)
        shutil.rmtree(folder, ignore_errors=True)


def version(library: str) -> str | None:
    """The version of a library; None where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _path() -> str:
    """This repository comes first, so that workers started by others find this package too."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def _end_processes(mark: str) -> None:
    deadline = time.monotonic() + 10
    while (left := _marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def _marked(mark: str) -> list[int]:
    """The living processes that an arm has left; Linux only."""
    wanted = f"{_MARK}={mark}".encode()
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                left.append(int(process.name))
        except OSError:
            continue
    return left


def main() -> None:
    """The arm's own process."""
    name, folder, options = sys.argv[1:]
    module, _, function = name.partition(".")
    arm = getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)
    numbers = arm(Path(folder), **json.loads(options))
    (Path(folder) / "numbers.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()
