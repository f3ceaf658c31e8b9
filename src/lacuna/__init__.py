"""lacuna: does a sparse model forget better?

>>> import lacuna
>>> data = lacuna.UnlearningData.from_tensors(retain=(x_r, y_r), forget=(x_f, y_f))  # doctest: +SKIP
>>> result = lacuna.unlearn("ga", model, data, lr=1e-3)                              # doctest: +SKIP
"""

import importlib

__version__ = "0.1.0"

# Resolved on first use: importing lacuna loads neither torch nor scikit-learn.
_PUBLIC = {
    "LacunaError": "lacuna.errors",
    "Mask": "lacuna.sparsity.mask",
    "UnlearningData": "lacuna.data.batches",
    "unlearn": "lacuna.unlearning",
    "Cell": "lacuna.evaluation",
    "evaluate": "lacuna.evaluation",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lacuna' has no attribute {name!r}")
