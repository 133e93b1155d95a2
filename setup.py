"""What pyproject.toml cannot say: the folder ``lessons`` is installed inside the package, as ``tinycnn/lessons``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tinycnn*"]), "tinycnn.lessons"],
    package_dir={"tinycnn.lessons": "lessons"},
)
