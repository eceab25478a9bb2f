"""Where a study stands, as its folder has it: once, or again and again until it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from rltune import records as rec
from rltune import session
from rltune.cli.locate import who
from rltune.cli.views.block import block, line
from rltune.cli.views.console import print_all
from rltune.cli.views.curves import Curves
from rltune.cli.views.pace import Outlook
from rltune.cli.views.progress import trial_line
from rltune.cli.views.snapshot import Snapshot
from rltune.folder import StudyDir
from rltune.session import Result
from rltune.storage import storage_errors, storage_failed

WATCH_SECONDS = 1.0
"""Between two looks; one takes a fortieth of a second where there are a thousand trials."""

_MOST_LINES = 80  # of what is not redrawn: a large cluster's trials have no room in any terminal


class Sight(NamedTuple):
    """One look at a study.

    Attributes:
        holder: The process that runs it; None where there is none.
    """

    snapshot: Snapshot
    outlook: Outlook
    holder: Mapping[str, Any] | None


class Viewer:
    """Looks at a study again and again; of what it has read, it reads no part twice.

    Args:
        path: The study's folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[object, Result, Curves] | None = None

    def look(self) -> Sight:
        """The study as it is now.

        Raises:
            FolderError: There is no study in the folder, or its storage cannot be read.
        """
        result, curves = self._study()
        holder = result.folder.holder()  # first: what a process has written before it ended is read then
        try:
            result = replace(result, records=rec.load(result.study))
            snapshot = Snapshot.of(result, running=holder is not None)
        except storage_errors() as error:
            raise storage_failed(error, result.config.storage, result.folder) from error
        return Sight(snapshot, Outlook.of(snapshot, curves), holder)

    def _study(self) -> tuple[Result, Curves]:
        """Opened anew where a process has begun with another study file."""
        state = _state(self._path)
        if self._read is None or self._read[0] != state:
            result = session.read(self._path)
            self._read = state, result, Curves(result.folder, result.objectives[0].metric)
        return self._read[1:]


def _state(path: Path) -> object:
    try:
        found = StudyDir(path).study_file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def status_text(sight: Sight, width: int) -> RenderableType:
    """What `status` prints."""
    return _block(sight, width, _MOST_LINES, bar=False)


def watch(viewer: Viewer, console: Console) -> Sight:
    """Shows the study until no process runs it: as one block that is redrawn, or a line for every trial that ends.

    Returns:
        The last look.
    """
    sight = viewer.look()
    if not console.is_terminal or console.is_dumb_terminal:
        return _watch_in_lines(sight, viewer, console)
    with Live(_fitting(sight, console), console=console, auto_refresh=False) as live:
        while sight.holder is not None:
            time.sleep(WATCH_SECONDS)
            sight = viewer.look()
            live.update(_fitting(sight, console), refresh=True)
    return sight


def _watch_in_lines(sight: Sight, viewer: Viewer, console: Console) -> Sight:
    """First the whole, then what happens."""
    print_all(console, status_text(sight, console.width))
    if sight.holder is None:
        return sight
    told = {r.number for r in sight.snapshot.records if r.state.is_finished()}
    while sight.holder is not None:
        time.sleep(WATCH_SECONDS)
        sight = viewer.look()
        ours = rec.own(sight.snapshot.records)
        ended = [r for r in ours if r.finished and r.state.is_finished() and r.number not in told]
        for record in sorted(ended, key=lambda r: (r.finished, r.number)):
            told.add(record.number)
            known = [r for r in ours if r.number in told]
            console.print(Text(trial_line(record, sight.snapshot.objectives, known)), soft_wrap=True)
    print_all(console, _state_line(sight))
    return sight


def _fitting(sight: Sight, console: Console) -> RenderableType:
    return _block(sight, console.width, console.height - 1, bar=True)


def _block(sight: Sight, width: int, height: int, *, bar: bool) -> RenderableType:
    """The block of `rltune run`, and under it where the study is and what runs it."""
    notes = [line("folder", Text(str(sight.snapshot.folder.path)), whole=not bar), _state_line(sight, whole=not bar)]
    alive = sight.holder is not None
    return block(sight.snapshot, sight.outlook, width=width, height=height, bar=bar, alive=alive, notes=notes)


def _state_line(sight: Sight, *, whole: bool = True) -> Text:
    snapshot, _, holder = sight
    if holder is not None:
        state = Text(f"run by {who(holder)}", "cyan")
    elif snapshot.running:
        state = Text("its process was killed; `rltune run` takes up what it ran", "yellow")
    elif snapshot.phase:
        state = Text("no process runs it; `rltune run` goes on", "yellow")
    else:
        state = Text("finished", "green")
    return line("state", state, whole=whole)
