"""Folders on their way from a node to the driver and back, as pieces of tar archives."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

_PIECE_BYTES = 8 * 2**20
"""Small beside a node's object store, large beside the cost of a message."""


class Outbox:
    """A folder that is sent whenever it has changed, each file once for each of its states."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sent: dict[Path, tuple[int, int]] = {}

    def pieces(self) -> Iterator[bytes]:
        """An archive of what is new since the last call, in pieces; none where nothing is."""
        changed = dict(self._changed())
        if not changed:
            return
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for path in changed:
                    archive.add(path, path.relative_to(self._root), recursive=False)
            self._sent |= changed
            yield from _pieces(file)

    def _changed(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path in sorted(self._root.rglob("*")):
            if path.is_symlink() or path.is_file():
                state = path.lstat()
                stamp = (state.st_mtime_ns, state.st_size)
            elif path.is_dir():
                stamp = (0, 0)
            else:  # a socket or a pipe
                continue
            if self._sent.get(path) != stamp:
                yield path, stamp


class Inbox:
    """Takes the pieces of archives, and unpacks each when it is whole. Nothing is written outside the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file: IO[bytes] | None = None

    def take(self, piece: bytes, *, last: bool) -> None:
        """Raises OSError: the folder cannot be written."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open from piece to piece
        self._file.write(piece)
        if last:
            _unpack(self._file, self._root)
            self.close()

    def close(self) -> None:
        """Drops what is not whole: its node has died."""
        if self._file is not None:
            self._file.close()
            self._file = None


def packed(path: Path) -> Iterator[bytes]:
    """A file or a folder under its own name, in pieces."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(path, path.name)
        yield from _pieces(file)


def unpacked(pieces: Iterable[bytes], root: Path) -> None:
    """The inverse of `packed`."""
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            file.write(piece)
        _unpack(file, root)


def _unpack(file: IO[bytes], root: Path) -> None:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r") as archive:
        archive.extractall(root, filter="data")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        yield piece
