"""Which tables an experiment has: each says so itself, and what it declares must exist."""

import copy
import inspect

import pytest
import yaml
from places import ROOT

from lacuna.errors import LacunaError
from lacuna.experiment.config import load
from lacuna.experiment.jobs import Jobs
from lacuna.experiment.tables import is_conditional, lacking
from lacuna.reporting import TABLES
from lacuna.reporting.tables.expected import in_order, reads_of
from lacuna.reporting.tables.making import parameters_of
from lacuna.reporting.tables.record import told_of

ALWAYS = {"cells", "layers", "summary", "ranks", "disagreement", "sparsity", "missing", "provenance"}
GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {}},
    "recipes": {"sgd": {}},
    "seeds": [0],
    "scenarios": {"class": {"forget_class": 3}},
    "pruners": {"omp": {}},
    "sparsities": [0.5],
    "unlearners": {"retrain": {}, "ga": {}},
}


@pytest.fixture
def plan(known, tmp_path):
    def read(catalogue=known, grid=None, **keys):
        experiment = {"name": "x", "device": "cpu", "metrics": ["UA", "avg_gap"], "grid": GRID | (grid or {})} | keys
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
        return load([tmp_path / "x.yaml"], {}, ROOT / "workflow/schemas/config.schema.yaml", catalogue)

    return read


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({}, set(), ""),
        ({"grid": {"recipes": {"sgd": {}, "fast": {}}}}, {"recipes"}, "two recipes"),
        ({"grid": {"recipes": {"sgd": {}, "fast": {}}}, "metrics": ["UA"]}, set(), ""),
        ({"transfer": {"targets": {"mnist": {}}}}, {"probes", "transfer"}, "transfer.targets"),
        ({"grid": {"shadows": {}}}, {"roc"}, "grid.shadows"),
        (
            {"grid": {"datasets": {"digits": {"backdoor": {}}}}, "metrics": ["ASR"]},
            {"backdoor"},
            "a backdoor in an entry of grid.datasets and a metric of SA, ASR",
        ),
        ({"grid": {"datasets": {"digits": {"backdoor": {}}}}}, set(), ""),
    ],
)
def test_a_table_exists_where_the_experiment_has_what_it_needs(plan, known, change, more, words):
    assert {*plan(**change).tables} == ALWAYS | more
    for table in more:
        assert is_conditional(table, known) and " and ".join(lacking(table, plan(), known)) == words


def test_what_lacks_is_told_in_words(plan, known):
    assert lacking("recipes", plan(metrics=["UA"]), known) == ["two recipes", "the metric avg_gap"]
    assert lacking("transfer", plan(), known) == ["transfer.targets"], "what the table needs that it reads"
    assert not any(is_conditional(table, known) for table in ALWAYS)


@pytest.mark.parametrize(
    ("table", "facts", "said"),
    [
        ("ranks", {"reads": ["cell"]}, r"table 'ranks': reads 'cell' \(did you mean 'cells'\?\); allowed: .*probe"),
        (
            "ranks",
            {"needs": ["shadow"]},
            r"table 'ranks': needs 'shadow'.*allowed: shadows, backdoor, recipes, targets",
        ),
        ("cells", {"after": ["missing"]}, r"tables that read one another: .*missing.*; allowed: none"),
    ],
)
def test_a_declaration_of_what_does_not_exist_is_refused(plan, known, table, facts, said):
    other = copy.deepcopy(known)
    other["tables"][table] |= facts
    with pytest.raises(LacunaError, match=said):
        plan(other)


def test_every_table_says_what_the_report_shows_and_asks_for_what_there_is(known):
    record = {"grid": {}, "judging": {"oracles": [], "twins": {}, "better": {}, "costs": []}}
    told = {*told_of(record), "missing", "results", "log"}
    for name in TABLES:
        assert parameters_of(name) == {*known["tables"][name]["asks"]} <= {*reads_of(name), *told}
        assert len(known["tables"][name]["doc"]["text"]) > 60 and inspect.getdoc(TABLES[name])


def test_tables_are_expected_behind_those_that_they_read():
    order = list(in_order())
    assert {*order} == {*TABLES}
    assert all(order.index(read) < order.index(name) for name in TABLES for read in reads_of(name) if read in TABLES)


def test_one_job_lists_the_cells_and_one_makes_each_further_table(plan, known):
    experiment = plan(transfer={"targets": {"mnist": {}}})
    reads = Jobs(experiment, known).reads
    made = {dict(job.wildcards)["table"]: reads[job] for job in reads if job.rule == "table"}
    assert {*made} == {*experiment.tables} - {"cells", "layers", "provenance"}
    for table in ("summary", "ranks", "disagreement", "sparsity", "missing"):
        assert [job.rule for job in made[table]] == ["aggregate"]
    assert {job.rule for job in made["probes"]} == {"probe"} and made["transfer"][0].rule == "table"
    (record,) = [job for job in reads if job.rule == "record"]
    assert len(reads[record]) == len(made) + 1, "all tables"
