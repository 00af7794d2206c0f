"""What the notebooks share beside their lessons: setting up, choosing a preset, training that goes on, self-checks.

Loads nothing by itself. install stands alone, for it runs before anything is installed; form and runner write and run
the notebooks; presets, live and exercise are what their cells call.
"""
