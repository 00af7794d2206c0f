"""`actre report RUN ...`: the report of runs or of a diagnosis as one offline HTML file."""

import argparse
from typing import Any

from actre.cli.terminal import conclude
from actre.config.paths import place


def add_parser(subparsers: Any) -> None:
    """Add `report` to the command line."""
    parser = subparsers.add_parser(
        "report",
        help="write the report of a run, of several side by side, or of a diagnosis, as one offline HTML file",
        description="Reads run folders, folders of runs (runs/quickstart) or a diagnosis; writes one HTML file.",
    )
    parser.add_argument(
        "folders", type=place, nargs="+", metavar="RUN", help="e.g. runs/quickstart; several are compared"
    )
    parser.add_argument(
        "--out", type=place, metavar="FILE", help="default: report.html in the folder (or above several)"
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help="first measure what both orders would do at each step of the episodes shown (loads the runs' policies)",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from actre.view import report
    from actre.view.records import holds_runs

    if args.score:
        from actre.study.scored import score

        score(args.folders, say=lambda text: print(f"scored {text}"))
    path = report.write(*args.folders, out=args.out)
    if any(holds_runs(folder) for folder in args.folders):
        conclude(args.folders)
    print(f"written: {path}")
    return 0
