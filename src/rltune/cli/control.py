"""Verbs that change a study from outside: `stop` and `retry`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import UsageError
from rltune.cli.locate import find, split, study_folder, who
from rltune.types import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rltune.records import TrialRecord

_POLL_SECONDS = 0.1


def stop(
    study: Study = None,
    wait: Annotated[bool, typer.Option(help="Wait until the process has ended.")] = True,
    json: Json = False,
) -> None:
    """Ask the process that runs a study to stop.

    It interrupts its trials and ends with 75; the next `rltune run` goes on, and runs these again. Trials of NeMo RL
    save a checkpoint first, and go on from there.
    """
    from rltune.cli.views.console import out, print_json
    from rltune.folder import StudyDir

    folder = StudyDir(study_folder(study))
    holder = folder.holder()
    if holder is not None:
        folder.stop_request.touch()
        if wait:
            _wait_until_free(folder, holder)
    ended = holder is None or folder.holder() is None
    if json:
        print_json({"folder": str(folder.path), "was_running": holder is not None, "ended": ended})
    elif holder is None:
        out().print(f"{folder.path}: no process is running this study")
    elif ended:
        out().print(f"{folder.path}: stopped; `rltune run` on the same study file goes on")
    else:
        out().print(f"{folder.path}: {who(holder)} has been asked to stop")


def _wait_until_free(folder: Any, holder: Mapping[str, Any]) -> None:
    """Until this process has let go; the next one that may come is another's business."""
    while (now := folder.holder()) is not None and now.get("pid") == holder.get("pid"):
        time.sleep(_POLL_SECONDS)


def retry(
    trials: Annotated[
        list[str],
        typer.Argument(
            metavar="TRIAL... [STUDY]", help="Numbers of failed trials, and the study where it is not the only one."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Also run complete and pruned trials again.")] = False,
    json: Json = False,
) -> None:
    """Run failed trials again.

    With the same parameters and the same seed. The new run takes the place of the old one. A process that runs the
    study picks it up; else the next `rltune run` does.
    """
    from rltune import records as rec
    from rltune import session
    from rltune.cli.views.console import out, print_json
    from rltune.storage import open_study

    numbers, study = split(trials)
    result = session.read(study_folder(study))
    chosen = [_retryable(result.records, number, force=force) for number in dict.fromkeys(numbers)]
    folder, config = result.folder, result.config

    def enqueue(*, repair: bool) -> None:
        directions = [o.direction for o in result.objectives]
        opened = open_study(config.storage, folder, config.name, directions, repair=repair, create=False)
        in_study = opened.get_trials(deepcopy=False)
        for record in chosen:
            opened.enqueue_trial(in_study[record.number].params, user_attrs=rec.again(record))

    holder = folder.holder()
    if holder is None:
        with folder.locked():
            enqueue(repair=True)
    else:
        enqueue(repair=False)
    if json:
        print_json({"queued": [r.number for r in chosen], "running_in": holder})
        return
    words = f"trial{'s' if len(chosen) > 1 else ''} {', '.join(str(r.number) for r in chosen)}"
    then = f"{who(holder)} picks it up" if holder else "the next `rltune run` on its study file runs it"
    out().print(f"queued again: {words}; {then}")


def _retryable(records: Sequence[TrialRecord], number: int, *, force: bool) -> TrialRecord:
    """The trial to run again.

    Raises:
        UsageError: There is no such trial, or no reason to run it again.
    """
    from optuna.trial import TrialState

    record = find(records, number)
    if record.purpose is Purpose.EARLIER:
        raise UsageError(f"trial {number} ran in an earlier study, as trial {record.source}; run it again there")
    later = next((r for r in records if r.retry_of == number), None)
    if later is not None:
        raise UsageError(f"trial {number} has been run again already, as trial {later.number}")
    if not record.state.is_finished():
        raise UsageError(f"trial {number} is {record.state.name.lower()}; only one that has ended can be run again")
    if record.state is not TrialState.FAIL and not force:
        state = record.state.name.lower()
        raise UsageError(f"trial {number} did not fail, it is {state}; `--force` runs it again all the same")
    return record
