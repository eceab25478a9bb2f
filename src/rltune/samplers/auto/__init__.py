"""rltune's own search: a Gaussian process that learns the noise, on NumPy and SciPy only.

The floors, from the bottom: `kernel` and `gp` (a model of numbers), `transform` (what it is shown in place of raw
values), `encode` (configurations as rows of numbers), `prior` (where the user expects the best), `acquire` (what a row
is worth trying), `climb` (the row that is worth most), `search` (from what was observed to the next row), `recommend`
(the row that is worth most keeping). Optuna's side: `observed` (trials as rows), `structure` (a space that nobody wrote
down), `sampler`.
"""
