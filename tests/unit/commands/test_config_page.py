"""docs/config.md: every key of an experiment, with its default, what is allowed and what it means."""

import dataclasses

import pytest
import yaml

from lacuna.commands import config_page, docs, docstrings
from lacuna.experiment.catalogue import registries, settings

PAGE = docs.pages()[docs.PAGES / "config.md"]
SCHEMA = yaml.safe_load((docs.ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
CLASSES = {f"{a}/{n}": c for a in config_page._TITLES for n, c in registries()[a].items()} | settings()


def rows_of(heading):
    """The cells of the table below a heading, by the name in the first."""
    part = PAGE.split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = [line.replace("\\|", "¦").strip("|").split("|") for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


@pytest.mark.parametrize(
    ("heading", "schema"), [("## Top-level keys", SCHEMA), ("## The grid", SCHEMA["properties"]["grid"])]
)
def test_every_key_of_the_schema_has_its_row(heading, schema):
    rows = rows_of(heading)
    assert list(rows) == list(schema["properties"])
    for key, (default, allowed, meaning) in rows.items():
        assert allowed and meaning, key
        assert (default == "must be given") == (
            key in schema["required"] and "default" not in schema["properties"][key]
        )


@pytest.mark.parametrize("where", CLASSES)
def test_every_option_of_every_entry_has_its_row(where):
    axis, _, name = where.rpartition("/")
    rows = rows_of("## Recipes" if axis == "recipes" else f"### {name}")
    for field in dataclasses.fields(CLASSES[where]):
        if field.name == "backdoor":
            continue
        default, allowed, meaning = rows[field.name.removesuffix("_")]
        assert allowed and meaning, field.name
        if axis != "recipes" and field.default is not dataclasses.MISSING:
            given = list(field.default) if isinstance(field.default, tuple) else field.default
            assert default == f"`{docstrings.as_yaml(given)}`"


def test_a_recipe_shows_its_other_defaults():
    rows = rows_of("## Recipes")
    assert "`lr: 0.4`" in rows["fast"][1] and "`epochs: 24`" in rows["fast"][1]
    assert rows["standard"][1] == "none"


def test_every_figure_has_its_row():
    assert set(rows_of("## Figures")) == set(registries()["figures"])


def test_a_key_without_a_title_is_refused(tmp_path):
    schema = tmp_path / "schema.yaml"
    schema.write_text("properties: {name: {type: string}}\nrequired: []\n")
    with pytest.raises(ValueError, match="no title for 'name'"):
        config_page.config_page(schema)
