"""What a file says of its making counts where Snakemake remembers nothing of it.

Snakemake's records lie in .snakemake, which stays behind when results are copied, linked or shared. Where it remembers
nothing, or another file than lies here now, the file's own record decides (lacuna.artifacts.records); a table or a
figure, which has none, is made again. A record of Snakemake's that is damaged is none.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from lacuna_workflow import is_own
from lacuna_workflow.internals import Patch

from snakemake.persistence import ParamsChange, PersistenceBase
from snakemake.persistence.file import FilePersistence

from lacuna.artifacts.origin import record_in
from lacuna.artifacts.records import disagreement

# how many files are named on the screen; the reasons of all are in the list of jobs
NAMED = 3
_params_changed = PersistenceBase.params_changed
_has_metadata = PersistenceBase.has_metadata
_read_record = FilePersistence._read_record


def _ours(job: Any) -> bool:
    """Whether a rule of this workflow makes a job's files: a workflow that imports it has others, without records."""
    return bool(job.output) and is_own(str(job.rule.snakefile))


def _kept(persistence: Any, name: str) -> Any:
    """What was found out for a persistence: of files, by the first of a job."""
    return persistence.__dict__.setdefault(f"_lacuna_{name}", {})


def remembers(persistence: Any, job: Any) -> bool:
    """Whether Snakemake recorded the making of just these files."""
    absent = None
    for path in job.output:
        # asked of every job of a plan: most have their files in one folder
        folder = os.path.dirname(path)
        if folder == absent:
            continue
        try:
            time = os.stat(path).st_mtime
        except FileNotFoundError:
            absent = folder if job.output[1:] and not os.path.isdir(folder) else None
            continue  # to be made anyway
        record = persistence.metadata(path)
        if record is None or record.endtime is None or abs(time - record.endtime) > 0.01:
            return False
    return True


def unlike(persistence: Any, job: Any) -> str:
    """Why the files of a job are not those of the plan, in words; empty if they are."""
    reasons, first = _kept(persistence, "unlike"), str(job.output[0])
    if first not in reasons:
        record = record_in(job.output)
        if record is None:
            reasons[first] = "not known what it was made from"
        else:
            reasons[first] = disagreement(record, dict(job.params.items()), map(str, job.input))
            if reasons[first]:
                _warn(_kept(persistence, "named"), first, reasons[first])
    reason: str = reasons[first]
    return reason


def _warn(named: dict[str, str], first: str, reason: str) -> None:
    """Name a file that is made again, if it is one of the first."""
    named[first] = reason
    if len(named) <= NAMED:
        print(f"lacuna: {first} is not of this plan ({reason}) and is made again", file=sys.stderr)
    elif len(named) == NAMED + 1:
        print("lacuna: more results are not of this plan and are made again", file=sys.stderr)


def params_changed(persistence: Any, job: Any, file: Any = None) -> Any:
    """Snakemake's answer; where it has none, that of the files' own record."""
    changes = _params_changed(persistence, job, file)
    if changes or not _ours(job) or remembers(persistence, job) or not (reason := unlike(persistence, job)):
        return changes
    return ParamsChange(only_old={reason}, files={str(job.output[0])})


def has_metadata(persistence: Any, job: Any) -> bool:
    """Yes of this workflow's jobs: it is asked before `params_changed`, which is not asked where the answer is no."""
    return _ours(job) or _has_metadata(persistence, job)


def read_record(persistence: Any, key: str) -> Any:
    """A record of Snakemake's; a damaged one is none."""
    try:
        return _read_record(persistence, key)
    except Exception as error:
        path, damaged = persistence._record_path(persistence._metadata_path, key), _kept(persistence, "damaged")
        if path not in damaged:
            damaged[path] = True
            print(f"lacuna: {path}: damaged ({type(error).__name__}), taken for missing", file=sys.stderr)
        return None


def remember() -> None:
    """Let Snakemake ask these functions."""
    PersistenceBase.params_changed = params_changed
    PersistenceBase.has_metadata = has_metadata
    FilePersistence._read_record = read_record


MEMORY = Patch(
    "records",
    (
        (PersistenceBase, "params_changed"),
        (PersistenceBase, "has_metadata"),
        (FilePersistence, "_read_record"),
        (FilePersistence, "_record_path"),
    ),
    remember,
    # of damaged records; that they stay behind is as Snakemake wants it
    "https://github.com/snakemake/snakemake/issues/358",
)
