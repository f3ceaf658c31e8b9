"""The tables of an experiment, one file each, which says itself when it exists; docs/tables.md has their columns.

`@register("mine", reads=("cells",))` over `def table(cells, oracles)`: the function gets the tables and the files that
it reads, and whatever else it has parameters for of those that `lacuna.reporting.tables.making.made` lists. Its
docstring is the caption in the report. One job makes the table, from those that it reads and with its own file alone.

reads: tables of the experiment, or the files of all its cells: `metrics`, `population`, `probe`. Those of `metrics` are
many: the tables that read them are made by one job.
after: tables that must be there before, whose content does not matter.
needs: parts of an experiment without which there is no such table (`lacuna.experiment.tables.PARTS`).
metrics: the metrics that it must compute; one_of: at least one of these.
"""
