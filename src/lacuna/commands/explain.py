"""lacuna explain: what a name of a config or a table means."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lacuna.commands.base import Command, width
from lacuna.errors import LacunaError
from lacuna.registry import register

if TYPE_CHECKING:
    from lacuna.experiment.catalogue import Catalogue

# how alike a name is that was probably meant: among so many, more than elsewhere
_NEAR = 0.72
# facts of a metric's registration, as `explain` calls them
_OF_METRICS = {"unit": "unit", "better": "better", "source": "source"}


@register("explain", group="catalogue")
class Explain(Command):
    """Explain a method, metric, dataset, key of the config, table or column.

    Prints the formula, every option with its default, its allowed values and its meaning, the cost, the source, and
    the experiment files that use it. Of several things with one name, explains each.

    Example: lacuna explain salun
    lacuna explain avg_gap
    lacuna explain grid.unprune
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME", help="as in a config, a table or `lacuna list`")
        parser.add_argument("--json", action="store_true", help="print as JSON, a list of all that the names mean")

    def run(self, options: argparse.Namespace) -> int:
        meanings = [meaning for name in options.names for meaning in meanings_of(name)]
        if options.json:
            print(json.dumps(meanings, indent=1, ensure_ascii=False))
        else:
            print("\n\n".join("\n".join(lines_of(meaning)) for meaning in meanings))
        return 0


def meanings_of(name: str) -> list[dict[str, Any]]:
    """All that a name means: kind, text, facts by title, options, and the files that use it.

    Raises LacunaError for a name that means nothing, with the nearest that does.
    """
    from lacuna.commands.kinds import KINDS, tables
    from lacuna.commands.launch import catalogue_cache
    from lacuna.experiment import catalogue

    known = catalogue.load(catalogue_cache())
    base = name.partition("/")[0]  # KL_forget/retrain, as a table has it
    found = []
    for kind, (axes, words, key) in KINDS.items():
        for axis in axes:
            if (entry := known[axis].get(base)) is not None:
                found.append(_entry(base, kind, words, key, entry) | {"used by": _used_by(axis, base, known)})
    keys = _keys(known)
    for key in (key for key in keys if name in (key, key.rpartition(".")[2])):
        found.append({"name": key, "kind": "key of the config", **keys[key]})
    told = tables()
    above: dict[str, str] = {}
    for table, (text, columns) in told.items():
        if name.removesuffix(".csv") == table:
            # alone nothing stands above it, as it does on the page
            options = {c: {"meaning": above.get(c, m) if m == "as above" else m} for c, m in columns.items()}
            facts = {"more": f"docs/tables.md#{table}csv"}
            found.append({"name": f"{table}.csv", "kind": "table", "text": text, "facts": facts, "columns": options})
        above = columns | above
    of_column: dict[str, list[str]] = {}
    for table, (_, columns) in told.items():
        column = max((each for each in columns if each == name or _stands_for(each, name)), key=len, default="")
        if columns.get(column, "as above") != "as above":
            of_column.setdefault(columns[column], []).append(f"{table}.csv")
    for text, holders in of_column.items():
        found.append({"name": name, "kind": f"column of {', '.join(holders)}", "text": text})
    if not found:
        every = {entry for axes, *_ in KINDS.values() for axis in axes for entry in known[axis]}
        every |= {*keys, *told, *(column for _, columns in told.values() for column in columns)}
        folded = {each.casefold(): each for each in sorted(every)}
        found_near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_NEAR)
        near = f" (did you mean '{folded[found_near[0]]}'?)" if found_near else ""
        raise LacunaError(
            f"explain: '{name}' is not known{near}; allowed: a name of `lacuna list KIND`, a key or a column"
        )
    return found


def _stands_for(column: str, name: str) -> bool:
    """Whether a column that is told with a part in angle brackets, such as gap_<oracle>_floor, has this name too."""
    parts = re.split(r"<[^<>]+>", column)
    return len(parts) > 1 and re.fullmatch(r"[^/]+".join(map(re.escape, parts)), name) is not None


def _entry(name: str, kind: str, words: str, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The meaning of a registry's entry."""
    doc = entry["doc"]
    made: dict[str, Any] = {"name": name, "kind": words, "key": key}
    if "schema" not in entry:
        facts = doc["facts"]
        made |= {"text": doc["text"]}
        if kind == "metrics":
            low, high = (facts[end] for end in ("low", "high"))
            told = {title: facts[fact] for fact, title in _OF_METRICS.items()}
            told["range"] = f"{'−∞' if low is None else f'{low:.4g}'} to {'∞' if high is None else f'{high:.4g}'}"
            told["better"] = {"none": "neither", "oracle": "as the oracle"}.get(told["better"], told["better"])
            if facts["oracle"]:
                told["named"] = f"{name}/<oracle>, once for each oracle"
            if entry["needs"]:
                told["needs"] = ", ".join(entry["needs"])
            if not entry["default"]:
                told["computed"] = "on request: name it under `metrics`"
        else:
            told = {"reads": ", ".join(f"{table}.csv" for table in entry["reads"])}
            told |= {"metrics": ", ".join(entry["metrics"])} if entry["metrics"] else {}
        return made | {"facts": told, "defined in": _file(entry["module"])}
    made["formula"] = ": ".join(filter(None, (doc["title"], doc["formula"]))).rstrip(".") + "."
    notes = {title.lower(): text for title, text in doc["notes"].items()}
    if values := notes.pop("published values", ""):
        notes["published"] = values.removeprefix("Published values").strip().removeprefix(":").strip()
    options = _options(entry)
    if entry.get("oracle"):
        options = {option: options[option] for option in entry["own"]}
        notes["other options"] = "those of the cell's recipe"
    needed = ", ".join(f"{option}: ..." for option in entry["schema"]["required"])
    example = f"{key.rpartition('.')[2]}: {{{f'mine: {{{needed}}}' if name == 'import' else f'{name}: {{{needed}}}'}}}"
    return made | {
        "text": " ".join(doc["text"]).strip(),
        "facts": doc["facts"] | notes | {"in a config": example},
        "options": {option: options[option] for option in options if option in doc["own"]},
        "shared options": {option: options[option] for option in options if option not in doc["own"]},
        "defined in": _file(entry["module"]),
    }


def _options(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every option of a dataclass: default, allowed values, meaning."""
    from lacuna.fields import describe

    return {
        option: {
            "default": schema.get("default", "must be given"),
            "allowed": describe({word: value for word, value in schema.items() if word != "default"}),
            "meaning": facts["doc"]["fields"].get(option, ""),
        }
        for option, schema in facts["schema"]["properties"].items()
    }


def _file(module: str) -> str:
    return f"src/{module.replace('.', '/')}.py"


def _keys(known: Catalogue) -> dict[str, dict[str, Any]]:
    """The keys of a config by their dotted name: text, and the options below."""
    from lacuna.commands.launch import SCHEMA
    from lacuna.experiment.editor import editor_schema
    from lacuna.experiment.yaml_files import read_yaml

    keys: dict[str, dict[str, Any]] = {}

    def walk(properties: Mapping[str, Any], place: str) -> None:
        for name, schema in properties.items():
            key = f"{place}.{name}".lstrip(".")
            keys[key] = {"text": schema.get("description", "")}
            if default := schema.get("default"):
                keys[key]["facts"] = {"default": str(default)}
            below = schema.get("properties", schema.get("items", {}).get("properties"))
            # below an axis stand labels
            if below and "$ref" not in (schema.get("additionalProperties") or {}):
                walk(below, key)

    walk(editor_schema(read_yaml(SCHEMA), known)["properties"], "")
    for setting, facts in known["settings"].items():
        keys["grid.unprune" if setting == "unprune" else setting]["options"] = _options(facts)
    return keys


def _used_by(axis: str, name: str, known: Mapping[str, Any]) -> list[str]:
    """The experiment files that name an entry, with their labels of it; of metrics and figures those that choose it."""
    from lacuna.commands.launch import default_config
    from lacuna.experiment.yaml_files import read_yaml, shown

    folder = default_config().absolute().parent
    found = []
    for file in [
        folder / "config.yaml",
        *sorted(folder.glob("experiments/*.yaml")),
        *sorted(folder.glob("tuned/*.yaml")),
    ]:
        try:
            held = read_yaml(file)
            labels = _labels(held, axis, name, known)
        except (LacunaError, AttributeError, TypeError):
            continue  # `lacuna check` tells what is wrong with a file
        if labels is not None:
            aliases = [label for label in labels if label != name]
            found.append(shown(file) + (f" ({', '.join(aliases)})" if aliases else ""))
    return found


def _labels(held: Mapping[str, Any], axis: str, name: str, known: Mapping[str, Any]) -> list[str] | None:
    """The labels under which a file uses an entry; None if it does not."""
    if axis in ("metrics", "figures"):
        return [] if name in (held.get(axis) or ()) else None
    section = dict((held.get("grid") or {}).get(axis) or {})
    if axis == "datasets":
        section |= (held.get("transfer") or {}).get("targets") or {}
    labels = []
    for label, entry in section.items():
        default = "sgd" if axis == "recipes" and label not in known[axis] else label
        default = "import" if axis == "models" and "import" in (entry or {}) else default
        if (entry or {}).get("method", default) == name:
            labels.append(str(label))
    return labels or None


def lines_of(meaning: Mapping[str, Any]) -> Iterator[str]:
    """A meaning for a terminal."""
    where = f", under {meaning['key']}" if meaning.get("key") else ""
    yield f"{meaning['name']}: {meaning['kind']}{where}"
    for part in ("formula", "text"):
        if meaning.get(part):
            yield ""
            yield from _wrapped(meaning[part], "")
    facts = {**meaning.get("facts", {})}
    if uses := meaning.get("used by"):
        facts["used by"] = ", ".join(use.removeprefix("config/experiments/").replace(".yaml", "", 1) for use in uses)
    if meaning.get("defined in"):
        facts["defined in"] = meaning["defined in"]
    if facts:
        yield ""
        indent = max(map(len, facts)) + 2
        for title, text in facts.items():
            first, *rest = _wrapped(str(text), " " * indent)
            yield title.ljust(indent) + first.lstrip()
            yield from rest
    for title in ("options", "shared options", "columns"):
        if options := meaning.get(title):
            yield from ("", f"{title}:")
            for name, about in options.items():
                default = about.get("default", ...)
                if default is ...:
                    yield f"  {name}"
                else:
                    text = default if default == "must be given" else json.dumps(default, ensure_ascii=False)
                    yield from _wrapped(f"{name} = {text}   ({about['allowed']})", "  ")
                yield from _wrapped(about["meaning"], " " * 6) if about["meaning"] else ()


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width(), initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [indent]
