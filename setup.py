"""The packages of the wheel: every one below actre/, and the folders of data/ as actre/_data.

Everything else is in pyproject.toml (the files of data/ too: package-data), which cannot both find packages and map one
more folder.
"""

from setuptools import find_namespace_packages, find_packages, setup

DATA = ["alfworld*", "probes", "results", "studies", "tiny", "tiny.even-high", "tiny.shopper", "webshop"]

setup(
    packages=[
        *find_packages(include=["actre", "actre.*"]),
        "actre._data",
        *(f"actre._data.{name}" for name in find_namespace_packages("data", include=DATA)),
    ],
    package_dir={"actre": "actre", "actre._data": "data"},
)
