"""The executor ray against the same contract as the others, on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("ray")

from executors.ray_cluster import running_cluster
from rltune.executors.ray import RayExecutor
from rltune.testing.executor_suite import ExecutorSuite, IsolatedExecutorSuite
from rltune.types import Resources

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_cluster(num_cpus=4) as cluster:
        yield cluster.address


class _OnTheCluster:
    @pytest.fixture(autouse=True)
    def _cluster(self, address: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.options: dict[str, Any] = {"address": address, "ray_log": tmp_path_factory.mktemp("log") / "ray.log"}


class TestTheContract(_OnTheCluster, IsolatedExecutorSuite):
    def make_executor(self, workers: int, resources: Resources) -> RayExecutor:
        return RayExecutor(workers=workers, resources=resources, **self.options)


class TestTheContractWithoutProcesses(_OnTheCluster, ExecutorSuite):
    def make_executor(self, workers: int, resources: Resources) -> RayExecutor:
        return RayExecutor(workers=workers, resources=resources, isolate=False, **self.options)
