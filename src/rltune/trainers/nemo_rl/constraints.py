"""What NeMo RL would refuse, found out before anything starts: in one recipe, and as constraints of a search space.

Both come from the same rules (`rules.py`). For one recipe a rule is computed. For a space it is folded (`folding.py`):
what does not vary is computed, the tuned names take the place of the keys they set, and what is left is a constraint.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rltune.errors import InputError, SpaceError
from rltune.space.expressions import Expression
from rltune.trainers.nemo_rl.folding import Terms, named, parsed, text_of
from rltune.trainers.nemo_rl.metrics import checkpoint_metrics
from rltune.trainers.nemo_rl.names import NAMES, expand, value_of
from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe
from rltune.trainers.nemo_rl.rules import CLIPPED, Rule, others_take_gpus, rollouts, rules, sizes, value
from rltune.wording import found, listed, nearest

_NOTHING: Mapping[str, str] = MappingProxyType({})
_UNCHECKED = "NRL_IGNORE_TP_ACCURACY_CHECK"


@dataclass(frozen=True)
class Violation:
    """One rule of NeMo RL that a recipe breaks.

    Attributes:
        rule: Its number; several checks may bear the same.
        keys: The dotted keys that decided it.
        message: What must hold, and what was found.
        hint: What to do about it.
    """

    rule: int
    keys: tuple[str, ...]
    message: str
    hint: str


@dataclass(frozen=True)
class SpaceRules:
    """What a search space over a recipe must keep, in the language of expressions.

    A constraint does not apply where one of its parameters is inactive, though the recipe's own value counts there: a
    condition `when` on a batch size or a switch can let a configuration through that NeMo RL refuses.

    Attributes:
        constraints: Over tuned names, tuned keys, and numbers of the recipe by their dotted keys.
        derived: What must follow a tuned value and does not do so by itself, by the key that it sets.
        notes: What no constraint can say: rules that the recipe breaks whatever is tuned, and what only a run can show.
    """

    constraints: tuple[str, ...]
    derived: Mapping[str, str]
    notes: tuple[str, ...]


def violations(recipe: Recipe, env: Mapping[str, str] = _NOTHING) -> list[Violation]:
    """Every rule that one recipe breaks, as far as its values tell.

    A rule is passed over where it needs a value that is absent, or that only the trainer's environment knows.

    Args:
        recipe: With everything set in it that a trial sets.
        env: The trainer's environment variables: `NRL_IGNORE_TP_ACCURACY_CHECK` switches rule 8 off.
    """
    broken = []
    for rule in _rules(recipe, env):
        values = _Values(recipe)
        try:
            holds = Expression(rule.text).is_true(values)
        except SpaceError:
            continue
        if not holds:
            read = ", ".join(f"{key} = {found(each)}" for key, each in values.items())
            broken.append(Violation(rule.number, tuple(values), f"{rule.message}; got {read}", rule.hint))
    return [*broken, *_unranked(recipe)]


def space_rules(recipe: Recipe, tuned: Collection[str], env: Mapping[str, str] = _NOTHING) -> SpaceRules:
    """The constraints under which `violations` finds nothing wrong with any configuration of a space.

    Args:
        recipe: What does not vary.
        tuned: All parameters, and what the study derives itself: names, and dotted keys.
        env: As for `violations`.
    """
    terms = Terms(recipe, _moves(recipe, tuned))
    followers = _followers(recipe, terms, env)
    terms = Terms(recipe, terms.moves | followers)
    constraints: dict[str, None] = {}  # an ordered set: two rules may come down to the same
    notes = [f"rule {each.rule} of NeMo RL: {each.message} ({each.hint})" for each in _unranked(recipe)]
    for rule in _rules(recipe, env):
        folded = terms.try_fold(parsed(rule.text))
        if folded is None:
            continue  # as in `violations`
        if not isinstance(folded, ast.Constant):
            constraints |= {} if rule.implied else {text_of(folded): None}
        elif not folded.value:
            notes.append(f"rule {rule.number} of NeMo RL is broken whatever is tuned: {rule.message} ({rule.hint})")
    derived = {key: text_of(formula) for key, formula in followers.items()}
    return SpaceRules(tuple(constraints), derived, (*notes, *_notes(recipe, terms, env)))


def _rules(recipe: Recipe, env: Mapping[str, str]) -> Iterator[Rule]:
    return (rule for rule in rules(recipe) if rule.number != 8 or not env.get(_UNCHECKED))


class _Values(dict[str, Any]):
    """A recipe's values by key, filled in when they are asked for: what it holds afterwards decided a rule."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def __missing__(self, key: str) -> Any:
        self[key] = value(self._recipe, key)
        return self[key]


# -- what varies, and what must follow ---------------------------------------------------------------------------------


def _moves(recipe: Recipe, tuned: Collection[str]) -> dict[str, ast.expr]:
    """Every key that the tuned names set, with the formula of its value."""
    moves: dict[str, ast.expr] = {}
    for each in tuned:
        if each in NAMES:
            moves |= _moved_by(recipe, each)
        else:
            moves[each.removeprefix("++")] = named(each)
    return moves


def _moved_by(recipe: Recipe, name: str) -> dict[str, ast.expr]:
    """The keys that a name sets, each to its value, to a multiple of it, or to whether it is 0.

    Which it is, is found by trying three values. A key that takes a list is there too, as set by the name; no rule
    reads one.
    """
    try:
        today = value_of(recipe, name)
        if isinstance(today, bool) or not isinstance(today, int | float):
            return {key: named(name) for key in expand(recipe, {name: today})}
        one = today or 1
        at_none, at_one, at_two = (expand(recipe, {name: each}) for each in (0, one, 2 * one))
    except InputError:
        return {}  # it has no place in this recipe, which `names.problems` says
    moved: dict[str, ast.expr] = {}
    for key, there in at_one.items():
        if there == at_two[key] == at_none[key]:
            continue
        if isinstance(there, bool):
            moved[key] = ast.Compare(named(name), [ast.Eq() if at_none[key] else ast.NotEq()], [ast.Constant(0)])
        elif there == one or not isinstance(there, int | float):
            moved[key] = named(name)
        else:
            moved[key] = ast.BinOp(named(name), ast.Mult(), ast.Constant(_tidy(there / one)))
    return moved


def _tidy(ratio: float) -> float:
    """Without the noise of floating point: 0.1, not 0.09999999999999999."""
    return float(f"{ratio:.12g}")


def _followers(recipe: Recipe, terms: Terms, env: Mapping[str, str]) -> dict[str, ast.expr]:
    """The keys that must follow a tuned one and would not, each with its formula.

    A key that is tuned itself, or that follows by an interpolation of the recipe, is none of them.
    """
    followers = {}
    for key, formula in _pairs(recipe, terms, env):
        is_set = any(f"{key}.".startswith(f"{other}.") for other in terms.moves)  # the key, or a list that holds it
        if not recipe.has(key) or is_set or terms.key_varies(key):
            continue
        folded = terms.try_fold(formula)
        if folded is not None and terms.varies(folded):
            followers[key] = folded
    return followers


def _pairs(recipe: Recipe, terms: Terms, env: Mapping[str, str]) -> Iterator[tuple[str, ast.expr]]:
    """Keys and what they must be."""
    forced = "loss_fn.force_on_policy_ratio"
    if recipe.algorithm in CLIPPED:
        if recipe.get(forced) is True and not terms.key_varies(forced):
            yield "policy.train_global_batch_size", parsed(rollouts(recipe))  # rule 11
        skip = f"{recipe.algorithm}.skip_reference_policy_logprobs_calculation"
        if recipe.get(skip) is True:
            yield skip, parsed("loss_fn.reference_policy_kl_penalty == 0")  # rule 13
    for model in ("policy", "value"):
        tp = sizes(recipe, model)[0]
        wide = _number(recipe, tp) >= 4 and not terms.key_varies(tp)
        if wide and recipe.get(forced) is not True and not env.get(_UNCHECKED):
            yield f"{model}.logprob_batch_size", named(f"{model}.train_micro_batch_size")  # rule 8
        yield from _schedule_pairs(recipe, model)


def _schedule_pairs(recipe: Recipe, model: str) -> Iterator[tuple[str, ast.expr]]:
    """Rule 34 of Megatron, and what NeMo RL does not check: with two lengths of warm-up the learning rate jumps."""
    if recipe.get(f"{model}.megatron_cfg.enabled") is not True:
        yield from _turns(recipe, model)
        return
    optimizer, schedule = f"{model}.megatron_cfg.optimizer", f"{model}.megatron_cfg.scheduler"
    rate = _number(recipe, f"{optimizer}.lr")
    for key in (f"{optimizer}.min_lr", f"{schedule}.lr_warmup_init"):
        if rate > 0 and _number(recipe, key) > 0:
            share = _tidy(_number(recipe, key) / rate)
            yield key, parsed(f"{optimizer}.lr" if share == 1 else f"{optimizer}.lr * {share!r}")
    for key in (f"{schedule}.start_weight_decay", f"{schedule}.end_weight_decay"):
        yield key, named(f"{optimizer}.weight_decay")


def _turns(recipe: Recipe, model: str) -> Iterator[tuple[str, ast.expr]]:
    """On DTensor, the length of the warm-up and the step at which the next scheduler takes over."""
    parts = recipe.get(f"{model}.scheduler")
    if isinstance(parts, list):
        end, length = f"{model}.scheduler.{len(parts) - 1}.milestones.0", f"{model}.scheduler.0.kwargs.total_iters"
        if recipe.has(end) and recipe.get(end) == recipe.get(length):
            yield end, named(length)
            yield length, named(end)


def _number(recipe: Recipe, key: str) -> float:
    """0 for what is absent, null, or known to the trainer's environment only."""
    number = recipe.get(key)
    return number if isinstance(number, int | float) else 0


# -- what no expression says -------------------------------------------------------------------------------------------


def _unranked(recipe: Recipe) -> list[Violation]:
    """Rule 26, which is about how a text begins."""
    key, metric = "checkpointing.metric_name", recipe.get("checkpointing.metric_name")
    saves = recipe.get("checkpointing.enabled") is True and metric is not None
    if not saves or str(metric).startswith(("train:", "val:")):
        return []
    message = f"the metric that ranks checkpoints must begin with `train:` or `val:`; got {key} = {found(metric)}"
    return [Violation(26, (key,), message, f"such as {checkpoint_metrics(recipe)[0]}")]


def _notes(recipe: Recipe, terms: Terms, env: Mapping[str, str]) -> Iterator[str]:
    """What only a run can show, as far as it matters for this recipe and what is tuned."""
    if others_take_gpus(recipe):
        yield "rules 2 to 4, 7, 9 and 37 of NeMo RL are not checked: not only training and generation take GPUs here"
    if recipe.backend is Backend.MEGATRON and "TORCH_CUDA_ARCH_LIST" not in env:
        yield "rule 10 of NeMo RL: Megatron needs TORCH_CUDA_ARCH_LIST in the trainer's environment"
    batch = "policy.train_global_batch_size"
    if recipe.algorithm in CLIPPED:
        made = terms.try_fold(parsed(rollouts(recipe)))
        if made is not None and terms.varies(made) and not terms.key_varies(batch):
            size = recipe.get(batch)
            yield f"rule 1 of NeMo RL: `{batch}` stays {size}, so rollouts per step are multiples of it; tune it too"
        if terms.key_varies("loss_fn.reference_policy_kl_penalty"):
            yield "rule 14 of NeMo RL: without a KL penalty no reference model is loaded, which frees memory and time"
        yield from _sampling_notes(recipe, terms)
    yield from _unknown_ranking(recipe)
    if recipe.algorithm is Algorithm.DISTILLATION:
        yield "rule 31 of NeMo RL: student and teacher must have the same vocabulary"
    cp = sizes(recipe, "policy")[1]
    if recipe.backend is Backend.DTENSOR and (terms.key_varies(cp) or _number(recipe, cp) > 1):
        yield "rule 32 of NeMo RL: vision models and Gemma 3 have no context parallelism on DTensor"


def _unknown_ranking(recipe: Recipe) -> Iterator[str]:
    """Rule 26 again: NeMo RL looks the metric up when it saves for the first time."""
    metric, usual = recipe.get("checkpointing.metric_name"), checkpoint_metrics(recipe)
    saves = recipe.get("checkpointing.enabled") is True and isinstance(metric, str)
    if saves and metric.startswith(("train:", "val:")) and metric not in usual:
        near = nearest(metric, usual)
        hint = f"did you mean `{near}`?" if near else f"always measured: {listed(usual)}"
        yield f"rule 26 of NeMo RL: `{metric}` must be measured, else the first save fails; {hint}"


def _sampling_notes(recipe: Recipe, terms: Terms) -> Iterator[str]:
    section, generation = str(recipe.algorithm), "policy.generation"
    rates = ("policy.optimizer.kwargs.lr", "policy.megatron_cfg.optimizer.lr", f"{generation}.temperature")
    if recipe.get(f"{section}.use_dynamic_sampling") is True and any(map(terms.key_varies, rates)):
        most = recipe.get(f"{section}.dynamic_sampling_max_gen_batches")
        yield f"rule 24 of NeMo RL: a step that finds no varied rewards in {most} batches of rollouts ends the run"
    if terms.key_varies(f"{generation}.temperature") and terms.key_varies(f"{generation}.val_temperature"):
        yield "rule 21 of NeMo RL: validation samples as training does, so its accuracy changes with the temperature"
