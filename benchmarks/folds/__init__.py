"""When to stop a configuration between cross-validation folds: `python -m benchmarks.folds`.

__main__   the options, the table, the JSON
rules      the rules that are compared, rltune's own among them
replay     random search and TPE in a table of losses, under a rule
tables     losses of many configurations on many folds: measured (benchmarks/data/folds.npz) and made up
"""
