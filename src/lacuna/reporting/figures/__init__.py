"""One figure per file: a function of the tables that it names → matplotlib Figure.

`@register("mine", reads=("summary", "cells"))` over `def mine(summary, cells, palette)`: the workflow hands over
summary.csv and cells.csv of results/tables/<experiment>, whichever rule writes them, and the `palette.Palette`: who is
compared, in which order and how each is drawn.
A figure is drawn again when one of its own tables changed. What it needs beside the tables it declares; where the
experiment has it not, the figure is left out, and refused if it is asked for by name:

metrics=("avg_gap",): all of these. one_of=("samples", "time_s"): at least one. judged=2: so many metrics that order
methods. methods=1: so many labels that are neither oracle nor twin, and acting=1: of another method than `original`.
sparse=True: a sparse state. oracle="retrain_exact": an oracle of this method; the function is given the labels of those
as `judges` too. unlearner="ga": an entry of this method. masks=True: entries whose masks are their own, as those of
grid.unprune are.

What was computed may still be missing (missing=allow, a metric without a value): then `style.message` says so.
"""
