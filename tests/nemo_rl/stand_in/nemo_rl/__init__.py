"""A stand-in for NeMo RL: its command line, files, texts and exit codes, with a made-up learner in place of GPUs.

What it takes from the real one: how recipes are composed and overridden, what is printed, logged and saved and in
which order, how a run resumes and how it ends. What it makes up: the numbers (`algorithms/learner.py`).

Variables of the environment:

    STAND_IN               how it misbehaves, as `oom:3,orphan`: see `misbehaviour.py`
    STAND_IN_STEP_SECONDS  how long a step takes; 0.02
    STAND_IN_PYTHON        the Python that `bin/uv run` starts; that of the active virtual environment
"""
