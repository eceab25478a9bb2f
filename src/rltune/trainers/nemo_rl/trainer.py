"""NeMo RL as the trainer: one start of its own training script a trial, with the trial's values on its command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rltune.errors import InputError, Problem, TrainerError
from rltune.folder import TrialDir
from rltune.trainers.child import log_tail
from rltune.trainers.command import CommandFailed, CommandTrainer, unstartable
from rltune.trainers.nemo_rl import isolation, names
from rltune.trainers.nemo_rl.channel import Channel
from rltune.trainers.nemo_rl.constraints import violations
from rltune.trainers.nemo_rl.failures import explain, judge_end
from rltune.trainers.nemo_rl.grammar import override
from rltune.trainers.nemo_rl.readback import ReadBack
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.trainers.nemo_rl.resume import doubles_iterations, first_schedule, resumed_schedule, steps_key
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.types import Cause, Measurement, Report, Suggestion, TrialStopped
from rltune.worker import Interrupted, TrialFailed

HOOK = Path(__file__).with_name("hook.py")
"""Runs in the trainer's own Python, before the script: an exact channel for metrics, and a clean pause."""

_PLACE = ("trainer", "nemo_rl")
_GPUS = "cluster.gpus_per_node"
_STEP_IS_OVER = ("timing/train/total_step_time", "train/loss")
"""What is logged last of a step, and only then."""

_SETUP = "timing/setup/"
"""What every start logs at step 0, also one that goes on from a checkpoint."""

_SHARE_OF_GRACE = 0.8
"""How much of the grace the script gets: in the rest, the trial tidies up before its executor ends it."""

_NO_FOLDS = Problem(
    ("evaluation", "cross_validation"),
    "does nothing: a recipe of NeMo RL has no key for a fold",
    "remove it; several seeds for the best come with `protocol: full`",
)


@dataclass(frozen=True)
class NemoRlTrainer:
    """Runs NeMo RL's training script once per trial and follows its metrics while it runs.

    Attributes:
        recipe: The recipe, with `overrides` set in it.
        overrides: Values that every trial gets, by dotted key; a key that begins with `++` may be new to the recipe.
        script: The training script, relative to the recipe's root, where it runs.
        launch: What stands before the script: what finds its Python.
        env: Variables beyond those of rltune's own environment. One that rltune sets too is left as it is here.
        horizon: The steps of a full run; None for the recipe's own.
        gpus_per_trial: What the executor gives each trial; 0 where it gives no GPUs out.
        hook: Whether the hook file is put before the script; see `rltune.trainers.nemo_rl.hook`.
        warm_up: Whether one trial runs alone until its first step; see `rltune.trainers.nemo_rl.isolation`.
        keep_checkpoints: What stays of an ended trial; see `rltune.trainers.nemo_rl.isolation.tidy`.
        grace_seconds: How long it has between TERM and KILL.
        pause_seconds: How long a trial that is told to stop may take to finish its step and save a checkpoint, so that
            it can go on from there later; it then keeps all its checkpoints. 0 ends it at once. Needs the hook, and an
            executor that waits at least as long.
    """

    recipe: Recipe
    overrides: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    launch: Sequence[str] = ("uv", "run")
    env: Mapping[str, str] = field(default_factory=dict)
    horizon: int | None = None
    gpus_per_trial: float = 0.0
    hook: Literal["auto", "off"] = "auto"
    warm_up: bool = True
    keep_checkpoints: Literal["best", "all", "none"] = "best"
    grace_seconds: float = 10.0
    pause_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.script:
            object.__setattr__(self, "script", f"examples/run_{self.recipe.algorithm}.py")

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None:
        """Run one trial.

        Raises:
            TrialFailed: It did not end well, ended early, or a key did not reach it.
            TrainerError: It cannot be started, or cannot go on from the checkpoint that it was given.
            TrialStopped: As `report`.
        """
        folder = TrialDir(suggestion.directory.absolute())
        settings = self.settings(suggestion)
        recipe = self.recipe.with_overrides(settings)
        channel = Channel(folder.path, self.pause_seconds if recipe.get("checkpointing.enabled") else 0.0)
        isolation.prepare_checkpoints(folder.checkpoints, suggestion.resume_from)
        resumable = False
        try:
            with self._turn(folder) as warmed, isolation.ray_folder() as temp:
                start = 0 if suggestion.resume_from is None else isolation.step_of(suggestion.resume_from) or 0
                if start and start == recipe.get(steps_key(recipe)):
                    _note(folder.log, f"step {start} was its last, so there is nothing left to train")
                    return None
                progress = _Progress(report, warmed, start, channel, folder.checkpoints)
                self._run(suggestion, settings, recipe, temp, progress)
        except (Interrupted, KeyboardInterrupt):  # it will be asked again, and goes on from its last checkpoint
            resumable = True
            raise
        finally:
            channel.close()
            paused = resumable or channel.until is not None
            _note(folder.log, *self._tidy(folder, recipe, paused=paused))
        return None

    def settings(self, suggestion: Suggestion) -> dict[str, Any]:
        """Every key that is set on the command line of one trial, the trial's own values and those that isolate it.

        Keys that the recipe lacks begin with `++`.

        Raises:
            InputError: A parameter does not fit the recipe.
            TrainerError: The trial cannot go on from the checkpoint that it was given.
        """
        found = dict(self.overrides) | self._trial(suggestion.params, suggestion.horizon)
        found |= self._marked({f"{self.recipe.algorithm}.seed": suggestion.seed} | self._split_seeds())
        recipe = self.recipe.with_overrides(found)
        start = suggestion.resume_from
        found |= self._marked(first_schedule(recipe) if start is None else resumed_schedule(recipe, start))
        found |= self._marked(isolation.settings(recipe, suggestion, os.environ | dict(self.env)))
        return found | self._marked(self._gpus())

    def render(self, suggestion: Suggestion) -> tuple[str, ...]:
        """The very words that run for `suggestion`; starts and writes nothing.

        Raises:
            InputError: A parameter does not fit the recipe.
            TrainerError: A value cannot be written on a command line.
        """
        return self._words(self.settings(suggestion), suggestion.directory)

    def config(self, params: Mapping[str, Any], /) -> dict[str, Any]:
        """The whole recipe for `params`, as NeMo RL composes it, without what isolates a trial.

        Raises:
            TrainerError: A parameter does not fit the recipe.
        """
        try:
            return dict(self.recipe.with_overrides(self._trial(params, None)).values)
        except InputError as error:
            raise TrainerError(str(error)) from error

    def load(self) -> None:
        """What every trial needs: forked processes share it.

        Raises:
            TrainerError: TensorBoard is not installed.
        """
        self.config({})
        TensorBoard(isolation.LOGS).open(Path(), Path())

    def check(self, parameters: Sequence[str] = (), /, *, needs_folds: bool = False) -> list[Problem]:
        """What is wrong, found without training; the places are those of the study file.

        Args:
            parameters: The names in the search space.
            needs_folds: Whether each trial is cross-validated, which NeMo RL has no way to be told.
        """
        return [
            *(p.under("search_space") for p in names.problems(self.recipe, parameters)),
            *self._taken(parameters),
            *self._broken(parameters),
            *self._unfit_gpus(),
            *self._missing(),
            *([_NO_FOLDS] if needs_folds else []),
        ]

    # --- what is set -------------------------------------------------------------------------------------------------

    def _trial(self, params: Mapping[str, Any], horizon: int | None) -> dict[str, Any]:
        """What makes a trial what it is: its length and its parameters, as keys of the recipe."""
        steps = horizon or self.horizon
        length = {} if steps is None else self._marked({steps_key(self.recipe): steps})
        return length | names.expand(self.recipe.with_overrides(length), params)

    def _split_seeds(self) -> dict[str, Any]:
        """Data is split as the recipe does it: were it split by each trial's own seed, trials would not compare."""
        seed = f"{self.recipe.algorithm}.seed"
        leaves = self.recipe.leaves()
        return {k: v for k, v in leaves.items() if k.startswith("data.") and self.recipe.follows(k, seed)}

    def _gpus(self) -> dict[str, Any]:
        return {_GPUS: int(self.gpus_per_trial)} if self.gpus_per_trial >= 1 and self._nodes == 1 else {}

    def _marked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of rltune's own, with `++` before those that the recipe lacks."""
        return {k if k in self.overrides or self.recipe.has(k) else f"++{k}": v for k, v in settings.items()}

    @property
    def _nodes(self) -> int:
        return int(self.recipe.get("cluster.num_nodes") or 1)

    # --- what is wrong -----------------------------------------------------------------------------------------------

    def _taken(self, parameters: Sequence[str]) -> Iterator[Problem]:
        """Keys that rltune itself sets in every trial."""
        algorithm = self.recipe.algorithm
        taken = {**isolation.OWNED, f"{algorithm}.seed": "the seed that the study gives each trial"}
        if self.horizon is not None:
            taken[steps_key(self.recipe)] = f"trainer.horizon, {self.horizon}"
        if self.gpus_per_trial >= 1 and self._nodes == 1:
            taken[_GPUS] = f"executor.gpus_per_trial, {self.gpus_per_trial:g}"
        for name in parameters:
            for key in taken.keys() & {name, *self._keys_of(name)}:
                message = f"`{key}` is set by rltune in every trial: {taken[key]}"
                yield Problem(("search_space", name), message, "remove it")
        for key in self.overrides:
            if (what := taken.get(key.removeprefix("++"))) and key != _GPUS:
                yield Problem((*_PLACE, "overrides", key), f"does nothing: rltune sets it to {what}", "remove it")

    def _broken(self, parameters: Sequence[str]) -> Iterator[Problem]:
        """Rules of NeMo RL that the recipe breaks by itself, whatever is tuned."""
        tuned = {key for name in parameters for key in (name, *self._keys_of(name))}
        for violation in violations(self.recipe, os.environ | dict(self.env)):
            if not tuned & set(violation.keys):
                yield Problem((*_PLACE, "recipe"), violation.message, violation.hint)

    def _unfit_gpus(self) -> Iterator[Problem]:
        given, needed = self.gpus_per_trial, self.recipe.get(_GPUS)
        if 0 < given < 1 or given % 1:
            message = f"must be a whole number for NeMo RL, which takes whole GPUs, got {given:g}"
            yield Problem(("executor", "gpus_per_trial"), message)
        elif given and self._nodes == 1 and needed != given:
            hint = f"give executor.gpus_per_trial: {needed}, or set {_GPUS}: {given:g} in trainer.nemo_rl.overrides"
            message = f"is {given:g}, and the recipe needs {needed} ({_GPUS})"
            yield Problem(("executor", "gpus_per_trial"), message, hint)

    def _missing(self) -> Iterator[Problem]:
        """What is to run, but is not there."""
        root = self.recipe.root
        if not (root / self.script).is_file():
            hint = "give trainer.nemo_rl.root, the checkout of NeMo RL, and trainer.nemo_rl.script, relative to it"
            yield Problem((*_PLACE, "script"), f"there is no script {root / self.script}", hint)
        if problem := unstartable(self.launch[0], root, os.environ | dict(self.env)) if self.launch else None:
            yield Problem((*_PLACE, "launch"), problem, "as in [uv, run], or the path of the Python that NeMo RL is in")
        if find_spec("tensorboard") is None:
            yield Problem(_PLACE, "needs TensorBoard to read metrics", "pip install 'rltune[tensorboard]'")

    def _keys_of(self, name: str) -> Sequence[str]:
        """The keys that one name sets; none where it is no name, which is a problem of its own."""
        try:
            return list(names.expand(self.recipe, {name: names.value_of(self.recipe, name)}))
        except InputError:
            return []

    # --- running -----------------------------------------------------------------------------------------------------

    def _words(self, settings: Mapping[str, Any], directory: Path) -> tuple[str, ...]:
        path, root = self.recipe.path, self.recipe.root
        config = path.relative_to(root) if path.is_relative_to(root) else path  # relative: it may run in a container
        hook = [str(directory.absolute() / HOOK.name)] if self.hook == "auto" else []
        words = [override(k.removeprefix("++"), value, new=k.startswith("++")) for k, value in settings.items()]
        return (*self.launch, *hook, self.script, "--config", str(config), *words)

    def _run(
        self, suggestion: Suggestion, settings: Mapping[str, Any], recipe: Recipe, temp: Path, progress: _Progress
    ) -> None:
        folder, channel = TrialDir(suggestion.directory.absolute()), progress.channel
        log = folder.log
        begin = log.stat().st_size if log.exists() else 0
        asked = {key: recipe.get(key) for key in (name.removeprefix("++") for name in settings)}
        lasting = {key for key in asked if key != isolation.LOG_DIR and not doubles_iterations(recipe, key)}
        gate = ReadBack(asked, lasting)
        if self.hook == "auto":
            shutil.copyfile(HOOK, folder.path / HOOK.name)  # a container sees the trial's folder, not rltune's
        command = CommandTrainer(
            [_literal(word) for word in self._words(settings, folder.path)],
            base_config=recipe.values,
            metrics=(gate, channel),
            env={name: _literal(text) for name, text in self.env.items()},
            public_env=channel.variables() | isolation.environment(recipe, temp, self.env),
            cwd=Path(_literal(str(recipe.root))),
            grace_seconds=_SHARE_OF_GRACE * self.grace_seconds,
        )
        try:
            command(replace(suggestion, params=asked), progress)
        except CommandFailed as error:
            if channel.until is not None:
                raise TrialStopped from error
            failure = explain(error.status, log_tail(log, begin), known=error.cause)
            shown = str(error).partition("\n")[2]
            raise TrialFailed(failure.cause, f"{failure.message}\n{shown}", again=failure.again) from error
        if channel.until is not None:
            _note(
                log,
                f"paused; its newest checkpoint is of step {max(isolation.steps_in(folder.checkpoints), default=0)}",
            )
            raise TrialStopped
        end = judge_end(recipe, progress.done, log_tail(log, begin))
        if end.problem:
            raise TrialFailed(Cause.ERROR, end.problem)
        _note(log, gate.note(), end.note, channel.note() if self.hook == "auto" else "")

    def _turn(self, folder: TrialDir) -> AbstractContextManager[Callable[[], None]]:
        """Alone until the first step, where nobody has taken one yet."""
        if not self.warm_up:
            return nullcontext(lambda: None)
        return isolation.warm_up(folder, lambda text: _note(folder.log, text))

    def _tidy(self, folder: TrialDir, recipe: Recipe, *, paused: bool) -> list[str]:
        higher, metric = recipe.get("checkpointing.higher_is_better"), recipe.get("checkpointing.metric_name")
        keep = "all" if paused else self.keep_checkpoints
        return isolation.tidy(folder.path, keep, higher_is_better=bool(higher), metric=metric)


@dataclass
class _Progress:
    """Passes measurements on, and keeps the last step that is over.

    Attributes:
        warmed: Called at each measurement of a step from the first on.
        start: The step of the checkpoint that it goes on from.
        channel: Where a trial that is told to stop may be told to pause instead.
        checkpoints: Where they appear; each is told of once, with its own step.
    """

    report: Report
    warmed: Callable[[], None]
    start: int
    channel: Channel
    checkpoints: Path
    done: int = 0
    saved: int = 0

    def __call__(self, measurement: Measurement, /) -> None:
        """Pass one on.

        Raises:
            TrialFailed: The first step that is over is not the first that there is to take.
            TrialStopped: As `report`.
        """
        if measurement.step > 0:
            self.warmed()
        elif self.start and all(tag.startswith(_SETUP) for tag in measurement.metrics):
            return  # of this start: the run itself goes on at a later step
        if any(tag in measurement.metrics for tag in _STEP_IS_OVER):
            if not self.done and measurement.step > self.start + 1:
                found = f"its first step was {measurement.step} instead of {self.start + 1}"
                raise TrialFailed(Cause.ERROR, f"{found}: it went on from a checkpoint that it was not given")
            self.done = max(self.done, measurement.step)
        if self.channel.until is not None:  # it has been told to stop, and nobody asks any more
            return
        try:
            self.report(measurement)
            self._tell_of_checkpoints()
        except TrialStopped:
            if not self.channel.pause():
                raise

    def _tell_of_checkpoints(self) -> None:
        """Of those whose steps have been passed on: a run that goes on from one has the measurements before it."""
        for step, folder in isolation.steps_in(self.checkpoints).items():
            if max(self.saved, self.start) < step <= self.done:
                self.saved = step
                self.report(Measurement(step, {}, checkpoint=str(folder)))


def _literal(text: str) -> str:
    """A word of a command in which nothing is a placeholder."""
    return text.replace("{", "{{").replace("}", "}}")


def _note(log: Path, *lines: str) -> None:
    """Adds what a user should know to the end of the trial's log."""
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"rltune: {line}\n" for line in lines if line)
