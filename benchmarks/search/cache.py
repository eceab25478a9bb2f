"""Every run is kept in a file of its own, so that a benchmark can be interrupted, and extended by seeds and arms."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cache:
    """A folder of results, one file a run: `values/mixed/tpe/3-<digest>.json`.

    A run is named by all that its figures depend on, the versions of problem and arm among it; so what was measured
    with other code is never taken for this, and stays for a return to that code.
    """

    folder: Path

    def get(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result for `key`, computed where it is not there yet.

        Args:
            key: With `suite`, `case`, `arm`, `seed`, and all else that the figures depend on; text and numbers.
        """
        path = self.path(key)
        if path.exists():
            result: dict[str, Any] = json.loads(path.read_text())["result"]
            return result
        result = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({"key": key, "result": result}))
        unfinished.replace(path)
        return result

    def path(self, key: dict[str, Any]) -> Path:
        """Where the result for `key` lies, or would."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        case, arm = (str(key[name]).replace("/", "~") for name in ("case", "arm"))
        name = f"{key['seed']}-{digest}.json"
        return self.folder / str(key["suite"]) / case / arm / name
