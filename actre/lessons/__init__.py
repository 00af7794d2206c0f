"""What the notebooks share.

Files:
    install.py   sets up the environment; runs before anything is installed, so it needs only Python
    form.py      badge and install cell of every notebook, and the form in which notebooks are committed
    runner.py    runs the notebooks: `actre notebooks`
    drive.py     OUT in Google Drive, on Colab
    presets.py   PRESET and SEED -> settings
    recorded.py  the shipped records of a study's runs
    live.py      training in a cell, with a live curve
    exercise.py  checks answers to exercises
"""
