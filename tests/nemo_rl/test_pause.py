"""A study of NeMo RL that is stopped while trials run: they save the step that they are at, and go on from there."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from faults_harness import NemoCase

from faults.fault_harness import Ended, wait_for
from rltune import config as cfg
from rltune import session
from rltune.cli.main import main
from rltune.errors import StudyFileError
from rltune.trainers.nemo_rl import isolation
from rltune.types import Cause

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")
pytestmark = pytest.mark.slow

SLOW = "slow_step:0.25"
SAVES_LATE = {"checkpointing.save_period": 1000}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[NemoCase]:
    case = NemoCase(tmp_path / "study", checkout=tmp_path / "NeMo-RL")
    yield case
    case.close()


def steps(case: NemoCase, number: int) -> list[int]:
    """Those that the trial has told of as over, one that it took over from another included."""
    return [m.step for m in case.folder.trial(number).read_metrics() if "train/loss" in m.metrics]


def trained(case: NemoCase, number: int) -> list[int]:
    """Those that it has begun itself."""
    return [int(n) for n in re.findall(r"=== Step (\d+)/\d+ ===", case.log_of(number))]


def stopped(case: NemoCase, after: int, *signals: int) -> Ended:
    """Runs the study until its first trial has taken so many steps; a second signal once the pause is asked for."""
    running = case.start(cold=True)
    wait_for(lambda: after in steps(case, 0), what=f"step {after}")
    running.send(signals[0])
    for number in signals[1:]:
        wait_for(case.folder.trial(0).pause_request.exists, what="the request to pause")
        running.send(number)
    return running.end()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_it_goes_on_after_the_step_at_which_it_was_stopped(case: NemoCase, number: int, code: int) -> None:
    case.study_of(faults=[SLOW], horizon=12, period=6, nemo_rl={"overrides": SAVES_LATE, "warm_up": False})
    ended = stopped(case, 2, number)
    assert ended.code == code
    assert "finishes its step and saves a checkpoint, within 300 s" in ended.output
    case.assert_nothing_lives()
    (first,), folder = [case.records()[n] for n in (0,)], case.folder.trial(0)
    last = steps(case, 0)[-1]
    assert 2 < last < 12
    assert first.cause is Cause.INTERRUPTED
    assert first.message.endswith(f"paused after step {last}; its newest checkpoint is of step {last}")
    assert list(isolation.steps_in(folder.checkpoints)) == [last]
    assert not folder.pausable.exists()
    assert not folder.pause_request.exists()

    assert case.run(cold=True).code == 0
    _, second = case.records()
    assert (second.retry_of, second.cause) == (0, None), second.message
    assert (second.params, second.seed) == (first.params, first.seed)
    assert trained(case, 0) + trained(case, 1) == list(range(1, 13))
    assert Counter(steps(case, 1)) == Counter(range(1, 13))
    assert sorted(second.curve) == [6, 12]


def test_one_that_has_not_taken_a_step_has_nothing_to_save(case: NemoCase) -> None:
    own = {"overrides": SAVES_LATE, "warm_up": False}
    case.study_of(faults=[SLOW, "slow_setup:60"], horizon=12, period=6, nemo_rl=own)
    running = case.start(cold=True)
    wait_for(lambda: len(case.given()) == 2, what="both trials started")
    waits = next(g.trial for g in case.given() if g.fault != SLOW)
    wait_for(lambda: 2 in steps(case, 1 - waits), what="step 2")
    running.send(signal.SIGTERM)
    assert running.end().code == 75
    assert [r.cause for r in case.records()[:2]] == [Cause.INTERRUPTED] * 2
    assert "paused after step" in case.records()[1 - waits].message
    assert "pause" not in case.records()[waits].message
    assert "ended at once" not in case.log_of(waits)


def test_without_the_hook_it_is_ended_at_once_and_says_why(case: NemoCase) -> None:
    case.study_of(faults=[SLOW], horizon=500, period=500, nemo_rl={"hook": "off", "warm_up": False})
    ended = stopped(case, 2, signal.SIGTERM)
    assert ended.code == 75
    assert "what runs is cut short, and runs again next time" in ended.output
    assert case.records()[0].cause is Cause.INTERRUPTED
    assert not isolation.steps_in(case.folder.trial(0).checkpoints)
    assert "could not be asked for a checkpoint: trainer.nemo_rl.hook is off" in case.log_of(0)


def test_nor_can_it_be_asked_where_the_hook_finds_nothing_to_attach_to(case: NemoCase) -> None:
    case.study_of(faults=[SLOW], horizon=500, period=500, nemo_rl={"warm_up": False})
    for file in case.checkout.glob("nemo_rl/**/*.py"):
        text = file.read_text().replace("class TimeoutChecker", "class Deadline")
        file.write_text(text.replace("import TimeoutChecker", "import Deadline as TimeoutChecker"))
    assert stopped(case, 6, signal.SIGTERM).code == 75
    assert case.records()[0].cause is Cause.INTERRUPTED
    assert "the run cannot be paused: LookupError" in case.log_of(0)
    assert "could not be asked for a checkpoint: the hook is not attached" in case.log_of(0)


def test_one_that_takes_too_long_goes_on_from_its_last_checkpoint(case: NemoCase) -> None:
    own = {"pause_seconds": 1.0, "warm_up": False}
    case.study_of(faults=["hang:4"], horizon=6, period=2, nemo_rl=own)
    assert stopped(case, 3, signal.SIGTERM).code == 75
    case.assert_nothing_lives()
    (first, *_) = case.records()
    assert first.cause is Cause.INTERRUPTED
    assert first.message.endswith("it did not save a checkpoint within 1 s")
    assert case.run(cold=True).code == 0
    assert case.records()[1].cause is None
    assert trained(case, 1) == [3, 4, 5, 6]


def test_a_second_ctrl_c_ends_at_once(case: NemoCase) -> None:
    case.study_of(faults=["hang:4"], horizon=6, period=2, nemo_rl={"pause_seconds": 600.0, "warm_up": False})
    ended = stopped(case, 3, signal.SIGINT, signal.SIGINT)
    assert ended.code == 130
    assert "ended at once" in ended.output
    case.assert_nothing_lives(8)
    assert case.run(cold=True).code == 0
    assert [r.cause for r in case.records()] == [Cause.LOST, None]
    assert trained(case, 1) == [3, 4, 5, 6]


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "executor", "said", "hint"),
    [
        ({"hook": "off"}, {}, "it takes the hook to pause a trial, and hook is off", "set hook: auto, or remove it"),
        ({}, {"name": "inline"}, "inline has no process of its own for each trial", "use the executor local"),
        ({"overrides": {"checkpointing.enabled": False}}, {}, "no checkpoint is saved", "checkpointing.enabled: true"),
    ],
)
def test_a_wish_that_does_nothing_is_refused(
    nemo_study: Callable[..., Path], own: Mapping[str, Any], executor: Mapping[str, Any], said: str, hint: str
) -> None:
    config = cfg.load(nemo_study(nemo_rl={"pause_seconds": 60, **own}, executor={**executor}))
    with pytest.raises(StudyFileError) as raised:
        session.prepare(config, session.study_dir(config))
    (problem,) = raised.value.problems
    assert problem.key == ("trainer", "nemo_rl", "pause_seconds")
    assert problem.message == f"does nothing: {said}"
    assert hint in problem.hint
    unasked = cfg.load(nemo_study(nemo_rl=own, executor={**executor}))
    session.prepare(unasked, session.study_dir(unasked))


def test_a_study_goes_on_with_another_time_to_pause(nemo_study: Callable[..., Path], tmp_path: Path) -> None:
    out, usual = tmp_path / "s", {"n_trials": 1, "protocol": "simple", "horizon": 2, "executor": {"name": "local"}}
    own = {"overrides": {"grpo.val_period": 1}}
    session.run(cfg.load(nemo_study(nemo_rl=own, **usual)), out=out)
    file = nemo_study(nemo_rl=own | {"pause_seconds": 20}, **usual | {"n_trials": 2})
    assert len(session.run(cfg.load(file), out=out).records) == 2


def test_check_has_no_objection_to_a_pause_longer_than_the_grace(
    nemo_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = nemo_study(nemo_rl={"pause_seconds": 3600}, executor={"name": "local", "grace_seconds": 1})
    with pytest.raises(SystemExit) as ended:
        main(["check", str(file), "--json"])
    assert ended.value.code == 0
    assert "advice" in json.loads(capsys.readouterr().out)
