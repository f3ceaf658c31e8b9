# What Snakemake remembers of each file lies in .snakemake, which stays behind when results/ are copied, linked or shared.
# Where it remembers nothing, or another file than lies here now, the file's own record decides (lacuna.artifacts.records); a table or
# a figure, which has none, is made again.
import os
import sys

from snakemake.persistence import ParamsChange, PersistenceBase
from snakemake.persistence.file import FilePersistence

from lacuna.artifacts.records import disagreement, record_in

# how many files are named on the screen; the reasons of all are in the list of jobs
NAMED = 3
# by the first file of a job
UNLIKE = {}
DAMAGED = set()


def remembers(persistence, job):
    """Whether Snakemake recorded the making of just these files."""
    for path in job.output:
        try:
            made = os.stat(path).st_mtime
        except FileNotFoundError:
            continue  # to be made anyway
        record = persistence.metadata(path)
        if record is None or record.endtime is None or abs(made - record.endtime) > 0.01:
            return False
    return True


def unlike(job):
    """Why the files of a job are not those of the plan, in words; empty if they are."""
    first = str(job.output[0])
    if first in UNLIKE:
        return UNLIKE[first]
    record = record_in(job.output)
    if record is None:
        UNLIKE[first] = "not known what it was made from"
    else:
        UNLIKE[first] = disagreement(record, dict(job.params.items()), map(str, job.input))
        if UNLIKE[first]:
            unlike.count = getattr(unlike, "count", 0) + 1
            if unlike.count <= NAMED:
                print(f"lacuna: {first} is not of this plan ({UNLIKE[first]}) and is made again", file=sys.stderr)
            elif unlike.count == NAMED + 1:
                print("lacuna: more results are not of this plan and are made again", file=sys.stderr)
    return UNLIKE[first]


def params_changed(persistence, job, file=None):
    """Snakemake's answer; where it has none, that of the files' own record."""
    changes = BY_SNAKEMAKE["params"](persistence, job, file)
    if changes or not job.output or remembers(persistence, job) or not unlike(job):
        return changes
    return ParamsChange(only_old={unlike(job)}, files={str(job.output[0])})


def read_record(persistence, key):
    """A record of Snakemake's; a damaged one is none."""
    try:
        return BY_SNAKEMAKE["record"](persistence, key)
    except Exception as error:
        path = persistence._record_path(persistence._metadata_path, key)
        if path not in DAMAGED:
            DAMAGED.add(path)
            print(f"lacuna: {path}: damaged ({type(error).__name__}), taken for missing", file=sys.stderr)
        return None


if workflow.is_main_process:
    # once in a process, however many workflows it reads
    if not hasattr(PersistenceBase, "by_snakemake"):
        PersistenceBase.by_snakemake = {
            "params": PersistenceBase.params_changed,
            "record": FilePersistence._read_record,
        }
    BY_SNAKEMAKE = PersistenceBase.by_snakemake
    PersistenceBase.params_changed = params_changed
    # asked before, and `params_changed` is not where the answer is no
    PersistenceBase.has_metadata = lambda persistence, job: True
    FilePersistence._read_record = read_record
