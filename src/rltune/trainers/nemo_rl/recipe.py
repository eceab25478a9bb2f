"""A recipe of NeMo RL as its training scripts see it: inheritance composed, overrides set, interpolations resolved.

A recipe is a YAML file. `defaults:` names the files that it builds on, relative to itself: each is composed in the same
way, later ones win over earlier ones, and the file itself wins over all. A section at the top level that holds
`_override_: true` takes the place of what was inherited. Values such as ``${mul:${grpo.num_prompts_per_step},2}``
follow other values, also after an override.

Nothing of NeMo RL is imported; reading is left to OmegaConf, which NeMo RL reads with. (PyYAML alone takes ``1e-8``
for a text.)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rltune.errors import InputError, Problem, TrainerError
from rltune.trainers.config_text import did_you_mean, plain
from rltune.wording import found, listed

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_ABSENT = object()  # told apart from null, which is a value
_REFERENCE = re.compile(r"\$\{\s*(\.*)([\w.-]+)\s*\}")  # ${policy.precision} or ${..precision}; no resolver's call
_RESOLVERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "mul": operator.mul,
    "div": operator.truediv,
    "max": max,
}


class Algorithm(StrEnum):
    """What a recipe trains with; also the name of its section in the recipe."""

    GRPO = "grpo"
    PPO = "ppo"
    DPO = "dpo"
    SFT = "sft"
    RM = "rm"
    DISTILLATION = "distillation"


class Backend(StrEnum):
    """What updates the policy; where the optimizer's settings stand depends on it."""

    DTENSOR = "dtensor"
    MEGATRON = "megatron"


@dataclass(frozen=True)
class Recipe:
    """One composed recipe. Keys are dotted; a number steps into a list: `policy.scheduler.0.kwargs.total_iters`.

    Attributes:
        path: The file.
        root: The checkout of NeMo RL; where neither the file nor one that it inherits from lies in one, the file's own
            folder.
        algorithm: What it trains with.
        backend: What updates the policy: Megatron where that is enabled, else DTensor.
        lora: Whether only low-rank adapters are trained.
        values: Everything, resolved, as plain dicts and lists. Mandatory values that nobody has given (`???`) are
            absent; what only the trainer's environment can resolve, such as ``${oc.env:HF_HOME}``, stays as that text.
        composed: The same before interpolation.
    """

    path: Path
    root: Path
    algorithm: Algorithm
    backend: Backend
    lora: bool
    values: Mapping[str, Any] = field(repr=False)
    composed: Mapping[str, Any] = field(repr=False)

    @property
    def is_dapo(self) -> bool:
        """Whether GRPO runs with the three changes that make it DAPO (Yu et al. 2025, arXiv:2503.14476).

        A clip that is wider above than below, dynamic sampling, and a penalty on overlong answers. Its fourth, the
        loss averaged over tokens, is NeMo RL's default and tells nothing.
        """
        low, high = self.get("loss_fn.ratio_clip_min"), self.get("loss_fn.ratio_clip_max")
        return (
            self.algorithm is Algorithm.GRPO
            and self.get("grpo.use_dynamic_sampling") is True
            and self.get("grpo.reward_shaping.enabled") is True
            and self.get("grpo.reward_shaping.stop_properly_penalty_coef") is None  # the other shaping
            and isinstance(low, int | float)
            and isinstance(high, int | float)
            and high > low
        )

    def get(self, key: str, default: Any = None) -> Any:
        """The resolved value at `key`; `default` where there is none."""
        value = _at(self.values, key)
        return default if value is _ABSENT else value

    def has(self, key: str) -> bool:
        """Whether there is a value at `key`; null is one, a mandatory value that nobody has given is none."""
        return _at(self.values, key) is not _ABSENT

    def raw(self, key: str) -> Any:
        """The value at `key` before interpolation, such as ``${policy.max_grad_norm}``; None where there is none."""
        value = _at(self.composed, key)
        return None if value is _ABSENT else value

    def leaves(self) -> dict[str, Any]:
        """Every value by its dotted key, those in lists by their index; an empty list or mapping is a value too."""
        return dict(_leaves(self.values))

    def follows(self, key: str, leader: str) -> bool:
        """Whether the value at `key` is computed from the one at `leader`, and so changes with it by itself."""
        text = self.raw(key)
        if not isinstance(text, str):
            return False
        parts = key.split(".")
        for dots, name in _REFERENCE.findall(text):
            target = ".".join([*parts[: -len(dots)], name]) if dots else name  # one dot is the key's own section
            if target == leader or (target != key and self.follows(target, leader)):
                return True
        return False

    def with_overrides(self, overrides: Mapping[str, Any]) -> Recipe:
        """The recipe with values set by dotted key, as NeMo RL's command line sets them; what follows them, follows.

        A mapping is merged into what is there, a list replaces it. A key that begins with `++` may be new.

        Args:
            overrides: Values by dotted key; text with ``${...}`` is an interpolation.

        Raises:
            InputError: A key is not in the recipe or cannot be set, or an interpolation now leads nowhere; the places
                are the keys.
            TrainerError: OmegaConf is not installed.
        """
        if not overrides:
            return self
        config = _omegaconf().OmegaConf.create(dict(self.composed))
        _override(config, overrides)
        return _recipe(self.path, self.root, config)


def load_recipe(path: Path, root: Path | None = None, overrides: Mapping[str, Any] = _NOTHING) -> Recipe:
    """Reads a recipe and what it inherits.

    Args:
        path: The file; a relative path is looked for in `root` first.
        root: The checkout of NeMo RL; where it is left out, the one that the file lies in, or that one lies in which it
            inherits from.
        overrides: Values to set, by dotted key.

    Raises:
        InputError: The file or one that it inherits from is missing, is not YAML or is no recipe, or an override does
            not fit; the places are `recipe` and `overrides`, and the message names file and line.
        TrainerError: OmegaConf is not installed.
    """
    if root is not None and (root / path).is_file():
        path = root / path
    path = path.absolute()
    config = _composed(path)
    try:
        _override(config, overrides)
    except InputError as error:
        raise InputError(problem.under("overrides") for problem in error.problems) from error
    try:
        return _recipe(path, (root or checkout_of(path) or path.parent).absolute(), config)
    except InputError as error:
        raise InputError(
            Problem(("recipe",), f"{path}: {replace(p, hint='')}", p.hint) for p in error.problems
        ) from error


def checkout_of(path: Path) -> Path | None:
    """The checkout of NeMo RL that a recipe belongs to: it lies in it, or inherits from a recipe that does.

    Raises:
        InputError: A file cannot be read; the place is `recipe`.
        TrainerError: OmegaConf is not installed.
    """
    return next(filter(None, map(find_root, _lineage(path.absolute()))), None)


def _lineage(path: Path, heirs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A recipe and all that it inherits from, itself first."""
    yield path
    for name in _parents(path, _read(path, heirs)):
        yield from _lineage(path.parent / name, (*heirs, path))


def find_root(path: Path) -> Path | None:
    """The checkout of NeMo RL that a file lies in: the nearest folder above with its package and its examples."""
    for folder in path.absolute().parents:
        if (folder / "nemo_rl" / "__init__.py").is_file() and (folder / "examples").is_dir():
            return folder
    return None


def _composed(path: Path, heirs: tuple[Path, ...] = ()) -> Any:
    """A file's OmegaConf config on top of all that it inherits.

    Args:
        path: The file.
        heirs: The files that inherit from it, the recipe first.
    """
    config = _read(path, heirs)
    names = _parents(path, config)
    config.pop("defaults", None)
    if not names:
        return config
    inherited = _omegaconf().OmegaConf.create({})
    for name in names:
        inherited = _on_top(inherited, _composed(path.parent / name, (*heirs, path)))
    return _on_top(inherited, config)


def _parents(path: Path, config: Any) -> list[str]:
    """The files that one inherits from, relative to its folder."""
    parents = _plain(config).get("defaults", [])
    names = [parents] if isinstance(parents, str) else parents
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        message = f"`defaults` must name a YAML file or a list of them, got {found(parents)}"
        raise _unusable(path, _line_of_defaults(path), message, "as in defaults: grpo_math_1B.yaml")
    return names


def _on_top(below: Any, above: Any) -> Any:
    """`above` merged over `below`, except for sections that ask to take the other's place."""
    om = _omegaconf()
    for key, value in _plain(above).items():
        if isinstance(value, dict) and value.get("_override_", False):
            above[key].pop("_override_")
            below.pop(key, None)
    return om.OmegaConf.merge(below, above)


def _read(path: Path, heirs: tuple[Path, ...]) -> Any:
    """One file, as an OmegaConf mapping."""
    om = _omegaconf()
    import yaml

    if path.resolve() in [heir.resolve() for heir in heirs]:
        raise _unusable(heirs[-1], _line_of_defaults(heirs[-1]), f"inherits from itself by way of {path}")
    try:
        config = om.OmegaConf.load(path)
    except OSError as error:
        missing = f"{path} cannot be read: {error.strerror}"
        if not heirs:
            raise InputError([Problem(("recipe",), missing)]) from error
        hint = "files in `defaults` are looked for in the folder of the file that names them"
        raise _unusable(heirs[-1], _line_of_defaults(heirs[-1]), missing, hint) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _unusable(path, line, f"is not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, om.errors.OmegaConfBaseException) as error:
        raise _unusable(path, None, f"cannot be read: {_first_line(error)}") from error
    if not om.OmegaConf.is_dict(config):
        raise _unusable(path, 1, f"must hold a mapping, got {found(_plain(config))}")
    return config


def _unusable(path: Path, line: int | None, message: str, hint: str = "") -> InputError:
    """The recipe's own line goes into the message: a problem's line is that of the study file."""
    where = f"{path}:{line}" if line else str(path)
    return InputError([Problem(("recipe",), f"{where}: {message}", hint)])


def _line_of_defaults(path: Path) -> int | None:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.startswith("defaults:")), None)


def _override(config: Any, overrides: Mapping[str, Any]) -> None:
    """Sets values in a composed recipe, before interpolation."""
    composed = _plain(config)
    if problems := [problem for key in overrides if (problem := _absence(composed, key))]:
        raise InputError(problems)
    om = _omegaconf()
    om.OmegaConf.set_struct(config, True)
    for key, value in overrides.items():
        new = key.startswith("++")
        try:
            om.OmegaConf.update(config, key.removeprefix("++"), plain(value), merge=True, force_add=new)
        except om.errors.OmegaConfBaseException as error:
            raise InputError([Problem((key,), f"cannot be set to {found(value)}: {_first_line(error)}")]) from error


def _absence(composed: Mapping[str, Any], key: str) -> Problem | None:
    """Why `key` cannot be set: unless it says that it may be new, it must be there."""
    if key.startswith("++") or _at(composed, key) is not _ABSENT:
        return None
    if key[:1] in ("~", "+"):
        return _no_override(composed, key)
    above, value = _deepest(composed, key)
    if value is None:
        message = f"cannot be set: `{above}` is null in the recipe"
        return Problem((key,), message, f"give `{above}` its values in the recipe first")
    if isinstance(value, str) and _REFERENCE.search(value):
        return Problem((key,), f"cannot be set: `{above}` follows {value}", "set what it follows")
    if isinstance(value, list):
        return Problem((key,), f"cannot be set: `{above}` is a list of {len(value)} items", "they are counted from 0")
    return Problem((key,), "the recipe has no such key", did_you_mean(key, dict(_leaves(composed))))


def _no_override(composed: Mapping[str, Any], key: str) -> Problem:
    """Hydra's other marks, which stand before a key on a command line."""
    bare = key.lstrip("~+")
    if key.startswith("+"):
        hint = f"write `{bare}`" if _at(composed, bare) is not _ABSENT else f"write `++{bare}`"
        return Problem((key,), "begins with `+`: a key that may be new begins with `++`", hint)
    section, _, rest = bare.partition(".")
    without = f"`{bare}`" if _at(composed, bare) is not _ABSENT or not rest else f"`{bare}`, if there is one,"
    hint = (
        f"write a recipe of your own that names this one in `defaults`, and in it the whole section `{section}` "
        f"without {without} and with `_override_: true`"
    )
    return Problem((key,), "cannot be deleted: overrides set values, and `~` would leave the key out", hint)


def _deepest(composed: Mapping[str, Any], key: str) -> tuple[str, Any]:
    """The last part of the way to `key` that is there, and its value."""
    parts = key.split(".")
    ways = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(((way, value) for way in ways if (value := _at(composed, way)) is not _ABSENT), ("", composed))


def _recipe(path: Path, root: Path, config: Any) -> Recipe:
    """What a composed recipe says once it is resolved."""
    broken: list[Problem] = []
    values = _resolved(config, "", broken)
    if broken:
        raise InputError(broken)
    megatron = _at(values, "policy.megatron_cfg.enabled") is True
    lora = "policy.megatron_cfg.peft.enabled" if megatron else "policy.dtensor_cfg.lora_cfg.enabled"
    return Recipe(
        path=path,
        root=root,
        algorithm=_algorithm(values),
        backend=Backend.MEGATRON if megatron else Backend.DTENSOR,
        lora=_at(values, lora) is True,
        values=values,
        composed=_plain(config),
    )


def _algorithm(values: Mapping[str, Any]) -> Algorithm:
    named = [algorithm for algorithm in Algorithm if isinstance(values.get(algorithm), Mapping)]
    if len(named) == 1:
        return named[0]
    if named:
        message = f"has sections of several algorithms: {listed(named)}"
        raise InputError([Problem((), message, "keep the section of the one that should run")])
    message = f"is no recipe that trains: it has none of the sections {listed(Algorithm)}"
    raise InputError([Problem((), message, "name a file such as examples/configs/grpo_math_1B.yaml")])


def _resolved(node: Any, place: str, broken: list[Problem]) -> Any:
    """A config as plain data; interpolations that lead nowhere are added to `broken`."""
    om = _omegaconf()
    if om.OmegaConf.is_dict(node):
        there = [key for key in node if not om.OmegaConf.is_missing(node, key)]
        return {key: _resolved_at(node, key, f"{place}{key}", broken) for key in there}
    if om.OmegaConf.is_list(node):
        return [_resolved_at(node, n, f"{place}{n}", broken) for n in range(len(node))]
    return node


def _resolved_at(node: Any, key: Any, place: str, broken: list[Problem]) -> Any:
    om = _omegaconf()
    try:
        return _resolved(node[key], f"{place}.", broken)
    except om.errors.OmegaConfBaseException as error:
        text = _plain(node)[key]
        if isinstance(error, om.errors.InterpolationKeyError):
            broken.append(Problem((place,), f"follows {text}, and there is nothing of that name"))
        elif not _resolves_elsewhere(error):
            broken.append(Problem((place,), f"follows {text}, which has no value: {_first_line(error)}"))
        return text


def _resolves_elsewhere(error: Exception) -> bool:
    """Whether it takes the trainer's environment, another's resolver, or a mandatory value that is still to come."""
    errors = _omegaconf().errors
    elsewhere = (errors.UnsupportedInterpolationType, errors.InterpolationToMissingValueError)
    return isinstance(error, elsewhere) or "Environment variable" in str(error)  # OmegaConf has no class for these


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return _ABSENT
    return values


def _leaves(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if not (isinstance(values, Mapping | list) and values):
        yield place, values
        return
    for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        yield from _leaves(value, f"{place}.{key}" if place else str(key))


def _plain(config: Any) -> Any:
    """An OmegaConf config as plain data, before interpolation."""
    container: Any = _omegaconf().OmegaConf.to_container(config, resolve=False)
    return container


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _omegaconf() -> Any:
    """OmegaConf, with the four resolvers that NeMo RL's recipes call.

    Raises:
        TrainerError: It is not installed.
    """
    try:
        import omegaconf
    except ImportError as error:
        message = "recipes of NeMo RL are read with OmegaConf, which is not installed: pip install 'rltune[nemo]'"
        raise TrainerError(message) from error
    for name, function in _RESOLVERS.items():
        if not omegaconf.OmegaConf.has_resolver(name):  # OmegaConf knows resolvers for the whole process only
            omegaconf.OmegaConf.register_new_resolver(name, function)
    return omegaconf
