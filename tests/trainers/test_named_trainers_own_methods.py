"""What a trainer of one's own may say besides training, and what counts where it says nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from rltune.errors import TrainerError
from rltune.trainers.registry import NamedTrainer, command_line


class Silent:
    def __call__(self, suggestion: object, report: object) -> None: ...


class Telling(Silent):
    def command_line(self, params: dict[str, object]) -> list[str]:
        return [f"--{name}={value}" for name, value in params.items()]

    def tidy(self, directory: Path, *, superseded: bool) -> None:
        (directory / f"tidied-{superseded}").touch()


class Broken(Silent):
    def command_line(self, params: dict[str, object]) -> list[str]:
        raise KeyError("lr")

    def tidy(self, directory: Path, *, superseded: bool) -> None:
        raise OSError("gone")


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_trainers")
    module.__dict__.update(Silent=Silent, Telling=Telling, Broken=Broken)
    monkeypatch.setitem(sys.modules, "own_trainers", module)


def test_what_it_says_counts(tmp_path: Path) -> None:
    trainer = NamedTrainer("own_trainers:Telling")
    assert command_line(trainer, {"lr": 0.5}) == ("--lr=0.5",)
    trainer.tidy(tmp_path, superseded=True)
    assert (tmp_path / "tidied-True").exists()


def test_where_it_says_nothing(tmp_path: Path) -> None:
    trainer = NamedTrainer("own_trainers:Silent")
    assert tuple(command_line(trainer, {"lr": 0.5})) == ("lr=0.5",)
    trainer.tidy(tmp_path, superseded=False)


def test_where_it_fails_it_is_said_whose_fault_it_is(tmp_path: Path) -> None:
    trainer = NamedTrainer("own_trainers:Broken")
    with pytest.raises(TrainerError, match=r"`own_trainers:Broken` failed in command_line\(\): KeyError"):
        command_line(trainer, {"lr": 0.5})
    with pytest.raises(TrainerError, match=r"failed in tidy\(\): OSError: gone"):
        trainer.tidy(tmp_path, superseded=False)
