"""transfer.csv: a target summed up as if it were alone."""

import pandas as pd

from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.transfer import transfer_table
from unit.reporting.tables.contests import TWINS, WITH_TWINS, contest, probes


def test_a_target_is_summed_up_as_if_it_were_alone():
    """Gaps, tests and floors are those of the summary of its probes; other targets change none of them."""
    others = {u: [100 - 3 * v for v in own] for u, own in WITH_TWINS.items()}
    oracles = ["retrain", "retrain_exact"]
    table = transfer_table(probes_table([*probes(WITH_TWINS, "pets"), *probes(others, "sun")]), oracles, TWINS)
    assert list(table["target"].unique()) == ["pets", "sun"]
    for target, values in (("pets", WITH_TWINS), ("sun", others)):
        own = table[table["target"] == target].drop(columns="target").reset_index(drop=True)
        alone = summary_table(contest(values, metric="target_accuracy")).drop(columns="unchanged")
        pd.testing.assert_frame_equal(own, alone)
