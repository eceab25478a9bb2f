"""What rltune itself costs: `python -m benchmarks.speed`.

__main__   the options, the rounds, the table, the JSON
rows       which numbers stand in the table, and how far each is to go
arms       runs one contestant in a Python of its own, and cleans up behind it
ours       what rltune does in each comparison       (imports rltune)
peers      what Optuna and Ray Tune do in the same   (imports neither before it must)
memory     resident memory of a tuner's processes, from /proc
machine    what a figure depends on: processor, load, versions
"""
