"""The reference files and the network they are about."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import network

from lacuna.data.batches import UnlearningData
from lacuna.sparsity.mask import Mask

HERE = Path(__file__).parent
CONVOLUTIONS = ("conv1.weight", "conv2.weight")


class LoaderBatches(UnlearningData):
    """Batches as the reference code's loaders make them: all of the size asked for, the remainder in a last one."""

    def sizes(self, stream, batch_size):
        whole, rest = divmod(len(self.index(stream)), batch_size)
        return [batch_size] * whole + [rest] * (rest > 0)


class Reference:
    """One file: `file[key]` is an array, `file.under(prefix)` all arrays below a prefix, `file.hp` the settings."""

    def __init__(self, name: str):
        with np.load(HERE / f"{name}.npz", allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files}
        self.hp = SimpleNamespace(
            **{k: v.item() if v.ndim == 0 else tuple(v.tolist()) for k, v in self.under("hp").items()}
        )

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix + "/"): v for k, v in self.arrays.items() if k.startswith(prefix + "/")}

    def model(self, dtype: torch.dtype) -> torch.nn.Module:
        """The initial network, after its logits were compared with the stored ones, if the file has them."""
        model = network(channels=3, widths=(5, 11), classes=4).double()
        stored = self.under("param") | self.under("buffer")
        model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in stored.items()})
        if "check/logits_eval_f64" in self.arrays:
            with torch.no_grad():
                found = model.eval()(torch.from_numpy(self["x"]).double()).numpy()
            np.testing.assert_allclose(found, self["check/logits_eval_f64"], rtol=0, atol=1e-10)
        return model.train().to(dtype)

    def data(self, dtype: torch.dtype, first: int | None = None) -> UnlearningData:
        """The images in the stored order; `first`: only that many of each part."""
        parts = {
            part: torch.from_numpy(self[f"idx_{part}"])[:first]
            for part in ("retain", "forget")
            if f"idx_{part}" in self.arrays
        }
        return LoaderBatches(
            torch.from_numpy(self["x"]).to(dtype), torch.from_numpy(self["y"]), parts, classes=4, shuffle=False
        )

    def mask(self, prefix: str = "mask") -> Mask:
        return Mask({name: torch.from_numpy(self[f"{prefix}/{name}"]) for name in CONVOLUTIONS})


@pytest.fixture(scope="session")
def reference():
    """reference("03_ga") → the file of that name."""
    return Reference
