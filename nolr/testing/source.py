"""Source: Python expressions that make an object again, with the imports that they need.

A failing example is worth most as a program that anyone can run. nolr's objects are frozen
dataclasses, so a call with their fields says all about them; floats are written in full, so what
is made again is the same bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from math import isfinite
from textwrap import indent
from typing import Any

import numpy as np

from nolr.graphs import GraphOperator
from nolr.network import Sequential
from nolr.nodes import Fork, Join

__all__ = ["Source", "call"]

WIDTH = 84  # of a line, before it is broken at its arguments


class Source:
    """Writes expressions, and remembers what they need.

    >>> from nolr.layers import Dense
    >>> source = Source()
    >>> source.of(Sequential(Dense(2, 1), input_shape=(2,)))
    'nolr.Sequential(nolr.Dense(2, 1), input_shape=(2,))'
    >>> source.header
    'import nolr'
    """

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.missing: set[str] = set()
        """What no import gives, such as functions within functions, or no expression makes."""

    @property
    def header(self) -> str:
        """The imports, one a line, and a comment for everything that is missing."""
        plain = sorted(line for line in self.imports if line.startswith("import"))
        rest = sorted(self.imports.difference(plain))
        lost = [f"# define here, or import: {text}" for text in sorted(self.missing)]
        return "\n".join([*plain, *rest, *lost])

    def of(self, value: Any) -> str:
        """An expression for a number, string, array, collection, function or dataclass; for
        anything else its repr, or "..." if that is none."""
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not isfinite(value):
            return f'float("{value}")'
        if isinstance(value, list):
            return _enclose("[", [self.of(one) for one in value], "]")
        if isinstance(value, tuple):
            parts = [self.of(one) for one in value]
            return f"({parts[0]},)" if len(parts) == 1 else _enclose("(", parts, ")")
        if isinstance(value, dict):
            return _enclose("{", [f"{self.of(k)}: {self.of(v)}" for k, v in value.items()], "}")
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, GraphOperator):
            self.imports.add("from scipy.sparse import csr_array")
            matrix = call("csr_array", [self.of(value.matrix.toarray())])
            return call(self.name(type(value)), [matrix])
        if isinstance(value, Sequential):
            shape = self.of(tuple(value.input_shape))
            return call(self.name(type(value)), [*self._links(value), f"input_shape={shape}"])
        if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
            return self.name(value)
        if is_dataclass(value):
            return call(self.name(type(value)), self._arguments(value))
        text = repr(value)
        if text.startswith("<"):  # no expression
            self.missing.add(text)
            return "..."
        plain = isinstance(value, str) and text[1:-1] == value and '"' not in value
        return f'"{value}"' if plain else text

    def name(self, thing: Callable[..., Any]) -> str:
        """The name of a class or function: of nolr's front door, or imported from its module."""
        name = thing.__qualname__
        parts = thing.__module__.split(".")
        for end in range(1, len(parts) + 1):  # a package says for itself what it exports
            module = ".".join(parts[:end])
            if getattr(_module(module), name, None) is thing:
                if module == "nolr":
                    self.imports.add("import nolr")
                    return f"nolr.{name}"
                if module != "builtins":
                    self.imports.add(f"from {module} import {name}")
                return name
        name = thing.__name__
        self.missing.add(name)
        return name

    def _array(self, value: np.ndarray) -> str:
        self.imports.add("import numpy as np")
        kind = f'dtype="{value.dtype}"'
        if value.size == 0:
            return call("np.zeros", [self.of(value.shape), kind])
        plain = value.dtype in (np.float64, np.int64, np.bool_)
        return call("np.array", [self.of(value.tolist()), *([] if plain else [kind])])

    def _arguments(self, value: Any) -> list[str]:
        """Fields that are not at their default; by name where the value does not say enough."""
        found: list[str] = []
        in_order = True
        for number, field in enumerate(field for field in fields(value) if field.init):
            given, default = getattr(value, field.name), _default(field)
            if default is not MISSING and Source().of(default) == Source().of(given):
                in_order = False
                continue
            text = self.of(given)
            telling = number == 0 or default is MISSING or text.endswith(")")
            in_order = in_order and telling and not field.kw_only
            found.append(text if in_order else f"{field.name}={text}")
        return found

    def _links(self, network: Sequential) -> list[str]:
        """The layers of a network, residual blocks put together again."""
        levels: list[list[str]] = [[]]
        for node in network.nodes:
            if isinstance(node, Fork):
                levels.append([])
            elif isinstance(node, Join):
                body = levels.pop()
                self.imports.add("import nolr")
                levels[-1].append(call("nolr.Residual", body))
            else:
                levels[-1].append(self.of(node))
        return levels[0]


def call(name: str, arguments: list[str]) -> str:
    """name(arguments): in one line if it is short, else one argument a line.

    >>> call("f", ["1", "x=2"])
    'f(1, x=2)'
    """
    if len(arguments) == 1:  # brackets within brackets open together
        return f"{name}({arguments[0]})"
    return _enclose(f"{name}(", arguments, ")")


def _enclose(start: str, parts: list[str], end: str) -> str:
    line = start + ", ".join(parts) + end
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return f"{start}\n" + "".join(indent(part, "    ") + ",\n" for part in parts) + end


def _module(name: str) -> Any:
    return import_module(name) if name == "nolr" else sys.modules.get(name)


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return MISSING if field.default_factory is MISSING else field.default_factory()
