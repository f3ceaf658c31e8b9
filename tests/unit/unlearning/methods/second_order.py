"""What the tests of the methods that edit once share."""

import pytest

from lacuna.unlearning import unlearn
from unit.gradients.networks import SOURCE

METHODS = {
    "iu": ("iu", {}),
    "iu-few": ("iu", {"samples": 7}),
    "iu-collinear": ("iu", {"variant": "collinear"}),
    "ff": ("ff", {"alpha": 1e-5}),
    "ff-sampled": ("ff", {"alpha": 1e-5, "labels": "sampled"}),
    "ff-batch32": ("ff", {"alpha": 1e-5, "variant": "batch32"}),
    "ssd": ("ssd", {"alpha": 1.0}),
    "ssd-batch": ("ssd", {"alpha": 1.0, "variant": "batch", "batch_size": 7}),
    "lfssd": ("lfssd", {"alpha": 1.0}),
}
SPARSE = pytest.mark.parametrize("sparse", [False, True])


def run(case, model, source=SOURCE, **more):
    method, options = METHODS[case]
    return unlearn(method, model, source, **(options | more))
