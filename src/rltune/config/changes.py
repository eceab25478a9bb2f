"""What differs between two versions of a study, and whether trials of the one still count in the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from rltune.config.schema import StudyConfig

FREE = (
    "algorithm",
    "n_trials",
    "budget",
    "timeout_hours",
    "study_patience",
    "pruner",
    "guards",
    "executor",
    "trainer.nemo_rl.pause_seconds",
    "protocol",
    "max_failures_in_a_row",
    "trackers",
    "out",
    "search_space.*.min",
    "search_space.*.max",
    "search_space.*.default",
    "search_space.*.prior",
    "evaluation.cross_validation.race",
    "evaluation.cross_validation.parallel",
)
"""Keys that may change while a study goes on: how much is run, where, and what is proposed next.

All others decide what a trial is, so that trials before and after a change cannot be compared, or Optuna refuses to
keep them in one study: the parameters and their kinds, what is measured, what runs, the seed. The name is that of the
study in its storage: under another one, a new study would begin among the files of the old one.
"""


class Difference(NamedTuple):
    """One key that differs; `None` where it is absent.

    Attributes:
        free: Whether a study may go on with the new value.
    """

    key: str
    old: Any
    new: Any
    free: bool

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}"


def compare(old: StudyConfig, new: StudyConfig) -> list[Difference]:
    """Every key that differs, in the order of the study file."""
    before, after = dict(_leaves(old.to_mapping())), dict(_leaves(new.to_mapping()))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        Difference(".".join(key), before.get(key), after.get(key), _is_free(key, old, new))
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


def differences(old: StudyConfig, new: StudyConfig) -> list[str]:
    """What differs, a line each: `search_space.lr.max: 0.01 -> 0.1`."""
    return [str(difference) for difference in compare(old, new)]


def invalidating(old: StudyConfig, new: StudyConfig) -> list[str]:
    """The differences with which a study cannot go on: empty where its trials still count."""
    return [str(difference) for difference in compare(old, new) if not difference.free]


def _leaves(value: Any, *key: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, *key, name)
    else:
        yield key, value


def _is_free(key: tuple[str, ...], *studies: StudyConfig) -> bool:
    named = key[0] in FREE or (len(key) == 3 and any(fnmatchcase(".".join(key), pattern) for pattern in FREE))
    return named and not (key[0] == "search_space" and _moves_parameter(key, *studies))


def _moves_parameter(key: tuple[str, ...], *studies: StudyConfig) -> bool:
    """Whether only one of the studies has the parameter, or it may be 0 and what stands for that follows its range."""
    specs = [study.search_space.get(key[1]) for study in studies]
    zero = any(isinstance(spec, Mapping) and spec.get("zero") is not None for spec in specs)
    return None in specs or (zero and key[2:] in (("min",), ("max",)))


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return str(value).lower() if isinstance(value, bool) else str(value)
