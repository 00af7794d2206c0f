"""What a study found, as pages: docs/results-*.md and study.html.

words            findings as sentences
tables           successes as tables
entropy_tables   entropies as tables
forecasts        what was expected of the contrasts, scored
across           a contrast between parts: side by side, and as a map
charts           the charts of the HTML page
blocks           what a page consists of
page             the page as a sequence of sections
printing         sections as Markdown or HTML
results          writes the pages
"""
