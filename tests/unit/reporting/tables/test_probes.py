"""probes.csv: cells on each target."""

import pytest

from lacuna.errors import LacunaError
from lacuna.reporting.tables.probes import probes_table


def test_probes_that_are_not_there_are_refused():
    with pytest.raises(LacunaError, match="no cell of the experiment is finished"):
        probes_table([])
