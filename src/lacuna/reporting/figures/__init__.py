"""One figure per file: a function of the tables that it names → matplotlib Figure.

`@register("mine", reads=("summary", "cells"))` over `def mine(summary, cells, oracles)`: the workflow hands over
summary.csv and cells.csv of results/tables/<experiment>, whichever rule writes them, and the labels of the oracles.
A figure is drawn again when one of its own tables changed. `metrics=("error_bound",)`: without these it is not drawn.
"""
