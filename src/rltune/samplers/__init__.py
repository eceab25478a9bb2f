"""Which configuration comes next."""

from rltune.samplers.base import SpaceSampler
from rltune.samplers.feasible import FeasibleSampler
from rltune.samplers.registry import GROUP, make_sampler, sampler_names

__all__ = ["GROUP", "FeasibleSampler", "SpaceSampler", "make_sampler", "sampler_names"]
