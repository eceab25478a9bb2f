"""The command line: one file per group of verbs, and beside them what the verbs share.

Everything heavy (Optuna, pydantic, ruamel.yaml, Rich) is imported inside the commands, so that `--help` is quick; what
they print is made in `views`.
Verbs that read a study work on one that is running, dead or a copy, and write nothing in its folder.
"""
