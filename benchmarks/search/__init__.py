"""How good is what a search finds, and how soon: `python -m benchmarks.search`.

__main__   the options, the runs, the tables, the JSON
problems   what is searched: ours, and tables of others from a folder that is not part of this project
synthetic  ours: landscapes and training curves whose best is known
arms       samplers, stoppers and recommendations by name; the versions of their code
values     suite: so many evaluations, one after the other
curves     suite: trainings that report, four at a time on a virtual clock, with and without a stopper
prior      suite: a good prior and a misleading one
speed      suite: seconds per suggestion
cache      every run is kept, so that a benchmark can be interrupted and extended
scores     means, intervals, evaluations needed
"""
