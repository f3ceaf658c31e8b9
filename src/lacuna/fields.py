"""Hyper-parameters: the kinds of values a dataclass field may take, and how they are checked.

Every entry of the grid (dataset, model, recipe, scenario, pruner, unlearner) is a frozen dataclass.
Its annotations are the schema: the config, the Python API and the generated docs read them from here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import jsonschema

from lacuna.errors import LacunaError, meant


@dataclasses.dataclass(frozen=True)
class Bound:
    """A JSON Schema keyword with its value, e.g. Bound("minimum", 0)."""

    keyword: str
    value: float | str


Positive = Annotated[float, Bound("exclusiveMinimum", 0)]
NonNegative = Annotated[float, Bound("minimum", 0)]
Fraction = Annotated[float, Bound("exclusiveMinimum", 0), Bound("exclusiveMaximum", 1)]
Share = Annotated[float, Bound("exclusiveMinimum", 0), Bound("maximum", 1)]
Percent = Annotated[float, Bound("minimum", 0), Bound("maximum", 100)]
UnitHalfOpen = Annotated[float, Bound("minimum", 0), Bound("exclusiveMaximum", 1)]
Count = Annotated[int, Bound("minimum", 1)]
Index = Annotated[int, Bound("minimum", 0)]
Text = Annotated[str, Bound("minLength", 1)]
Target = Annotated[
    str,
    Bound("pattern", r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z"),
    Bound("description", 'a text like "package.module:function"'),
]
Options = dict[str, Any]

T = TypeVar("T")
_PRIMITIVES: dict[Any, dict[str, Any]] = {
    float: {"type": "number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    Options: {"type": "object"},
}


def _schema_of_type(hint: Any) -> dict[str, Any]:
    if hint in _PRIMITIVES:
        return dict(_PRIMITIVES[hint])
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _schema_of_type(args[0]) | {b.keyword: b.value for b in args[1:]}
    if origin is Literal:
        return {"enum": list(args)}
    if dataclasses.is_dataclass(hint):
        return schema_of(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [_schema_of_type(a) for a in args]
        if len(kinds) == 2 and "properties" in kinds[0] and kinds[1] == {"type": "null"}:
            # one schema with two types, so that a mistake inside is named by its own key
            return kinds[0] | {"type": ["object", "null"]}
        return {"anyOf": kinds}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _schema_of_type(args[0])}
    raise TypeError(f"no schema for the annotation {hint!r}; lacuna.fields lists the kinds that have one")


def schema_of(cls: Any) -> dict[str, Any]:
    """JSON Schema of a dataclass: one property per field, with its default; nothing else is allowed.

    A field whose name Python forbids ends with "_", which the key has not: import_ → import.
    A field that is itself such a dataclass is a mapping of its own.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        key, schema = field.name.removesuffix("_"), _schema_of_type(hints[field.name])
        if field.default is not dataclasses.MISSING:
            schema["default"] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            schema["default"] = to_json(field.default_factory())
        else:
            required.append(key)
        properties[key] = schema
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def to_json(value: Any) -> Any:
    """The value as JSON would hold it: tuples become lists, dataclasses mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return values_of(value)
    return [to_json(v) for v in value] if isinstance(value, tuple | list) else value


def resolve(schema: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checked values of every field, sorted by name: the given ones in canonical type, defaults for the rest.

    Raises LacunaError naming `where`, the key, the value and what is allowed.
    """
    check(values, schema, where)
    return _filled(values, schema["properties"])


def _filled(values: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    # a stored schema may have its keys in another order, and jobs run again where their parameters read differently
    return {
        key: _canonical(to_json(values[key] if key in values else spec["default"]), spec)
        for key, spec in sorted(properties.items())
    }


def _canonical(value: Any, spec: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping) and "properties" in spec:
        return _filled(value, spec["properties"])
    if isinstance(value, list):
        return [_canonical(v, spec.get("items", {})) for v in value]
    if isinstance(value, dict):
        return _ordered(value)
    kinds = [spec, *spec.get("anyOf", [])]
    # 1 and 1.0 must give the same path, the same parameters and so no rerun
    if isinstance(value, int) and not isinstance(value, bool) and any(k.get("type") == "number" for k in kinds):
        return float(value)
    if isinstance(value, float) and not any(k.get("type") == "number" for k in kinds) and value.is_integer():
        return int(value)
    return value


def _ordered(value: Any) -> Any:
    """Free values stay as they were typed; only the order of their keys must make no difference."""
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(v) for v in value] if isinstance(value, tuple | list) else value


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass `cls` from plain values, checked against its annotations.

    Raises LacunaError for an unknown key, a missing one, a wrong type or a value out of range.
    """
    return _made(cls, resolve(schema_of(cls), values, where or getattr(cls, "name", cls.__name__)))


def _made(cls: type[T], values: Mapping[str, Any]) -> T:
    hints = typing.get_type_hints(cls)
    named = {name.removesuffix("_"): name for name in hints}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, dict):
            kinds = [k for k in (hints[named[key]], *typing.get_args(hints[named[key]])) if dataclasses.is_dataclass(k)]
            value = _made(typing.cast(Any, kinds[0]), value) if kinds else value
        arguments[named[key]] = value
    return cls(**arguments)


def values_of(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass instance as JSON values."""
    return {f.name.removesuffix("_"): to_json(getattr(instance, f.name)) for f in dataclasses.fields(instance)}


def check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Check a JSON-like value against a JSON Schema; the first error becomes one LacunaError sentence."""
    _refuse_non_finite(value, where)
    # A tuple is an array too, so that the Python API takes what the dataclasses hold.
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(_plain(value)), key=lambda e: (len(e.absolute_path), str(e.absolute_path)))
    if errors:
        raise LacunaError(_sentence(errors[0], where))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def _refuse_non_finite(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for k, v in value.items():
            _refuse_non_finite(v, f"{where}.{k}".lstrip("."))
    elif isinstance(value, tuple | list):
        for i, v in enumerate(value):
            _refuse_non_finite(v, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise LacunaError(f"{where}: {value} is not allowed; allowed: a finite number")


def _sentence(error: jsonschema.ValidationError, where: str) -> str:
    place = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    place = place.lstrip(".") or "config"
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        allowed = schema.get("properties", {})
        strange = sorted(str(k) for k in instance if k not in allowed)
        named = ", ".join(f"'{key}'{meant(key, allowed)}" for key in strange)
        return f"{place}: unknown key {named}; allowed: {_listed(allowed) or 'no keys'}"
    if error.validator == "required":
        missing = [k for k in schema["required"] if k not in instance]
        return f"{place}: missing key {_quoted(missing)}; it must be given"
    if error.validator == "uniqueItems":
        twice = sorted({repr(v) for v in instance if instance.count(v) > 1})
        return f"{place}: {', '.join(twice)} is listed twice; allowed: each value once"
    near = meant(instance, schema["enum"]) if isinstance(instance, str) and "enum" in schema else ""
    return f"{place}: {_shown(instance)} is not allowed{near}; allowed: {describe(schema)}{_quotes(instance, schema)}"


def _quotes(value: Any, schema: Mapping[str, Any]) -> str:
    """The remedy for a value that YAML reads as another kind than is meant, for lack or because of quotes."""
    if schema.get("type") == "string" and isinstance(value, int | float):
        return ", in quotes"
    if schema.get("type") in ("number", "integer") and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return ", without quotes"
    return ""


def _shown(value: Any) -> str:
    # letters of every language as they are, but no half of a pair, which cannot be printed
    text = json.dumps(value, default=str, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= 80 else text[:77] + "..."


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{n}'" for n in names)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(str(n) for n in names)


def describe(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words: "a number > 0", "one of a, b"."""
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return "one of " + _listed(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(describe(s) for s in schema["anyOf"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(describe({**schema, "type": k}) for k in kind)
    if kind == "array":
        least = schema.get("minItems", 0)
        return f"a list{f' of at least {least}' if least else ''}, each {describe(schema.get('items', {}))}"
    if kind == "object":
        return "a mapping with at least one entry" if schema.get("minProperties") else "a mapping"
    words = {
        "number": "a number",
        "integer": "a whole number",
        "string": "a text",
        "boolean": "true or false",
        "null": "null",
    }.get(str(kind), "anything")
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    if "multipleOf" in schema:
        bounds.append(f"divisible by {schema['multipleOf']}")
    if schema.get("minLength"):
        bounds.append("that is not empty")
    return " ".join([words, " and ".join(bounds)]).strip()
