"""Named configurations as YAML files in one folder, and what they were before.

::

    configs/
    ├── grpo.yaml                                              for people to read and edit
    └── .history/grpo/0001_2026-01-31T12-00-00.000000Z.yaml    an earlier version, and when it was written
"""

from __future__ import annotations

import datetime as dt
import fcntl
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from rltune.config.nodes import parse
from rltune.config.reader import read
from rltune.errors import FolderError, InputError, Key, Problem, StudyFileError
from rltune.folder import write_atomic
from rltune.trainers.config_text import plain, yaml_text
from rltune.wording import found, listed, nearest

_FORBIDDEN = '/\\:*?"<>|'
"""What separates the parts of a path, or cannot stand in a file's name, on one system or another."""

_LONGEST_NAME = 200
"""Bytes; file systems take 255, and a file that is being written carries a process id besides."""

_DEEPEST = 100
"""Levels of nesting, which every YAML reader can follow."""

_TIME = "%Y-%m-%dT%H-%M-%S.%fZ"

_Kept: TypeAlias = tuple[int, dt.datetime, Path]
"""A version's number, the time when it was written, and its file."""


@dataclass(frozen=True)
class Version:
    """A configuration as it was.

    Attributes:
        number: From 1 on, in the order in which the versions were written.
        time: When it was written, in UTC.
        config: What it says; None where it was edited by hand into something that cannot be read.
        file: Where it is kept.
    """

    number: int
    time: dt.datetime
    config: dict[str, Any] | None
    file: Path


@dataclass(frozen=True)
class Change:
    """One value that differs between two configurations.

    Attributes:
        key: Its dotted name.
        before, after: The value; None where it is absent, which `kind` tells from null.
    """

    key: str
    before: Any
    after: Any
    kind: Literal["added", "removed", "changed"] = "changed"

    def __str__(self) -> str:
        before = "absent" if self.kind == "added" else _inline(self.before)
        after = "absent" if self.kind == "removed" else _inline(self.after)
        return f"{self.key}: {before} -> {after}"


@dataclass(frozen=True)
class Diff:
    """Every value that differs, in the order of the first configuration, then those that only the second has.

    Prints a line each: `policy.lr: 1.0e-05 -> 0.0001`.
    """

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no difference"


class HyperparameterManager:
    """The guide's manager of configurations: one YAML file each, named after it.

    ::

        manager = HyperparameterManager("configs")
        manager.save_config({"policy": {"lr": 1e-5}}, "grpo")
        manager.edit_config("grpo", {"policy.lr": 2e-5})
        print(manager.diff(manager.load_config("grpo", version=1), "grpo"))  # policy.lr: 1.0e-05 -> 2.0e-05

    What is loaded equals what was saved, floats bit for bit; except that tuples and arrays come back as lists, NumPy's
    numbers as Python's, and paths as text. A file is replaced whole, so a reader, or a process killed while it writes,
    leaves the old configuration or the new one. Several processes may share a folder.

    Args:
        config_dir: The folder; made where it is missing, with those above it.

    Raises:
        FolderError: There is a file in its place, or it may not be made.
    """

    def __init__(self, config_dir: str | Path) -> None:
        self.config_dir = Path(config_dir)
        with self._in_words():
            self.config_dir.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"HyperparameterManager({str(self.config_dir)!r})"

    # --- reading -----------------------------------------------------------------------------------------------------

    def list_configs(self) -> list[str]:
        """The names of what can be loaded, sorted."""
        with self._in_words():
            names = [path.stem for path in self.config_dir.glob("*.yaml") if path.is_file()]
        return sorted(name for name in names if _is_name(name))

    def load_config(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The configuration of that name, as it is or as it was.

        Args:
            name: As in `list_configs`.
            version: A number that `history` names; None for what the file says now.

        Raises:
            InputError: There is no such configuration, or no such version of it.
            StudyFileError: The file was edited into something that is no configuration; it is named with the line.
        """
        if version is None:
            return read(self._existing(name), root=None).data
        files = {number: path for number, _, path in self._versions(name)}
        if version not in files:
            message = f"`{name}` has no version {found(version)}"
            raise InputError([Problem(("version",), message, f"there is {listed(files)}")])
        return read(files[version], root=None).data

    def history(self, name: str) -> list[Version]:
        """Every version that a change through this class replaced, oldest first, and last the present one.

        `save_config(load_config(name, version=2), name)` brings one back. What was deleted still has its history.

        Raises:
            InputError: There is no such configuration, and never was.
        """
        return [Version(number, time, _config_or_none(path), path) for number, time, path in self._versions(name)]

    def diff(self, a: str | Mapping[str, Any], b: str | Mapping[str, Any]) -> Diff:
        """What is different in `b`.

        Values of other types differ (`1` and `1.0`), the order of keys does not count, and a list counts as one value.

        Args:
            a: A name, or a configuration itself.
            b: Likewise.

        Raises:
            InputError: As `load_config`; or a configuration holds what cannot be saved.
        """
        before, after = (self.load_config(each) if isinstance(each, str) else _plain(each) for each in (a, b))
        return _diff(before, after)

    # --- writing -----------------------------------------------------------------------------------------------------

    def save_config(self, config: Mapping[str, Any], name: str) -> None:
        r"""Writes a configuration; what the name had before goes into its history.

        Nothing is written, and the file's comments stay, where it says the same already.

        Args:
            config: Text, numbers, true, false and None, in mappings and lists; keys are text or whole numbers.
            name: 1 to 200 bytes of printable characters. `/ \ : * ? " < > |` are not among them, and a dot does not
                stand at an end of it.

        Raises:
            InputError: The name cannot be a file's, or the configuration holds what cannot be saved: every problem.
            FolderError: The folder cannot be written.
        """
        file, data = self._file(name), _plain(config)
        with self._writing():
            if repr(_config_or_none(file)) != repr(data):
                self._keep(name)
                write_atomic(file, yaml_text(data))

    def edit_config(self, name: str, changes: Mapping[str, Any]) -> None:
        """Changes single values where they stand; every other character of the file stays, its comments among them.

        Only a comment between the items of a list or a block that is replaced as a whole goes with it.

        Args:
            name: As in `list_configs`.
            changes: New values by dotted name, or nested as the configuration is, or both. At every level the longest
                part of a name that is a key there is taken as that key, and a whole number steps into a list. A
                mapping is merged into a mapping, anything else is replaced, and what is not there is added.

        Raises:
            InputError: As `load_config`; or a name leads through a value, or the file repeats the place by an anchor,
                so that other values would change too. Nothing is written.
            FolderError: The folder cannot be written.
        """
        wanted = _plain(changes)
        with self._writing():
            file = self._existing(name)
            data = read(file, root=None).data
            text = file.read_bytes().decode("utf-8-sig")
            edited = _edited(text, data, wanted)
            if edited != text:
                self._keep(name)
                write_atomic(file, edited)

    def delete(self, name: str) -> None:
        """Takes a configuration away; its history, with what it was last, is kept.

        Raises:
            InputError: There is no such configuration.
            FolderError: The folder cannot be written.
        """
        with self._writing():
            file = self._existing(name)
            self._keep(name)
            file.unlink()

    # --- files -------------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> Path:
        if not _is_name(name):
            hint = (
                f"a name has 1 to {_LONGEST_NAME} bytes of printable characters, none of {' '.join(_FORBIDDEN)} "
                "among them, and no dot or space at either end"
            )
            raise InputError([Problem(("name",), f"{name!r:.60} cannot name a configuration", hint)])
        return self.config_dir / f"{name}.yaml"

    def _existing(self, name: str) -> Path:
        file = self._file(name)
        if not file.exists():
            kept = self._kept(name)
            raise self._missing(name, f"it was deleted, and version={kept[-1][0]} is what it was last" if kept else "")
        return file

    def _missing(self, name: str, hint: str = "") -> InputError:
        names = self.list_configs()
        near = nearest(name, names)
        there = f"there is {listed(names)}" if names else "there is none yet"
        hints = [hint, f"did you mean `{near}`? {there}" if near else there]
        message = f"there is no configuration `{name}` in {self.config_dir}"
        return InputError([Problem((), message, "; ".join(filter(None, hints)))])

    def _versions(self, name: str) -> list[_Kept]:
        """Every version, the present one last."""
        file, versions = self._file(name), self._kept(name)
        if file.exists() and not _is_kept(file, versions):
            versions.append((_next_number(versions), _written(file), file))
        if not versions:
            raise self._missing(name)
        return versions

    def _kept(self, name: str) -> list[_Kept]:
        versions = []
        for path in (self._history / name).glob("*.yaml"):
            if match := re.fullmatch(r"(\d+)_([\d-]+T[\d-]+\.\d+Z)", path.stem):
                time = dt.datetime.strptime(match[2], _TIME).replace(tzinfo=dt.UTC)
                versions.append((int(match[1]), time, path))
        return sorted(versions)

    def _keep(self, name: str) -> None:
        """Copies the present file, whatever it holds, into the history, before it is replaced."""
        file, kept = self._file(name), self._kept(name)
        if not file.exists() or _is_kept(file, kept):
            return
        copy = self._history / name / f"{_next_number(kept):04d}_{_written(file):{_TIME}}.yaml"
        copy.parent.mkdir(exist_ok=True)
        part = copy.with_suffix(".part")
        shutil.copyfile(file, part)
        part.replace(copy)

    @property
    def _history(self) -> Path:
        return self.config_dir / ".history"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time; the lock is the kernel's and ends with its process, however that ends."""
        with self._in_words():
            self._history.mkdir(parents=True, exist_ok=True)
            with (self._history / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FolderError(f"{error.filename or self.config_dir}: {error.strerror or error}") from error


def _is_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and name == name.strip(" .")
        and name.isprintable()
        and not set(_FORBIDDEN) & set(name)
        and 1 <= len(name.encode()) <= _LONGEST_NAME
    )


def _next_number(kept: Sequence[_Kept]) -> int:
    return kept[-1][0] + 1 if kept else 1


def _is_kept(file: Path, kept: Sequence[_Kept]) -> bool:
    """Whether the last kept version is the present one: it was brought back, or a change was killed half-way."""
    return bool(kept) and kept[-1][2].read_bytes() == file.read_bytes()


def _written(file: Path) -> dt.datetime:
    return dt.datetime.fromtimestamp(file.stat().st_mtime, dt.UTC)


def _config_or_none(file: Path) -> dict[str, Any] | None:
    try:
        return read(file, root=None).data
    except StudyFileError:
        return None


# --- what can be saved -----------------------------------------------------------------------------------------------


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back.

    Raises:
        InputError: Every value and key that a YAML file would not give back.
    """
    if not isinstance(config, Mapping):
        raise InputError([Problem((), f"a configuration is a mapping, got {found(config)}")])
    problems = list(_unfit(config, ()))
    if problems:
        raise InputError(problems)
    data: dict[str, Any] = plain(config)
    return data


def _unfit(value: Any, key: Key, *around: Any) -> Iterator[Problem]:
    """What is wrong with a value, which lies in the mappings and lists `around` it."""
    if len(key) > _DEEPEST:
        yield Problem(key[:3], f"is nested more than {_DEEPEST} levels deep")
    elif any(value is each for each in around):
        yield Problem(key, "contains itself")
    elif value is None or isinstance(value, bool | int | float | str | PurePath):
        return
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(name, str) or type(name) is int:
                yield from _unfit(item, (*key, name), *around, value)
            else:
                message = f"a key must be text or a whole number, got {name!r:.60}, a {type(name).__name__}"
                yield Problem(key, message, "write it as text")
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for n, item in enumerate(value):
            yield from _unfit(item, (*key, n), *around, value)
    elif callable(getattr(value, "tolist", None)):  # NumPy's and PyTorch's scalars and arrays
        yield from _unfit(value.tolist(), key, *around)
    else:
        kind = type(value).__name__
        instead = {"set": "a list", "frozenset": "a list", "date": "text", "datetime": "text"}.get(kind)
        hint = f"write it as {instead}" if instead else "text, numbers, true, false, null, lists and mappings can be"
        yield Problem(key, f"a {kind} cannot be saved", hint)


# --- differences -----------------------------------------------------------------------------------------------------


def _diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Diff:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changes = []
    for key in [*old, *(key for key in new if key not in old)]:
        name = ".".join(map(str, key))
        if key not in new:
            changes.append(Change(name, old[key], None, "removed"))
        elif key not in old:
            changes.append(Change(name, None, new[key], "added"))
        elif repr(old[key]) != repr(new[key]):  # unlike `==`, tells 1 from 1.0 and from true, and knows NaN again
            changes.append(Change(name, old[key], new[key]))
    return Diff(tuple(changes))


def _leaves(value: Any, *key: str | int) -> Iterator[tuple[Key, Any]]:
    """Every value that is no mapping with something in it."""
    if isinstance(value, Mapping) and (value or not key):
        for name, item in value.items():
            yield from _leaves(item, *key, name)
    else:
        yield key, value


# --- editing in place ------------------------------------------------------------------------------------------------


def _edited(text: str, data: dict[str, Any], changes: Mapping[str, Any]) -> str:
    """The text with the changes in it.

    Raises:
        InputError: A name leads through a value; or more than was asked for would change.
    """
    for name, value in changes.items():
        for key, leaf in _single(data, {name: value}):
            changed = _with(data, key, leaf)
            if repr(changed) == repr(data):
                continue
            text, data = _spliced(text, key, leaf), changed
            _require(text, data, key)
    return text


def _single(data: Any, changes: Mapping[Any, Any], *above: str | int) -> Iterator[tuple[Key, Any]]:
    """The changes one by one, mappings merged into mappings."""
    for name, value in changes.items():
        key = _resolved(data, name, above)
        target = data
        for part in key:
            target = _child(target, part)
        if isinstance(value, Mapping) and isinstance(target, Mapping):
            yield from _single(target, value, *above, *key)
        else:
            yield (*above, *key), value


def _resolved(data: Any, name: str | int, above: Key) -> Key:
    """The key that a dotted name means below `above`."""
    key: list[str | int] = []
    rest: list[Any] = name.split(".") if isinstance(name, str) else [name]
    part: str | int
    while rest:
        if isinstance(data, list):
            if not (str(rest[0]).isdecimal() and int(rest[0]) < len(data)):
                message = f"{rest[0]!r} is no index of a list of {len(data)} items"
                raise InputError([Problem((*above, *key), message, "set the list as a whole")])
            part, rest = int(rest[0]), rest[1:]
        elif data is None or isinstance(data, Mapping):
            lengths = range(len(rest), 1, -1)
            take = next((n for n in lengths if ".".join(rest[:n]) in (data or {})), 1)
            part, rest = rest[0] if take == 1 else ".".join(rest[:take]), rest[take:]
            if part == "" and part not in (data or {}):
                raise InputError([Problem(above, f"`{name}` has nothing between two dots, or at an end", "name a key")])
        else:
            message = f"`{name}` leads through this value, which is {found(data)}"
            raise InputError([Problem((*above, *key), message, "set it as a whole")])
        key.append(part)
        data = _child(data, part)
    return tuple(key)


def _child(data: Any, part: str | int) -> Any:
    if isinstance(data, list) and isinstance(part, int):
        return data[part]
    return data.get(part) if isinstance(data, Mapping) else None


def _with(data: Any, key: Key, value: Any) -> Any:
    """A copy of `data` along `key`, so that what an alias shares with it stays as it is."""
    if not key:
        return value
    first, rest = key[0], key[1:]
    if isinstance(data, list):
        return [_with(item, rest, value) if n == first else item for n, item in enumerate(data)]
    return {**(data or {}), first: _with(_child(data, first), rest, value)}


def _require(text: str, wanted: Mapping[str, Any], key: Key) -> None:
    """Judges an edited text by what it says: anchors and merges carry a change to other places, or break."""
    try:
        others = [str(change) for change in _diff(wanted, parse(text)[0])]
    except InputError as error:
        others = [str(problem) for problem in error.problems]
    if others:
        message = f"cannot be changed by itself: the file would differ in {'; '.join(others[:3])}"
        hint = "an anchor ties them together; edit the file by hand, or write it anew with save_config"
        raise InputError([Problem(key, message, hint)])


def _spliced(text: str, key: Key, value: Any) -> str:
    """The text with one value put where the nodes of its YAML say that it stands."""
    node: Node = YAML(typ="rt").compose(text)
    place = _Place(node.start_mark.index, node.start_mark.index, node.end_mark.index)
    for n, part in enumerate(key):
        below = _below(text, node, part)
        if below is None:
            new = _with(None, key[n:], value)
            if isinstance(node, MappingNode) and node.value:
                return _added(text, node, _inline(new)[1:-1])
            return place.filled(text, _inline(new))
        node, place = below
    return place.filled(text, _inline(value))


class _Place(NamedTuple):
    """Where a value stands in a text.

    Attributes:
        opening: Behind the colon of its key; for a list's item where it begins.
        start: Where it begins.
        end: Behind its last character; blank lines and comments that follow are not in it.
    """

    opening: int
    start: int
    end: int

    def filled(self, text: str, new: str) -> str:
        before, gap, after = text[: self.opening], text[self.opening : self.start], text[self.end :]
        if self.start == self.end or "\n" in gap:  # null written as nothing, or a block below its key
            return f"{before} {new}{gap.rstrip()}{after}"  # what stands in the gap is a comment
        return before + gap + new + after


def _below(text: str, node: Node, part: str | int) -> tuple[Node, _Place] | None:
    """An entry of a mapping or a list; None where there is none of its own, though a merge may bring one."""
    return next(((item, place) for name, item, place in _entries(text, node) if name == part), None)


def _entries(text: str, node: Node) -> Iterator[tuple[str | int | None, Node, _Place]]:
    if isinstance(node, SequenceNode):
        position = node.start_mark.index
        for n, item in enumerate(node.value):
            start, position = _span(text, item, position)
            yield n, item, _Place(start, start, position)
    elif isinstance(node, MappingNode):
        for key, item in node.value:
            opening = _find(":", text, key.end_mark.index)[1]
            yield _name(key), item, _Place(opening, *_span(text, item, opening))


def _name(key: Node) -> str | int | None:
    """A key of a mapping; None for `<<`, which merges."""
    kind = str(key.tag).rpartition(":")[2]
    if kind == "merge":
        return None
    return int(parse(key.value)[0]) if kind == "int" else str(key.value)


def _span(text: str, node: Node, position: int) -> tuple[int, int]:
    """Where a value begins and ends that stands behind `position`."""
    start, end = node.start_mark.index, node.end_mark.index
    if start < position:  # an alias: its node is the one that it stands for
        return _find(r"\*[^\s,\[\]{}]+", text, position)
    if isinstance(node, CollectionNode) and node.value and not node.flow_style:
        return start, max(place.end for _, _, place in _entries(text, node))
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return start, start + len(text[start:end].rstrip())
    return start, end


def _find(pattern: str, text: str, position: int) -> tuple[int, int]:
    match = re.compile(pattern).search(text, position)
    if match is None:
        line = text.count("\n", 0, position) + 1
        raise InputError([Problem((), "cannot be edited in place", "edit the file by hand", line)])
    return match.span()


def _added(text: str, mapping: MappingNode, entry: str) -> str:
    """A new last entry; comments below the mapping stay below it."""
    *_, (_, _, last) = _entries(text, mapping)
    if mapping.flow_style:
        return f"{text[: last.end]}, {entry}{text[last.end :]}"
    first, line_end = mapping.value[0][0].start_mark, _find(r"(?m:\r?$)", text, last.end)[0]
    explicit = re.search(r"\? +$", text[: first.index])  # `? key`, as long keys are written
    indent = " " * (first.column - (len(explicit[0]) if explicit else 0))
    return f"{text[:line_end]}\n{indent}{entry}{text[line_end:]}"


def _inline(value: Any) -> str:
    """One value in a line of YAML, which can stand anywhere in a file."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_inline(name)}: {_inline(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return yaml_text({"": value}).removeprefix('"": ').rstrip("\n")
