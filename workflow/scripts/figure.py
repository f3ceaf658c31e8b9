"""summary.csv → one figure, as SVG and PNG."""

from job import job

import pandas as pd

from lacuna.reporting import FIGURES
from lacuna.reporting.style import save
from lacuna.reporting.tables import GROUP

with job(snakemake) as say:
    # grid values are labels: "0.90" must not become 0.9, nor a label "NA" a missing value
    summary = pd.read_csv(
        snakemake.input.summary, dtype=dict.fromkeys(GROUP, str), keep_default_na=False, na_values=[""]
    )
    draw = FIGURES[snakemake.wildcards.figure]
    save(draw(summary, snakemake.params.oracles), snakemake.output.svg, snakemake.output.png)
    say(f"{snakemake.wildcards.figure} from {len(summary)} rows")
