"""What every script shares: its log, its lock, errors in one sentence, the commit. Imports no torch."""

import contextlib
import errno
import hashlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from lacuna_workflow import ROOT, log_lines

from lacuna.artifacts.coordinates import row_of
from lacuna.artifacts.files import check_beside, check_file, content_digest, place_of, told_as, use_results
from lacuna.artifacts.machine import commit_of
from lacuna.artifacts.origin import check_origin
from lacuna.artifacts.processes import exclusive, exit_with_run
from lacuna.artifacts.writing import remove_debris, set_aside_with
from lacuna.errors import DamagedFile, LacunaError, one_line

# what a disk, a quota or a limit on files refuses
_FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextlib.contextmanager
def job(snakemake: Any, origins: bool = True) -> Iterator[Callable[[str], None]]:
    """Gives `log(line)`, which writes to the job's log; whatever goes wrong ends the job with one sentence.

    The job alone writes its files: it waits for processes of a killed run that still write them, and its unfinished
    files are removed. A damaged input is set aside, so that the next run makes it anew; so is one of another run, which
    was made from other files than lie there now. origins: look whether there is any before the job begins.
    """
    name = " ".join([snakemake.rule, *(f"{k}={v}" for k, v in snakemake.wildcards.items())])
    path = Path(snakemake.log[0])
    first = str(snakemake.output[0]).encode()
    file: io.FileIO | None = None

    def log(line: str) -> None:
        if file is not None:
            file.write(f"{line}\n".encode(errors="backslashreplace"))  # a file's name need not be text

    def end(reason: str, details: str = "") -> NoReturn:
        sentence = f"lacuna: {name}: {reason}"
        with contextlib.suppress(OSError):  # the disk may be what is wrong
            log(details + sentence)
        sys.exit(f"{sentence} (log: {path})")

    use_results(snakemake.config["results"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # no buffer: what is logged is written, and closing cannot fail; a link would lead it into another file
        file = io.FileIO(path, "w", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))
        log_lines.begin(snakemake, log)
        exit_with_run()
        with exclusive(Path(".snakemake/lacuna/jobs", hashlib.sha256(first).hexdigest()[:16])):
            _remove_linked_benchmark(path)
            for output in map(str, snakemake.output):
                remove_debris(output)
            for read in _of_results(snakemake.input) if origins else []:
                check_beside(read)
                check_origin(read)
            with _without_exit(end):
                yield log
        log_lines.end(snakemake, log)
    except DamagedFile as error:
        end(_set_aside(error, snakemake.input) or str(error))
    except LacunaError as error:
        end(str(error))
    except OSError as error:
        if error.errno not in _FULL:
            end(one_line(error), traceback.format_exc())
        # of the disk there is nothing to trace
        lost = error.filename or "its files"
        end(f"{lost}: cannot be written ({error.strerror}); run the same command when there is room")
    except Exception as error:
        end(one_line(error), traceback.format_exc())
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            log(f"lacuna: {name}: interrupted")
        sys.exit(130)
    finally:
        if file is not None:
            file.close()


def _ended_by(function: str, file: str, line: int | None, how: str) -> str:
    """The sentence about code of a user's that ends the whole process."""
    return f"'{function}' ({file}, line {line}) ended the job by {how}; allowed: returning, or raising an exception"


@contextlib.contextmanager
def _without_exit(end: Callable[[str], NoReturn]) -> Iterator[None]:
    """Let code of a user's that ends the process, with whichever status, be the failure of a job: no file is written.

    end: logs a reason, and ends with the sentence for the terminal. A child of the job ends as ever.
    """
    exit_now, process = os._exit, os.getpid()

    def exit_failed(status: int) -> NoReturn:
        if os.getpid() != process:
            exit_now(status)
        caller = sys._getframe(1)
        where = (caller.f_code.co_name, caller.f_code.co_filename, caller.f_lineno)
        try:
            end(_ended_by(*where, f"os._exit({status!r})"))
        except SystemExit as ended:
            print(ended.code, file=sys.stderr, flush=True)
        exit_now(status or 1)

    os._exit = exit_failed
    try:
        yield
    except SystemExit as error:
        # `exit()` is a function of Python's own, and no place to name
        frames = traceback.extract_tb(error.__traceback__)
        frame = next(frame for frame in reversed(frames) if "_sitebuiltins" not in frame.filename)
        raise LacunaError(_ended_by(frame.name, frame.filename, frame.lineno, f"sys.exit({error.code!r})")) from None
    finally:
        os._exit = exit_now


def _remove_linked_benchmark(log: Path) -> None:
    """Remove the benchmark of an earlier run if it is a link: Snakemake would write into the file that it leads to."""
    # results/logs/<place>.log → results/benchmarks/<place>.tsv
    name = place_of(log).removeprefix("logs/")
    benchmark = Path(str(log)[: -len(f"logs/{name}")], "benchmarks", name).with_suffix(".tsv")
    if benchmark.is_symlink():
        benchmark.unlink()


def _set_aside(damage: DamagedFile, inputs: Any) -> str:
    """Rename a damaged input that the pipeline made; what was done, or nothing if it was not done.

    A damaged file is seldom alone: the other inputs and the files of its folder are looked at too, so that one more
    run makes all of them anew.
    """
    read = _of_results(inputs)
    folders = {path.parent.parent if path.parent.name in ("metrics", "probe") else path.parent for path in read}
    if damage.path not in read and not (damage.path.name == "job.json" and damage.path.parent in folders):
        return ""
    own = damage.path.parent.parent if damage.path.parent.name in ("metrics", "probe") else damage.path.parent
    beside = [path for kind in ("*.safetensors", "*.npz", "*.json") for path in own.glob(kind) if path.name[0] != "."]
    harmed = {damage.path: None}
    for path in dict.fromkeys((*beside, *read)):
        try:
            check_file(path)
            check_beside(path)
            check_origin(path)
        except DamagedFile as error:
            harmed[error.path] = None
        except LacunaError:
            continue
    moved = set_aside_with(harmed)
    if damage.path not in moved:
        return ""
    others = [str(path) for path in moved if path != damage.path]
    too = f", and so {'are' if others[1:] else 'is'} {', '.join(others)[:1000]}" if others else ""
    return f"{damage.what}; it is now {damage.path.name}.damaged{too}: run the same command again to make it anew"


def _of_results(inputs: Any) -> list[Path]:
    """The inputs that the pipeline made."""
    return [Path(path) for path in map(str, inputs) if place_of(path)]


def inputs_of(snakemake: Any) -> dict[str, str]:
    """The content of every input that the pipeline made: `lacuna verify` compares it with what is there."""
    return {told_as(path): content_digest(path) for path in _of_results(snakemake.input)}


def record_of(snakemake: Any) -> dict[str, Any]:
    """What the job was asked for, and its inputs: in its output, where a later run looks (`artifacts.origin`)."""
    return {"parameters": dict(snakemake.params.items()), "inputs": inputs_of(snakemake)}


def comment_for(snakemake: Any) -> str:
    """The same as the comment of an npz file."""
    return json.dumps(record_of(snakemake), sort_keys=True)


def commit() -> str:
    """The git commit of the workflow."""
    return commit_of(ROOT)


def coordinates(wildcards: Any) -> dict[str, Any]:
    """The place of a cell in the tables: its wildcards, with the state taken apart ("omp-0.90" → omp, 0.90)."""
    return row_of({k: v for k, v in wildcards.items() if k != "experiment"})


def without_method(entry: dict[str, Any]) -> dict[str, Any]:
    """The options of a grid entry."""
    return {k: v for k, v in entry.items() if k != "method"}
