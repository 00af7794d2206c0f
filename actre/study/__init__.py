"""Studies: arms x estimators x seeds from one file, run side by side and compared; and the quickstart.

preconditions    whether a comparison could show anything on a policy
quickstart       one seed of two arms, diagnosed and compared
onerun           one run from start to end; shared by quickstart and job
scored           both orders' distributions in the episodes of a report
file             reads a study file
plan             a study: parts, runs, contrasts
job              one run, in a process of its own
runner           several runs at once, resumable
record           a finished run as one line of JSON
findings         comparisons of arms, and findings by the protocol
coverage         how often intervals over seeds hold the truth, on simulated studies
mediation        whether contraction explains a gain
words            findings as sentences
forecasts        what was expected of the contrasts, scored
tables           successes as tables
entropy_tables   entropies as tables
through_training what a condition's runs went through, as points to draw
charts           the charts of the HTML page
page             the page as a sequence of sections
printing         sections as Markdown or HTML
results          writes the pages of results and study.html
"""
