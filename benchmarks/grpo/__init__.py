"""A table of real GRPO trainings: the digits example at many configurations, three seeds each, with all its curves.

space      which parameters vary, and the configurations that are measured
measure    trains them, as many at a time as there are cores; can be ended and gone on with at any time
table      the measured table: benchmarks/data/grpo_digits.npz
"""
