"""Hyper-parameters: schema, canonical values and the sentence for every mistake."""

import json
import re
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import pytest

from lacuna.errors import LacunaError
from lacuna.experiment.catalogue import registries
from lacuna.fields import (
    Count,
    Fraction,
    Index,
    NonNegative,
    Positive,
    Text,
    UnitHalfOpen,
    build,
    check,
    resolve,
    schema_of,
    to_json,
    values_of,
)


@dataclass(frozen=True, kw_only=True)
class Everything:
    """One field of each kind."""

    path: Text
    lr: Positive = 0.1
    decay: NonNegative = 0.0
    share: Fraction = 0.5
    momentum: UnitHalfOpen = 0.9
    epochs: Count = 10
    start: Index = 0
    flip: bool = False
    schedule: Literal["constant", "cosine"] = "constant"
    milestones: tuple[Index, ...] = (3, 5)
    limit: float | None = None


def test_schema_says_what_the_annotations_say():
    assert schema_of(Everything) == {
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1},
            "lr": {"type": "number", "exclusiveMinimum": 0, "default": 0.1},
            "decay": {"type": "number", "minimum": 0, "default": 0.0},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5},
            "momentum": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.9},
            "epochs": {"type": "integer", "minimum": 1, "default": 10},
            "start": {"type": "integer", "minimum": 0, "default": 0},
            "flip": {"type": "boolean", "default": False},
            "schedule": {"enum": ["constant", "cosine"], "default": "constant"},
            "milestones": {"type": "array", "items": {"type": "integer", "minimum": 0}, "default": [3, 5]},
            "limit": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        },
    }


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A field that is a mapping of its own, or nothing."""

    name: Text
    inner: Everything | None = None


def test_dataclass_inside_a_dataclass_is_filled_checked_and_built_like_any():
    assert resolve(schema_of(Outer), {"name": "n"}, "x") == {"name": "n", "inner": None}
    given = {"name": "n", "inner": {"path": "p", "epochs": 3.0, "milestones": (1, 2)}}
    values = resolve(schema_of(Outer), given, "x")
    assert values["inner"] == resolve(schema_of(Everything), given["inner"], "x")
    made = build(Outer, given)
    assert made == Outer(name="n", inner=Everything(path="p", epochs=3, milestones=(1, 2)))
    assert values_of(made) == values and build(Outer, values_of(made)) == made
    for inner, said in (
        ({}, "x.inner: missing key 'path'; it must be given"),
        ({"path": "p", "pat": 1}, "x.inner: unknown key 'pat' (did you mean 'path'?); allowed: path, lr"),
        ({"path": "p", "lr": 0}, "x.inner.lr: 0 is not allowed; allowed: a number > 0"),
        ([], "x.inner: [] is not allowed; allowed: a mapping or null"),
    ):
        with pytest.raises(LacunaError) as caught:
            build(Outer, {"name": "n", "inner": inner}, "x")
        assert str(caught.value).startswith(said)


def test_values_do_not_depend_on_the_order_of_keys():
    """Neither that of the file nor that of the schema, which comes sorted from its cache: Snakemake compares texts."""
    schema = schema_of(Outer)
    stored = json.loads(json.dumps(schema, sort_keys=True))
    given = {"name": "n", "inner": {"path": "p", "lr": 1}}
    turned = {"name": "n", "inner": {"lr": 1.0, "path": "p"}}
    texts = {repr(resolve(of, values, "x")) for of in (schema, stored) for values in (given, turned)}
    assert len(texts) == 1


def test_annotation_without_schema_is_refused():
    @dataclass
    class Odd:
        x: dict[str, int]

    with pytest.raises(TypeError, match=r"no schema for the annotation dict\[str, int\]"):
        schema_of(Odd)


def test_resolve_fills_defaults_in_the_order_of_the_names():
    values = resolve(schema_of(Everything), {"epochs": 3, "path": "a"}, "entry")
    assert list(values) == sorted(f.name for f in fields(Everything))
    assert values["epochs"] == 3
    assert values["lr"] == 0.1
    assert values["milestones"] == [3, 5]


@pytest.mark.parametrize(
    ("key", "given", "canonical"),
    [
        ("lr", 1, 1.0),
        ("epochs", 5.0, 5),
        ("limit", 2, 2.0),
        ("limit", None, None),
        ("milestones", (4.0, 6), [4, 6]),
        ("flip", True, True),
    ],
)
def test_one_value_has_one_type_however_it_was_typed(key, given, canonical):
    value = resolve(schema_of(Everything), {"path": "a", key: given}, "entry")[key]
    assert repr(value) == repr(canonical)


def test_build_and_values_of_are_inverse():
    made = build(Everything, {"path": "a", "milestones": [1], "limit": 2})
    assert made == Everything(path="a", milestones=(1,), limit=2.0)
    assert build(Everything, values_of(made)) == made
    assert to_json(((1, 2), [3])) == [[1, 2], [3]]


# key, value, place and value as they are shown, what is said to be allowed
MISTAKES: list[tuple[str, Any, str, str]] = [
    ("lr", 0, "x.lr: 0 is", "a number > 0"),
    ("lr", -1.5, "x.lr: -1.5 is", "a number > 0"),
    ("lr", "0.1", 'x.lr: "0.1" is', "a number > 0, without quotes"),
    ("lr", True, "x.lr: true is", "a number > 0"),
    ("lr", None, "x.lr: null is", "a number > 0"),
    ("lr", float("nan"), "x.lr: nan is", "a finite number"),
    ("lr", float("inf"), "x.lr: inf is", "a finite number"),
    ("decay", -0.1, "x.decay: -0.1 is", "a number >= 0"),
    ("share", 1, "x.share: 1 is", "a number > 0 and < 1"),
    ("share", 0, "x.share: 0 is", "a number > 0 and < 1"),
    ("momentum", 1.0, "x.momentum: 1.0 is", "a number >= 0 and < 1"),
    ("epochs", 0, "x.epochs: 0 is", "a whole number >= 1"),
    ("epochs", 2.5, "x.epochs: 2.5 is", "a whole number >= 1"),
    ("epochs", True, "x.epochs: true is", "a whole number >= 1"),
    ("start", -1, "x.start: -1 is", "a whole number >= 0"),
    ("flip", 1, "x.flip: 1 is", "true or false"),
    ("schedule", "linear", 'x.schedule: "linear" is', "one of constant, cosine"),
    ("milestones", [1, -2], "x.milestones[1]: -2 is", "a whole number >= 0"),
    ("milestones", [1, float("inf")], "x.milestones[1]: inf is", "a finite number"),
    ("milestones", 3, "x.milestones: 3 is", "a list, each a whole number >= 0"),
    ("limit", "no", 'x.limit: "no" is', "a number or null"),
    ("path", "", 'x.path: "" is', "a text that is not empty"),
    ("path", 3, "x.path: 3 is", "a text that is not empty, in quotes"),
]


@pytest.mark.parametrize(("key", "value", "shown", "allowed"), MISTAKES)
def test_mistake_is_one_sentence_with_key_value_and_what_is_allowed(key, value, shown, allowed):
    with pytest.raises(LacunaError) as caught:
        build(Everything, {"path": "a", key: value}, "x")
    assert str(caught.value) == f"{shown} not allowed; allowed: {allowed}"


def test_unknown_key_lists_the_known_ones():
    with pytest.raises(LacunaError) as caught:
        build(Everything, {"path": "a", "learning_rate": 1, "Epochs": 2}, "x")
    known = ", ".join(f.name for f in fields(Everything))
    assert str(caught.value) == (f"x: unknown key 'Epochs' (did you mean 'epochs'?), 'learning_rate'; allowed: {known}")


def test_near_value_is_suggested():
    with pytest.raises(
        LacunaError, match=r'^x.schedule: "Cosin" is not allowed \(did you mean \'cosine\'\?\); allowed'
    ):
        build(Everything, {"path": "a", "schedule": "Cosin"}, "x")


def test_missing_key_is_named():
    with pytest.raises(LacunaError, match=r"^x: missing key 'path'; it must be given$"):
        build(Everything, {}, "x")


def test_class_without_fields_takes_no_keys():
    @dataclass
    class Nothing:
        pass

    with pytest.raises(LacunaError, match=r"^Nothing: unknown key 'a'; allowed: no keys$"):
        build(Nothing, {"a": 1})


@pytest.mark.parametrize(
    ("value", "schema", "sentence"),
    [
        ([1, 2, 1], {"uniqueItems": True}, "w: 1 is listed twice; allowed: each value once"),
        (
            {},
            {"type": "object", "minProperties": 1},
            "w: {} is not allowed; allowed: a mapping with at least one entry",
        ),
        ([], {"type": "array", "minItems": 1}, "w: [] is not allowed; allowed: a list of at least 1, each anything"),
        (3, {"description": "a label", "type": "string"}, "w: 3 is not allowed; allowed: a label"),
        ({"a": {"b": "x"}}, {"properties": {"a": {"properties": {"b": {"type": "number"}}}}}, 'w.a.b: "x" is not'),
    ],
)
def test_sentences_of_other_keywords(value, schema, sentence):
    with pytest.raises(LacunaError) as caught:
        check(value, schema, "w")
    assert str(caught.value).startswith(sentence)


def test_long_value_is_cut():
    with pytest.raises(LacunaError) as caught:
        check("x" * 500, {"type": "number"}, "w")
    assert len(str(caught.value)) < 150


def test_outermost_mistake_comes_first():
    with pytest.raises(LacunaError, match="unknown key 'zzz'"):
        build(Everything, {"path": "a", "lr": -1, "zzz": 0}, "x")


def entries():
    return [
        pytest.param(entry, id=f"{axis}-{name}")
        for axis, registry in registries().items()
        for name, entry in registry.items()
        if is_dataclass(entry)
    ]


@pytest.mark.parametrize("entry", entries())
def test_defaults_of_every_entry_satisfy_its_own_schema(entry):
    schema = schema_of(entry)
    some = {"string": "a", "number": 0.5, "integer": 1, "array": []}
    kinds = {key: schema["properties"][key] for key in schema["required"]}
    given = {key: some[(kind.get("anyOf") or [kind])[0]["type"]] for key, kind in kinds.items()}
    given |= {"import": "a.b:c"} if "import" in given else {}
    made = build(entry, given)
    assert values_of(made) == resolve(schema, given, "") == resolve(schema, values_of(made), "")
    explained = " ".join(cls.__doc__ or "" for cls in entry.__mro__)
    assert [key for key in schema["properties"] if not re.search(rf"\b{key}\b", explained)] == []
