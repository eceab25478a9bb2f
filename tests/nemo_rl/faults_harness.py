"""Studies of the stand-in for NeMo RL in which single trials go wrong, run as a user runs them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from faults.fault_harness import Case
from rltune.records import TrialRecord

STAND_IN = Path(__file__).with_name("stand_in")

GUARDS = (
    "divergence",
    "kl",
    "grad_norm",
    "no_signal",
    "collapse",
    "truncation",
    "hacking",
    {"name": "mismatch", "mode": "kill"},
)
"""All there are, each so that it ends a trial."""

LAUNCHER = '''\
"""Runs the command after it with the switches of the stand-in that are this trial's turn, and notes what it was given.

The first start of the study gets the first of `faults`, and so on; a configuration that is asked again gets none.
`lingers` is a command that does not end after its work.
"""
import json, os, subprocess, sys, time
from itertools import count
from pathlib import Path

here, trial, seed = Path(__file__).parent, os.environ["RLTUNE_TRIAL"], os.environ["RLTUNE_SEED"]


def taken(name):
    """Whether somebody else has been here before; a folder is made once."""
    try:
        (here / name).mkdir()
    except FileExistsError:
        return True
    return False


faults = json.loads((here / "faults.json").read_text())
fault = faults["always"]
if not taken(f"seed-{seed}"):
    turn = next(n for n in count() if not taken(f"turn-{n}"))
    fault = faults["in_turn"][turn] if turn < len(faults["in_turn"]) else fault
gpus, ray = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["RAY_TMPDIR"]
row = {"trial": int(trial), "fault": fault, "gpus": gpus, "ray": ray}
with (here / "given.jsonl").open("a") as file:
    file.write(json.dumps(row) + "\\n")
if fault != "busy_port":  # the same trial starts again, with other ports
    with (here / "ledger.txt").open("a") as file:
        file.write(f"started {trial} {seed} {os.getpid()}\\n")
if fault == "lingers":
    subprocess.call(sys.argv[1:])
    time.sleep(60)
os.environ["STAND_IN"] = fault
os.execv(sys.argv[1], sys.argv[1:])
'''


class Given(NamedTuple):
    """What a trial was started with.

    Attributes:
        fault: Switches of the stand-in's.
        gpus: `CUDA_VISIBLE_DEVICES`; None where it was not set.
        ray: The folder of its Ray cluster's files.
    """

    trial: int
    fault: str
    gpus: str | None
    ray: str


@dataclass
class NemoCase(Case):
    """A study of a recipe in a checkout of the stand-in; other studies may use the same checkout.

    Attributes:
        checkout: Made where it is not there yet.
    """

    checkout: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.checkout.exists():
            shutil.copytree(STAND_IN, self.checkout)

    def study_of(
        self,
        recipe: str = "grpo_math_1B.yaml",
        *,
        faults: Sequence[str] = (),
        always: str = "",
        horizon: int = 6,
        period: int = 2,
        n_trials: int = 0,
        gpus: Sequence[int] = (0, 1),
        nemo_rl: Mapping[str, Any] | None = None,
        executor: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """Writes the study file and the launcher.

        Args:
            recipe: Of the stand-in's.
            faults: Switches of the stand-in for the first start, the second, and so on; empty where all goes well,
                `lingers` where it does not end after its last step.
            always: For all further ones, and for those that are asked again.
            horizon: Steps of a trial.
            period: Steps between validations, and between checkpoints.
            n_trials: As many as there are faults, where it is 0.
            gpus: One trial at a time on each.
            nemo_rl: Keys of the trainer's own section.
            executor: Keys of that section.
            changes: Other keys of the study file.
        """
        (self.root / "launcher.py").write_text(LAUNCHER)
        (self.root / "faults.json").write_text(json.dumps({"in_turn": list(faults), "always": always}))
        section = recipe.partition("_")[0].removesuffix(".yaml").replace("dapo", "grpo")
        periods = {f"{section}.val_period": period, "checkpointing.save_period": period}
        env = {
            "STAND_IN_PYTHON": sys.executable,
            "STAND_IN_STEP_SECONDS": "0.005",
            "TORCH_CUDA_ARCH_LIST": "9.0",
            "WANDB_MODE": "offline",
        }
        trainer = {
            "root": str(self.checkout),
            "recipe": f"examples/configs/{recipe}",
            "launch": [sys.executable, str(self.root / "launcher.py"), str(self.checkout / "bin" / "uv"), "run"],
            **(nemo_rl or {}),
            "env": env | dict((nemo_rl or {}).get("env", {})),
            "overrides": periods | dict((nemo_rl or {}).get("overrides", {})),
        }
        one_each = {"workers": len(gpus), "gpus": list(gpus), "gpus_per_trial": 1, "grace_seconds": 1.0}
        study = {
            "name": self.name,
            "out": "runs",
            "algorithm": "random",
            "protocol": "simple",
            "n_trials": n_trials or len(faults),
            "trainer": {"nemo_rl": trainer, "horizon": horizon},
            "search_space": {"learning_rate": {"type": "float", "min": 5e-7, "max": 5e-6, "log": True}},
            "evaluation": {"metric": "validation/accuracy", "direction": "maximize"},
            "executor": {**one_each, **(executor or {})},
            "max_failures_in_a_row": 100,
            **changes,
        }
        self.file.write_text(json.dumps(study))  # JSON is YAML

    def given(self) -> list[Given]:
        """What each trial was started with, in the order of their starts."""
        file = self.root / "given.jsonl"
        return [Given(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def record_of(self, fault: str) -> TrialRecord:
        """The one trial that was given `fault`."""
        (number,) = (given.trial for given in self.given() if given.fault == fault)
        return self.records()[number]

    def show(self, number: int) -> str:
        """What `rltune show` prints, as one line."""
        return " ".join(self.call("show", str(number), str(self.folder.path)).output.split())

    def log_of(self, number: int) -> str:
        return self.folder.trial(number).log.read_text()


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below a folder but for bytecode, with a digest of what it holds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
