"""The digits example as a package: `examples.digits:train` for a study file in the repository's root."""

from examples.digits.train import dataset, train

__all__ = ["dataset", "train"]
