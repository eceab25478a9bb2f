"""The command line over Ray: what it prints, and what is left when it is interrupted or killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")

from fault_harness import Case, assert_sound, wait_for
from ray.cluster_utils import Cluster

from executors.ray_cluster import running_cluster
from rltune.types import Cause

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

START_SECONDS = 60.0
"""Ray starts within this, also where this machine does other work."""

INTERRUPTED, PREEMPTED = 130, 75


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(num_cpus=2) as cluster:
        yield cluster


def on_ray(**executor: Any) -> dict[str, Any]:
    return {"name": "ray", **executor}


def living(case: Case) -> list[int]:
    """Of the trials that have begun: a cluster's processes do not carry the study's mark."""
    return [note.pid for note in case.notes() if psutil.pid_exists(note.pid)]


class TestOnThisMachine:
    def test_it_speaks_with_one_voice(self, case: Case) -> None:
        case.write(n_trials=4, workers=2, executor=on_ray())
        ended = case.run(seconds=START_SECONDS)
        assert ended.code == 0
        assert "4 trials" in ended.output
        assert "raylet" not in ended.output
        assert "WARN" not in ended.output
        assert "INFO" not in ended.output
        assert "Ray instance" in case.folder.ray_log.read_text()
        case.assert_nothing_lives(10.0)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, PREEMPTED), (signal.SIGKILL, -9)])
    def test_ended_from_outside_it_leaves_nothing_and_goes_on(self, case: Case, number: int, code: int) -> None:
        case.write(n_trials=4, workers=2, steps=40, seconds=0.05, executor=on_ray())
        session = case.start()
        case.wait_for_trials(3, seconds=START_SECONDS)
        session.send(number)
        assert session.end().code == code
        case.assert_nothing_lives(10.0)
        assert len(case.complete()) < 4
        assert case.run(seconds=START_SECONDS).code == 0
        assert_sound(case)
        assert len(case.complete()) == 4
        case.assert_nothing_lives(10.0)


class TestOnACluster:
    @pytest.mark.parametrize(
        ("number", "code", "cause"),
        [(signal.SIGINT, INTERRUPTED, Cause.INTERRUPTED), (signal.SIGKILL, -9, Cause.LOST)],
    )
    def test_it_ends_what_it_left_there_and_goes_on(
        self, case: Case, cluster: Cluster, number: int, code: int, cause: Cause
    ) -> None:
        case.write(n_trials=6, steps=40, seconds=0.05, executor=on_ray(workers=2, address=cluster.address))
        session = case.start()
        case.wait_for_trials(3, seconds=START_SECONDS)
        session.send(number)
        assert session.end().code == code
        wait_for(lambda: not living(case), 15.0, "the end of the trials")
        assert case.run(seconds=START_SECONDS).code == 0
        assert_sound(case)
        assert len(case.complete()) == 6
        assert cause in {record.cause for record in case.records()}
        assert not living(case)
        assert cluster.head_node.live_processes()
        assert not cluster.head_node.dead_processes()

    def test_gone_on_with_at_once(self, case: Case, cluster: Cluster) -> None:
        """Before the cluster has noticed that the first driver is dead, which holds all of its room."""
        case.write(n_trials=4, steps=20, seconds=0.05, executor=on_ray(workers=2, address=cluster.address))
        session = case.start()
        case.wait_for_trials(2, seconds=START_SECONDS)
        session.send(signal.SIGKILL)
        session.end()
        assert case.run(seconds=START_SECONDS).code == 0
        assert_sound(case)
        assert len(case.complete()) == 4
