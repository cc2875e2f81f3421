"""Settings by their names; the sections of a configuration share one name space."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any


def flag(name: str) -> str:
    """The command line's spelling of a field."""
    return "--" + name.replace("_", "-")


def settings(config: object) -> dict[str, Any]:
    """All settings of a configuration by name; the sections share one name space."""
    flat = {}
    for field in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, field.name)
        flat |= settings(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return flat


def types(kind: type) -> dict[str, Any]:
    """The type of every setting of a kind of configuration by its name."""

    def of(kind: Any) -> dict[str, Any]:
        flat = {}
        for name, hint in typing.get_type_hints(kind).items():
            flat |= of(hint) if dataclasses.is_dataclass(hint) else {name: hint}
        return flat

    return of(kind)


def replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    """A configuration with settings changed by name, wherever they are."""
    own = {}
    for field in dataclasses.fields(config):
        current = getattr(config, field.name)
        if dataclasses.is_dataclass(current):
            own[field.name] = replaced(current, changes)
        elif field.name in changes:
            own[field.name] = changes[field.name]
    return dataclasses.replace(config, **own)
