"""lacuna: does a sparse model forget better?

Eight names, for use without the pipeline: `UnlearningData` (images and labels by part), `prune` (a sparse copy of a
model, and its mask), `unlearn` (any method on a copy of a model), `predict` (a model's predictions, a `Cell`),
`evaluate` (every metric of them), `Mask` (which weights a sparse model has), `Cell`, and `LacunaError` (bad input, in
one sentence).

>>> import torch, lacuna
>>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
>>> x, y = torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6)
>>> data = lacuna.UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
>>> sparse, mask = lacuna.prune(model, 0.5)
>>> result = lacuna.unlearn("ga", sparse, data, mask=mask, lr=1e-3, epochs=1, batch_size=4, seed=1)
>>> oracle = lacuna.unlearn("retrain", sparse, data, mask=mask, epochs=2, batch_size=4, seed=1)
>>> cell = lacuna.predict(result, data)
>>> values = lacuna.evaluate(cell, {"retrain": lacuna.predict(oracle, data)}, metrics=["UA", "RA", "mask_iou"])
>>> sorted(values)
['RA', 'UA', 'mask_iou/retrain']

Methods, pruners, metrics and networks are listed by their registries: `lacuna.unlearning.UNLEARNERS`,
`lacuna.pruning.PRUNERS`, `lacuna.evaluation.METRICS`, `lacuna.models.MODELS`, `lacuna.data.DATASETS` and
`lacuna.data.SCENARIOS`.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

# Resolved on first use: importing lacuna loads neither torch nor scikit-learn.
_PUBLIC = {
    "Cell": "lacuna.evaluation.cell",
    "LacunaError": "lacuna.errors",
    "Mask": "lacuna.sparsity.mask",
    "UnlearningData": "lacuna.data.batches",
    "evaluate": "lacuna.evaluation",
    "predict": "lacuna.notebook.predict",
    "prune": "lacuna.notebook.prune",
    "unlearn": "lacuna.unlearning",
}
__all__ = ["Cell", "LacunaError", "Mask", "UnlearningData", "__version__", "evaluate", "predict", "prune", "unlearn"]

if TYPE_CHECKING:
    from lacuna.data.batches import UnlearningData
    from lacuna.errors import LacunaError
    from lacuna.evaluation import evaluate
    from lacuna.evaluation.cell import Cell
    from lacuna.notebook.predict import predict
    from lacuna.notebook.prune import prune
    from lacuna.sparsity.mask import Mask
    from lacuna.unlearning import unlearn
else:
    # hidden from type checkers, to which a module with `__getattr__` has every name

    def __getattr__(name: str) -> object:
        if name in _PUBLIC:
            return getattr(importlib.import_module(_PUBLIC[name]), name)
        raise AttributeError(f"module 'lacuna' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
