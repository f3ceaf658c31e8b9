"""Networks: their anatomy, first weights, cost and files; `architectures` has them."""

from lacuna.registry import Registry

MODELS: Registry = Registry("lacuna.models.architectures", "model", __path__[0] + "/architectures")
