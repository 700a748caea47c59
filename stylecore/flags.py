"""Flags made from a dataclass of settings: name, type, choices, default and help all come from its fields."""

import argparse
import dataclasses
import sys
import types
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stylecore.errors import StylecoreError

DEVICE_HELP = "cpu, cuda, mps; when left out cuda if there is one, else cpu"


def setting(default: Any, meaning: str, *, least: float | None = None, most: float = sys.float_info.max) -> Any:
    """A field with its default and its meaning for --help. A field that is not made by this has no flag.

    Args:
        least, most: for `check_limits`, of every number of a tuple.
    """
    return dataclasses.field(default=default, metadata={"help": meaning, "least": least, "most": most})


def check_limits(settings: Any) -> None:
    """Raise StylecoreError for the first setting of a dataclass that is none of its choices or beyond its limits."""
    hints = get_type_hints(type(settings))
    for each in dataclasses.fields(settings):
        value, choices = getattr(settings, each.name), get_args(hints[each.name])
        if get_origin(hints[each.name]) is Literal and value not in choices:
            raise StylecoreError(f"{flag_of(each.name)} is {value!r}, and must be one of {', '.join(choices)}.")
        if each.metadata.get("least") is None or value is None:
            continue
        least, most = each.metadata["least"], each.metadata["most"]
        for number in value if isinstance(value, tuple) else (value,):
            if not least <= number <= most:  # true for NaN too
                allowed = f"of at least {least}" if most == sys.float_info.max else f"from {least} to {most}"
                raise StylecoreError(f"{flag_of(each.name)} is {number}, and must be a number {allowed}.")


def flag_of(name: str) -> str:
    """`style_weight` is --style-weight."""
    return f"--{name.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser, defaults: Any, without: Sequence[str] = ()) -> None:
    """Add a flag for each setting of a dataclass, but for those in `without`.

    Args:
        defaults: an instance; its values are the flags' defaults.
    """
    hints = get_type_hints(type(defaults))
    for each in dataclasses.fields(defaults):
        if "help" not in each.metadata or each.name in without:
            continue
        kind = _argument_type(hints[each.name])
        default = getattr(defaults, each.name)
        parser.add_argument(flag_of(each.name), dest=each.name, default=default, help=each.metadata["help"], **kind)


def read_flags(options: argparse.Namespace, form: type) -> dict[str, Any]:
    """The parsed values of a dataclass's settings that the parser has, as the dataclass takes them."""
    names = [each.name for each in dataclasses.fields(form) if "help" in each.metadata and hasattr(options, each.name)]
    given = {name: getattr(options, name) for name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _argument_type(hint: Any) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):  # float | None: without the flag there is no value
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        return {"nargs": "*", "type": get_args(hint)[0]}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": hint}
