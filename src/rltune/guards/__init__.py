"""Guards: they see what a pruner, which is shown one number, cannot see.

A guard is a pure function that is called at every measurement with the trial's whole history, newest last, and answers
with a `Verdict` when the trial has gone wrong. Its options are keyword arguments. A guard is called often, so it looks
at the newest measurement first. One of your own is a function in a file of yours, named as `module:function`::

    def too_long(measurements, *, limit):
        length = measurements[-1].metrics.get("mean_length", 0.0)
        return Verdict(Cause.COLLAPSED, f"answers of {length:.0f} tokens") if length > limit else None
"""

from rltune.guards.divergence import divergence
from rltune.guards.registry import GUARDS, check_guard, make_guard
from rltune.guards.verdict import Guard, Verdict

__all__ = ["GUARDS", "Guard", "Verdict", "check_guard", "divergence", "make_guard"]
