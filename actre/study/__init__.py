"""Studies: arms x estimators x seeds from one file, run side by side and compared; and the quickstart.

preconditions    whether a comparison could show anything on a policy
gpu_check        what a GPU would be asked to do, and its record
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
across           a contrast between parts, and the interaction
through_training what a condition's runs went through, as points to draw
pages            the findings as pages
"""
