from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltune.trainers.nemo_rl.readback import Mismatch, ReadBack, mismatches, parse_printed, read_saved
from rltune.types import Cause
from rltune.worker import TrialFailed

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
configs = st.dictionaries(
    st.from_regex(r"\A[a-z_]{1,6}\Z").filter(lambda name: not keyword.iskeyword(name)),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)),
    max_size=4,
)

PRINTED = (
    "MasterConfig(policy={'model_name': 'Qwen', 'optimizer': {'kwargs': {'lr': 5e-06, 'betas': [0.9, 0.999]}}, "
    "'scheduler': [{'name': 'LinearLR', 'kwargs': {'total_iters': 13}}], 'train_global_batch_size': 512}, "
    "loss_fn=LossConfig(ratio_clip_min=0.2, ratio_clip_c=None), level=<Level.HIGH: 'high'>, "
    "path=PosixPath('/data'), low=-1, worst=-inf, unknown=nan)"
)


class TestPrinted:
    def test_as_it_is_printed(self) -> None:
        found = parse_printed(PRINTED)
        assert found["policy"]["optimizer"]["kwargs"] == {"lr": 5e-06, "betas": [0.9, 0.999]}
        assert found["loss_fn"] == {"ratio_clip_min": 0.2, "ratio_clip_c": None}
        assert (found["level"], found["path"], found["low"], found["worst"]) == ("high", "/data", -1, -math.inf)
        assert math.isnan(found["unknown"])

    @given(configs)
    def test_whatever_python_prints(self, config: Mapping[str, Any]) -> None:
        line = f"MasterConfig({', '.join(f'{name}={value!r}' for name, value in config.items())})"
        assert mismatches(dict(config), parse_printed(line)) == []

    @pytest.mark.parametrize("line", ["MasterConfig(a=", "MasterConfig(a={'b': 1)", "MasterConfig(...", "42"])
    def test_a_line_that_is_not_whole(self, line: str) -> None:
        with pytest.raises(ValueError):
            parse_printed(line)


class TestMismatches:
    config: Mapping[str, Any] = parse_printed(PRINTED)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("policy.optimizer.kwargs.lr", 5e-6),
            ("policy.optimizer.kwargs.lr", float(np.float32(5e-6))),
            ("policy.optimizer.kwargs.betas.1", 0.999),
            ("policy.optimizer.kwargs", {"lr": 5e-6}),
            ("policy.scheduler.0.kwargs.total_iters", 13.0),
            ("policy.scheduler", [{"kwargs": {"total_iters": 13}}]),
            ("policy.train_global_batch_size", "512"),
            ("loss_fn.ratio_clip_c", None),
            ("loss_fn.gone", None),
            ("policy.model_name", "${oc.env:MODEL}"),
        ],
    )
    def test_the_same(self, key: str, value: Any) -> None:
        assert mismatches({key: value}, self.config) == []

    @pytest.mark.parametrize(
        ("key", "value", "found"),
        [
            ("policy.optimizer.kwargs.lr", 5.001e-6, "5e-06"),
            ("policy.optimizer.kwargs.betas.1", 0.95, "0.999"),
            ("policy.optimizer.kwargs.weight_decay", 0.1, None),
            ("policy.scheduler.1.milestones", [13], None),
            ("policy.scheduler", [], "[{'name': 'LinearLR', 'kwargs': {'total_iters': 13}}]"),
            ("policy.model_name", "Llama", "'Qwen'"),
            ("policy.model_name.size", 1, None),
            ("loss_fn.ratio_clip_c", 10, "None"),
            ("low", True, "-1"),
        ],
    )
    def test_different(self, key: str, value: Any, found: str | None) -> None:
        assert mismatches({key: value}, self.config) == [Mismatch(key, value, found)]

    def test_a_difference_inside_names_its_own_place(self) -> None:
        (wrong,) = mismatches({"policy.optimizer": {"kwargs": {"lr": 1e-6}}}, self.config)
        assert str(wrong) == "`policy.optimizer.kwargs.lr` was set to 1e-06 and is 5e-06 there"

    def test_words_for_truth(self) -> None:
        assert mismatches({"a": "yes", "b": False, "c": True}, {"a": True, "b": "no", "c": True}) == []
        assert mismatches({"a": True}, {"a": "maybe"}) == [Mismatch("a", True, "'maybe'")]


class TestSaved:
    def test_numbers_of_yaml_1_2(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("a: {eps: 1e-8, name: on}\n")
        assert read_saved(tmp_path / "config.yaml") == {"a": {"eps": 1e-8, "name": "on"}}

    @pytest.mark.parametrize("text", ["a: [", "- 1\n", "a: !!python/object:x.Y {}\n"])
    def test_what_is_no_config(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ValueError):
            read_saved(tmp_path / "config.yaml")


class TestWhileItRuns:
    asked: Mapping[str, Any] = {"loss_fn.clip": 0.28, "logger.log_dir": "/t/logs"}

    def save(self, trial: Path, step: int, text: str) -> None:
        folder = trial / "checkpoints" / f"step_{step}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(text)

    def test_a_key_that_did_not_arrive_ends_the_trial_at_once(self, tmp_path: Path) -> None:
        log = tmp_path / "stdout.log"
        reader = ReadBack(self.asked).open(tmp_path, log)
        log.write_text("Final config:\n")
        assert reader.read() == []
        with log.open("a") as file:
            file.write("MasterConfig(loss_fn={'clip': 0.2}, logger={'log_dir': '/t/logs'})\n")
        with pytest.raises(TrialFailed, match=r"`loss_fn\.clip` was set to 0\.28 and is 0\.2 there") as failed:
            reader.read()
        assert failed.value.cause is Cause.IGNORED_KEY

    def test_both_accounts_agree(self, tmp_path: Path) -> None:
        log = tmp_path / "stdout.log"
        gate = ReadBack(self.asked, saved={"loss_fn.clip"})
        reader = gate.open(tmp_path, log)
        log.write_text("MasterConfig(loss_fn={'clip': 0.28}, logger={'log_dir': '/t/logs'})\n")
        self.save(tmp_path, 5, "loss_fn: {clip: 0.28}\nlogger: {log_dir: /t/logs/exp_001}\n")
        assert reader.read(last=True) == []
        assert gate.note() == "every key that was set is in the printed `MasterConfig(...)` and step_5/config.yaml"

    def test_a_checkpoint_that_tells_another_story(self, tmp_path: Path) -> None:
        reader = ReadBack(self.asked, saved={"loss_fn.clip"}).open(tmp_path, tmp_path / "stdout.log")
        self.save(tmp_path, 5, "loss_fn: {clip: 0.2}\n")
        with pytest.raises(TrialFailed, match=r"step_5/config\.yaml"):
            reader.read()

    def test_the_checkpoint_that_a_trial_starts_from_is_another_trials_story(self, tmp_path: Path) -> None:
        self.save(tmp_path, 5, "loss_fn: {clip: 0.2}\n")
        gate = ReadBack(self.asked, saved={"loss_fn.clip"})
        assert gate.open(tmp_path, tmp_path / "stdout.log").read(last=True) == []
        assert "not known" in gate.note()

    def test_no_account_at_all_is_said_and_is_no_failure(self, tmp_path: Path) -> None:
        gate = ReadBack(self.asked)
        log = tmp_path / "stdout.log"
        reader = gate.open(tmp_path, log)
        assert "it printed no `MasterConfig(...)` and saved no checkpoint" in gate.note()
        log.write_text("MasterConfig(loss_fn={'cl\n")
        assert reader.read(last=True) == []
        assert "cannot be read (SyntaxError" in gate.note()
