from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rltune.errors import TrainerError
from rltune.trainers.readers import below_trial, printable
from rltune.trainers.readers.jsonl import JsonLines, JsonLinesReader
from rltune.trainers.readers.lines import GrowingFile
from rltune.trainers.readers.stdout import Stdout, StdoutReader
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.types import Measurement


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


class TestGrowingFile:
    def test_half_a_line_waits_for_its_rest(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        growing = GrowingFile(file)
        assert list(growing.lines()) == [], "not there yet"
        append(file, "one\nt")
        assert list(growing.lines()) == [b"one"]
        append(file, "w")
        assert list(growing.lines()) == []
        append(file, "o\n\nthree")
        assert list(growing.lines()) == [b"two", b""]
        assert list(growing.lines(last=True)) == [b"three"]
        assert list(growing.lines(last=True)) == []

    def test_a_character_cut_in_two(self, tmp_path: Path) -> None:
        growing, text = GrowingFile(tmp_path / "f"), "é\n".encode()
        append(tmp_path / "f", text[:1])
        assert list(growing.lines()) == []
        append(tmp_path / "f", text[1:])
        assert list(growing.lines()) == ["é".encode()]

    def test_what_was_there_before_is_not_read(self, tmp_path: Path) -> None:
        append(tmp_path / "f", "old\n")
        growing = GrowingFile(tmp_path / "f")
        append(tmp_path / "f", "new\n")
        assert list(growing.lines()) == [b"new"]

    def test_a_file_that_shrank_is_read_anew(self, tmp_path: Path) -> None:
        growing = GrowingFile(tmp_path / "f")
        append(tmp_path / "f", "a long line\nhalf")
        assert list(growing.lines()) == [b"a long line"]
        (tmp_path / "f").write_text("b\n")
        assert list(growing.lines()) == [b"b"]

    def test_a_line_without_end_does_not_fill_the_memory(self, tmp_path: Path) -> None:
        growing = GrowingFile(tmp_path / "f")
        append(tmp_path / "f", b"x" * (5 << 20) + b"\nnext\n")
        first, second = growing.lines()
        assert first[:1] == b"x"
        assert len(first) < 3 << 20
        assert second == b"next"


class TestJsonLines:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "reports.jsonl"

    @pytest.fixture
    def reader(self, file: Path, tmp_path: Path) -> JsonLinesReader:
        return JsonLines().open(tmp_path, tmp_path / "stdout.log")

    def test_rows(self, file: Path, reader: JsonLinesReader) -> None:
        append(file, '{"step": 3, "loss": 0.5, "ok": true, "text": "-0.002", "checkpoint": "c"}\n')
        assert reader.read() == [Measurement(3, {"loss": 0.5, "ok": 1.0, "text": -0.002}, checkpoint="c")]
        assert reader.read() == []

    def test_rows_without_a_step_are_counted(self, file: Path, reader: JsonLinesReader) -> None:
        append(file, '{"loss": 1}\n{"loss": 2}\n{"step": "7", "loss": 3}\n{"loss": 4}\n')
        assert [m.step for m in reader.read()] == [1, 2, 7, 8]

    def test_nan_and_infinity_are_facts(self, file: Path, reader: JsonLinesReader) -> None:
        append(file, '{"a": NaN, "b": -Infinity, "c": 1e999, "d": "nan"}\n')
        (measurement,) = reader.read()
        assert math.isnan(measurement.metrics["a"])
        assert math.isnan(measurement.metrics["d"])
        assert (measurement.metrics["b"], measurement.metrics["c"]) == (-math.inf, math.inf)

    def test_what_is_no_number_is_left_out(self, file: Path, reader: JsonLinesReader) -> None:
        append(file, '{"loss": 1, "phase": "train", "none": null, "list": [1], "map": {"a": 1}}\n{"event": "start"}\n')
        assert reader.read() == [Measurement(1, {"loss": 1.0})]
        assert reader.skipped.count == 0

    def test_garbage_is_counted_and_does_not_hurt(self, file: Path, reader: JsonLinesReader) -> None:
        deep = "[" * 100_000
        garbage = ["{half", "[1]", "3", "\x00\x00", '{"step": 1.5, "a": 1}', '{"step": "x", "a": 1}', deep]
        append(file, "\n".join(garbage) + '\n\n  \n{"loss": 1}\n')
        append(file, b'\xff\xfe\n{"loss": 2}\n')
        assert [m.metrics["loss"] for m in reader.read()] == [1.0, 2.0]
        assert (reader.skipped.count, reader.skipped.first) == (8, "{half")

    def test_a_row_whose_end_never_came(self, file: Path, reader: JsonLinesReader) -> None:
        append(file, '{"loss": 1}\n{"loss": 2}')
        assert len(reader.read()) == 1
        assert [m.metrics for m in reader.read(last=True)] == [{"loss": 2.0}]
        append(file, '{"lo')
        assert reader.read(last=True) == []
        assert reader.skipped.count == 1

    def test_another_name_for_the_step(self, tmp_path: Path) -> None:
        reader = JsonLines("logs/m.jsonl", step="epoch").open(tmp_path, tmp_path / "stdout.log")
        assert reader.read() == [], "not even its folder is there"
        (tmp_path / "logs").mkdir()
        append(tmp_path / "logs/m.jsonl", '{"epoch": 4, "step": 400, "loss": 1}\n')
        assert reader.read() == [Measurement(4, {"step": 400, "loss": 1})]


class TestStdout:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        append(tmp_path / "stdout.log", 'of an earlier run: {"loss": 9}\n{"loss": 9}\n')
        return tmp_path / "stdout.log"

    def open(self, log: Path, pattern: str | None = None) -> StdoutReader:
        return Stdout(pattern).open(log.parent, log)

    def test_json_among_ordinary_lines(self, log: Path) -> None:
        reader = self.open(log)
        append(log, 'Loading\n\x1b[1mbar 3%\r{"step": 2, "loss": 0.5}\n  {"loss": NaN}\r\nepoch 3 {x}\n{oops\n')
        assert [(m.step, str(m.metrics["loss"])) for m in reader.read()] == [(2, "0.5"), (3, "nan")]
        assert (reader.skipped.count, reader.skipped.first) == (1, "{oops")

    def test_a_pattern(self, log: Path) -> None:
        reader = self.open(log, r"step=(?P<step>\d+).*?loss=(?P<loss>\S+)( acc=(?P<acc>\S+))?")
        append(log, "step=3 loss=0.5\nnothing\nstep=4 | loss=nan acc=0.75\nstep=5 loss=n/a\n")
        first, second = reader.read()
        assert first == Measurement(3, {"loss": 0.5})
        assert (second.step, str(second.metrics)) == (4, "{'loss': nan, 'acc': 0.75}")
        assert reader.skipped.first == "step=5 loss=n/a"

    def test_a_step_on_a_line_of_its_own_holds_for_what_follows(self, log: Path) -> None:
        reader = self.open(log, r"===== Step (?P<step>\d+)/\d+ =====|Accuracy: (?P<acc>[\d.]+)|Reward: (?P<reward>\S+)")
        append(log, "===== Step 5/8 =====\n  Accuracy: 0.25\n  Avg Reward: 1 Accuracy: 0.5\n===== Step 6/8 =====\n")
        assert reader.read() == [Measurement(5, {"acc": 0.25}), Measurement(5, {"reward": 1, "acc": 0.5})]
        append(log, "  Accuracy: 0.75")
        assert reader.read(last=True) == [Measurement(6, {"acc": 0.75})]

    def test_a_pattern_without_steps_counts(self, log: Path) -> None:
        reader = self.open(log, r"loss (?P<loss>\S+)")
        append(log, "loss 1\nloss 2\n")
        assert [m.step for m in reader.read()] == [1, 2]

    def test_patterns_that_cannot_work(self) -> None:
        with pytest.raises(TrainerError, match="is no regular expression: missing"):
            Stdout("(?P<loss>")
        with pytest.raises(TrainerError, match="names no metric"):
            Stdout(r"(?P<step>\d+)")

    def test_much_output(self, log: Path) -> None:
        reader = self.open(log)
        append(log, b"x" * 79 + b"\n" + (b"y" * 79 + b"\n") * 100_000 + b'{"loss": 1}\n')
        assert reader.read() == [Measurement(1, {"loss": 1})]


@pytest.mark.parametrize(
    ("path", "relative"), [("a/b", "a/b"), ("{trial_dir}/a", "a"), ("{trial_dir}", ""), (".", "."), ("", "")]
)
def test_paths_below_the_trial(path: str, relative: str) -> None:
    assert below_trial(path) == relative


@pytest.mark.parametrize("path", ["/tmp/a", "../a", "a/../../b", "{trial_dir}/../a", "runs/{number}"])
def test_paths_that_trials_would_share(path: str) -> None:
    for source in (JsonLines, TensorBoard):
        with pytest.raises(TrainerError, match="below the trial's folder"):
            source(path)


def test_the_file_that_rltune_writes_is_no_source() -> None:
    for path in ("metrics.jsonl", "{trial_dir}/metrics.jsonl", "./metrics.jsonl"):
        with pytest.raises(TrainerError, match=r"rltune itself writes .*metrics\.jsonl"):
            JsonLines(path)


def test_printable() -> None:
    assert printable(b"\x1b[31mred\x1b[0m\tx\x07\xff") == "red\tx\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert printable("a" * 300) == "a" * 200 + "..."


def test_sources_can_be_compared() -> None:
    assert JsonLines() == JsonLines("reports.jsonl")
    assert json.dumps(JsonLines().file) == '"reports.jsonl"'
