import pytest

from lacuna.artifacts.contents import Job, Meta
from lacuna.artifacts.jobs import JOB
from lacuna.artifacts.meta import META

ONE_DATASET = {
    **{"classes": 10, "train": 4, "test": 2, "shape": [3, 8, 8], "mean": [0.5], "std": [0.1], "sha256": "ab"},
    **{"fine": 20, "class_names": ["cat"], "entry": {}, "backdoor": None, "content": "", "parameters": {}},
}
ONE_JOB = {
    **{"cell": {"seed": "0"}, "seconds": 1.5, "inputs": {}, "parameters": {}, "versions": {"torch": "2"}},
    **{"steps": 1, "samples": 2, "forwards": 3, "backwards": 4, "threads": 1, "facts": {}, "outputs": {}, "commit": ""},
    **{"network": {}, "peak_memory_mb": 1.0, "peak_gpu_memory_mb": None, "device": "cpu", "machine": {}},
    **{"arithmetic": "fp32", "execution": "eager", "execution_note": "", "random_stream": 7, "slurm_job": None},
    **{"energy_j": None, "energy_j_absent": "no GPU", "sparsity_per_layer": {}, "seconds_per_model": {}},
    **{"random_streams": []},
}


@pytest.mark.parametrize(("content", "form", "one"), [(Meta, META, ONE_DATASET), (Job, JOB, ONE_JOB)])
def test_type_checkers_require_what_the_form_does(content, form, one):
    """The TypedDict and the check at run time agree on which fields there are, and which must be."""
    assert set(one) == set(content.__annotations__)
    form(one, "")
    for name in one:
        rest = {key: value for key, value in one.items() if key != name}
        if name in content.__required_keys__:
            with pytest.raises(ValueError, match=f"^{name} is missing$"):
                form(rest, "")
        else:
            form(rest, "")
