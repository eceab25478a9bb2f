"""Verbs that run trials: `run` and `demo`."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rltune.cli.arguments import Force, Json, Out, Set, StudyFile, Trainer
from rltune.cli.exits import Exit, UsageError

if TYPE_CHECKING:
    from rltune.config import StudyConfig
    from rltune.config.build import Parts
    from rltune.tuner import Tuner

DEMO = "grpo_digits"
"""The example that `demo` runs."""


def run(
    study: StudyFile,
    *,
    set_: Set = None,
    trainer: Trainer = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Start a study, or go on with it.

    Ends with 0 when the plan is fulfilled, 3 when nothing is feasible or too many trials failed, 75 when it was
    stopped by TERM, USR1 or `rltune stop`, and 130 after Ctrl-C. After 75 and 130, run it again to go on.
    """
    from rltune import config

    _run(config.load(study, set_ or (), trainer=trainer), out, force=force, json=json)


def demo(set_: Set = None, out: Out = None, force: Force = False, json: Json = False) -> None:
    """Tune a small but real GRPO job, in two or three minutes.

    It trains a tiny transformer to sort digits. The job is copied to the folder `example` inside the study's, by
    default runs/grpo-digits/example.
    """
    from rltune import config, session

    if importlib.util.find_spec("torch") is None:
        raise UsageError("the demo trains with PyTorch, which is not installed here: pip install 'rltune[demo]'")
    shipped = _shipped_example()
    folder = session.study_dir(config.load(shipped / "study.yaml", set_ or ()), out).path
    example = folder / "example"
    if not (example / "study.yaml").exists():
        shutil.copytree(shipped, example, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    _run(config.load(example / "study.yaml", set_ or ()), folder, force=force, json=json)


def _run(config: StudyConfig, out: Path | None, *, force: bool, json: bool) -> None:
    from rltune import session
    from rltune.cli.signals import StopSignals
    from rltune.cli.views.as_json import result_json
    from rltune.cli.views.console import lasting, print_all, print_json
    from rltune.cli.views.progress import progress
    from rltune.cli.views.verdict import conclusion

    _quieten()
    console = lasting(sys.stderr if json else sys.stdout)
    folder = session.study_dir(config, out)
    to_stderr = contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext()
    with StopSignals() as stop, progress(console, folder) as shown, to_stderr:
        stop.on_first, stop.on_last = shown.stopping, shown.abandon

        def opened(tuner: Tuner, parts: Parts) -> None:
            stop.pause_seconds = parts.config.pause_seconds
            shown.opened(tuner, parts)

        result = session.run(
            config,
            out=out,
            force=force,
            should_stop=stop,
            on_open=opened,
            on_change=shown.changed,
            on_fold=shown.fold_ended,
        )
    code = stop.exit_code if result.stopped else Exit(result.exit_code)
    console.print()
    print_all(console, conclusion(result, again=shlex.join(["rltune", *sys.argv[1:]])))
    if json:
        print_json(result_json(result, code))
    raise typer.Exit(code)


def _quieten() -> None:
    """A pipe that breaks must not end a study, and Optuna's remarks belong to those who use Optuna."""
    import warnings

    import optuna

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _shipped_example() -> Path:
    """In a wheel inside the package, in a checkout beside its sources."""
    package = Path(__file__).resolve().parents[1]
    places = [package / "_examples" / DEMO, package.parents[1] / "examples" / DEMO]
    found = next((place for place in places if (place / "study.yaml").is_file()), None)
    if found is None:
        raise UsageError(f"this installation of rltune has no example in {places[0]}")
    return found
