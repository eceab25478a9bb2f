"""Searches of other tools as study files: a storage of Optuna, a sweep of W&B, a sweeper of Hydra.

Each reader makes a `Draft`, which `draft.text` writes as a commented study file. What has no counterpart is refused
with its line, or becomes a remark at the head of the file.
"""
