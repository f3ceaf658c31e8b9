"""The rows of all runs: added to those that are there, and shown on a page."""

from __future__ import annotations

import csv
from pathlib import Path

from bench.gpu.places import COLUMNS, COMMITTED, ROOT, SHARES


def next_seed() -> int:
    """The first seed that no committed row is of."""
    path = COMMITTED / "table.csv"
    if not path.exists():
        return 0
    with open(path, encoding="utf-8", newline="") as file:
        done = {
            row["setting"].removeprefix("seed ")
            for row in csv.DictReader(file)
            if row["setting"].startswith("seed ") and row["value"] != "failed"
        }
    return next(i for i in range(1000) if str(i) not in done)


def merge(folder: Path) -> None:
    """Add the rows of a run to the committed ones; what is there stays."""
    COMMITTED.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            new = list(csv.DictReader(file))
        target = COMMITTED / path.name
        there: list[dict[str, str]] = []
        if target.exists():
            with open(target, encoding="utf-8", newline="") as file:
                there = list(csv.DictReader(file))
        # a check that had no time tells nothing
        new = [{column: row.get(column) or "" for column in COLUMNS} for row in new]
        added = [row for row in new if row not in there and row["note"] != "no time left"]
        with open(target, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(there + added)
        print(f"{target.relative_to(ROOT)}: {len(added)} rows added, {len(there)} were there")


def page() -> None:
    """docs/results/gpu.md: the newest rows of each device and stage, those of many like checks as one line."""
    lines = [
        "# On a GPU",
        "",
        "Made by `python -m bench.gpu --page` from `docs/results/gpu/*.csv`, to which each run of `bench/gpu.sh` adds",
        "its rows: the newest of each stage are here.",
        "",
    ]
    if (remarks := COMMITTED / "remarks.md").exists():
        lines += [remarks.read_text(encoding="utf-8").rstrip(), ""]
    for name in SHARES:
        path = COMMITTED / f"{name}.csv"
        if not path.exists():
            continue
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        newest = {
            device: max(r["time"] for r in rows if r["device"] == device) for device in {r["device"] for r in rows}
        }
        for device, when in sorted(newest.items()):
            chosen = [r for r in rows if r["device"] == device and r["time"] == when]
            lines += [
                f"## {name}: {device}",
                "",
                f"{when}, torch {chosen[0]['torch']}, driver {chosen[0]['driver']}, "
                f"commit `{chosen[0]['commit'][:12]}`.",
                "",
            ]
            lines += ["| | setting | value | unit | note |", "|---|---|---|---|---|"]
            lines += [
                "| " + " | ".join(r[c].replace("|", "/") for c in ("name", "setting", "value", "unit", "note")) + " |"
                for r in summed(chosen)
            ]
            lines.append("")
    (ROOT / "docs" / "results" / "gpu.md").write_text("\n".join(lines), encoding="utf-8")


def summed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of checks that are in order as one row for each kind and setting: how many, and the largest distance."""
    alike: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    rest = []
    for row in rows:
        if row["unit"] in ("relative distance", "equal", "waits") and not row["note"].startswith(("over ", "another")):
            alike.setdefault((row["name"].partition(" ")[0], row["setting"], row["unit"]), []).append(row)
        else:
            rest.append(row)
    told = []
    for (kind, setting, unit), group in alike.items():
        values = [float(row["value"]) for row in group]
        if len(group) == 1:
            told += group
            continue
        words = {"relative distance": "largest relative distance", "equal": "equal", "waits": "most waits"}
        value = f"{min(values) if unit == 'equal' else max(values):.2g}"
        of = f"{len(group)} in order" if unit != "waits" else f"{len(group)} methods"
        told.append({"name": kind, "setting": setting, "value": value, "unit": words[unit], "note": of})
    return told + rest
