"""An external command as the trainer: any program in any language, in its own environment."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rltune.errors import Problem, TrainerError
from rltune.folder import TrialDir
from rltune.trainers.child import end_tree, explain_end, last_lines, log_tail
from rltune.trainers.config_text import json_text, merged, overrides, unknown_keys, value_text, yaml_text
from rltune.trainers.context import METRICS_VARIABLE
from rltune.trainers.placeholders import OVERRIDES, fill, fill_all, names_in, problems_in
from rltune.trainers.readers import Reader, Source, printable
from rltune.trainers.readers.jsonl import JsonLines
from rltune.types import Cause, Report, Suggestion
from rltune.worker import TrialFailed

_NOT_FINITE = "probability tensor contains either `inf`, `nan` or element < 0"
"""What PyTorch says, on a CPU and on a GPU, when it is to sample from a policy that is no longer finite. A trainer that
generates, such as TRL's, ends there before a NaN has reached any metric, so that no guard can see it."""


_DEVICES = ("CUDA_VISIBLE_DEVICES",)
"""What executors set for each trial."""


def _pasteable(argv: Sequence[str], cwd: Path, variables: Mapping[str, str]) -> str:
    """A line for a shell. Run by hand, it leaves the trial's own metrics alone."""
    shown = {**variables, METRICS_VARIABLE: os.devnull}
    return (
        f"cd {shlex.quote(str(cwd))} && env {shlex.join([f'{k}={v}' for k, v in shown.items()])} {shlex.join(argv)}\n"
    )


class CommandFailed(TrialFailed):
    """The command did not end well.

    Attributes:
        status: Its exit status; negative for a signal.
    """

    def __init__(self, cause: Cause, message: str, status: int = 1) -> None:
        super().__init__(cause, message)
        self.status = status


@dataclass(frozen=True)
class CommandTrainer:
    """Runs one command per trial and follows its metrics while it runs.

    Lines of JSON that the command appends to the file named by ``RLTUNE_METRICS`` are always read. No shell is
    involved. The command gets the trial's facts in ``RLTUNE_TRIAL``, ``RLTUNE_TRIAL_DIR``, ``RLTUNE_SEED``,
    ``RLTUNE_FOLD``, ``RLTUNE_N_FOLDS``, ``RLTUNE_REPEAT``, ``RLTUNE_HORIZON`` and ``RLTUNE_RESUME_FROM``, as far as
    there are any.

    Attributes:
        argv: The command's words, with placeholders: see `rltune.trainers.placeholders`, and `{name}` for every
            parameter. A word with `{overrides}` becomes one word per parameter.
        base_config: What `{config}` holds beside the parameters.
        metrics: Where else metrics are read.
        env: Variables beyond those of rltune's own environment; placeholders are filled in. Since they may be secret,
            their names alone are kept in the trial's folder.
        public_env: More of them, kept with their values, which are taken as they are; `env` wins.
        cwd: Where it runs; placeholders are filled in. None: rltune's own working directory.
        parameters: All names in the search space, for the placeholders of those that are not always active.
        computed: Of each derived value, what it is computed from.
        config_format: What `{config}` is written as.
        grace_seconds: How long the command has between TERM and KILL.
        paste: Makes the line in `command.txt` of the words that run, the folder where, and the variables.

    Raises:
        TrainerError: `argv` is empty, or one text instead of words.
    """

    argv: Sequence[str]
    base_config: Mapping[str, Any] | None = None
    metrics: Sequence[Source] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    parameters: Sequence[str] = ()
    computed: Mapping[str, Collection[str]] = field(default_factory=dict)
    config_format: Literal["yaml", "json"] = "yaml"
    grace_seconds: float = 10.0
    public_env: Mapping[str, str] = field(default_factory=dict)
    paste: Callable[[Sequence[str], Path, Mapping[str, str]], str] = _pasteable

    def __post_init__(self) -> None:
        if isinstance(self.argv, str):
            words = ", ".join(json.dumps(word) for word in self.argv.split())
            raise TrainerError(f"a command is a list of words, not one text: [{words}]")
        if not self.argv:
            raise TrainerError("a command needs at least one word")
        object.__setattr__(self, "argv", tuple(value_text(word) for word in self.argv))
        object.__setattr__(self, "env", {name: value_text(text) for name, text in self.env.items()})

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None:
        """Run one trial.

        Raises:
            CommandFailed: The command ended with another status than 0, or by a signal.
            TrainerError: It cannot be started; a placeholder has no value; a parameter does not fit the base config.
            TrialStopped: As `report`.
        """
        directory = suggestion.directory.absolute()
        log = TrialDir(directory).log
        argv, cwd = self.render(suggestion), self._cwd(suggestion)
        variables = self._variables(suggestion)
        self._write_files(suggestion, argv, cwd, variables)
        begin = log.stat().st_size if log.exists() else 0
        sources = self._sources()
        readers = [source.open(directory, log) for source in sources]
        wait = min(source.poll_seconds for source in sources)
        process = _start(argv, cwd, os.environ | variables, log)
        try:
            running = True
            while running:
                running = _still_runs(process, wait)  # asked before the last look, so that nothing is missed
                for reader in readers:
                    for measurement in reader.read(last=not running):
                        report(measurement)
        finally:
            end_tree(process, self.grace_seconds)
        if process.returncode != 0:
            raise _failure(process.returncode, log_tail(log, begin), readers)
        _note_skipped(log, readers)
        return None

    def render(self, suggestion: Suggestion) -> tuple[str, ...]:
        """The very words that run for `suggestion`; starts and writes nothing.

        Raises:
            TrainerError: A placeholder has no value in this trial.
        """
        return fill_all(self.argv, self._values(suggestion), suggestion.params)

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What `{config}` holds for `params`.

        Raises:
            TrainerError: A dotted name does not fit the base config.
        """
        return merged(self.base_config, params)

    def check(self, parameters: Sequence[str] = (), *, needs_folds: bool = False) -> list[Problem]:  # noqa: ARG002
        """What is wrong, found without running anything; the places are those of the study file.

        Args:
            parameters: The names in the search space.
            needs_folds: Whether each trial is cross-validated: no concern here, a command finds its fold in its
                environment.
        """
        names = list(dict.fromkeys([*self.parameters, *parameters]))
        problems = [p for i, word in enumerate(self.argv) for p in problems_in(word, names, ("trainer", "command", i))]
        for key, text in self.env.items():
            problems += problems_in(text, names, ("trainer", "env", key))
        if self.cwd is not None:
            problems += problems_in(str(self.cwd), names, ("trainer", "cwd"))
        used = {name for word in (*self.argv, *self.env.values()) for name in names_in(word)}
        return [*problems, *self._unreached(names, used), *self._unknown(names), *self._missing_files()]

    def _unreached(self, names: Sequence[str], used: set[str]) -> list[Problem]:
        if used & {"config", OVERRIDES}:
            return []
        waiting = list(used)
        while waiting:
            behind = set(self.computed.get(waiting.pop(), ())) - used
            used |= behind
            waiting += behind
        hint = "write {config}, {overrides} or the parameter's own name in braces"
        message = "never reaches the command"
        return [Problem(("search_space", name), message, hint) for name in names if name not in used]

    def _unknown(self, names: Sequence[str]) -> list[Problem]:
        dotted = [name for name in names if "." in name]
        return [p.under("search_space") for p in unknown_keys(self.base_config, dotted)] if self.base_config else []

    def _missing_files(self) -> list[Problem]:
        """What the command names, but is not there: the program, its folder, a Python script."""
        if self.cwd is not None and names_in(str(self.cwd)):
            return []
        cwd, place = self.cwd or Path(), ("trainer", "command")
        if not cwd.is_dir():
            return [Problem(("trainer", "cwd"), f"there is no folder {cwd}")]
        program = self.argv[0].replace("{python}", sys.executable)
        if not names_in(program) and (problem := unstartable(program, cwd, os.environ | dict(self.env))):
            return [Problem((*place, 0), problem)]
        script = self.argv[1] if len(self.argv) > 1 and Path(program).name.startswith("python") else ""
        if script.endswith(".py") and not names_in(script) and not (cwd / script).is_file():
            return [Problem((*place, 1), f"there is no file {cwd / script}")]
        return []

    def _sources(self) -> tuple[Source, ...]:
        """Where metrics are read: also from `RLTUNE_METRICS`, unless that file has a description of its own."""
        own = any(isinstance(source, JsonLines) and source.file == JsonLines().file for source in self.metrics)
        return tuple(self.metrics) if own else (JsonLines(), *self.metrics)

    def _cwd(self, suggestion: Suggestion) -> Path:
        return Path(fill(str(self.cwd), self._values(suggestion)) if self.cwd is not None else "").absolute()

    def _config_file(self, suggestion: Suggestion) -> Path:
        return TrialDir(suggestion.directory.absolute()).config.with_suffix(f".{self.config_format}")

    def _values(self, suggestion: Suggestion) -> dict[str, Any]:
        """What the placeholders stand for; None where the trial has nothing."""
        return {
            **suggestion.params,
            "config": self._config_file(suggestion),
            "trial_dir": suggestion.directory.absolute(),
            "number": suggestion.number,
            "seed": suggestion.seed,
            "fold": suggestion.fold,
            "n_folds": suggestion.n_folds,
            "repeat": suggestion.repeat,
            "horizon": suggestion.horizon,
            "resume_from": suggestion.resume_from,
            "python": sys.executable,
        }

    def _variables(self, suggestion: Suggestion) -> dict[str, str]:
        """What is added to the environment."""
        values = self._values(suggestion)
        facts = {
            METRICS_VARIABLE: values["trial_dir"] / JsonLines().file,
            "RLTUNE_TRIAL": suggestion.number,
            "RLTUNE_TRIAL_DIR": values["trial_dir"],
            "RLTUNE_SEED": suggestion.seed,
            "RLTUNE_FOLD": suggestion.fold,
            "RLTUNE_N_FOLDS": suggestion.n_folds,
            "RLTUNE_REPEAT": suggestion.repeat,
            "RLTUNE_HORIZON": suggestion.horizon,
            "RLTUNE_RESUME_FROM": suggestion.resume_from,
            "PYTHONUNBUFFERED": 1,
        }
        theirs = {name: fill(text, values) for name, text in self.env.items()}
        return {name: str(value) for name, value in facts.items() if value is not None} | dict(self.public_env) | theirs

    def _write_files(
        self, suggestion: Suggestion, argv: Sequence[str], cwd: Path, variables: Mapping[str, str]
    ) -> None:
        """Leave in the trial's folder what is needed to run it again by hand."""
        folder = TrialDir(suggestion.directory)
        config = self.config(suggestion.params)
        text = yaml_text(config) if self.config_format == "yaml" else json_text(config)
        self._config_file(suggestion).write_text(text, encoding="utf-8")
        folder.overrides.write_text("".join(f"{line}\n" for line in overrides(suggestion.params)), encoding="utf-8")
        ours = {name: value for name, value in variables.items() if name not in self.env}
        ours |= {name: os.environ[name] for name in _DEVICES if name in os.environ and name not in self.env}
        folder.command.write_text(self.paste(argv, cwd, ours), encoding="utf-8")
        folder.env.write_text(json.dumps(_facts(ours, sorted(self.env)), indent=2) + "\n", encoding="utf-8")


def _start(argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start in the trial's own process group, which its executor can end as a whole."""
    with log.open("ab") as out:
        try:
            return subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            problem = unstartable(argv[0], cwd, env) or f"`{argv[0]}` cannot be started: {error}"
            raise TrainerError(problem) from error


def unstartable(program: str, cwd: Path, env: Mapping[str, str]) -> str | None:
    """Why `program` cannot be started; None where nothing is known against it."""
    if not cwd.is_dir():
        return f"`{program}` cannot be started in {cwd}: there is no such folder"
    if "/" not in program:
        path = env.get("PATH", os.defpath)
        if shutil.which(program, path=path):
            return None
        advice = "; {python} is the Python that runs rltune" if program.startswith("python") else ""
        return f"there is no program `{program}` on PATH ({path}){advice}"
    file = cwd / program
    if not file.is_file():
        return f"there is no program {file}"
    if not os.access(file, os.X_OK):
        return f"{file} is not executable; put the program that runs it before it, such as `python`, or chmod +x"
    return None


def _still_runs(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _failure(status: int, tail: str, readers: Sequence[Reader]) -> CommandFailed:
    cause, how = explain_end(status, tail)
    not_finite = next((line for line in tail.splitlines() if _NOT_FINITE in line), None)
    if cause is Cause.ERROR and not_finite is not None:
        cause, how = Cause.DIVERGED, f"diverged ({how}): {printable(not_finite.strip())}"
    shown = last_lines(tail) or "(it printed nothing)"
    return CommandFailed(cause, "\n".join([how, shown, *_skipped(readers)]), status)


def _note_skipped(log: Path, readers: Sequence[Reader]) -> None:
    """Say at the end of the log what a run that ended well has left unread."""
    if notes := _skipped(readers):
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"rltune: {note}\n" for note in notes)


def _skipped(readers: Sequence[Reader]) -> list[str]:
    return [
        f"{reader.skipped.count} unreadable in {reader.name}, the first: {reader.skipped.first}"
        for reader in readers
        if reader.skipped.count
    ]


def _facts(variables: Mapping[str, str], names: Sequence[str]) -> dict[str, Any]:
    """What the command ran with. Of variables that others set, which may be secret, the names alone."""
    return {
        "set": dict(variables),
        "set_by_study_file": list(names),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "rltune": _version(),
    }


def _version() -> str | None:
    try:
        return metadata.version("rltune")
    except metadata.PackageNotFoundError:  # run from a source tree
        return None
