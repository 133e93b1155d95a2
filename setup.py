"""What pyproject.toml cannot say: the folder ``lessons`` is installed inside the package, as ``tinycnn/lessons``."""

from setuptools import find_namespace_packages, find_packages, setup

folders = find_namespace_packages("lessons", exclude=["*__pycache__*"])
setup(
    packages=[
        *find_packages(include=["tinycnn*"]),
        "tinycnn.lessons",
        *(f"tinycnn.lessons.{name}" for name in folders),
    ],
    package_dir={"tinycnn.lessons": "lessons"},
)
