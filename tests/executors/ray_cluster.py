"""Real Ray clusters of several nodes, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

INHERITED = frozenset(os.environ) - {"RAY_CLIENT_MODE"}
"""The variables of this process before Ray, which is imported below, sets some of its own; it may be imported already,
and then it has set one."""

pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402


@contextmanager
def running_cluster(**head: Any) -> Iterator[Cluster]:
    """A cluster with one node; others are added by `add_node`."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with mock.patch.dict(os.environ, quiet):
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        try:
            yield cluster
        finally:
            cluster.shutdown()
