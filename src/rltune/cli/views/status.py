"""Where a study stands, as its folder has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from rltune import session
from rltune.cli.locate import who
from rltune.cli.views.block import block, line
from rltune.cli.views.snapshot import Snapshot

_MOST_RUNNING = 64


class Sight(NamedTuple):
    """One look at a study.

    Attributes:
        holder: The process that runs it; None where there is none.
    """

    snapshot: Snapshot
    holder: Mapping[str, Any] | None


def look(path: Path) -> Sight:
    """Reads the folder.

    Raises:
        FolderError: There is no study in it.
    """
    result = session.read(path)
    holder = result.folder.holder()
    return Sight(Snapshot.of(result, running=holder is not None), holder)


def status_text(sight: Sight) -> RenderableType:
    """What `status` prints."""
    snapshot, holder = sight
    if holder is not None:
        state = Text(f"run by {who(holder)}", "cyan")
    elif snapshot.running:
        state = Text("its process was killed; `rltune run` takes up what it ran", "yellow")
    elif snapshot.phase:
        state = Text("no process runs it; `rltune run` goes on", "yellow")
    else:
        state = Text("finished", "green")
    return Group(
        block(snapshot, max_running=_MOST_RUNNING, bar=False, alive=holder is not None),
        line("folder", Text(str(snapshot.folder.path)), whole=True),
        line("state", state, whole=True),
    )
