"""TensorBoard's event files, while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltune.errors import TrainerError
from rltune.trainers.readers import Skipped, below_trial
from rltune.types import Measurement


@dataclass(frozen=True)
class TensorBoard:
    """Metrics in event files, under their tags: `train/reward`.

    Attributes:
        folder: Where they are, below the trial's folder, at any depth.
        ignore: Beginnings of tags to leave out, such as those that count steps in something else than the trainer.
        run_names: Whether to put the subfolder before the tag (`validation/epoch_loss`), for trainers that write one
            tag into several folders.

    Raises:
        TrainerError: The folder lies outside the trial's.
    """

    folder: str = "."
    ignore: tuple[str, ...] = ()
    run_names: bool = False
    poll_seconds: float = 1.0

    def __post_init__(self) -> None:
        below_trial(self.folder)

    def open(self, directory: Path, _log: Path, /) -> TensorBoardReader:
        """Begin to follow.

        Raises:
            TrainerError: TensorBoard is not installed.
        """
        return TensorBoardReader(directory / below_trial(self.folder), ignore=self.ignore, run_names=self.run_names)


class TensorBoardReader:
    """Follows all event files below a folder and merges what they say about one step.

    Tags are written one by one, so a step counts as complete when a later one has begun. What is written about a
    step after that comes as a further measurement of the same step.

    Raises:
        TrainerError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, ignore: tuple[str, ...] = (), run_names: bool = False) -> None:
        self.name = f"event files in {folder.name or folder}"
        self.skipped = Skipped()
        self._folder = folder
        self._ignore = ignore
        self._run_names = run_names
        self._files: dict[Path, Any] = {}
        self._open: dict[int, dict[str, float]] = {}
        self._newest = -1
        self._loader = _event_file_loader()

    def read(self, *, last: bool = False) -> list[Measurement]:
        for path in _event_files(self._folder):
            for step, tag, number in self._scalars(path):
                self._open.setdefault(step, {})[tag] = number
                self._newest = max(self._newest, step)
        complete = sorted(step for step in self._open if last or step < self._newest)
        return [Measurement(step, self._open.pop(step)) for step in complete]

    def _scalars(self, path: Path) -> Iterator[tuple[int, str, float]]:
        """(step, name, number) for each scalar that is new in one file."""
        run = path.parent.relative_to(self._folder).as_posix()
        prefix = f"{run}/" if self._run_names and run != "." else ""
        for event in self._events(path):
            for value in event.summary.value:
                ignored = any(value.tag.startswith(beginning) for beginning in self._ignore)
                number = None if ignored else _scalar(value)
                if number is not None:
                    yield max(0, event.step), prefix + value.tag, number

    def _events(self, path: Path) -> Iterator[Any]:
        """What is new in one file; its reader keeps its place, also before a record that is half written."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from tensorboard.compat import tf

        while True:
            try:
                if path not in self._files:
                    self._files[path] = self._loader.LegacyEventFileLoader(str(path))
                yield from self._files[path].Load()
                return
            except DecodeError as error:  # whole, but no event: the next call goes on behind it
                self.skipped.add(f"{path.name}: {error}")
            except (OSError, tf.errors.OpError):  # vanished since it was listed
                return


def _event_file_loader() -> Any:
    try:
        from tensorboard.backend.event_processing import event_file_loader
    except ImportError as error:
        advice = "pip install 'rltune[tensorboard]'"
        raise TrainerError(f"reading event files needs TensorBoard: {advice} ({error})") from error
    return event_file_loader


def _event_files(folder: Path) -> list[Path]:
    """In the order of their names, which begin with the time of writing."""
    found = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if "tfevents" in name]
    return sorted(found)


def _scalar(value: Any) -> float | None:
    """The number in a summary value of either version; None for histograms, images and texts."""
    import numpy as np

    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(str(np.float32(value.simple_value)))  # 5e-07, not the double next to that float
    if kind != "tensor" or value.tensor.tensor_shape.dim:
        return None
    from tensorboard.util import tensor_util

    array = tensor_util.make_ndarray(value.tensor)
    if array.dtype.kind not in "fiub":
        return None
    return float(str(array.item() if array.dtype != np.float32 else np.float32(array)))
