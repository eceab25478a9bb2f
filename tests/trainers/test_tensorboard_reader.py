from __future__ import annotations

import builtins
import io
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rltune.errors import TrainerError
from rltune.trainers.command import CommandTrainer
from rltune.trainers.readers.tensorboard import TensorBoard, TensorBoardReader
from rltune.types import Measurement, Suggestion
from rltune.worker import attempt

pytest.importorskip("tensorboard")


class Writer:
    """TensorBoard's own writer of event files."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder), flush_secs=1)

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Like PyTorch's writer: one event per tag."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, number in scalars.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def add_value(self, step: int, value: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(step=step, summary=Summary(value=[value])))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path / "exp_001" / "tensorboard")
    yield writer
    writer.close()


@pytest.fixture
def reader(tmp_path: Path) -> TensorBoardReader:
    return TensorBoardReader(tmp_path)


def test_a_step_is_complete_when_a_later_one_begins(writer: Writer, reader: TensorBoardReader) -> None:
    assert reader.read() == []
    writer.add(1, {"train/loss": 2.5})
    assert reader.read() == []
    writer.add(1, {"train/reward": 0.5})
    writer.add(2, {"train/loss": 1.5})
    assert reader.read() == [Measurement(1, {"train/loss": 2.5, "train/reward": 0.5})]
    assert reader.read() == []
    assert reader.read(last=True) == [Measurement(2, {"train/loss": 1.5})]
    assert reader.read(last=True) == []


def test_what_comes_late_is_not_lost(writer: Writer, reader: TensorBoardReader) -> None:
    writer.add(1, {"train/loss": 1})
    writer.add(2, {"train/loss": 2})
    reader.read()
    writer.add(1, {"validation/accuracy": 0.25})
    assert reader.read() == [Measurement(1, {"validation/accuracy": 0.25})]


def test_files_and_folders_are_merged_by_step(tmp_path: Path, reader: TensorBoardReader) -> None:
    for i, folder in enumerate(["a", "a/b", "c"]):
        one = Writer(tmp_path / folder)
        one.add(1, {f"m{i}": i})
        one.add(2, {f"m{i}": i + 10})
        one.close()
    assert reader.read() == [Measurement(1, {"m0": 0, "m1": 1, "m2": 2})]
    assert reader.read(last=True) == [Measurement(2, {"m0": 10, "m1": 11, "m2": 12})]


def test_one_tag_in_several_folders(tmp_path: Path) -> None:
    for folder in ("train", "validation"):
        one = Writer(tmp_path / folder)
        one.add(0, {"epoch_loss": len(folder)})
        one.close()
    reader = TensorBoard(run_names=True).open(tmp_path, tmp_path)
    assert reader.read(last=True) == [Measurement(0, {"train/epoch_loss": 5, "validation/epoch_loss": 10})]


def test_tags_that_count_something_else_can_be_ignored(tmp_path: Path, writer: Writer) -> None:
    reader = TensorBoard(ignore=("ray/",)).open(tmp_path, tmp_path)
    writer.add(1, {"train/loss": 1, "array/x": 1})
    writer.add(600, {"ray/node.0.gpu.0.util": 50})
    assert reader.read() == []
    assert reader.read(last=True) == [Measurement(1, {"train/loss": 1, "array/x": 1})]


def test_numbers_are_the_shortest_that_mean_the_same(writer: Writer, reader: TensorBoardReader) -> None:
    writer.add(1, {"lr": 5e-7, "nan": math.nan, "inf": -math.inf})
    (measurement,) = reader.read(last=True)
    assert measurement.metrics["lr"] == 5e-7, "not 4.99999987e-07"
    assert math.isnan(measurement.metrics["nan"])
    assert measurement.metrics["inf"] == -math.inf


def test_tensors_are_scalars_where_they_hold_one_number(writer: Writer, reader: TensorBoardReader) -> None:
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    writer.add_value(1, Summary.Value(tag="f", tensor=make_tensor_proto(np.float32(0.1))))
    writer.add_value(1, Summary.Value(tag="i", tensor=make_tensor_proto(np.int64(3))))
    writer.add_value(1, Summary.Value(tag="text", tensor=make_tensor_proto("hello")))
    writer.add_value(1, Summary.Value(tag="many", tensor=make_tensor_proto(np.zeros(3))))
    writer.add_value(1, Summary.Value(tag="histogram", histo=HistogramProto(min=0, max=1)))
    assert reader.read(last=True) == [Measurement(1, {"f": 0.1, "i": 3.0})]


def test_half_a_record_waits_for_its_rest(tmp_path: Path, writer: Writer) -> None:
    writer.add(1, {"loss": 1})
    writer.add(2, {"loss": 2})
    (source,) = (tmp_path / "exp_001" / "tensorboard").iterdir()
    data = source.read_bytes()
    copy = tmp_path / "live" / source.name
    copy.parent.mkdir()
    reader = TensorBoardReader(copy.parent)
    seen: list[Measurement] = []
    with copy.open("ab", buffering=0) as file:
        for begin in range(0, len(data), 7):
            file.write(data[begin : begin + 7])
            seen += reader.read()
    assert seen + reader.read(last=True) == [Measurement(1, {"loss": 1}), Measurement(2, {"loss": 2})]


def test_files_that_are_none(tmp_path: Path, writer: Writer, reader: TensorBoardReader) -> None:
    (tmp_path / "events.out.tfevents.0.empty").touch()
    (tmp_path / "events.out.tfevents.1.garbage").write_bytes(b"\x01garbage" * 100)
    writer.add(1, {"loss": 1})
    assert reader.read(last=True) == [Measurement(1, {"loss": 1})]
    (tmp_path / "events.out.tfevents.1.garbage").unlink()
    writer.add(2, {"loss": 2})
    assert reader.read(last=True) == [Measurement(2, {"loss": 2})]


def test_a_record_that_is_no_event_is_counted(tmp_path: Path, reader: TensorBoardReader) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    records = RecordWriter(buffer)
    records.write(b"\xff\xff\xff no event")
    records.write(Event(step=1, summary=Summary(value=[Summary.Value(tag="x", simple_value=1)])).SerializeToString())
    (tmp_path / "events.out.tfevents.2").write_bytes(buffer.getvalue())
    assert reader.read(last=True) == [Measurement(1, {"x": 1})]
    assert reader.skipped.count == 1
    assert reader.skipped.first.startswith("events.out.tfevents.2: ")


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(TrainerError, match=r"pip install 'rltune\[tensorboard\]'"):
        TensorBoard().open(tmp_path, tmp_path)


@pytest.mark.slow
def test_pytorchs_writer_followed_live_through_a_command(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys, time, pathlib\n"
        "from torch.utils.tensorboard import SummaryWriter\n"
        "writer, go = SummaryWriter(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
        "for step in range(1, 4):\n"
        "    writer.add_scalar('train/reward', step / 10, step)\n"
        "    writer.add_scalar('val/reward', step / 100, step)\n"
        "    writer.add_text('note', 'hello', step)\n"
        "    writer.flush()\n"
        "    if step == 2:\n"
        "        while not go.exists(): time.sleep(0.02)\n"
        "writer.add_hparams({'lr': 1e-5}, {'hparam/reward': 0.3})\n"
        "writer.close()\n"
    )
    seen: list[Measurement] = []

    def report(measurement: Measurement) -> None:
        seen.append(measurement)
        (tmp_path / "go").touch()  # so it ends only if step 1 arrives while it runs

    trainer = CommandTrainer(
        [sys.executable, str(script), "{trial_dir}/tb", str(tmp_path / "go")],
        metrics=[TensorBoard("tb", poll_seconds=0.05)],
    )
    (tmp_path / "trial").mkdir()
    outcome = attempt(trainer, Suggestion(0, {}, 0, tmp_path / "trial"), report)
    assert outcome.cause is None, outcome.message
    rewards = {m.step: dict(m.metrics) for m in seen if "train/reward" in m.metrics}
    assert rewards == {s: {"train/reward": s / 10, "val/reward": s / 100} for s in (1, 2, 3)}


def test_importing_it_is_cheap_and_quiet() -> None:
    code = (
        "import sys; from rltune.trainers.readers.tensorboard import TensorBoard; "
        "print('tensorboard' in sys.modules, 'numpy' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "False False\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TensorBoardReader(Path())
