"""The arrows between the packages, and between the modules and rooms in each, point one way."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "ndp_jax": set(),
    "envs": set(),
    "configs": {"envs"},
    "train": {"ndp_jax", "envs", "configs"},
}

FLOORS = {
    "ndp_jax": (
        *({"dmp", "distributions", "networks", "normalize"}, {"fitting", "prodmp"}, {"policies"}),
        *({"heads", "writing"}, {"export"}, {"__init__"}, {"__main__"}),
    ),
    "envs": (
        *({"importing", "xla_flags", "outside", "suites", "fusion", "tabletop", "controllers"},),
        *({"physics"}, {"base"}, {"mjcf", "checks"}),
        *({"sawyer", "jaco"}, {"throw", "pick", "push", "soccer", "faucet"}),
        *({"camera", "limits", "adapted"}, {"__init__"}, {"gym", "sb3"}),
    ),
    "configs": (
        *({"fields", "registry"}, {"heads"}, {"base"}, {"imitation"}),
        *({"throw", "pick", "push", "soccer", "faucet"}, {"__init__"}),
    ),
    "train": (
        *({"system"}, {"runs"}, {"rl"}, {"imitation"}, {"sweeps"}, {"bench", "studies"}),
        *({"commands"}, {"cli"}, {"__init__"}),
    ),
}
"""Modules, or folders of them, that may import those on the floors below their own."""


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
    others = {*MAY_IMPORT, "tests", "examples"} - {package}
    assert imports_of(package) & others <= MAY_IMPORT[package]


def test_configs_need_only_what_python_has_and_annotations() -> None:
    """Of the tasks they know the names."""
    assert imports_of("configs") - sys.stdlib_module_names <= {"configs", "envs", "tyro"}


def test_the_method_knows_no_simulator_and_no_command_line() -> None:
    assert not imports_of("ndp_jax") & {"mujoco", "brax", "tyro", "rich", "orbax", "matplotlib"}


def test_no_module_is_called_utils() -> None:
    folders = [*MAY_IMPORT, "tests"]
    assert not [file for folder in folders for file in (ROOT / folder).rglob("utils.py")]


def test_only_what_starts_the_command_knows_where_it_starts() -> None:
    files = (file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py"))
    knowing = [file for file in files if "ndp_command" in imported(file.read_text())]
    assert knowing == [ROOT / "ndp_jax" / "__main__.py"]


def modules_of(package: str) -> dict[str, Path]:
    """Modules by their full names."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (ROOT / package).rglob("*.py")
    }


def arrows_within(package: str) -> dict[str, set[str]]:
    """The modules of a package that each of them imports, anywhere in it."""
    modules = modules_of(package)
    arrows: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                arrows[name] |= {alias.name for alias in node.names} & modules.keys()
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} imports by relative names"
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                arrows[name] |= (named & modules.keys()) or ({node.module} & modules.keys())
    return arrows


def room(module: str) -> str:
    """The first folder or file inside the package that a module belongs to."""
    return (module.split(".") + ["__init__"])[1]


def floor(module: str) -> int:
    (number,) = (n for n, rooms in enumerate(FLOORS[module.split(".")[0]]) if room(module) in rooms)
    return number


@pytest.mark.parametrize("package", FLOORS)
def test_modules_import_only_those_on_floors_below(package: str) -> None:
    upwards = [
        (module, other)
        for module, others in arrows_within(package).items()
        for other in others
        if room(other) != room(module) and floor(other) >= floor(module)
    ]
    assert not upwards


@pytest.mark.parametrize("package", FLOORS)
def test_floors_name_all_that_there_is_and_nothing_else(package: str) -> None:
    assert set(map(room, modules_of(package))) == set().union(*FLOORS[package])


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_module_imports_itself_through_others(package: str) -> None:
    graphlib.TopologicalSorter(arrows_within(package)).prepare()


def test_train_is_as_deep_as_its_rooms() -> None:
    files = [file.relative_to(ROOT / "train") for file in (ROOT / "train").rglob("*.py")]
    assert max(len(file.parts) for file in files) == 2
    assert sum(len(file.parts) == 1 for file in files) <= 5


@pytest.mark.parametrize("package", ["ndp_jax", "envs"])
def test_tests_of_a_package_need_no_other(package: str) -> None:
    assert imports_of(f"tests/{package}") & MAY_IMPORT.keys() == {package}


def test_tests_mirror_what_they_test() -> None:
    def folders(place: Path) -> set[str]:
        return {file.parent.name for file in place.glob("*/*.py")}

    assert folders(ROOT / "tests") == MAY_IMPORT.keys()
    assert folders(ROOT / "tests" / "train") < set().union(*FLOORS["train"])


def test_examples_need_no_learner() -> None:
    assert imports_of("examples") & MAY_IMPORT.keys() == {"ndp_jax", "envs", "configs"}
