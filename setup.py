"""What pyproject.toml cannot say: the folder ``lessons`` is installed inside the package, as ``tinycnn/lessons``.

With ``TINYCNN_FOR_STUDENTS=1`` the wheel has no assignments, whose solutions are in them. It is built in a folder of
its own, so that nothing is left there from a wheel that has them.
"""

import os

from setuptools import find_namespace_packages, find_packages, setup

for_students = bool(os.environ.get("TINYCNN_FOR_STUDENTS"))
left_out = ["*__pycache__*", *(["assignments*"] if for_students else [])]
folders = find_namespace_packages("lessons", exclude=left_out)
setup(
    packages=[
        *find_packages(include=["tinycnn*"]),
        "tinycnn.lessons",
        *(f"tinycnn.lessons.{name}" for name in folders),
    ],
    package_dir={"tinycnn.lessons": "lessons"},
    options={"build": {"build_base": "build/students" if for_students else "build/all"}},
)
