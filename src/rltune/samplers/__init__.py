"""Which configuration comes next."""

from rltune.samplers.base import SpaceSampler
from rltune.samplers.feasible import FeasibleSampler
from rltune.samplers.registry import SAMPLERS, make_sampler

__all__ = ["SAMPLERS", "FeasibleSampler", "SpaceSampler", "make_sampler"]
