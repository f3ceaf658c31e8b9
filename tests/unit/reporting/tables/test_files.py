"""Tables as files: written, read, documented."""

import re

import pandas as pd
import pytest
from places import ROOT

from lacuna.errors import DamagedFile
from lacuna.reporting.tables import coding, files, groups
from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.coding import plain, read_coded
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.files import as_text, read_table, write_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.making import made
from lacuna.reporting.tables.missing import missing_table
from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.provenance import provenance_table
from lacuna.reporting.tables.ranks import ranks_table
from lacuna.reporting.tables.recipes import recipes_table
from lacuna.reporting.tables.roc import roc_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.transfer import transfer_table
from unit.reporting.tables.contests import DIRECTIONS, TWINS, VALUES, WITH_TWINS, contest, probes, summary


def test_table_survives_a_csv(tmp_path):
    table = summary(WITH_TWINS | {"NA": [1.0, 2.0, 4.0]}).reset_index()
    table.to_csv(tmp_path / "s.csv", index=False)
    again = read_table(tmp_path / "s.csv")
    assert again["sparsity"].tolist() == ["0.90"] * len(table)
    assert again["unlearner"].tolist() == table["unlearner"].tolist()
    assert again["mean"].tolist() == table["mean"].tolist()


def test_documented_columns_are_those_that_are_written():
    """docs/tables.md has a section for each table, and in it one row for each column, in order."""
    page = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\.csv\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    made = contest(WITH_TWINS)
    tables = {
        "cells": with_config(made.cells, {}),
        "layers": layers_table([]),
        "summary": with_config(summary_table(made), {}),
        "ranks": ranks_table(made, DIRECTIONS),
        "disagreement": disagreement_table(made, DIRECTIONS),
        "sparsity": sparsity_table(made, DIRECTIONS),
        "recipes": recipes_table(made),
        "missing": missing_table([]),
        "provenance": provenance_table([], {}),
        "roc": roc_table([], ["retrain"]),
        "backdoor": backdoor_table(made, "original"),
        "probes": probes_table(probes(WITH_TWINS, "pets")),
        "transfer": transfer_table(probes_table(probes(WITH_TWINS, "pets")), ["retrain", "retrain_exact"], TWINS),
    }
    assert list(sections) == list(tables)
    for name, table in tables.items():
        documented = re.findall(r"^\| `([^`]+)`", sections[name], re.MULTILINE)
        expected = []
        for column in table.columns:
            column = re.sub(r"^gap_retrain(?!_exact)", "gap_<oracle>", column)
            expected += [column] if not column.startswith("gap_retrain_exact") else []
        assert documented == expected, name


def test_a_text_that_a_spreadsheet_would_run_is_quoted(tmp_path):
    """Numbers are none, whatever they begin with; numbers in columns of texts neither."""
    texts = ["=HYPERLINK(1)", "+1+cmd", "@a", "\tb", "-x", "-1.5", "+3e2", "plain"]
    table = pd.DataFrame({"note": texts, "value": -1.0})
    write_table(tmp_path / "t.csv", table)
    again = read_table(tmp_path / "t.csv")
    assert list(again["note"]) == [f"'{text}" for text in texts[:5]] + texts[5:]
    assert list(again["value"]) == [-1.0] * len(texts)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "No columns"),
        (b"metric,value\nUA,1\0\n", "it holds a NUL"),
        (b"\xff\xfe", "utf-8"),
        (b"metric,value\nUA,1\n", "it has no column 'dataset'"),
        (b"a,b\n1,2,3\n4\n1,2,3,4\n", "Error tokenizing"),
    ],
)
def test_a_table_of_another_form_is_a_damaged_file(tmp_path, content, why):
    path = tmp_path / "cells.csv"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=why) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_labels_are_read_as_categories_where_that_is_asked_for(tmp_path, monkeypatch):
    """The same texts: pandas by itself makes numbers of them, and of the parts of a file other kinds."""
    text = (
        "pruner,sparsity,seed,metric,value,unchanged,note\n"
        "omp,0.90,0,UA,1.5,0,\nomp,0.50,1,UA,2,1,\nNA,0.50,300,RA,0.1,0,few\ndense,0.00,1,UA,,0,\n"
    )
    (tmp_path / "cells.csv").write_text(text)
    monkeypatch.setattr(files, "REQUIRED", {})
    monkeypatch.setattr(coding, "_ROWS", 2)
    texts, coded = (read(tmp_path / "cells.csv") for read in (read_table, read_coded))
    assert [*coded["sparsity"].cat.categories] == ["0.00", "0.50", "0.90"], "sorted, and no numbers"
    assert coded["seed"].dtype == "int16" and coded["unchanged"].dtype == "int8"
    pd.testing.assert_frame_equal(plain(coded), texts, check_dtype=False)
    write_table(tmp_path / "again.csv", coded)
    assert (tmp_path / "again.csv").read_text() == text.replace(",2,1,", ",2.0,1,")


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_tables_of_categories_are_those_of_texts(tmp_path, monkeypatch, rows):
    """And of groups that are worked on one after the other those of all at once."""
    values = {"UA": WITH_TWINS | {"rl": [1.0, 2.0, None], "salun": [9.0, 15.0, 9.5]}, "KL": VALUES, "ToW": VALUES}
    cells = pd.concat(
        contest(own, metric=metric, pruner=pruner, sparsity=sparsity).cells.assign(config_hash=f"h{sparsity}")
        for pruner, sparsity in (("dense", "0.00"), ("omp", "0.90"))
        for metric, own in values.items()
    )
    cells.loc[cells["unlearner"] == "rl", ["note", "unchanged"]] = ("draws differ", 1)
    write_table(tmp_path / "cells.csv", cells)
    told = {"oracles": ["retrain", "retrain_exact"], "twins": TWINS, "original": "original", "log": lambda _: None}
    told |= {"better": DIRECTIONS, "judged": DIRECTIONS}
    names = ("summary", "ranks", "disagreement", "sparsity")
    expected = [made(name, {**told, "cells": read_table(tmp_path / "cells.csv")}) for name in names]
    monkeypatch.setattr(groups, "_ROWS", rows)
    for name, table in zip(names, expected, strict=True):
        coded = made(name, {**told, "cells": read_coded(tmp_path / "cells.csv")})
        assert len(coded) and as_text(coded) == as_text(table), name
