"""NeMo RL as the trainer: one start of its own training script a trial, with the trial's values on its command line."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rltune.errors import InputError, Problem, TrainerError
from rltune.folder import TrialDir
from rltune.space.expressions import Expression
from rltune.trainers.child import log_tail
from rltune.trainers.command import CommandFailed, CommandTrainer, unstartable
from rltune.trainers.nemo_rl import isolation, names, replay
from rltune.trainers.nemo_rl.channel import Channel
from rltune.trainers.nemo_rl.constraints import violations
from rltune.trainers.nemo_rl.failures import explain, has_paused, judge_end
from rltune.trainers.nemo_rl.grammar import override
from rltune.trainers.nemo_rl.readback import ReadBack
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.trainers.nemo_rl.resume import doubles_iterations, first_schedule, resumed_schedule, steps_key
from rltune.trainers.readers.tensorboard import TensorBoard
from rltune.types import HORIZON, Cause, Measurement, Report, Suggestion, TrialStopped
from rltune.worker import Interrupted, TrialFailed

HOOK = Path(__file__).with_name("hook.py")
"""Runs in the trainer's own Python, before the script: an exact channel for metrics, and a clean pause."""

_PLACE = ("trainer", "nemo_rl")
_GPUS = "cluster.gpus_per_node"
_STEP_IS_OVER = ("timing/train/total_step_time", "train/loss")
"""What is logged last of a step, and only then."""

_SETUP = "timing/setup/"
"""What every start logs at step 0, also one that goes on from a checkpoint."""

_SAVES = "checkpointing.enabled"

_WANDB = "logger.wandb_enabled"

_WANDB_NOTES: Mapping[isolation.Wandb, str] = {
    "off": f"W&B was off, though the recipe turns it on: no login was found; `{_WANDB}: true` among trainer.nemo_rl."
    "overrides logs offline then",
    "offline": "W&B was offline, since no login was found; `wandb sync` uploads what lies in the trial's logs, and "
    "WANDB_MODE in trainer.nemo_rl.env decides otherwise",
}

_PORT_WAITS = (1.0, 4.0)
"""Seconds before a second and a third start, where a port was taken."""

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
        derived: Values that follow from parameters: formulas by name or dotted key. Only `check` looks at them.
        gpus_per_trial: What the executor gives each trial; 0 where it gives no GPUs out.
        hook: Whether the hook file is put before the script; see `rltune.trainers.nemo_rl.hook`.
        warm_up: Whether one trial runs alone until its first step; see `rltune.trainers.nemo_rl.isolation`.
        keep_checkpoints: What stays of an ended trial; see `rltune.trainers.nemo_rl.isolation.tidy`.
        grace_seconds: How long it has between TERM and KILL.
    """

    recipe: Recipe
    overrides: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    launch: Sequence[str] = ("uv", "run")
    env: Mapping[str, str] = field(default_factory=dict)
    horizon: int | None = None
    derived: Mapping[str, Expression] = field(default_factory=dict)
    gpus_per_trial: float = 0.0
    hook: Literal["auto", "off"] = "auto"
    warm_up: bool = True
    keep_checkpoints: Literal["best", "all", "none"] = "best"
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.script:
            object.__setattr__(self, "script", f"examples/run_{self.recipe.algorithm}.py")

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None:
        """Run one trial.

        From its first step on it can be asked to pause, see `TrialDir.pausable`: it finishes the step that it is at.

        Raises:
            TrialFailed: It did not end well, ended early, or a key did not reach it; or it was asked to pause, and has.
            TrainerError: It cannot be started, or cannot go on from the checkpoint that it was given.
            TrialStopped: As `report`.
        """
        folder = TrialDir(suggestion.directory.absolute())
        settings = self.settings(suggestion)
        recipe = self.recipe.with_overrides(settings)
        channel = Channel(folder.path)
        isolation.prepare_checkpoints(folder.checkpoints, suggestion.resume_from, self._best_up_to(suggestion))
        resumable = False
        try:
            with self._turn(folder) as warmed, isolation.ray_folder() as temp:
                start = 0 if suggestion.resume_from is None else isolation.step_of(suggestion.resume_from) or 0
                if start and start == recipe.get(steps_key(recipe)):
                    _note(folder.log, f"step {start} was its last, so there is nothing left to train")
                    return None
                progress = _Progress(report, warmed, start, channel, folder, bool(recipe.get(_SAVES)))
                self._start(suggestion, temp, progress)
        except (Interrupted, KeyboardInterrupt, TrialStopped):  # it may be asked again, and go on from its last one
            resumable = True
            raise
        except TrialFailed as error:
            resumable = error.cause in (Cause.LOST, Cause.INTERRUPTED)
            raise
        finally:
            folder.pausable.unlink(missing_ok=True)
            _note(folder.log, *self._tidy(folder, "checkpoints" if resumable else self.keep_checkpoints))
        return None

    def settings(self, suggestion: Suggestion, start: int = 0) -> dict[str, Any]:
        """Every key that is set on the command line of one trial, the trial's own values and those that isolate it.

        Keys that the recipe lacks begin with `++`.

        Args:
            suggestion: The trial.
            start: How many starts of it have found a port taken.

        Raises:
            InputError: A parameter does not fit the recipe.
            TrainerError: The trial cannot go on from the checkpoint that it was given.
        """
        found = dict(self.overrides) | self._trial(suggestion.params, suggestion.horizon)
        found |= self._marked({f"{self.recipe.algorithm}.seed": suggestion.seed} | self._split_seeds())
        recipe = self.recipe.with_overrides(found)
        checkpoint, env = suggestion.resume_from, os.environ | dict(self.env)
        found |= self._marked(first_schedule(recipe) if checkpoint is None else resumed_schedule(recipe, checkpoint))
        own = isolation.settings(recipe, suggestion, env, wandb_asked=self._asks_for_wandb, start=start)
        found |= self._marked(own)
        return found | self._marked(self._gpus())

    def render(self, suggestion: Suggestion) -> tuple[str, ...]:
        """The very words that run for `suggestion`; starts and writes nothing.

        Raises:
            InputError: A parameter does not fit the recipe.
            TrainerError: A value cannot be written on a command line.
        """
        return self._words(self.settings(suggestion), suggestion.directory)

    def tidy(self, directory: Path, /, *, superseded: bool) -> None:
        """Remove what a trial kept for another one to go on from, now that nobody will.

        What somebody else has left in its folder stays.

        Args:
            directory: The trial's folder.
            superseded: Whether another trial has gone on from there to its end, and so has what counts; else
                `keep_checkpoints` says what stays. With `all`, everything stays in either case.
        """
        folder = TrialDir(directory)
        if isolation.are_own(folder.checkpoints):
            _note(folder.log, *self._tidy(folder, "none" if superseded else self.keep_checkpoints))

    def config(self, params: Mapping[str, Any], /) -> dict[str, Any]:
        """The whole recipe for `params`, as NeMo RL composes it, without what isolates a trial.

        Raises:
            TrainerError: A parameter does not fit the recipe.
        """
        try:
            return dict(self.recipe.with_overrides(self._trial(params, None)).values)
        except InputError as error:
            raise TrainerError(str(error)) from error

    def command_line(self, params: Mapping[str, Any], /) -> tuple[str, ...]:
        """The same beside the recipe's own file: what differs from that, as NeMo RL's scripts take it.

        Raises:
            InputError: A parameter does not fit the recipe.
            TrainerError: A value cannot be written on NeMo RL's command line.
        """
        return _as_words(dict(self.overrides) | self._trial(params, None))

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
        given = [*parameters, *self.derived]
        return [
            *(p.under(self._section(str(p.key[0]))) for p in names.problems(self.recipe, given)),
            *self._taken(given),
            *self._broken(given),
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

    def _section(self, name: str) -> str:
        """Where the study file gives a value to that name or dotted key."""
        return "derived" if name in self.derived else "search_space"

    def _taken(self, given: Sequence[str]) -> Iterator[Problem]:
        """Keys that rltune itself sets in every trial."""
        algorithm, steps = self.recipe.algorithm, steps_key(self.recipe)
        taken = {**isolation.OWNED, f"{algorithm}.seed": "the seed that the study gives each trial"}
        taken |= dict.fromkeys(self._split_seeds(), "the recipe's seed, so that all trials split the data alike")
        if self.horizon is not None:
            taken[steps] = f"trainer.horizon, {self.horizon}"
        if self.gpus_per_trial >= 1 and self._nodes == 1:
            taken[_GPUS] = f"executor.gpus_per_trial, {self.gpus_per_trial:g}"
        for name in given:
            formula = self.derived.get(name)
            for key in sorted(taken.keys() & {name.removeprefix("++"), *self._keys_of(name)}):
                message, hint = f"`{key}` is set by rltune in every trial: {taken[key]}", "remove it"
                if formula is not None and key == steps:  # follows the horizon, or else would win over it
                    if HORIZON in formula.names:
                        continue
                    message = f"`{formula}` does not follow {HORIZON}, which is {self.horizon} and would do nothing"
                    hint = f"compute it from `{HORIZON}`, as in {self._length_in_samples()}; or remove {HORIZON}"
                yield Problem((self._section(name), name), message, hint)
        for key in self.overrides:
            if (what := taken.get(key.removeprefix("++"))) and key != _GPUS:
                yield Problem((*_PLACE, "overrides", key), f"does nothing: rltune sets it to {what}", "remove it")

    def _broken(self, given: Sequence[str]) -> Iterator[Problem]:
        """Rules of NeMo RL that the recipe breaks by itself, whatever is tuned."""
        tuned = {key for name in given for key in (name.removeprefix("++"), *self._keys_of(name))}
        for violation in violations(self.recipe, os.environ | dict(self.env)):
            if not tuned & set(violation.keys):
                yield Problem((*_PLACE, "recipe"), violation.message, violation.hint)

    def _length_in_samples(self) -> str:
        """A formula of the steps, with which every trial sees the samples of `horizon` steps of the recipe."""
        section = self.recipe.algorithm
        prompts, answers = f"{section}.num_prompts_per_step", f"{section}.num_generations_per_prompt"
        if self.recipe.has(prompts) and self.recipe.has(answers):
            made = self.recipe.get(prompts) * self.recipe.get(answers)
            return f"`{HORIZON} * {made} // (num_prompts * num_generations)`"
        return f"`{HORIZON} * {self.recipe.get('policy.train_global_batch_size')} // global_batch_size`"

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
        return (*self.launch, *hook, self.script, "--config", str(config), *_as_words(settings))

    def _start(self, suggestion: Suggestion, temp: Path, progress: _Progress) -> None:
        """Run it; once more with other ports, a little later, where it finds one taken before its first step."""
        for start, seconds in enumerate(_PORT_WAITS):
            try:
                self._run(suggestion, self.settings(suggestion, start), temp, progress)
            except _PortTaken as error:
                if progress.done:
                    raise
                log, why = TrialDir(suggestion.directory).log, str(error).partition("\n")[0]
                _note(log, f"{why}; it starts again in {seconds:g} s, with other master ports")
                time.sleep(seconds)
            else:
                return
        self._run(suggestion, self.settings(suggestion, len(_PORT_WAITS)), temp, progress)

    def _run(self, suggestion: Suggestion, settings: Mapping[str, Any], temp: Path, progress: _Progress) -> None:
        folder, channel = TrialDir(suggestion.directory.absolute()), progress.channel
        recipe, log = self.recipe.with_overrides(settings), folder.log
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
            public_env=channel.variables() | isolation.environment(recipe, temp, self.env, self._wandb),
            cwd=Path(_literal(str(recipe.root))),
            paste=replay.paste(self._words(replay.elsewhere(settings, folder.path), folder.path), folder.path, temp),
            grace_seconds=_SHARE_OF_GRACE * self.grace_seconds,
        )
        try:
            command(replace(suggestion, params=asked), progress)
        except Interrupted:
            if progress.done and not folder.pausable.exists():
                _note(log, f"ended at once, since it could not be asked for a checkpoint: {self._unasked(recipe)}")
            raise
        except CommandFailed as error:
            failure = explain(error.status, log_tail(log, begin), known=error.cause)
            shown = str(error).partition("\n")[2]
            kind = _PortTaken if failure.port_taken else TrialFailed
            raise kind(failure.cause, f"{failure.message}\n{shown}", again=failure.again) from error
        tail = log_tail(log, begin)
        if folder.pause_request.exists() and has_paused(recipe, progress.done, tail):
            progress.tell_of_checkpoints()
            newest = max(progress.saved, progress.start)
            paused = f"paused after step {progress.done}; its newest checkpoint is of step {newest}"
            _note(log, paused)
            raise TrialFailed(Cause.INTERRUPTED, f"the study was stopped while the trial ran, and it {paused}")
        end = judge_end(recipe, progress.done, tail)
        if end.problem:
            raise TrialFailed(Cause.ERROR, end.problem)
        about_wandb = _WANDB_NOTES.get(self._wandb, "")
        _note(log, gate.note(), end.note, channel.note() if self.hook == "auto" else "", about_wandb)

    def _unasked(self, recipe: Recipe) -> str:
        """Why a trial that has taken a step could not be asked to pause."""
        if self.hook == "off":
            return "trainer.nemo_rl.hook is off"
        return "the hook is not attached" if recipe.get(_SAVES) else f"{_SAVES} is false"

    def _turn(self, folder: TrialDir) -> AbstractContextManager[Callable[[], None]]:
        """Alone until the first step, where nobody has taken one yet."""
        if not self.warm_up:
            return nullcontext(lambda: None)
        return isolation.warm_up(folder, lambda text: _note(folder.log, text))

    @property
    def _asks_for_wandb(self) -> bool:
        """Whether the study file, not the recipe alone, turns Weights & Biases on."""
        return any(self.overrides.get(key) is True for key in (_WANDB, f"++{_WANDB}"))

    @property
    def _wandb(self) -> isolation.Wandb:
        return isolation.wandb_in(self.recipe, os.environ | dict(self.env), asked=self._asks_for_wandb)

    def _tidy(self, folder: TrialDir, keep: str) -> list[str]:
        return isolation.tidy(folder.path, "all" if self.keep_checkpoints == "all" else keep, **self._ranking)

    def _best_up_to(self, suggestion: Suggestion) -> Path | None:
        """The best checkpoint of the run that the trial goes on with, up to there; None where the best is not kept."""
        start = suggestion.resume_from
        if start is None or self.keep_checkpoints != "best" or (step := isolation.step_of(start)) is None:
            return None
        return isolation.best_step(start.parent, until=step, **self._ranking)

    @property
    def _ranking(self) -> isolation.Ranking:
        higher = bool(self.recipe.get("checkpointing.higher_is_better"))
        return {"higher_is_better": higher, "metric": self.recipe.get("checkpointing.metric_name")}


class _PortTaken(TrialFailed):
    """A port that NeMo RL needs was another process's."""


@dataclass
class _Progress:
    """Passes measurements on, and keeps the last step that is over.

    Attributes:
        warmed: Called at each measurement of a step from the first on.
        start: The step of the checkpoint that it goes on from.
        channel: Knows whether the hook heeds a request to pause.
        folder: The trial's; each checkpoint that appears there is told of once, with its own step.
        saves: Whether a pause would leave a checkpoint.
    """

    report: Report
    warmed: Callable[[], None]
    start: int
    channel: Channel
    folder: TrialDir
    saves: bool
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
            if self.saves and self.channel.can_pause:
                self.folder.pausable.touch()
        self.report(measurement)
        self.tell_of_checkpoints()

    def tell_of_checkpoints(self) -> None:
        """Of those whose steps have been passed on: a run that goes on from one has the measurements before it."""
        for step, folder in isolation.steps_in(self.folder.checkpoints).items():
            if max(self.saved, self.start) < step <= self.done:
                self.saved = step
                self.report(Measurement(step, {}, checkpoint=str(folder)))


def _as_words(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(override(key.removeprefix("++"), value, new=key.startswith("++")) for key, value in settings.items())


def _literal(text: str) -> str:
    """A word of a command in which nothing is a placeholder."""
    return text.replace("{", "{{").replace("}", "}}")


def _note(log: Path, *lines: str) -> None:
    """Adds what a user should know to the end of the trial's log."""
    if not any(lines):
        return
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"rltune: {line}\n" for line in lines if line)
