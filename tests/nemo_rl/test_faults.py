"""Trials of NeMo RL that go wrong, end to end: each ends with its cause, nothing outlives it, nothing else is touched.

And trials that go well: nothing that watches over them is mistaken.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults_harness import GUARDS, NemoCase, fingerprint
from optuna.trial import TrialState

from faults.fault_harness import assert_sound, wait_for
from rltune.samplers.view import StudyView
from rltune.trainers.nemo_rl import isolation
from rltune.types import Cause

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session", autouse=True)
def _no_fork_server_is_left() -> Iterator[None]:
    """The one that warm command lines are forked from would end a moment after the tests."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], NemoCase]]:
    """Studies by name, all in one checkout; whatever is left of them dies with the test."""
    cases: list[NemoCase] = []

    def case(name: str = "study") -> NemoCase:
        cases.append(NemoCase(tmp_path / name, name=name, checkout=tmp_path / "NeMo-RL"))
        return cases[-1]

    yield case
    for each in cases:
        each.close()


# --- one trial after the other goes wrong ----------------------------------------------------------------------------


class Fault(NamedTuple):
    """What goes wrong in a trial, and what is to be said of it.

    Attributes:
        said: What `rltune show` prints of it.
        again: Whether it is asked again.
        blamed: Whether samplers are shown it as the configuration's doing.
    """

    switches: str
    cause: Cause
    said: str
    again: bool = False
    blamed: bool = False


FAULTS = [
    Fault("oom:3", Cause.OUT_OF_MEMORY, "CUDA out of memory. Tried to allocate 2.32 GiB", blamed=True),
    Fault("nan:2", Cause.DIVERGED, "is nan at step", blamed=True),
    Fault("oom_killed:3", Cause.LOST, "SIGKILL, sent from outside; often the system's own answer to full memory"),
    Fault("nccl:3", Cause.LOST, "NCCL failed", again=True),
    Fault("lost_cluster:3", Cause.LOST, "its Ray cluster went away", again=True),
    Fault("placement_timeout", Cause.LOST, "placement group timed out", again=True),
    Fault("too_few_gpus", Cause.LOST, "fewer GPUs than cluster.gpus_per_node", again=True),
    Fault("vllm_start", Cause.ERROR, "vLLM did not start"),
    Fault("die_in_validation", Cause.ERROR, "UnboundLocalError"),
    Fault("exit_early:3", Cause.ERROR, "it exited with 0, but ended after 3 of 6 steps"),
    Fault("join_foreign_checkpoint:2", Cause.ERROR, "went on from a checkpoint that it was not given"),
    Fault("ignore_key:policy.optimizer.kwargs.lr", Cause.IGNORED_KEY, "`policy.optimizer.kwargs.lr` was set to"),
    Fault("hang:3", Cause.STALLED, "reported nothing for"),
    Fault("hang:3,deaf", Cause.STALLED, "reported nothing for"),
    Fault("slow_setup:60", Cause.STALLED, "reported nothing in its first"),
    Fault("slow_setup:60,deaf,orphan", Cause.STALLED, "reported nothing in its first"),
    Fault("oom:4,orphan", Cause.OUT_OF_MEMORY, "CUDA out of memory", blamed=True),
]

WELL = ["", "orphan", "slow_step:0.5,deaf", "busy_port"]


class Studied(NamedTuple):
    case: NemoCase
    code: int | None
    before: dict[str, str]


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studied]:
    """A study that has met every fault, in a checkout where somebody has trained before."""
    root = tmp_path_factory.mktemp("faults")
    case = NemoCase(root / "study", checkout=root / "NeMo-RL")
    theirs = case.checkout / "results" / "grpo" / "step_5"  # where the recipe saves when nobody says otherwise
    theirs.mkdir(parents=True)
    (theirs / "training_info.json").write_text('{"total_steps": 5, "consumed_samples": 0, "total_valid_tokens": 0}')
    case.study_of(
        faults=[*WELL[:1], *(fault.switches for fault in FAULTS), *WELL[1:]],
        executor={"setup_minutes": 0.15, "stall_minutes": 0.07, "grace_seconds": 2.5},
        guards=list(GUARDS),
    )
    before = fingerprint(case.checkout)
    try:
        ended = case.run(seconds=200)
        yield Studied(case, ended.code, before)
    finally:
        case.close()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.switches for fault in FAULTS])
def test_each_ends_with_its_cause_and_the_evidence(studied: Studied, fault: Fault) -> None:
    record = studied.case.record_of(fault.switches)
    assert record.cause is fault.cause, record.message
    assert fault.said in studied.case.show(record.number)


def test_what_is_not_the_configurations_fault_is_asked_again_and_goes_well(studied: Studied) -> None:
    records = studied.case.records()
    found = {}
    for fault in FAULTS:
        number = studied.case.record_of(fault.switches).number
        again = [r for r in records if r.retry_of == number]
        assert all(r.state is TrialState.COMPLETE and r.seed == records[number].seed for r in again)
        found[fault.switches] = bool(again)
    assert found == {fault.switches: fault.again for fault in FAULTS}


def test_samplers_are_shown_what_configurations_are_to_blame_for(studied: Studied) -> None:
    study = studied.case.study()
    trials = study.get_trials()
    shown = StudyView(study, trials[-1]).study.get_trials()
    seen = {f.switches: shown[studied.case.record_of(f.switches).number].state for f in FAULTS}
    assert seen == {f.switches: TrialState.PRUNED if f.blamed else TrialState.FAIL for f in FAULTS}


@pytest.mark.parametrize("switches", WELL)
def test_the_others_end_well(studied: Studied, switches: str) -> None:
    well = [g.trial for g in studied.case.given() if g.fault == switches]
    assert well
    assert {studied.case.records()[number].state for number in well} == {TrialState.COMPLETE}


def test_the_study_goes_on_to_its_end(studied: Studied) -> None:
    assert studied.code == 0
    assert_sound(studied.case)
    assert (studied.case.folder.path / "best_config.yaml").exists()


def test_nothing_outlives_it(studied: Studied) -> None:
    studied.case.assert_nothing_lives()
    assert not [given.ray for given in studied.case.given() if Path(given.ray).exists()]


def test_nothing_else_is_touched(studied: Studied) -> None:
    assert fingerprint(studied.case.checkout) == studied.before


def test_trials_at_once_have_gpus_of_their_own(studied: Studied) -> None:
    gpus = {given.trial: given.gpus for given in studied.case.given()}
    assert set(gpus.values()) == {"0", "1"}
    records = [r for r in studied.case.records() if r.number in gpus]
    side_by_side = [
        (a.number, b.number)
        for a in records
        for b in records
        if a.number < b.number and a.started < b.finished and b.started < a.finished  # type: ignore[operator]
    ]
    assert side_by_side
    assert all(gpus[a] != gpus[b] for a, b in side_by_side)


# --- the whole study goes wrong --------------------------------------------------------------------------------------


def test_a_cluster_that_stays_broken_is_not_asked_for_ever(make: Any) -> None:
    case = make()
    case.study_of(n_trials=2, always="nccl:2")
    ended = case.run()
    records = case.records()
    assert ended.code == 3
    assert {record.cause for record in records} == {Cause.LOST}
    assert sorted(len([n for n in case.notes() if n.seed == seed]) for seed in {r.seed for r in records}) == [3, 3]
    case.assert_nothing_lives()


def test_checkpoints_that_somebody_left_are_neither_used_nor_removed(make: Any) -> None:
    other, case = make("other"), make("mine")
    other.study_of(n_trials=1)
    assert other.run().code == 0
    left = case.folder.trial(1).checkpoints
    left.parent.mkdir(parents=True)
    other.folder.trial(0).checkpoints.rename(left)
    before = fingerprint(left)
    case.study_of(n_trials=3)
    assert case.run().code == 0
    assert [r.cause for r in case.records()] == [None, Cause.ERROR, None]
    assert "is not empty" in case.show(1)
    assert fingerprint(left) == before


@dataclass(frozen=True)
class Kill:
    """Trials that run at once, and how far each is when the tuner is killed.

    Attributes:
        step: The step of its newest checkpoint, or a later one; None before the first, or soon after it.
    """

    switches: str
    step: int | None


@pytest.mark.parametrize(
    ("recipe", "kill"),
    [
        ("grpo_math_1B.yaml", Kill("slow_step:0.6", None)),
        ("grpo_math_1B.yaml", Kill("slow_step:0.8,deaf,orphan", 4)),
        ("dpo.yaml on Megatron", Kill("slow_step:0.8,deaf,orphan", 4)),
        ("dpo.yaml on Megatron", Kill("lingers", 6)),
    ],
    ids=lambda given: getattr(given, "switches", given),
)
def test_a_killed_tuner(make: Any, recipe: str, kill: Kill) -> None:
    case = make()
    recipe, _, backend = recipe.partition(" on ")
    worst = {
        "metric": METRICS[recipe],
        "direction": "minimize",
        "value": "best",
    }  # of the first steps, which must count
    case.study_of(recipe, faults=["", *2 * [kill.switches], ""], evaluation=worst, nemo_rl=MEGATRON if backend else {})
    session = case.start()
    wait_for(lambda: sum(g.fault == kill.switches for g in case.given()) == 2, what="two trials started")
    running = [g.trial for g in case.given() if g.fault == kill.switches]
    wait_for(lambda: all(_told(case, n, kill.step) for n in running), what="both have come so far")
    session.send(signal.SIGKILL)
    assert session.end().code == -signal.SIGKILL
    case.assert_nothing_lives(8)
    told = {n: [m.step for m in case.folder.trial(n).read_metrics() if m.checkpoint is not None] for n in running}
    for left in (Path(g.ray) for g in case.given() if Path(g.ray).exists()):
        an_hour_ago = time.time() - 3600
        os.utime(left / "rltune.lock", (an_hour_ago, an_hour_ago))

    ended = case.run()
    assert ended.code == 0, ended.output
    case.assert_nothing_lives()
    assert not [given.ray for given in case.given() if Path(given.ray).exists()]
    assert_sound(case)
    assert "the tuner ended while this trial ran" in case.show(running[0])
    assert not any(isolation.steps_in(case.folder.trial(n).checkpoints) for n in running)
    for number in running:
        lost, (again,) = case.records()[number], [r for r in case.records() if r.retry_of == number]
        assert (lost.cause, again.state, again.seed) == (Cause.LOST, TrialState.COMPLETE, lost.seed), again.message
        assert [step for step in again.curve if step > 0] == [2, 4, 6]
        assert again.value == min(again.curve.values())
        took = [int(n) for n in re.findall(r"=== Step (\d+)/6 ===", case.log_of(again.number))]
        assert took == list(range(max(told[number], default=0) + 1, 7))  # from the newest checkpoint it told of


METRICS = {"grpo_math_1B.yaml": "validation/accuracy", "dpo.yaml": "validation-default/accuracy"}

MEGATRON = {
    "overrides": {
        "policy.dtensor_cfg.enabled": False,
        "policy.megatron_cfg.enabled": True,
        "++policy.megatron_cfg.scheduler.lr_decay_iters": None,
    }
}


def _told(case: NemoCase, number: int, step: int | None) -> bool:
    """Whether the trial has told of its checkpoint of `step`; without one, of a step at all."""
    measurements = case.folder.trial(number).read_metrics()
    return any(m.checkpoint is not None and m.step == step for m in measurements) if step else bool(measurements)


def test_a_cluster_in_use_keeps_its_folder() -> None:
    with isolation.ray_folder() as one:
        os.utime(one / "rltune.lock", (0, 0))
        with isolation.ray_folder() as other:
            assert one != other
            assert one.exists()
        assert not other.exists()
    assert not one.exists()


def test_two_studies_in_one_checkout(make: Any) -> None:
    cases = [make("one"), make("two")]
    before = fingerprint(cases[0].checkout)
    for gpu, case in enumerate(cases):
        case.study_of(n_trials=4, gpus=[gpu], guards=list(GUARDS))
    sessions = [case.start() for case in cases]
    assert [session.end().code for session in sessions] == [0, 0]
    folders = [given.ray for case in cases for given in case.given()]
    assert len(folders) == len(set(folders)) == 8
    for gpu, case in enumerate(cases):
        assert {r.state for r in case.records()} == {TrialState.COMPLETE}
        assert {given.gpus for given in case.given()} == {str(gpu)}
        case.assert_nothing_lives()
    assert fingerprint(cases[0].checkout) == before


def test_without_the_hook(make: Any) -> None:
    """Metrics come from event files; a run that writes none is no success."""
    case = make()
    case.study_of(faults=["", "silent", "nan:2", "ignore_key:policy.optimizer.kwargs.lr"], nemo_rl={"hook": "off"})
    case.run()
    causes = [case.record_of(fault).cause for fault in ("silent", "nan:2", "ignore_key:policy.optimizer.kwargs.lr")]
    assert causes == [Cause.NO_VALUE, Cause.DIVERGED, Cause.IGNORED_KEY]
    assert "ended without a value for `validation/accuracy`" in case.show(case.record_of("silent").number)


# --- nothing goes wrong ----------------------------------------------------------------------------------------------

CLEAN = {  # recipe: number of runs, learning rates that are well, the metric
    "grpo_math_1B.yaml": (16, (3e-7, 6e-6), "validation/accuracy"),
    "grpo_math_1B_megatron.yaml": (8, (3e-7, 6e-6), "validation/accuracy"),
    "dapo.yaml": (8, (3e-7, 6e-6), "validation/accuracy"),
    "ppo_math_1B.yaml": (6, (3e-7, 3e-6), "validation/accuracy"),
    "dpo.yaml": (6, (3e-7, 5e-6), "validation-default/accuracy"),
    "sft.yaml": (6, (2e-6, 3e-5), "validation/val_loss"),
}


@pytest.mark.parametrize("recipe", CLEAN)
def test_no_alarm_where_all_is_well(make: Any, recipe: str) -> None:
    n_trials, (low, high), metric = CLEAN[recipe]
    case = make()
    case.study_of(
        recipe,
        n_trials=n_trials,
        horizon=20,
        period=4,
        search_space={"learning_rate": {"type": "float", "min": low, "max": high, "log": True}},
        evaluation={"metric": metric, "direction": "minimize" if "loss" in metric else "maximize"},
        guards=list(GUARDS),
        nemo_rl={"overrides": {"checkpointing.enabled": True}},
        executor={"setup_minutes": 0.5, "stall_minutes": 0.25, "timeout_minutes": 1.0, "memory_limit": "4GiB"},
    )
    ended = case.run()
    assert ended.code == 0, ended.output
    assert [(r.state, r.cause, r.message) for r in case.records()] == [(TrialState.COMPLETE, None, "")] * n_trials
    for record in case.records():
        log = case.log_of(record.number)
        assert "every key that was set is in the printed `MasterConfig(...)` and step_" in log
        steps = [m.step for m in case.folder.trial(record.number).read_metrics() if "train/loss" in m.metrics]
        assert steps == list(range(1, 21))
    case.assert_nothing_lives()
