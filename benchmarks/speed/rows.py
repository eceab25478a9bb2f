"""Which numbers stand in the table, who is measured for them, and how far each is to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from benchmarks.speed.arms import Arm


class Target(NamedTuple):
    """How far a number is to go; a stretch is further still, and nobody is held to it.

    Attributes:
        of_ratio: It is about the ratio to the peer, not about our own number.
    """

    goal: float
    stretch: float | None = None
    of_ratio: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        better: Which way is better; a ratio above 1 always speaks for ours.
        ours: `arm.number`: which arm, and the name of the number in what it returns.
        peer: Likewise; None where there is nobody to compare with.
    """

    what: str
    unit: str
    better: Literal["more", "less"]
    ours: str
    peer: str | None = None
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


def comparisons(*, quick: bool) -> list[Comparison]:
    """All of them; `quick` asks whether they work, and its figures mean nothing."""

    def n(full: int, small: int) -> int:
        return small if quick else full

    return [
        _trials(n(5, 1), n(1000, 40), n(12, 3), n(100, 8)),
        _ray(n(3, 1), n(60, 6), n(12, 3), n(300, 8)),
        _journal(n(5, 1), n(300, 30)),
        _import(n(9, 1)),
        _memory(n(3, 1), n(1000, 40), n(12, 3)),
        _idle(n(3, 1), n(8, 4), 0.5 if quick else 7.0),
        _starts(n(3, 1), n(10, 2)),
        _suggest(n(3, 1), n(100, 20), n(1000, 40), n(20, 3)),
        _resume(1, n(5000, 100), n(5, 2)),
    ]


def _trials(rounds: int, n: int, n_ray: int, n_reused: int) -> Comparison:
    arms = {
        "ours": Arm("rltune", "ours.trials", {"n": n, "executor": {"name": "local", "workers": 2}}),
        "ray": Arm("Ray Tune", "peers.ray_trials", {"n": n_ray, "reuse_actors": False}, "ray"),
        "reuse": Arm("Ray Tune, reuse_actors", "peers.ray_trials", {"n": n_reused, "reuse_actors": True}, "ray"),
    }
    what = f"no-op trials, a process each, 2 workers: steady rate ({n} trials; peer {n_ray})"
    reused = f"the same, the peer without isolation: steady rate (peer {n_reused} trials)"
    target = Target(60, stretch=200)
    rows = [
        Row(what, "/s", "more", "ours.steady", "ray.steady", target),
        Row("the same, imports and start-up counted", "/s", "more", "ours.per_second", "ray.per_second", target),
        Row(reused, "/s", "more", "ours.steady", "reuse.steady"),
        Row("from the import to the first line of the first trial", "s", "less", "ours.start", "ray.start"),
    ]
    return Comparison("trials", rounds, arms, rows)


def _ray(rounds: int, n: int, n_peer: int, n_shared: int) -> Comparison:
    def ours(n: int, **executor: object) -> Arm:
        return Arm("rltune", "ours.trials", {"n": n, "executor": {"name": "ray", "workers": 2, **executor}}, "ray")

    arms = {
        "process": ours(n),
        "ray": Arm("Ray Tune", "peers.ray_trials", {"n": n_peer, "reuse_actors": False}, "ray"),
        "shared": ours(n_shared, isolate=False),
        "reuse": Arm("Ray Tune, reuse_actors", "peers.ray_trials", {"n": n_shared, "reuse_actors": True}, "ray"),
    }
    what = f"no-op trials through Ray, a process each, 2 workers: steady rate ({n} trials; peer {n_peer})"
    shared = f"the same where trials share processes, on both sides: steady rate ({n_shared} trials)"
    rows = [
        Row(what, "/s", "more", "process.steady", "ray.steady", Target(3, of_ratio=True)),
        Row(shared, "/s", "more", "shared.steady", "reuse.steady", Target(1, of_ratio=True)),
        Row(
            "a process each: from the import to the first trial's first line", "s", "less", "process.start", "ray.start"
        ),
    ]
    return Comparison("ray", rounds, arms, rows)


def _journal(rounds: int, n: int) -> Comparison:
    arms = {
        "ours": Arm("rltune", "ours.trials", {"n": n, "executor": "inline"}),
        "sqlite": Arm("Optuna, SQLite", "peers.optuna_trials", {"n": n, "storage": "sqlite"}, "optuna"),
        "journal": Arm("Optuna, journal", "peers.optuna_trials", {"n": n, "storage": "journal"}, "optuna"),
    }
    what = f"no-op trials in a journal, one process: rate over the whole call ({n} trials)"
    rate, target = "per_second_in_call", Target(215, stretch=1000)
    rows = [
        Row(what, "/s", "more", f"ours.{rate}", f"journal.{rate}", target),
        Row("the same", "/s", "more", f"ours.{rate}", f"sqlite.{rate}"),
    ]
    return Comparison("journal", rounds, arms, rows)


def _import(rounds: int) -> Comparison:
    def start(who: str, *arguments: str, needs: str = "rltune") -> Arm:
        return Arm(who, "peers.start", {"arguments": arguments}, needs)

    arms = {
        "ours": start("rltune", "-c", "import rltune"),
        "help": start("rltune", "-m", "rltune", "--help"),
        "tune": start("rltune", "-c", "from rltune import tune"),
        "optuna": start("import optuna", "-c", "import optuna", needs="optuna"),
        "ray": start("import ray.tune", "-c", "import ray.tune", needs="ray"),
    }
    all_of_it = "from rltune import tune, which loads Optuna and the rest"
    rows = [
        Row("import rltune", "s", "less", "ours.seconds", "optuna.seconds", Target(0.1)),
        Row("import rltune", "s", "less", "ours.seconds", "ray.seconds"),
        Row("rltune --help", "s", "less", "help.seconds", None, Target(0.3)),
        Row(all_of_it, "s", "less", "tune.seconds", "ray.seconds"),
    ]
    return Comparison("import", rounds, arms, rows)


def _memory(rounds: int, n: int, n_ray: int) -> Comparison:
    arms = {
        "ours": Arm("rltune", "ours.resident", {"n": n}),
        "ray": Arm("Ray Tune", "peers.ray_resident", {"n": n_ray}, "ray"),
    }
    what = f"memory while tuning, driver and helpers, without the trials: PSS ({n} trials; peer {n_ray})"
    rows = [
        Row(what, "MB", "less", "ours.pss", "ray.pss", Target(150)),
        Row("the same: sum of RSS", "MB", "less", "ours.rss", "ray.rss"),
        Row("the driver alone: PSS", "MB", "less", "ours.driver_pss", "ray.driver_pss"),
        Row("the driver alone: RSS", "MB", "less", "ours.driver_rss", "ray.driver_rss", Target(150)),
    ]
    return Comparison("memory", rounds, arms, rows)


def _idle(rounds: int, n: int, seconds: float) -> Comparison:
    arms = {
        "ours": Arm("rltune", "ours.idle", {"n": n, "seconds": seconds}),
        "ray": Arm("Ray Tune", "peers.ray_idle", {"n": n, "seconds": seconds}, "ray"),
    }
    what = f"workers' idle share, 2 workers, {n} jobs of {seconds:g} s"
    return Comparison(
        "idle", rounds, arms, [Row(what, "%", "less", "ours.idle_percent", "ray.idle_percent", Target(3))]
    )


def _starts(rounds: int, n: int) -> Comparison:
    rows = [
        Row("start of a function trial, warm", "ms", "less", "ours.warm_ms"),
        Row("start of a function trial, cold", "ms", "less", "ours.cold_ms"),
        Row("start of a command trial, a Python script", "ms", "less", "ours.command_ms"),
    ]
    return Comparison("starts", rounds, {"ours": Arm("rltune", "ours.starts", {"n": n})}, rows)


def _suggest(rounds: int, few: int, many: int, repeat: int) -> Comparison:
    arms, rows = {}, []
    for n in (few, many):
        options = {"n": n, "repeat": repeat}
        arms[f"ours_{n}"] = Arm("rltune", "ours.suggest", options)
        arms[f"optuna_{n}"] = Arm("Optuna, journal", "peers.optuna_suggest", options, "optuna")
        what = f"one suggestion of TPE after {n} trials, 10 parameters"
        rows.append(Row(what, "ms", "less", f"ours_{n}.ms", f"optuna_{n}.ms"))
    return Comparison("suggest", rounds, arms, rows)


def _resume(rounds: int, n: int, repeat: int) -> Comparison:
    rows = [
        Row(f"going on with a study of {n} trials: until the next one starts", "s", "less", "ours.seconds"),
        Row("of which Optuna alone needs, to read that journal", "s", "less", "ours.optuna_seconds"),
    ]
    return Comparison("resume", rounds, {"ours": Arm("rltune", "ours.resume", {"n": n, "repeat": repeat})}, rows)
