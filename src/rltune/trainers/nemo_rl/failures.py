"""Why a start of NeMo RL ended that did not end well, by its exit status and the end of its log.

What happened to the machine, the cluster or the network is not the configuration's doing: such a trial is lost, and is
asked again with the same seed, at most as often as the tuner allows. Everything else counts against the configuration.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from rltune.trainers.child import explain_end
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.trainers.readers import printable
from rltune.types import Cause

TERMINATED = (signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGTERM)
"""Exit statuses after TERM: Ray's handler exits with the signal's own number, a shell or `uv` in between adds 128."""

_TIMED_OUT = "Timeout has been reached"

_MARKER = re.compile(r"=+ Step (\d+)/(\d+) =+")


@dataclass(frozen=True)
class Failure:
    """How a trial ended.

    Attributes:
        again: It is no fault of the configuration's, which may be asked again.
        port_taken: Another start with other ports may go well at once.
    """

    cause: Cause
    message: str
    again: bool = False
    port_taken: bool = False


@dataclass(frozen=True)
class _Sign:
    """A text in the log that says why; the first that is found counts."""

    pattern: str
    cause: Cause
    what: str
    again: bool = False
    port_taken: bool = False


_SCHEDULER = (
    _Sign(
        r"DUE TO TIME LIMIT",
        Cause.TIMEOUT,
        "the scheduler's time limit ended it; set checkpointing.checkpoint_must_save_by below that, or ask for more",
    ),
    _Sign(
        r"DUE TO (?:PREEMPTION|NODE FAILURE)|\bNODE_FAIL\b",
        Cause.LOST,
        "the scheduler took its machine",
        again=True,
    ),
)
"""What a scheduler says about a job that it ends."""

_SIGNS = (
    _Sign(
        r"max seq len \(?\d+\)? is larger than the maximum number of tokens that can be stored in KV cache"
        r"|killed due to (?:memory pressure|the node running low on memory)",
        Cause.OUT_OF_MEMORY,
        "out of memory",
    ),
    _Sign(
        r"Could not override '|OverridesError",
        Cause.IGNORED_KEY,
        "the recipe has no such key, so the trainer refused to start",
    ),
    _Sign(
        r"ResourceInsufficientError",
        Cause.LOST,
        "Ray's cluster has fewer GPUs than cluster.gpus_per_node times cluster.num_nodes",
        again=True,
    ),
    _Sign(
        r"TimeoutError.{0,200}placement group|placement group.{0,200}(?:TimeoutError|[Tt]imed? ?out)",
        Cause.LOST,
        "its GPUs were taken: Ray's placement group timed out; one trial at a time may use a GPU",
        again=True,
    ),
    _Sign(
        r"Failed to connect to GCS|RaySystemError|raylet .{0,80}(?:died|terminated)|NodeDiedError",
        Cause.LOST,
        "its Ray cluster went away",
        again=True,
    ),
    _Sign(
        r"[Aa]ddress already in use|EADDRINUSE",
        Cause.LOST,
        "a port that it needs was taken",
        again=True,
        port_taken=True,
    ),
    _Sign(
        r"DistBackendError|ncclSystemError|ncclInternalError|ncclRemoteError|ncclUnhandledCudaError|NCCL error"
        r"|Watchdog caught collective operation timeout",
        Cause.LOST,
        "NCCL failed, which is the network's or the GPU's doing more often than the configuration's",
        again=True,
    ),
    _Sign(
        r"uncorrectable ECC error|CUDA error: unspecified launch failure|GPU has fallen off the bus|\bXid\b",
        Cause.LOST,
        "a GPU failed",
        again=True,
    ),
    _Sign(
        r"Engine core (?:initialization|proc \S+) failed|EngineDeadError|vLLM .{0,60}failed to start",
        Cause.ERROR,
        "vLLM did not start, or died",
    ),
    _Sign(r"\d+ validation errors? for MasterConfig", Cause.ERROR, "the recipe holds a value that NeMo RL refuses"),
)


def explain(status: int, tail: str, known: Cause = Cause.ERROR) -> Failure:
    """Why it ended, and one line for a person.

    Args:
        status: As `subprocess` gives it: negative for a signal.
        tail: The end of what it printed.
        known: What any command's end would be called; counts where nothing here says more than `error`.
    """
    cause, how = explain_end(status, tail)
    if cause is Cause.OUT_OF_MEMORY:
        return Failure(cause, how)
    ended = status in TERMINATED  # what its workers said while they went down explains nothing then
    for sign in _SCHEDULER if ended else (*_SCHEDULER, *_SIGNS):
        if found := re.search(sign.pattern, tail):
            return Failure(sign.cause, f"{sign.what} ({how}): {_line(tail, found)}", sign.again, sign.port_taken)
    if ended:
        return Failure(Cause.LOST, f"sent TERM from outside, as when it is preempted ({how})", again=True)
    return Failure(known if cause is Cause.ERROR else cause, how)


def _line(text: str, found: re.Match[str]) -> str:
    begin, end = text.rfind("\n", 0, found.end()) + 1, text.find("\n", found.end())
    return printable(text[begin : end if end >= 0 else len(text)].strip(), 300)


@dataclass(frozen=True)
class End:
    """What an exit status of 0 is worth.

    Attributes:
        problem: Why it is no success; empty where it is one.
        note: Why a run that ended before its last step did so rightly.
    """

    problem: str = ""
    note: str = ""


def has_paused(recipe: Recipe, done: int, tail: str) -> bool:
    """Whether a run that was asked to pause, and exited with 0, has done so before its last step.

    NeMo RL then says that a time limit has been reached, as at one of its own.

    Args:
        recipe: With everything of the trial set in it.
        done: The last step that metrics were read of.
        tail: The end of what it printed.
    """
    asked = recipe.get(f"{recipe.algorithm}.max_num_steps")
    return _TIMED_OUT in tail and not (isinstance(asked, int) and 0 < asked <= done)


def judge_end(recipe: Recipe, done: int, tail: str) -> End:
    """Whether a run that exited with 0 trained as far as it was asked to.

    NeMo RL exits with 0 at the last step, at the end of the data, at a time limit of its own, after an early stop, and
    at once where it finds a checkpoint of the last step. Only what was asked for counts as an end.

    Args:
        recipe: With everything of the trial set in it.
        done: The last step that metrics were read of.
        tail: The end of what it printed.
    """
    markers = [(int(m[1]), int(m[2])) for m in _MARKER.finditer(tail)]
    step, of = markers[-1] if markers else (0, 0)
    done = max(done, step)
    asked = recipe.get(f"{recipe.algorithm}.max_num_steps")
    if done < 1:
        return End("it exited with 0, but neither its metrics nor its output show a single training step")
    if not isinstance(asked, int) or done >= asked:
        return End()
    short = f"it ended after {done} of {asked} steps"
    if _TIMED_OUT in tail and recipe.get("checkpointing.checkpoint_must_save_by") is not None:
        return End(note=f"{short}: checkpointing.checkpoint_must_save_by was reached")
    if recipe.get(f"{recipe.algorithm}.stop_at_validation_metric") is not None:
        return End(note=f"{short}: stop_at_validation_metric is set")
    if step == of and step > 0:
        return End(note=f"{short}: at the end of the data; raise max_num_epochs, or lower trainer.horizon")
    evidence = f"; the last marker in its output is `Step {step}/{of}`" if markers else ""
    return End(f"it exited with 0, but {short.removeprefix('it ')}{evidence}")
