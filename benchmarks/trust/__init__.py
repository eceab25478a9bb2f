"""Does what is shipped beat the default, and is the printed gain true? `python -m benchmarks.trust`.

__main__    the options, the tables, the JSON
landscapes  studies whose truth is known: populations of configurations, kinds of noise, a table of real runs
play        one study by the product's rules, or naively; what many of them come to
rules       other rules for the finals, to compare rltune's with
ablation    shares, thresholds and finals rules side by side
figure      the picture of docs/trust.md
"""
