"""Which GPUs there are, who has which, and how much of their memory a trial uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rltune.errors import ExecutorError


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may hand out: what `CUDA_VISIBLE_DEVICES` names, else all that NVML knows."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() and gpu.strip() != "-1"]
    with _nvml() as nvml:
        return [] if nvml is None else [str(i) for i in range(nvml.nvmlDeviceGetCount())]


class GpuPool:
    """Hands out GPUs: whole ones, several a trial, or one shared by several trials.

    Args:
        gpus: Their ids, as `CUDA_VISIBLE_DEVICES` takes them.
        per_trial: A whole number, or a fraction such as 0.5 for two trials a GPU.

    Raises:
        ExecutorError: No trial could ever have as many.
    """

    def __init__(self, gpus: Sequence[str], per_trial: float) -> None:
        self._shares = 1 if per_trial >= 1 else int(1 / per_trial + 1e-9)
        self._per_trial = max(1, int(per_trial))
        if self._per_trial > len(gpus):
            found = f"GPUs {', '.join(gpus)}" if gpus else "no GPU"
            raise ExecutorError(
                f"a trial needs {per_trial:g} GPU{'s' if per_trial > 1 else ''}, and this machine offers {found}; "
                "lower `executor.gpus_per_trial`, or see `nvidia-smi` and CUDA_VISIBLE_DEVICES"
            )
        self._load = dict.fromkeys(gpus, 0)

    @property
    def n_slots(self) -> int:
        """How many trials fit at once."""
        return len(self._load) * self._shares // self._per_trial

    def take(self) -> tuple[str, ...] | None:
        """The least loaded GPUs for one trial; None where all are taken."""
        free = sorted((gpu for gpu, load in self._load.items() if load < self._shares), key=self._load.__getitem__)
        if len(free) < self._per_trial:
            return None
        taken = tuple(free[: self._per_trial])
        for gpu in taken:
            self._load[gpu] += 1
        return taken

    def give_back(self, gpus: Iterable[str]) -> None:
        for gpu in gpus:
            self._load[gpu] -= 1


def gpu_memory_bytes(pids: Iterable[int]) -> int | None:
    """GPU memory that these processes hold on all devices together; None where NVML cannot tell."""
    wanted = set(pids)
    with _nvml() as nvml:
        if nvml is None:
            return None
        used = 0
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid in wanted:
                    used += process.usedGpuMemory or 0
        return used


@contextmanager
def _nvml() -> Iterator[Any]:
    """NVML's module, initialised; None on a machine without its driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
