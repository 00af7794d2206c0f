"""Plotly figures for notebooks: from diagnoses, runs and calibration records to go.Figure.

They are made in `diagnosis_plots`, `run_plots`, `collapse`, `transfer_plot` and `calibration_plots`, with what plotly
5.24 (Colab) and 7 have in common: Scatter and Bar traces and plain layout dicts, no FigureWidget. Import from here.
"""

import json
import sys

import plotly.graph_objects as go

from actre.view.calibration_plots import (
    calibration_bias,
    calibration_verdicts,
    calibration_width,
    naive_by_thoughts,
    naive_mistake,
)
from actre.view.collapse import curve as collapse_curve
from actre.view.collapse import with_signs
from actre.view.diagnosis_plots import (
    action_distributions,
    decomposition,
    difference_by_part,
    difference_by_state,
    entropy_by_state,
)
from actre.view.palette import CONFIG
from actre.view.run_plots import entropy_at_start, entropy_through_training, learning_curve, success
from actre.view.still import svg
from actre.view.transfer_plot import passed_on

__all__ = [
    "CONFIG",
    "action_distributions",
    "calibration_bias",
    "calibration_verdicts",
    "calibration_width",
    "collapse_curve",
    "decomposition",
    "difference_by_part",
    "difference_by_state",
    "entropy_at_start",
    "entropy_by_state",
    "entropy_through_training",
    "learning_curve",
    "naive_by_thoughts",
    "naive_mistake",
    "passed_on",
    "show",
    "success",
    "with_signs",
]


def show(figure: go.Figure) -> None:
    """Show a figure in a notebook: live with `CONFIG` where the viewer draws plotly, as a static SVG where it does not.

    A saved notebook holds both and no library: it reads on GitHub, in nbconvert and offline. Colab draws plotly by
    itself.
    """
    if "google.colab" in sys.modules:
        figure.show(config=CONFIG)
        return
    from IPython.display import display

    live = {**json.loads(figure.to_json()), "config": CONFIG}
    display({"application/vnd.plotly.v1+json": live, "image/svg+xml": svg(figure)}, raw=True)
