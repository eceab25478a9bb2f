"""One study in which a trial goes wrong in every way there is, as a function and as a command: only that trial suffers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_harness import Case

FAULTS = {
    1: "raises",
    2: "crashes",
    3: "is_killed",
    5: "eats_memory",
    6: "leaves_children",
    7: "leaves_children_and_hangs",
    8: "ignores_term",
    9: "prints_much",
    10: "closes_stdout",
    11: "exits_silently",
    12: "bad_metric_nan",
    13: "bad_metric_inf",
    14: "bad_metric_text",
    15: "bad_metric_missing",
    16: "bad_metric_none",
    17: "exits_well_too_soon",
}
N_TRIALS = 19


@pytest.fixture(scope="module", params=["function", "command"])
def gone_wrong(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The study, after its end."""
    case = Case(tmp_path_factory.mktemp(request.param))
    case.kind = request.param
    case.write(
        kind=request.param,
        n_trials=N_TRIALS,
        workers=2,
        faults=FAULTS,
        steps=2,
        max_failures_in_a_row=100,
        executor={"memory_limit": "300MB", "timeout_minutes": 0.03, "grace_seconds": 0.3},
    )
    case.ended = case.run()
    case.left = case.processes()
    yield case
    case.close()


def test_x(gone_wrong):
    print(gone_wrong.ended)
    print(gone_wrong.left)
    for r in gone_wrong.records():
        print(r.number, FAULTS.get(r.number), r.state.name, r.cause, repr(r.message), r.metrics)
