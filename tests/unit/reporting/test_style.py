"""Writing figures."""

from __future__ import annotations

from matplotlib.layout_engine import ConstrainedLayoutEngine

from lacuna.artifacts.files import use_results
from lacuna.reporting import style


def test_panels_are_laid_out_once_for_all_formats(tmp_path, monkeypatch):
    use_results(str(tmp_path))
    laid_out, places = [], []
    execute = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda self, figure: laid_out.append(figure) or execute(self, figure)
    )
    figure, axes = style.grid_of_axes(1, 2, 3, 2)
    style.finish(figure, "A title", axes)
    before = axes[0, 0].get_position().bounds
    seal = style.drawings.seal
    monkeypatch.setattr(style.drawings, "seal", lambda *a: places.append(axes[0, 0].get_position().bounds) or seal(*a))
    paths = [tmp_path / f"figures/x/f.{suffix}" for suffix in ("svg", "pdf", "png")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    style.save(figure, *paths)
    assert laid_out == [figure] and all(path.stat().st_size for path in paths)
    assert places and len(set(places)) == 1 and places[0] != before
