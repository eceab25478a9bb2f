"""Metrics to the enabled backends; TensorBoard's event files are real ones."""

from __future__ import annotations

import json
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_rl.foreign import foreign


class LoggerInterface(ABC):
    """A backend."""

    @abstractmethod
    def log_metrics(
        self,
        metrics: dict[str, Any],
        step: int,
        prefix: str | None = "",
        step_metric: str | None = None,
        step_finished: bool = False,
    ) -> None: ...

    @abstractmethod
    def log_hyperparams(self, params: Mapping[str, Any]) -> None: ...


class TensorboardLogger(LoggerInterface):
    """Event files with scalars as float32, and a subfolder with the hyperparameters, which holds no scalar."""

    def __init__(self, cfg: Mapping[str, Any], log_dir: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.log_dir = log_dir
        self.writer = EventFileWriter(str(log_dir))
        print(f"Initialized TensorboardLogger at {log_dir}")

    def log_metrics(
        self,
        metrics: dict[str, Any],
        step: int,
        prefix: str | None = "",
        step_metric: str | None = None,
        step_finished: bool = False,
    ) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for name, value in metrics.items():
            tag = f"{prefix}/{name}" if prefix else name
            if not isinstance(value, int | float | np.number):
                kind = type(value).__name__
                print(f"Warning: Skipping metric '{tag}' for TensorBoard logging (unsupported type: {kind})")
                continue
            number = float(np.float32(value))
            self._add(Summary(value=[Summary.Value(tag=tag, simple_value=number)]), step)
        self.writer.flush()

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.plugins.hparams import plugin_data_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        start = plugin_data_pb2.SessionStartInfo()
        for name, value in _flat(params):
            start.hparams[name].string_value = str(value)
        content = plugin_data_pb2.HParamsPluginData(version=0, session_start_info=start).SerializeToString()
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="hparams", content=content))
        summary = Summary(value=[Summary.Value(tag="_hparams_/session_start_info", metadata=metadata)])
        writer = EventFileWriter(str(self.log_dir / str(time.time())))
        writer.add_event(Event(wall_time=time.time(), summary=summary))
        writer.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


class Logger(LoggerInterface):
    """All backends that the recipe enables, in `loggers`."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        self.loggers: list[LoggerInterface] = []
        self.base_log_dir = Path(cfg["log_dir"])
        self.base_log_dir.mkdir(parents=True, exist_ok=True)
        if cfg["wandb_enabled"]:
            _wandb(self.base_log_dir)
        if cfg["tensorboard_enabled"]:
            folder = self.base_log_dir / "tensorboard"
            folder.mkdir(exist_ok=True)
            self.loggers.append(TensorboardLogger(cfg["tensorboard"], folder))
        if not self.loggers:
            print("No loggers initialized")

    def log_metrics(
        self,
        metrics: dict[str, Any],
        step: int,
        prefix: str | None = "",
        step_metric: str | None = None,
        step_finished: bool = False,
    ) -> None:
        for logger in self.loggers:
            logger.log_metrics(metrics, step, prefix, step_metric, step_finished)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        for logger in self.loggers:
            logger.log_hyperparams(params)

    def log_batched_dict_as_jsonl(self, to_log: Mapping[str, Sequence[Any]], filename: str) -> None:
        path = self.base_log_dir / filename
        rows = zip(*to_log.values(), strict=True)
        lines = [json.dumps(dict(zip(to_log, row, strict=True)) | {"idx": n}) for n, row in enumerate(rows)]
        path.write_text("\n".join(lines) + "\n")
        print(f"Logged data to {path}")


def get_next_experiment_dir(base_log_dir: str) -> str:
    """`exp_NNN`, one above the highest there is; two starts at the same moment may share one."""
    taken = [re.fullmatch(r"exp_(\d+)", path.name) for path in Path(base_log_dir).glob("exp_*")]
    number = max((int(match[1]) for match in taken if match), default=0) + 1
    folder = Path(base_log_dir, f"exp_{number:03d}")
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _wandb(log_dir: Path) -> None:
    """Weights & Biases wants a key before anything runs, unless it is offline."""
    (log_dir / "wandb").mkdir(exist_ok=True)
    if os.environ.get("WANDB_MODE") not in ("offline", "disabled", "dryrun") and "WANDB_API_KEY" not in os.environ:
        raise foreign("wandb.errors.errors.UsageError")("api_key not configured (no-tty). call wandb.login(key=...)")


def _flat(params: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(params, Mapping):
        return [leaf for key, value in params.items() for leaf in _flat(value, f"{path}.{key}" if path else str(key))]
    return [(path, params)]
