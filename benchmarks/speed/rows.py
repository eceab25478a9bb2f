"""Which numbers stand in the table, who is measured for them, and how far each is to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from benchmarks.speed.arms import Arm


class Target(NamedTuple):
    """How far a number is to go; a stretch is further still, and nobody is held to it."""

    goal: float
    stretch: float | None = None


class Figure(NamedTuple):
    """One number of one arm: the arm's letter, and the name of the number in what it returns."""

    arm: str
    number: str


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        better: Which way is better; a ratio above 1 always speaks for ours.
    """

    what: str
    unit: str
    better: Literal["more", "less"]
    ours: Figure
    peer: Figure | None = None
    target: Target | None = None


@dataclass(frozen=True)
class Comparison:
    """Arms that are run in turn, round by round, and the rows that follow from them.

    Attributes:
        name: For `--only`.
    """

    name: str
    rounds: int
    arms: Mapping[str, Arm]
    rows: Sequence[Row]


RAY = "Ray Tune"
RAY_REUSE = "Ray Tune, reuse_actors"


def comparisons(*, quick: bool) -> list[Comparison]:
    """All of them; `quick` asks whether they work, and its figures mean nothing."""

    def n(full: int, small: int) -> int:
        return small if quick else full

    rounds = 1 if quick else 5
    noops = n(1000, 40)
    ray_noops, ray_reused = n(12, 3), n(100, 8)
    journalled = n(300, 30)
    jobs, seconds = n(8, 4), 0.5 if quick else 7.0
    few, many = n(100, 20), n(1000, 40)
    resumed = n(5000, 100)
    return [
        Comparison(
            "trials",
            rounds,
            {
                "ours": Arm("rltune", "ours.trials", {"n": noops, "executor": {"name": "local", "workers": 2}}),
                "ray": Arm(RAY, "peers.ray_trials", {"n": ray_noops, "reuse_actors": False}, "ray"),
                "reuse": Arm(RAY_REUSE, "peers.ray_trials", {"n": ray_reused, "reuse_actors": True}, "ray"),
            },
            [
                Row(
                    f"no-op trials, a process each, 2 workers: steady rate ({noops} trials; peer {ray_noops})",
                    "/s",
                    "more",
                    Figure("ours", "steady"),
                    Figure("ray", "steady"),
                    Target(60, 200),
                ),
                Row(
                    "the same, imports and start-up counted",
                    "/s",
                    "more",
                    Figure("ours", "per_second"),
                    Figure("ray", "per_second"),
                    Target(60, 200),
                ),
                Row(
                    f"the same, the peer without isolation: steady rate (peer {ray_reused} trials)",
                    "/s",
                    "more",
                    Figure("ours", "steady"),
                    Figure("reuse", "steady"),
                ),
                Row(
                    "from the import to the first line of the first trial",
                    "s",
                    "less",
                    Figure("ours", "start"),
                    Figure("ray", "start"),
                ),
            ],
        ),
        Comparison(
            "journal",
            rounds,
            {
                "ours": Arm("rltune", "ours.trials", {"n": journalled, "executor": "inline"}),
                "sqlite": Arm("Optuna, SQLite", "peers.optuna_trials", {"n": journalled, "storage": "sqlite"}),
                "journal": Arm("Optuna, journal", "peers.optuna_trials", {"n": journalled, "storage": "journal"}),
            },
            [
                Row(
                    f"no-op trials on disk, one process: rate over the whole call ({journalled} trials)",
                    "/s",
                    "more",
                    Figure("ours", "per_second_in_call"),
                    Figure("journal", "per_second_in_call"),
                    Target(215, 1000),
                ),
                Row(
                    "the same",
                    "/s",
                    "more",
                    Figure("ours", "per_second_in_call"),
                    Figure("sqlite", "per_second_in_call"),
                ),
            ],
        ),
        Comparison(
            "import",
            1 if quick else 9,
            {
                "ours": Arm("rltune", "peers.start", {"arguments": ["-c", "import rltune"]}),
                "help": Arm("rltune", "peers.start", {"arguments": ["-m", "rltune", "--help"]}),
                "tune": Arm("rltune", "peers.start", {"arguments": ["-c", "from rltune import tune"]}),
                "optuna": Arm("import optuna", "peers.start", {"arguments": ["-c", "import optuna"]}),
                "ray": Arm("import ray.tune", "peers.start", {"arguments": ["-c", "import ray.tune"]}, "ray"),
            },
            [
                Row(
                    "import rltune",
                    "s",
                    "less",
                    Figure("ours", "seconds"),
                    Figure("optuna", "seconds"),
                    Target(0.1),
                ),
                Row("import rltune", "s", "less", Figure("ours", "seconds"), Figure("ray", "seconds")),
                Row("rltune --help", "s", "less", Figure("help", "seconds"), None, Target(0.3)),
                Row(
                    "from rltune import tune, which loads Optuna and the rest",
                    "s",
                    "less",
                    Figure("tune", "seconds"),
                    Figure("ray", "seconds"),
                ),
            ],
        ),
        Comparison(
            "memory",
            1 if quick else 3,
            {
                "ours": Arm("rltune", "ours.resident", {"n": noops}),
                "ray": Arm("Ray Tune", "peers.ray_resident", {"n": ray_noops}, "ray"),
            },
            [
                Row(
                    f"memory, driver and helpers while tuning, trials left out: PSS ({noops} trials)",
                    "MB",
                    "less",
                    Figure("ours", "pss"),
                    Figure("ray", "pss"),
                    Target(150),
                ),
                Row("the driver alone: PSS", "MB", "less", Figure("ours", "driver_pss"), Figure("ray", "driver_pss")),
                Row(
                    "the driver alone: RSS",
                    "MB",
                    "less",
                    Figure("ours", "driver_rss"),
                    Figure("ray", "driver_rss"),
                    Target(150),
                ),
                Row("driver and helpers: sum of RSS", "MB", "less", Figure("ours", "rss"), Figure("ray", "rss")),
            ],
        ),
        Comparison(
            "idle",
            1 if quick else 3,
            {
                "ours": Arm("rltune", "ours.idle", {"n": jobs, "seconds": seconds}),
                "ray": Arm("Ray Tune", "peers.ray_idle", {"n": jobs, "seconds": seconds}, "ray"),
            },
            [
                Row(
                    f"workers' idle share, 2 workers, {jobs} jobs of {seconds:g} s",
                    "%",
                    "less",
                    Figure("ours", "idle_percent"),
                    Figure("ray", "idle_percent"),
                    Target(3),
                ),
            ],
        ),
        Comparison(
            "starts",
            1 if quick else 3,
            {"ours": Arm("rltune", "ours.starts", {"n": n(10, 2)})},
            [
                Row("start of a function trial, warm", "ms", "less", Figure("ours", "warm_ms")),
                Row("start of a function trial, cold", "ms", "less", Figure("ours", "cold_ms")),
                Row("start of a command trial, a Python script", "ms", "less", Figure("ours", "command_ms")),
            ],
        ),
        Comparison(
            "suggest",
            1 if quick else 3,
            {
                "few": Arm("rltune", "ours.suggest", {"n": few, "repeat": n(20, 3)}),
                "few_optuna": Arm("Optuna, journal", "peers.optuna_suggest", {"n": few, "repeat": n(20, 3)}, "optuna"),
                "many": Arm("rltune", "ours.suggest", {"n": many, "repeat": n(20, 3)}),
                "many_optuna": Arm(
                    "Optuna, journal", "peers.optuna_suggest", {"n": many, "repeat": n(20, 3)}, "optuna"
                ),
            },
            [
                Row(
                    f"one suggestion of TPE after {few} trials, 10 parameters",
                    "ms",
                    "less",
                    Figure("few", "ms"),
                    Figure("few_optuna", "ms"),
                ),
                Row(
                    f"one suggestion of TPE after {many} trials",
                    "ms",
                    "less",
                    Figure("many", "ms"),
                    Figure("many_optuna", "ms"),
                ),
            ],
        ),
        Comparison(
            "resume",
            1,
            {
                "ours": Arm("rltune", "ours.resume", {"n": resumed, "repeat": n(5, 2)}),
            },
            [
                Row(
                    f"going on with a study of {resumed} trials: until the next trial starts",
                    "s",
                    "less",
                    Figure("ours", "seconds"),
                ),
                Row(
                    "of which Optuna alone needs, to read that journal",
                    "s",
                    "less",
                    Figure("ours", "optuna_seconds"),
                ),
            ],
        ),
    ]
