"""What pyproject.toml can't say: the checkout's ``tasks`` is ``batuta_tasks`` in the wheel.

A wheel that put a package called ``tasks`` into site-packages would meet the ``tasks`` of the very
projects that it is for. See docs/decisions/0021-tasks-in-the-wheel.md.
"""

from setuptools import find_namespace_packages, setup

SHIPPED = "batuta_tasks"
CACHES = ["*__pycache__*"]

setup(
    packages=[
        *find_namespace_packages(include=["coordinator", "coordinator.*"], exclude=CACHES),
        SHIPPED,
        *(f"{SHIPPED}.{name}" for name in find_namespace_packages("tasks", exclude=CACHES)),
        f"{SHIPPED}.data",
    ],
    package_dir={SHIPPED: "tasks", f"{SHIPPED}.data": "data"},
)
