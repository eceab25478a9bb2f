"""Checkouts of the stand-in for NeMo RL, and study files that train in them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

STAND_IN = Path(__file__).with_name("stand_in")

VARIABLES = {
    "STAND_IN_PYTHON": sys.executable,
    "STAND_IN_STEP_SECONDS": "0.01",
    "PYTHONUNBUFFERED": "1",
    "TORCH_CUDA_ARCH_LIST": "9.0",  # Megatron wants it, and NVIDIA's container sets it
}
UNSET = ("STAND_IN", "WANDB_API_KEY", "WANDB_MODE", "RLTUNE_METRICS")


class Ended(NamedTuple):
    """How a script ended; `output` is what it printed, both streams."""

    code: int
    output: str


@dataclass(frozen=True)
class Checkout:
    """A copy of the stand-in, where a user's checkout would be."""

    root: Path

    def recipe(self, name: str = "grpo_math_1B.yaml") -> Path:
        return self.root / "examples" / "configs" / name

    def popen(
        self,
        *overrides: str,
        script: str = "run_grpo.py",
        recipe: str | Path = "grpo_math_1B.yaml",
        env: Mapping[str, str] | None = None,
        **how: Any,
    ) -> subprocess.Popen[str]:
        """Start a script on a recipe of the stand-in's, or on one by its whole path."""
        variables = {name: value for name, value in os.environ.items() if name not in UNSET} | VARIABLES | (env or {})
        words = [sys.executable, f"examples/{script}", "--config", str(self.root / "examples/configs" / recipe)]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | how
        heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
        return subprocess.Popen([*words, *overrides], cwd=self.root, env=variables, preexec_fn=heard, **output)  # noqa: PLW1509

    def run(self, *overrides: str, **how: Any) -> Ended:
        """As `popen`, to its end."""
        with self.popen(*overrides, **how) as process:
            output, _ = process.communicate(timeout=60)
        return Ended(process.returncode, output)


def copied(folder: Path) -> Checkout:
    """Bytecode comes along, so that it is compiled once."""
    return Checkout(Path(shutil.copytree(STAND_IN, folder / "NeMo-RL")))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copied(tmp_path)


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One for all tests of a module, which each choose folders of their own."""
    return copied(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def stand_in_root(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a checkout; `uv run` on the path is the stand-in's, as long as the test lasts."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{checkout.root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return checkout.root


@pytest.fixture
def nemo_study(stand_in_root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file for the stand-in."""

    def write(recipe: str = "grpo_math_1B.yaml", *, horizon: int = 20, **sections: Any) -> Path:
        """A study of a recipe's learning rate.

        Args:
            recipe: Of the stand-in's, or a whole path.
            horizon: Steps of a full run.
            sections: Of the study file, instead of those here; `nemo_rl` goes to the trainer's own section, beside
                the recipe and the root.
        """
        own = sections.pop("nemo_rl", {})
        trainer = {"recipe": str(stand_in_root / "examples/configs" / recipe), "root": str(stand_in_root)}
        study = {
            "trainer": {"nemo_rl": {**trainer, **own}, "horizon": horizon},
            "search_space": {"learning_rate": {"type": "float", "min": 5e-7, "max": 5e-5, "log": True}},
            "evaluation": {"metric": "validation/accuracy", "direction": "maximize"},
            **sections,
        }
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps(study, indent=1))
        return path

    return write


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever starts the stand-in takes its time."""
    for item in items:
        if {"checkout", "shared_checkout", "stand_in_root"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
