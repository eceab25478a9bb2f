"""The contract of an executor, as tests: inherit a suite and give it one method.

    class TestMyExecutor(IsolatedExecutorSuite):
        def make_executor(self, workers, resources):
            return MyExecutor(workers=workers, resources=resources)

Every test runs real trials: they crash, hang, fork and are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from rltune.types import (
    Cause,
    Decision,
    Executor,
    Idle,
    Measurement,
    Outcome,
    Report,
    Resources,
    Suggestion,
)


@dataclass
class ScriptedBrain:
    """Suggests what it is given, in order, and remembers what it is told.

    Attributes:
        scripts: The parameters of each trial.
        stop_at: Answers STOP to a measurement of this step.
    """

    root: Path
    scripts: Iterable[Mapping[str, Any]]
    stop_at: int | None = None
    running: set[int] = field(default_factory=set)
    most_at_once: int = 0
    seen: dict[int, list[Measurement]] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._todo = list(enumerate(self.scripts))

    def suggest(self) -> Suggestion | Idle:
        if not self._todo:
            return Idle.WAIT if self.running else Idle.DONE
        number, params = self._todo.pop(0)
        self.running.add(number)
        self.most_at_once = max(self.most_at_once, len(self.running))
        directory = self.root / f"{number:04d}"
        directory.mkdir(parents=True)
        return Suggestion(number, params, seed=number, directory=directory, job=_job(number))

    def observe(self, job: int, measurement: Measurement) -> Decision:
        number = _number(job)
        assert number in self.running, "a measurement of a trial that does not run"
        self.seen.setdefault(number, []).append(measurement)
        return Decision.STOP if measurement.step == self.stop_at else Decision.CONTINUE

    def finish(self, job: int, outcome: Outcome) -> None:
        number = _number(job)
        self.running.remove(number)  # a KeyError: finished twice
        self.outcomes[number] = outcome


def _job(number: int) -> int:
    """Executors are to call a trial by its job, which is its number only where the trial has no folds."""
    return 1000 + 2 * number


def _number(job: int) -> int:
    number, odd = divmod(job - 1000, 2)
    assert not odd and number >= 0, "called by something other than the suggestion's `job`"  # noqa: PT018
    return number


def scripted_trainer(suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
    """Does what its parameter `do` says."""
    params = suggestion.params
    _ACTIONS[params["do"]](suggestion, report)
    return {"loss": float(params.get("loss", 0.0))}


def _report_steps(suggestion: Suggestion, report: Report) -> None:
    for step in range(1, suggestion.params.get("steps", 3) + 1):
        report(Measurement(step, {"loss": 1.0 / step}))


def _report_forever(_: Suggestion, report: Report) -> None:
    for step in range(1, 1_000_000):
        report(Measurement(step, {"loss": 1.0}))
        time.sleep(0.005)


def _clean_up(suggestion: Suggestion, report: Report) -> None:
    try:
        _report_forever(suggestion, report)
    finally:
        (suggestion.directory / "cleaned").touch()


def _clean_up_slowly(suggestion: Suggestion, report: Report) -> None:
    """TERM may come while this cleans up, because it was told to stop by the answer to its report."""
    try:
        _report_forever(suggestion, report)
    finally:
        for _ in range(60):
            time.sleep(0.005)
        (suggestion.directory / "cleaned").touch()


def _raise(*_: object) -> None:
    raise RuntimeError("the trainer broke")


def _crash(*_: object) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(30)


def _be_killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def _exit_silently(*_: object) -> None:
    os._exit(3)


def _hang(*_: object) -> None:
    time.sleep(600)


def _fall_silent(suggestion: Suggestion, report: Report) -> None:
    for step in range(1, suggestion.params["steps"] + 1):
        report(Measurement(step, {"loss": 1.0}))
        time.sleep(float(suggestion.params.get("seconds", 0.0)))
    time.sleep(float(suggestion.params.get("silent", 600)))


def _hang_ignoring_term(suggestion: Suggestion, _: Report) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (suggestion.directory / "ready").touch()
    time.sleep(600)


def _leave_children(suggestion: Suggestion, report: Report) -> None:
    """One child in the group, one that left it, one whose parent is dead already."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", str(suggestion.directory)]
    subprocess.Popen(sleeper)
    subprocess.Popen(sleeper, start_new_session=True)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import subprocess,sys; subprocess.Popen(sys.argv[1:], start_new_session=True)",
            *sleeper,
        ],
        check=True,
    )
    if suggestion.params.get("then_hang"):
        report(Measurement(1, {"loss": 1.0}))
        time.sleep(600)


def _allocate(suggestion: Suggestion, _: Report) -> None:
    data = bytearray(int(suggestion.params["bytes"]))
    data[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(data[:: os.sysconf("SC_PAGE_SIZE")])
    time.sleep(float(suggestion.params.get("seconds", 0.0)))
    assert data[0]


def _close_stdout(*_: object) -> None:
    sys.stdout.close()
    os.close(1)
    os.close(2)


def _print(*_: object) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    subprocess.run(["echo", "from a child"], check=True)


_ACTIONS: dict[str, Callable[[Suggestion, Report], None]] = {
    "return": lambda *_: None,
    "report": _report_steps,
    "report_forever": _report_forever,
    "clean_up": _clean_up,
    "clean_up_slowly": _clean_up_slowly,
    "raise": _raise,
    "crash": _crash,
    "be_killed": _be_killed,
    "exit_silently": _exit_silently,
    "hang": _hang,
    "fall_silent": _fall_silent,
    "hang_ignoring_term": _hang_ignoring_term,
    "leave_children": _leave_children,
    "allocate": _allocate,
    "close_stdout": _close_stdout,
    "print": _print,
}


def processes_with(text: str) -> list[psutil.Process]:
    """Living processes with `text` in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and any(text in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


class ExecutorSuite:
    """What every executor keeps: inherit, and give `make_executor`."""

    def make_executor(self, workers: int, resources: Resources) -> Executor:
        raise NotImplementedError

    def run(
        self,
        brain: ScriptedBrain,
        workers: int = 2,
        resources: Resources | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        resources = resources or Resources(grace_seconds=0.5)
        self.make_executor(workers, resources).run(brain, scripted_trainer, should_stop)
        assert not brain.running
        assert not processes_with(str(brain.root)), "processes were left behind"

    def test_every_trial_is_finished_once_with_what_it_returned(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "return", "loss": i} for i in range(20)])
        self.run(brain)
        assert {n: o.metrics["loss"] for n, o in brain.outcomes.items()} == {i: float(i) for i in range(20)}
        assert all(o.cause is None and not o.stopped for o in brain.outcomes.values())

    def test_measurements_arrive_in_order(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "report", "steps": 50}] * 3)
        self.run(brain)
        assert all([m.step for m in brain.seen[n]] == list(range(1, 51)) for n in range(3))

    def test_a_trial_told_to_stop_stops_at_that_step(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "clean_up"}], stop_at=3)
        self.run(brain)
        assert [m.step for m in brain.seen[0]] == [1, 2, 3]
        assert brain.outcomes[0].cause is None
        assert brain.outcomes[0].stopped
        assert (tmp_path / "0000" / "cleaned").exists()

    def test_a_failure_is_only_its_own(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "raise"}, {"do": "return"}, {"do": "raise"}, {"do": "return"}])
        self.run(brain)
        causes = [brain.outcomes[n].cause for n in range(4)]
        assert causes == [Cause.ERROR, None, Cause.ERROR, None]
        assert "the trainer broke" in brain.outcomes[0].message

    def test_time_is_measured(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "allocate", "bytes": 1, "seconds": 0.3}])
        self.run(brain)
        assert 0.3 <= brain.outcomes[0].usage.seconds < 5

    def test_a_stop_interrupts_what_runs(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "clean_up_slowly"}] * 4)
        self.run(
            brain, workers=1, resources=Resources(grace_seconds=5), should_stop=lambda: len(brain.seen.get(0, ())) > 2
        )
        assert list(brain.outcomes) == [0]
        assert brain.outcomes[0].cause is Cause.INTERRUPTED
        assert (tmp_path / "0000" / "cleaned").exists()


class IsolatedExecutorSuite(ExecutorSuite):
    """What an executor keeps besides that gives every trial a process of its own."""

    def test_workers_run_at_once(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "allocate", "bytes": 1, "seconds": 0.2}] * 6)
        self.run(brain, workers=3)
        assert brain.most_at_once == 3

    @pytest.mark.parametrize(
        ("do", "cause"), [("crash", Cause.ERROR), ("be_killed", Cause.LOST), ("exit_silently", Cause.LOST)]
    )
    def test_a_death_is_told_and_the_next_trial_runs(self, tmp_path: Path, do: str, cause: Cause) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": do}, {"do": "return"}])
        self.run(brain, workers=1)
        assert brain.outcomes[0].cause is cause
        assert brain.outcomes[0].message
        assert brain.outcomes[1].cause is None

    @pytest.mark.parametrize("do", ["hang", "hang_ignoring_term"])
    def test_a_trial_that_takes_too_long_is_ended(self, tmp_path: Path, do: str) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": do}, {"do": "return"}])
        self.run(brain, workers=1, resources=Resources(seconds=2, grace_seconds=0.3))
        assert brain.outcomes[0].cause is Cause.TIMEOUT
        assert brain.outcomes[1].cause is None

    @pytest.mark.parametrize("steps", [0, 3])
    def test_a_trial_that_makes_no_progress_is_ended(self, tmp_path: Path, steps: int) -> None:
        """Whether it never reported or has fallen silent."""
        brain = ScriptedBrain(tmp_path, [{"do": "fall_silent", "steps": steps}, {"do": "return"}])
        self.run(brain, workers=1, resources=Resources(setup_seconds=3, stall_seconds=1, grace_seconds=0.3))
        assert len(brain.seen.get(0, ())) == steps
        assert brain.outcomes[0].cause is Cause.STALLED
        assert "reported nothing" in brain.outcomes[0].message
        assert brain.outcomes[1].cause is None

    def test_a_trial_that_reports_seldom_may_be_silent_for_longer(self, tmp_path: Path) -> None:
        slow = {"do": "fall_silent", "steps": 3, "seconds": 0.6, "silent": 1.8}
        brain = ScriptedBrain(tmp_path, [slow])
        self.run(brain, resources=Resources(stall_seconds=1.2, grace_seconds=0.3))
        assert brain.outcomes[0].cause is None

    def test_silence_is_no_matter_unless_a_limit_is_set(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "fall_silent", "steps": 3, "silent": 1.5}])
        self.run(brain, resources=Resources(setup_seconds=60, grace_seconds=0.3))
        assert brain.outcomes[0].cause is None

    def test_a_trial_that_ignores_term_is_killed_when_the_study_stops(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "hang_ignoring_term"}])
        self.run(brain, should_stop=(tmp_path / "0000" / "ready").exists)
        assert brain.outcomes[0].cause is Cause.INTERRUPTED

    def test_nothing_that_a_trial_starts_outlives_it(self, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "leave_children"}, {"do": "leave_children", "then_hang": True}])
        self.run(brain, resources=Resources(seconds=3, grace_seconds=0.3))
        assert brain.outcomes[0].cause is None
        assert brain.outcomes[1].cause is Cause.TIMEOUT

    def test_memory_is_measured_and_limited(self, tmp_path: Path) -> None:
        small = {"do": "allocate", "bytes": 60e6}
        brain = ScriptedBrain(tmp_path, [small, {"do": "allocate", "bytes": 400e6, "seconds": 30}, {"do": "return"}])
        self.run(brain, workers=1, resources=Resources(memory_bytes=300_000_000, grace_seconds=0.3))
        used = brain.outcomes[0].usage.memory_bytes
        assert used is not None
        assert 60e6 < used < 250e6
        assert brain.outcomes[1].cause is Cause.OUT_OF_MEMORY
        assert "0.30 GB" in brain.outcomes[1].message
        assert brain.outcomes[2].cause is None

    def test_output_goes_to_the_trials_log(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "print"}, {"do": "close_stdout"}])
        self.run(brain, workers=1)
        log = (tmp_path / "0000" / "stdout.log").read_text()
        assert all(line in log for line in ("to stdout", "to stderr", "from a child"))
        assert brain.outcomes[1].cause is None
        assert capfd.readouterr().out == ""
