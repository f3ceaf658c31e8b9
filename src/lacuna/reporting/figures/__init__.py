"""One figure per file: a function (summary, oracles) → matplotlib Figure."""
