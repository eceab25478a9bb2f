"""What keeps trials of NeMo RL that run side by side out of each other's way, and what is left of one at its end.

- Checkpoints: a start continues the newest `step_N` in its checkpoint folder, whoever wrote it. So each trial has its
  own, and one that holds something already is refused unless the trial is told to go on from there.
- Logs: a folder a trial. TensorBoard is on, since a run leaves no series of metrics without it. Weights & Biases stays
  on where it can log in, or it would wait for somebody to type a key; where it cannot, a recipe's own wish for it is
  passed over, and a user's is met offline.
- Ray: a start that finds a cluster joins it and dies with it. ``RAY_ADDRESS=local`` always starts a private one, and a
  temp folder of its own keeps other starts from finding that. Nothing here ever calls `ray stop`, which ends every
  Ray process of the user on the machine.
- Ports: the recipe's range of master ports is cut into blocks, one a trial, in turn. A start that finds a port taken
  is followed by another one with another block.
- Warm-up: the first start on a machine builds the environments of NeMo RL's workers, which is not safe to do twice at
  once; so one trial runs alone until its first step.

TMPDIR is left as it is: caches of compiled kernels lie below it, and trials are meant to share those.
"""

from __future__ import annotations

import errno
import fcntl
import math
import netrc
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, TypedDict
from urllib.parse import urlsplit

from rltune.errors import TrainerError
from rltune.folder import TrialDir, read_json
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.types import Suggestion

CHECKPOINT_DIR = "checkpointing.checkpoint_dir"
LOG_DIR = "logger.log_dir"
LOGS = "logs"
"""The folder of NeMo RL's own logs, below the trial's."""

_PORT_LOW, _PORT_HIGH = "cluster.master_port_range_low", "cluster.master_port_range_high"
_PORT_BLOCKS = 16
_PORTS = (1400, 1999)  # NeMo RL's own, where a recipe names none
"""Trials that run at once have numbers close together; sixteen of them meet no port twice."""

_FAR = (0, 8, 4)
"""How many blocks away a first, second and third start of a trial looks: as far as can be from its neighbours'."""

_POLL_SECONDS = 0.2

_TEMP = Path("/tmp")  # noqa: S108  # TMPDIR may be long
_PREFIX, _IN_USE = "rl-", "rltune.lock"
TEMP_NAMES = _TEMP / _PREFIX
"""How the paths of temp folders begin."""

_YOUNG_SECONDS = 60.0

OWNED: Mapping[str, str] = {
    CHECKPOINT_DIR: "a folder of its own in each trial's",
    LOG_DIR: "a folder of its own in each trial's",
    "logger.tensorboard_enabled": "true: metrics are read there",
    _PORT_LOW: "a block of its own for each trial",
    _PORT_HIGH: "a block of its own for each trial",
}
"""Keys that rltune sets in every trial, each with what it sets."""


Wandb: TypeAlias = Literal["as_it_is", "offline", "off"]
"""What becomes of Weights & Biases in a trial."""


def settings(
    recipe: Recipe, suggestion: Suggestion, env: Mapping[str, str], *, wandb_asked: bool = False, start: int = 0
) -> dict[str, Any]:
    """The keys of the recipe that keep one trial to itself, with their values.

    Args:
        recipe: With everything else of the trial set in it.
        suggestion: The trial; its folder need not exist yet.
        env: The environment that it will run in.
        wandb_asked: Whether the user, not the recipe alone, has turned Weights & Biases on.
        start: How many starts of the trial have found a port taken.
    """
    directory = suggestion.directory.absolute()
    found = {
        CHECKPOINT_DIR: str(TrialDir(directory).checkpoints),
        LOG_DIR: str(directory / LOGS),
        "logger.tensorboard_enabled": True,
    }
    wandb = wandb_in(recipe, env, asked=wandb_asked)
    return found | _ports(recipe, suggestion, start) | _loggers(recipe, directory, wandb)


def wandb_in(recipe: Recipe, env: Mapping[str, str], *, asked: bool) -> Wandb:
    """What becomes of Weights & Biases: it stays as the recipe has it, unless that is on and no login is found."""
    if recipe.get("logger.wandb_enabled") is not True or has_wandb_login(env):
        return "as_it_is"
    return "offline" if asked else "off"


def environment(recipe: Recipe, temp: Path, given: Collection[str], wandb: Wandb = "as_it_is") -> dict[str, str]:
    """Variables that keep one trial to itself, beyond those that the study file sets.

    On several nodes the cluster is there before the trial, so Ray is left alone.

    Args:
        recipe: Says how many nodes there are.
        temp: The trial's short temp folder; see `ray_folder`.
        given: The names of variables that the study file sets, which stay as they are.
        wandb: See `wandb_in`.
    """
    own = {"HF_MODULES_CACHE": str(temp / "hf_modules")}
    if wandb == "offline":
        own["WANDB_MODE"] = "offline"
    if int(recipe.get("cluster.num_nodes") or 1) == 1:
        own |= {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(temp)}
    return {name: value for name, value in own.items() if name not in given}


def short_folder() -> Path:
    """A new temp folder whose name is short: the path of Ray's sockets below it may have 107 characters."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_TEMP))


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Ray's temp folder for one trial, which goes with it; of a trial that was killed, with the next one's start.

    It may hold gigabytes of logs. Whether a folder is still in use is told by a lock on a file in it, which the kernel
    gives up with the process.
    """
    _remove_left_behind()
    folder = short_folder()
    try:
        with (folder / _IN_USE).open("w") as lock:
            _take(lock)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    for file in _TEMP.glob(f"{_PREFIX}*/{_IN_USE}"):
        try:
            if time.time() - file.stat().st_mtime < _YOUNG_SECONDS:  # it may be about to be locked
                continue
            with file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(file.parent, ignore_errors=True)
        except OSError:  # in use, somebody else's, or gone already
            continue


def port_block(low: int, high: int, number: int) -> tuple[int, int]:
    """The ports of one trial, both ends included; the whole range where it is too small to be cut."""
    size = (high - low + 1) // _PORT_BLOCKS
    if size < 1:
        return low, high
    begin = low + size * (number % _PORT_BLOCKS)
    return begin, begin + size - 1


def has_wandb_login(env: Mapping[str, str]) -> bool:
    """Whether Weights & Biases would log in, or needs no login, without asking anybody."""
    if env.get("WANDB_API_KEY") or env.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    file = Path(env.get("NETRC") or Path.home() / ".netrc").expanduser()
    host = urlsplit(env.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _ports(recipe: Recipe, suggestion: Suggestion, start: int) -> dict[str, Any]:
    """Of its own for each of a study's trials that run at once, and another one's first is elsewhere."""
    low, high = recipe.get(_PORT_LOW, _PORTS[0]), recipe.get(_PORT_HIGH, _PORTS[1])
    if not (isinstance(low, int) and isinstance(high, int)):
        return {}
    study = suggestion.directory.absolute().parent.parent
    number = suggestion.number + _FAR[start % len(_FAR)]
    begin, end = port_block(low, high, number + zlib.crc32(str(study).encode()))
    return {_PORT_LOW: begin, _PORT_HIGH: end}


def _loggers(recipe: Recipe, directory: Path, wandb: Wandb) -> dict[str, Any]:
    """A name of its own for each trial, wherever a service keeps runs by their name."""
    study, trial = directory.parent.parent.name, directory.name
    found: dict[str, Any] = {}
    if wandb == "off":
        found["logger.wandb_enabled"] = False
    elif recipe.get("logger.wandb_enabled") is True:
        group = recipe.get("logger.wandb.group") or study
        found |= {"logger.wandb.name": f"{study}-{trial}", "logger.wandb.group": group}
    if recipe.get("logger.swanlab_enabled") is True:
        found["logger.swanlab.name"] = f"{study}-{trial}"
    if recipe.get("logger.mlflow_enabled") is True:
        found["logger.mlflow.run_name"] = f"{study}-{trial}"
    return found


# --- checkpoints -----------------------------------------------------------------------------------------------------


def step_of(folder: Path) -> int | None:
    """N of a checkpoint's folder `step_N`; None for any other."""
    match = re.fullmatch(r"step_(\d+)", folder.name)
    return int(match[1]) if match else None


def steps_in(checkpoints: Path) -> dict[int, Path]:
    """The finished checkpoints in a folder, the oldest first."""
    found = {step: folder for folder in _entries(checkpoints) if (step := step_of(folder)) is not None}
    return dict(sorted(found.items()))


def prepare_checkpoints(checkpoints: Path, resume_from: Path | None, best: Path | None = None) -> None:
    """Makes the trial's checkpoint folder hold what it is to start from, and nothing else that NeMo RL would take.

    A checkpoint of another trial is linked in, file by file, or copied where that is not possible; it stays as it is.

    Args:
        checkpoints: The trial's folder.
        resume_from: A checkpoint; None to begin at step 0.
        best: The best one up to there of the run that is gone on with, which the folder would hold as well had that
            run not been cut short.

    Raises:
        TrainerError: The folder holds checkpoints that nobody asked to go on from, or later ones than asked for;
            `resume_from` is no checkpoint.
    """
    _mark(checkpoints).unlink(missing_ok=True)
    _refuse_others(checkpoints, resume_from)
    _mark(checkpoints).touch()
    if resume_from is not None and resume_from.absolute().parent != checkpoints.absolute():
        _link_in(resume_from, checkpoints / resume_from.name)
        if best is not None and not (checkpoints / best.name).exists():
            _link_in(best, checkpoints / best.name)


def are_own(checkpoints: Path) -> bool:
    """Whether what lies in a trial's checkpoint folder is the trial's: it was found fit for it when that began."""
    return _mark(checkpoints).exists()


def _mark(checkpoints: Path) -> Path:
    return checkpoints.with_name("checkpoints.own")


def _refuse_others(checkpoints: Path, resume_from: Path | None) -> None:
    present = _entries(checkpoints)
    if resume_from is None:
        if present:
            raise TrainerError(
                f"{checkpoints} is not empty ({present[0].name}), and NeMo RL would silently go on from what it finds "
                "there; move it away, or start from it with `resume_from`"
            )
        return
    step = step_of(resume_from)
    if step is None or not resume_from.is_dir():
        raise TrainerError(f"cannot resume from {resume_from}: it must be the folder of a checkpoint, as in step_100")
    later = [each for each in steps_in(checkpoints) if each > step]
    if later:
        raise TrainerError(
            f"cannot resume from {resume_from}: {checkpoints} also holds step_{later[-1]}, which NeMo RL would take "
            "instead; move the later ones away, or resume from the last"
        )


def _link_in(source: Path, target: Path) -> None:
    if target.exists():
        raise TrainerError(f"cannot resume from {source}: {target} is there already; move one of them away")
    beside = target.with_name(f"tmp_{target.name}")  # as NeMo RL calls what is not finished, and removes
    shutil.copytree(source, beside, symlinks=True, copy_function=_link_or_copy)
    beside.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


class Ranking(TypedDict):
    """Which checkpoint is the best: by the metric that the recipe names, `val:accuracy`."""

    higher_is_better: bool
    metric: str | None


def tidy(trial: Path, keep: str, *, higher_is_better: bool, metric: str | None) -> list[str]:
    """Removes what an ended trial need not keep; what lies outside its folder is never touched.

    Args:
        trial: The trial's folder.
        keep: `all` keeps everything; `checkpoints` all of these, for a trial that may be gone on with; `best` the one
            with the best value of `metric`, the last one where none has a value; `none` no checkpoint. All but `all`
            drop the rollouts of every step (`train_data_step*.jsonl`), which grow to gigabytes and cannot be turned
            off.
        higher_is_better: Which value is the best.
        metric: What checkpoints are ranked by, as the recipe names it: `val:accuracy`.

    Returns:
        What was removed, a line each, for the trial's log.
    """
    if keep == "all":
        return []
    checkpoints = TrialDir(trial).checkpoints
    kept = best_step(checkpoints, higher_is_better=higher_is_better, metric=metric) if keep == "best" else None
    found = [] if keep == "checkpoints" else _entries(checkpoints)
    gone = [folder for folder in found if folder.is_dir() and folder != kept]
    gone = [folder for folder in gone if folder.name.startswith(("step_", "tmp_step_"))]
    rollouts = sorted((trial / LOGS).glob("exp_*/train_data_step*.jsonl"))
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True) if not folder.is_symlink() else folder.unlink(missing_ok=True)
    for file in rollouts:
        with suppress(OSError):
            file.unlink()
    removed = [f"removed {len(gone)} checkpoints, kept {kept.name if kept else 'none'}"] if gone else []
    return removed + ([f"removed the rollouts of {len(rollouts)} steps"] if rollouts else [])


def best_step(checkpoints: Path, *, higher_is_better: bool, metric: str | None, until: float = math.inf) -> Path | None:
    """The checkpoint with the best value of `metric`, the later of equal ones; the last where none has a value.

    Args:
        checkpoints: Where they are.
        higher_is_better: Which value is the best.
        metric: As the recipe names it.
        until: The last step to look at.
    """
    scored = []
    for step, folder in steps_in(checkpoints).items():
        if step > until:
            break
        value = (read_json(folder / "training_info.json") or {}).get(metric)
        score = float(value) if isinstance(value, int | float) else math.nan
        known = not math.isnan(score)
        scored.append((known, (score if higher_is_better else -score) if known else 0.0, step, folder))
    return max(scored)[3] if scored else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


# --- warm-up ---------------------------------------------------------------------------------------------------------


@contextmanager
def warm_up(trial: TrialDir, notify: Callable[[str], None] = lambda _text: None) -> Iterator[Callable[[], None]]:
    """Lets one trial run alone until it calls what this yields; the others wait here, with their GPUs, until then.

    The lock is the kernel's on a file beside the trials' folders, so it ends with the process that has it. A trial
    that ends without having called is followed by the next one, alone again. Where the file system has no locks, all
    go on at once.

    Args:
        trial: Whose folder lies beside those of the others.
        notify: Is told once that this trial waits.
    """
    done, opened = trial.path.parent / "warm_up.done", False
    with (trial.path.parent / "warm_up.lock").open("a") as lock:
        try:
            while not done.exists() and not (opened := _take(lock)):
                if not trial.waiting.exists():
                    trial.waiting.touch()
                    notify("waits for the first trial of this study to take its first step (trainer.nemo_rl.warm_up)")
                time.sleep(_POLL_SECONDS)
        finally:
            trial.waiting.unlink(missing_ok=True)

        def warmed() -> None:
            if opened and not done.exists():
                done.touch()
                fcntl.flock(lock, fcntl.LOCK_UN)

        yield warmed


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True
