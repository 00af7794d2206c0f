"""The packages of the wheel: every one below actre/, and data/ as actre/_data.

Everything else is in pyproject.toml, which cannot both find packages and map one more folder.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["actre", "actre.*"]), "actre._data"],
    package_dir={"actre": "actre", "actre._data": "data"},
)
