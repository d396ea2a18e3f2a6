"""Map the two top-level folders into the package: datamodules/ and recipes/ become avatarzoo.datamodules and .recipes."""

from setuptools import find_packages, setup

MAPPED = {"avatarzoo.datamodules": "datamodules", "avatarzoo.recipes": "recipes"}
DATA = ["py.typed", "**/*.json", "**/*.yaml", "**/*.npz", "**/*.html"]

packages = find_packages(include=["avatarzoo", "avatarzoo.*"])
for package, folder in MAPPED.items():
    packages += [package, *(f"{package}.{name}" for name in find_packages(folder))]

setup(
    packages=packages,
    package_dir={"avatarzoo": "avatarzoo", **MAPPED},
    package_data={package: DATA for package in packages},
)
