"""What a trial uses, seen from outside."""

from __future__ import annotations

from pathlib import Path

import psutil


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it; empty once it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Processes that have inherited this variable, wherever in the tree they have gone."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value:
                found.append(process)
        except psutil.Error:  # gone, a zombie, or somebody else's
            continue
    return found


def resident_bytes(processes: list[psutil.Process]) -> int:
    """Resident memory, summed; pages that the processes share count for each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, on this machine or in this container."""
    for path, key in ((Path("/sys/fs/cgroup/memory.events"), "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        try:
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts[key])
        except (OSError, KeyError, ValueError):
            continue
    return 0
