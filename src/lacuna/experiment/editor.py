"""The JSON Schema of an experiment's file for editors: completion, red underlines, and what every key means.

The check of a run (`experiment.config`) goes further and has better sentences; it is made from the same catalogue.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import AXES
from lacuna.fields import describe

# whose options stand below the key of a setting
_SETTINGS = {
    "relearning": ("relearning",),
    "transfer.probe": ("transfer", "probe"),
    "tuning": ("tuning",),
    "grid.shadows": ("grid", "shadows"),
}


def editor_schema(shape: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The schema of an experiment's file that lies over the default one, with the options of every entry.

    shape: workflow/schemas/config.schema.yaml, whose titles say what its keys mean.
    """
    schema: dict[str, Any] = _commented(copy.deepcopy(dict(shape)))
    # what an overlay leaves out stands in the default
    schema |= {"title": "An experiment of lacuna", "required": ["name"]}
    definitions, properties = schema["$defs"], schema["properties"]
    grid = properties["grid"]["properties"]
    for axis in AXES.values():
        for method, facts in catalogue[axis].items():
            definitions[f"{axis}.{method}"] = _options(facts, axis)
        definitions[f"{axis}.entry"] = _entry(axis, catalogue[axis])
        _link(grid[axis], axis, catalogue[axis])
    _link(properties["transfer"]["properties"]["targets"], "datasets", catalogue["datasets"])
    for chosen in ("metrics", "figures"):
        properties[chosen]["items"] = {"enum": list(catalogue[chosen])}
    for key, path in _SETTINGS.items():
        place = properties
        for name in path[:-1]:
            place = place[name]["properties"]
        place[path[-1]] |= _fields(catalogue["settings"][key])
    _unpruning(grid["unprune"]["items"], catalogue["settings"]["unprune"])
    return schema


def as_text(schema: Mapping[str, Any]) -> str:
    """The schema's file: a line for each option, so that a change of one changes one line."""
    return "\n".join(_lines(dict(schema), depth=4)) + "\n"


def _lines(value: Any, depth: int) -> list[str]:
    """JSON whose mappings are opened to a depth, and on one line below it."""
    if not depth or not isinstance(value, dict) or not value:
        return [json.dumps(value, ensure_ascii=False)]
    lines = ["{"]
    for position, (key, inner) in enumerate(value.items()):
        first, *rest = _lines(inner, depth - 1)
        lines += [f" {json.dumps(key)}: {first}", *(f" {line}" for line in rest)]
        lines[-1] += "," if position < len(value) - 1 else ""
    return [*lines, "}"]


def _commented(schema: Any) -> Any:
    """Titles, without their links, as descriptions, where editors show them; what is allowed in words stands behind."""
    if isinstance(schema, list):
        return [_commented(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _commented(value) for key, value in schema.items() if key != "title"}
    if isinstance(title := schema.get("title"), str):
        allowed = f" Allowed: {schema['description']}." if "description" in schema else ""
        made["description"] = _without_links(title) + allowed
    return made


def _without_links(text: str) -> str:
    """The words of Markdown. A link inside docs/config.md, whose words say no more, goes; a page has its path."""
    text = re.sub(r"[,;] (of those )?\[[^]]*\]\(#[^)]*\)", "", text)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"\[\w+\.md\]\((\w+\.md)\)", r"docs/\1", text))


def _fields(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a dataclass, each with its meaning and what it allows."""
    properties = {}
    for key, schema in facts["schema"]["properties"].items():
        bare = {word: value for word, value in schema.items() if word != "default"}
        meaning = facts["doc"]["fields"].get(key, "").strip().rstrip(".;")
        words = f"{meaning}. Allowed: {describe(bare)}." if meaning else f"Allowed: {describe(bare)}."
        properties[key] = schema | {"description": words}
    return {"properties": properties, "additionalProperties": False}


def _options(facts: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """An entry of one method: its options, and the method itself."""
    doc, fields = facts["doc"], _fields(facts)
    if facts.get("oracle"):  # an oracle follows the recipe
        fields["properties"] = {key: fields["properties"][key] for key in facts["own"]}
    first = ": ".join(filter(None, (doc["title"], doc["formula"]))).rstrip(".")
    source = f" Source: {doc['notes']['Source']}" if "Source" in doc["notes"] else ""
    fields["properties"] = {"method": {"type": "string"}, **fields["properties"]}
    required = {"required": facts["schema"]["required"]} if facts["schema"]["required"] else {}
    return {
        "description": f"{first}.{source}",
        "type": "object" if required else ["object", "null"],
        **fields,
        **required,
    }


def _entry(axis: str, methods: Mapping[str, Any]) -> dict[str, Any]:
    """An entry whose label names no method: its options are those of the method that it names."""
    named = {"properties": {"method": {"enum": list(methods)}}, "type": "object"}
    chosen = [
        {
            "if": {"properties": {"method": {"const": method}}, "required": ["method"]},
            "then": {"$ref": f"#/$defs/{axis}.{method}"},
        }
        for method in methods
    ]
    if axis == "recipes":  # without a method it is sgd
        others = {"not": {"type": "object", "required": ["method"]}}
        return {**named, "type": ["object", "null"], "allOf": [*chosen, {"if": others, "then": _ref(axis, "sgd")}]}
    if axis == "models":  # or a network of the user's, by import
        others = {"not": {"required": ["method"]}}
        return {**named, "allOf": [*chosen, {"if": others, "then": _ref(axis, "import")}]}
    return {**named, "required": ["method"], "allOf": chosen}


def _link(section: dict[str, Any], axis: str, methods: Mapping[str, Any]) -> None:
    """Let the section's entries have the options of their methods: of the label, unless they name another."""
    section.pop("$ref", None)
    section |= {"type": ["object", "null"]} if axis == "pruners" else {"type": "object", "minProperties": 1}
    section["propertyNames"] = {"$ref": "#/$defs/label"}
    named: dict[str, Any] = {"type": "object", "required": ["method"]}
    if axis == "models":
        named = {"type": "object", "anyOf": [{"required": ["method"]}, {"required": ["import"]}]}
    section["properties"] = {
        method: {
            "description": f"{methods[method]['doc']['title'].rstrip('.')}.",
            "if": named,
            "then": _ref(axis, "entry"),
            "else": _ref(axis, method),
        }
        for method in methods
    }
    section["additionalProperties"] = _ref(axis, "entry")


def _ref(axis: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{axis}.{name}"}


def _unpruning(items: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """An entry of grid.unprune: a value, or a list of values, of every option."""
    for key, schema in _fields(facts)["properties"].items():
        words = {word: schema.pop(word) for word in ("description", "default") if word in schema}
        items["properties"][key] = {**words, "anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]}
    label = {"$ref": "#/$defs/label"}
    items["properties"]["unlearner"] = {
        "description": "A label of grid.unlearners that is no oracle, or a list of some.",
        "anyOf": [label, {"type": "array", "minItems": 1, "items": label}],
    }
    items["additionalProperties"] = False
