"""`init`: a study file to begin with."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rltune.cli.arguments import command_words
from rltune.cli.exits import UsageError

if TYPE_CHECKING:
    from rltune.errors import Problem
    from rltune.trainers.nemo_rl.presets import Preset, Setting

_TEXT = """\
# What to tune, and how.   rltune check {file}   shows what would run,   rltune run {file}   runs it.

name: {name}           # its folder is runs/{name}
n_trials: {n_trials:<13}# in all, over every session
seed: 0
# timeout_hours: 24
# algorithm: auto      # or tpe, gp, cmaes, nsga2, random, sobol, grid, or module:Class

trainer:
{trainer}
search_space:
{space}
# derived:             # values that follow from others
#   total_steps: 100000 // batch_size
# constraints:         # what every configuration fulfils
#   - batch_size <= 64

evaluation:
  metric: {metric}         # reported while a trial runs, or returned at its end
  direction: minimize  # or maximize
  # early_stopping: true   # ends a trial whose own curve no longer improves
  # constraints: {{memory_usage: {{max: 70e9}}}}   # also training_time, gpu_memory_usage

# pruner: median       # or percentile, halving, hyperband, plateau: ends trials that are behind the others
executor:
  workers: 1           # how many trials run at once
  # gpus_per_trial: 1
  # timeout_minutes: 60
"""

_FUNCTION = """\
  function: {function}   # train(config) or train(config, trial), in a module beside this file
  # config: config.yaml    # everything that is not tuned, and the default of what is
"""

_COMMAND = """\
  # In braces: {{config}}, a file with all parameters; {{overrides}}, key=value words; a parameter's name; {{seed}}.
  # Report with lines of JSON in the file that the variable RLTUNE_METRICS names, such as {{"step": 1, "loss": 0.5}}.
  command: {command}
  # config: config.yaml    # everything that is not tuned, and the default of what is
  # metrics: {{stdout: json}}   # or read what it prints, or {{tensorboard: logs}}
"""

_NEMO_RL = "nemo-rl"
"""What `--trainer` is given for a recipe of NeMo RL."""

_NEMO_RL_TEXT = """\
# {algorithm} of NeMo RL, around {recipe}
#   rltune check {file}   shows what would run,   rltune run {file}   runs it.

name: {name}
n_trials: {n_trials:<13}# in all; from 30 and from 100 on, `rltune init` tunes more than here
seed: 0
# timeout_hours: 24

trainer:
  nemo_rl:
    recipe: {recipe}
    root: {root}
    # launch: [uv, run]
    # keep_checkpoints: best     # or all, none: of trials that have ended
    overrides:                 # what every trial gets
{overrides}{horizon}
# The default of each is the recipe's own value: it runs first, and the winner has to beat it.
search_space:
{space}

{frozen}

{constraints}{derived}{objective}
guards:
{guards}
executor:
  workers: 1
  # gpus_per_trial: {gpus}        # needed for several workers; as many as the recipe's cluster.gpus_per_node
  setup_minutes: 120   # the first start builds the environments of NeMo RL's workers
  stall_minutes: 30    # of silence: hangs of Ray and NCCL say nothing
"""

_WIDTH = 100  # of comments

_USUAL = ("learning_rate", "batch_size")

_PLAIN = re.compile(r"[A-Za-z_./-][\w./-]*", re.ASCII)


def init(
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")] = Path(
        "study.yaml"
    ),
    *,
    trainer: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="The Python function to tune; or nemo-rl, with a recipe.",
            show_default=False,
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", help="The command to tune, such as 'python train.py --lr {lr}'.", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The recipe of NeMo RL to tune.", show_default=False)
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The checkout of NeMo RL; by default found from the recipe."),
    ] = None,
    n_trials: Annotated[
        int, typer.Option("--n-trials", min=1, metavar="N", help="How many trials; more of a recipe is tuned by more.")
    ] = 40,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Write a commented study file to begin with.

    For a recipe of NeMo RL it is complete: what to tune and in which ranges, around what the recipe has today.
    """
    from rltune.cli.views.console import out
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic

    if trainer is not None and command is not None:
        raise UsageError("give --trainer or --command, not both: a study tunes one of them")
    _refuse_half(trainer, recipe, root)
    if file.exists() and not force:
        raise UsageError(f"{file} exists; `--force` writes over it, `-o` names another file")
    remarks: list[str] = []
    if trainer == _NEMO_RL and recipe is not None:
        text = nemo_rl_text(file, recipe, root, n_trials, remarks)
    else:
        text = study_text(file, trainer or "train:train", command, n_trials)
    try:
        write_atomic(file, text)
    except OSError as error:
        raise FolderError(f"{file}: {explain(error)}") from error
    what = "fill in its search space" if trainer != _NEMO_RL else "read its comments"
    out().print(f"wrote {file}: {what}, then `rltune check {file}`")
    for remark in remarks:
        out().print(f"  {remark}", highlight=False)


def _refuse_half(trainer: str | None, recipe: Path | None, root: Path | None) -> None:
    """Options that need each other."""
    if trainer == _NEMO_RL and recipe is None:
        raise UsageError("--trainer nemo-rl needs --recipe, as in --recipe examples/configs/grpo_math_1B.yaml")
    if trainer != _NEMO_RL and (recipe is not None or root is not None):
        given = "--root" if recipe is None else "--recipe"
        raise UsageError(f"{given} is for NeMo RL: add --trainer nemo-rl, or leave it out")


# --- a function or a command -----------------------------------------------------------------------------------------


def study_text(file: Path, function: str, command: str | None, n_trials: int) -> str:
    """The file's text; it holds what `rltune check` finds nothing wrong with once the trainer is there.

    Raises:
        StudyFileError: The function or the command cannot be a trainer.
    """
    from rltune.config import from_mapping, safe_name
    from rltune.config.nodes import parse

    words = None if command is None else _words(command)
    trainer = (
        _FUNCTION.format(function=json.dumps(function)) if words is None else _COMMAND.format(command=_flow(words))
    )
    text = _TEXT.format(
        file=file,
        name=safe_name(file.resolve().parent.name),
        trainer=trainer,
        space="\n".join(_parameter(name) for name in _parameters(words)),
        metric="loss",
        n_trials=n_trials,
    )
    from_mapping(parse(text)[0])
    return text


def _words(command: str) -> list[str]:
    """The command's words, with a place for the parameters where it has none."""
    from rltune.trainers.placeholders import OVERRIDES, names_in

    words = command_words(command)
    reached = {"config", OVERRIDES, *_own(words)} & {name for word in words for name in names_in(word)}
    return words if reached else [*words, "{overrides}"]


def _own(words: list[str]) -> list[str]:
    """The placeholders that are no words of ours, and so parameters."""
    from rltune.trainers.placeholders import BUILT_IN, names_in

    return list(dict.fromkeys(name for word in words for name in names_in(word) if name not in BUILT_IN))


def _parameters(words: list[str] | None) -> tuple[str, ...]:
    return tuple(_own(words or [])) or _USUAL


def _parameter(name: str) -> str:
    """A range that suits the name."""
    if re.search(r"batch|size|dim", name):
        given = "{type: categorical, choices: [16, 32, 64, 128], default: 32}"
    elif re.search(r"epoch|layer|step|num_|n_", name):
        given = "{type: int, min: 1, max: 8, default: 2}"
    elif re.search(r"dropout|momentum|beta|clip|temperature", name):
        given = "{type: float, min: 0.1, max: 1.0, default: 0.5}"
    else:
        given = "{type: float, min: 1e-5, max: 1e-2, log: true, default: 1e-3}"
    return f"  {name}: {given}"


def _flow(words: list[str]) -> str:
    """A YAML list on one line."""
    return f"[{', '.join(word if _PLAIN.fullmatch(word) else json.dumps(word) for word in words)}]"


# --- a recipe of NeMo RL ---------------------------------------------------------------------------------------------


def nemo_rl_text(file: Path, path: Path, root: Path | None, n_trials: int, remarks: list[str]) -> str:
    """The text of a study of one recipe, which `rltune check` finds nothing wrong with where NeMo RL is there.

    Args:
        file: Where it will be written.
        path: The recipe.
        root: The checkout of NeMo RL; None for the one that the recipe belongs to.
        n_trials: The budget.
        remarks: What to tell the user besides; grows.

    Raises:
        UsageError: There is no such recipe, it is none, or it belongs to no checkout.
    """
    from rltune.config import from_mapping, safe_name
    from rltune.config.nodes import parse
    from rltune.errors import InputError
    from rltune.trainers.nemo_rl.presets import preset
    from rltune.trainers.nemo_rl.recipe import checkout_of, load_recipe

    try:
        recipe = load_recipe(_existing(path, root), root)
        made = preset(recipe, n_trials)
    except InputError as error:
        raise UsageError("\n".join(f"--recipe {path}: {_said(problem)}" for problem in error.problems)) from error
    if root is None and checkout_of(recipe.path) is None:
        raise UsageError(
            f"--recipe {path}: neither it nor a recipe that it inherits from lies in a checkout of NeMo RL, where the "
            "training scripts are; give --root, the folder of the checkout"
        )
    gpus = recipe.get("cluster.gpus_per_node")
    text = _NEMO_RL_TEXT.format(
        algorithm="DAPO" if recipe.is_dapo else recipe.algorithm.upper(),
        file=file,
        name=safe_name(recipe.path.stem),
        n_trials=n_trials,
        recipe=_scalar(_from(recipe.path, recipe.root)),
        root=_scalar(_from(recipe.root, file.absolute().parent)),
        overrides="".join(_line(each, "      ") for each in made.overrides),
        horizon=_horizon(made),
        space="\n".join(_tuned(made)),
        frozen="\n".join(_frozen(made)),
        constraints=_expressions("constraints", made.constraints),
        derived=_expressions("derived", made.derived),
        objective=_evaluation(made),
        guards="".join(_guard(each) for each in made.guards),
        gpus=gpus,
    )
    remarks += [f"{made.objective.direction} {made.objective.metric}; {made.noise}"]
    remarks += [
        f"proposed: {each.key}: {_scalar(each.value)} ({each.reason})" for each in made.overrides if not each.on
    ]
    remarks += made.notes
    from_mapping(parse(text)[0])
    return text


def _existing(path: Path, root: Path | None) -> Path:
    """The recipe's path, where there is a file.

    Raises:
        UsageError: There is none, or no such root; the nearest file is named.
    """
    if root is not None and not root.is_dir():
        raise UsageError(f"--root {root}: there is no folder {root.absolute()}; give the checkout of NeMo RL")
    places = [path] if root is None else [root / path, path]
    for place in places:
        if place.is_file():
            return place
    looked = " or ".join(str(place.absolute()) for place in places)
    near = _nearest_recipe(places)
    hint = f"did you mean {near}?" if near else "recipes lie in examples/configs of a checkout of NeMo RL"
    raise UsageError(f"--recipe {path}: there is no file {looked}; {hint}")


def _nearest_recipe(places: Iterable[Path]) -> Path | None:
    """A file whose name is spelled like it, in the same folder or among the examples of that checkout."""
    from rltune.trainers.nemo_rl.recipe import find_root
    from rltune.wording import nearest

    for place in places:
        root = find_root(place)
        folders = [place.parent.glob("*.y*ml"), *([(root / "examples").rglob("*.yaml")] if root else [])]
        for folder in folders:
            by_name = {each.stem: each for each in sorted(folder)}
            if name := nearest(place.stem, by_name):
                return by_name[name]
    return None


def _said(problem: Problem) -> str:
    """Without the place where a study file would name the recipe."""
    return str(replace(problem, key=problem.key[1:]) if problem.key[:1] == ("recipe",) else problem)


def _from(path: Path, folder: Path) -> str:
    """A path relative to a folder that it lies in, or that is not far above it; else absolute."""
    relative = os.path.relpath(path, folder)
    return str(path) if relative.startswith("../../..") else relative


def _horizon(made: Preset) -> str:
    if made.horizon is None:
        return f"  # horizon: 300              # steps of a full run; without it, {made.why_horizon}\n"
    return _comment(f"Steps of a full run: {made.why_horizon}.", "  ") + f"  horizon: {made.horizon}\n"


def _tuned(made: Preset) -> Iterator[str]:
    for each in made.parameters:
        yield _comment(each.reason, "  ") + f"  {each.name}: {_flow_value(each.spec)}"


def _frozen(made: Preset) -> Iterator[str]:
    yield "# Not tuned:"
    for each in made.frozen:
        value = "" if each.value is None else f" ({_scalar(each.value)})"
        yield _comment(f"- {each.name}{value}: {each.reason}", "", hanging="    ").rstrip("\n")


def _expressions(section: str, given: Iterable[Setting]) -> str:
    """A section of expressions: a list, or by name where they have values."""
    given = list(given)
    if not given:
        return ""
    lines = [f"{section}:\n"]
    for reason, group in groupby(given, lambda each: each.reason):
        lines.append(_comment(reason, "  "))
        lines += [_expression(each) for each in group]
    return "".join(lines)


def _expression(given: Setting) -> str:
    text = json.dumps(given.key if given.value is None else given.value)
    return f"  - {text}\n" if given.value is None else f"  {given.key}: {text}\n"


def _evaluation(made: Preset) -> str:
    objective = made.objective
    lines = [
        "evaluation:\n",
        _comment(f"{made.why_objective}.", "  "),
        _comment(f"{made.noise}.", "  "),
        f"  metric: {objective.metric}\n",
        f"  direction: {objective.direction}\n",
    ]
    if made.ranges:
        mark = "" if any(each.on for each in made.ranges) else "# "
        lines.append(f"  {mark}constraints:\n")
        lines += [_line(each, "    ") for each in made.ranges]
    return "".join(lines)


def _guard(guard: Setting) -> str:
    options = "".join(f", {key}: {_scalar(value)}" for key, value in guard.value.items())
    text = f"{{name: {guard.key}{options}}}" if options else guard.key
    return f"  - {text}    # {guard.reason}\n"


def _line(given: Setting, indent: str) -> str:
    """A key with its value and the reason above it; what is only proposed is commented out."""
    mark = "" if given.on else "# "
    return _comment(given.reason, indent) + f"{indent}{mark}{given.key}: {_flow_value(given.value)}\n"


def _comment(text: str, indent: str, hanging: str = "") -> str:
    text = text[:1].upper() + text[1:]
    lines = textwrap.wrap(text, _WIDTH - len(indent) - 2, subsequent_indent=hanging)
    return "".join(f"{indent}# {line}\n" for line in lines)


def _flow_value(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow_value, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """`5e-7`, as one writes it."""
    if isinstance(value, float):
        digits, e, exponent = repr(value).partition("e")
        return f"{digits}e{int(exponent)}" if e else digits
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )
