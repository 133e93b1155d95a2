"""What pyproject.toml cannot say: the folder ``lessons`` is installed inside the package, as ``tinycnn/lessons``.

With ``TINYCNN_FOR_STUDENTS=1`` the wheel has no assignments, whose solutions are in them.
"""

import os

from setuptools import find_namespace_packages, find_packages, setup

left_out = ["*__pycache__*", *(["assignments*"] if os.environ.get("TINYCNN_FOR_STUDENTS") else [])]
folders = find_namespace_packages("lessons", exclude=left_out)
setup(
    packages=[
        *find_packages(include=["tinycnn*"]),
        "tinycnn.lessons",
        *(f"tinycnn.lessons.{name}" for name in folders),
    ],
    package_dir={"tinycnn.lessons": "lessons"},
)
