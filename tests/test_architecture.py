"""The arrows between the packages point one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "ndp_jax": set(),
    "envs": set(),
    "configs": set(),
    "train": {"ndp_jax", "envs", "configs"},
}


def imported(source: str) -> set[str]:
    """Top-level names a module imports absolutely, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def imports_of(package: str) -> set[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no modules"
    return set().union(*(imported(file.read_text()) for file in files))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_they_may(package: str) -> None:
    siblings = imports_of(package) & (MAY_IMPORT.keys() - {package})
    assert siblings <= MAY_IMPORT[package]


def test_configs_need_only_dataclasses_and_annotations() -> None:
    assert imports_of("configs") <= {"configs", "dataclasses", "typing", "tyro", "__future__"}


def test_the_method_knows_no_simulator_and_no_command_line() -> None:
    assert not imports_of("ndp_jax") & {"mujoco", "brax", "tyro", "rich", "orbax", "matplotlib"}


def test_no_module_is_called_utils() -> None:
    folders = [*MAY_IMPORT, "tests"]
    assert not [file for folder in folders for file in (ROOT / folder).rglob("utils.py")]


def test_only_what_starts_the_command_knows_where_it_starts() -> None:
    files = (file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py"))
    knowing = [file for file in files if "ndp_command" in imported(file.read_text())]
    assert knowing == [ROOT / "ndp_jax" / "__main__.py"]
