"""The tables of an experiment, one file each; docs/tables.md says what each column means."""
