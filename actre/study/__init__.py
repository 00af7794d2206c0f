"""Studies: arms x estimators x seeds from one file, run side by side and compared. The room's door; no code.

file        a study file becomes a study
plan        what a study is: parts, runs, contrasts
job         one run, in a process of its own
runner      runs beside each other, resumable
record      what is kept of a finished run: one line of JSON
estimators  numbers in, numbers out: interquartile mean, bootstrap, tests, effect sizes
findings    records become comparisons, and comparisons findings
mediation   does contraction explain it: verdicts at the start, matched arm, correlations
words       findings in sentences
tables      successes in rows of words
entropy_tables   entropies in rows of words
results     the page docs/results.md
page        the study's HTML page
command     `actre study`
"""
