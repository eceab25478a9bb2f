"""What a figure depends on besides the code: processor, load, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil


def describe() -> dict[str, object]:
    return {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """Of this repository; with a plus sign where the code has changed since. None outside of one."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def load() -> dict[str, float]:
    """How busy the machine is while none of ours runs: over the last minute, and in a moment of our own silence."""
    return {"load_1_min": round(os.getloadavg()[0], 2), "busy_percent": psutil.cpu_percent(interval=0.5)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
