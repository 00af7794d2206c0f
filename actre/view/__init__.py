"""Figures, reports, and for notebooks the inspector and the play widget.

It reads records of runs and episodes and never imports the trainer. The widgets are imported only when used, so reading
a run needs no notebook library.

    records, success, comparison, episodes       reading run folders: their data, success rates, differences, exhibits
    plots (run_, diagnosis_, calibration_plots)  plotly figures; rows and palette are shared by them
    still, axes                                  a figure as a static SVG
    page, sections, replies, diagnosis_page      the pages of a report; blocks, html and report.css are their parts
    report                                       writing a report
    words, answers, names                        results as sentences; what came out, for a summary; display names
    inspector, play                              the notebook widgets
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.view.inspector import Inspector
    from actre.view.play import Play

__all__ = ["Inspector", "Play"]


def __getattr__(name: str) -> Any:
    if name == "Inspector":
        from actre.view.inspector import Inspector

        return Inspector
    if name == "Play":
        from actre.view.play import Play

        return Play
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
