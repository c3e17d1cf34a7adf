"""The packages to install. pyproject.toml cannot say that configs/ goes inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["hourglass_jax*"]), "hourglass_jax.configs"],
    package_dir={"hourglass_jax.configs": "configs"},
)
