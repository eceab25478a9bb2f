"""Guards: they see what a pruner, which is shown one number, cannot see.

A guard is a pure function that is called at every measurement with the trial's whole history, newest last, and answers
with a `Verdict` when the trial has gone wrong. Its options are keyword arguments. A guard is called often, so it looks
at the newest measurement first. What becomes of a verdict is no matter of the guard: `mode: shadow` beside its options
writes it down, and the trial runs on. One of your own is a function in a file of yours, named as `module:function`::

    def too_long(measurements, *, limit):
        length = measurements[-1].metrics.get("mean_length", 0.0)
        return Verdict(Cause.COLLAPSED, f"answers of {length:.0f} tokens") if length > limit else None
"""

from rltune.guards.collapse import collapse
from rltune.guards.divergence import divergence
from rltune.guards.grad_norm import grad_norm
from rltune.guards.hacking import hacking
from rltune.guards.kl import kl
from rltune.guards.mismatch import mismatch
from rltune.guards.no_signal import no_signal
from rltune.guards.registry import GUARDS, check_guard, make_guard
from rltune.guards.truncation import truncation
from rltune.guards.verdict import Guard, Mode, StudyGuard, Verdict

__all__ = [
    "GUARDS",
    "Guard",
    "Mode",
    "StudyGuard",
    "Verdict",
    "check_guard",
    "collapse",
    "divergence",
    "grad_norm",
    "hacking",
    "kl",
    "make_guard",
    "mismatch",
    "no_signal",
    "truncation",
]
