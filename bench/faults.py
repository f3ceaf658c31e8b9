"""Inject faults into real runs of a tiny experiment, and see whether the same command finishes as if nothing had been.

Each fault meets its own copy of a finished tree from which a part was deleted. `lacuna status` has to tell of the
harmed tree in sentences. Then the same command runs until it succeeds, three times at most. A fault is lost unless
every run ends within its bound, the last one succeeds, models have the bytes and tables the numbers (times apart) of
a clean run, no temporary file, checkpoint or lock of Snakemake's is left, and no process or cluster job of that tree.
Prints a row per fault, a table of kinds, and as JSON what was lost. The bound is a multiple of what the clean run
took, so that a loaded machine is given more time and a hang still ends.

    python bench/faults.py                      faults of one machine (full disk and read-only need root)
    python bench/faults.py --where cluster      those of a cluster (tests/slurm/cluster.sh start)
    python bench/faults.py --where both
    python bench/faults.py --where files        harm to finished files of every kind alone
    python bench/faults.py --only kill --rounds 3 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # whose modules name each other without it

from lacuna_workflow.warm import BOOT

from lacuna.commands.verify import _content, _Tree, mend, verify
from lacuna.errors import LacunaError
from tests.workflow.project import EXPERIMENT, Project

BOUND = 400.0  # seconds; a run that takes longer hangs; `main` raises it on a slow machine
GRID = EXPERIMENT["grid"] | {
    "recipes": {"brief": EXPERIMENT["grid"]["recipes"]["brief"] | {"epochs": 30}},
    "unlearners": {"retrain": {}, "ga": {"epochs": 10, "lr": 1e-3}},
}
HERE = "digits/resnet8/brief/seed0"
# Every kind of file that the pipeline makes, in few short jobs.
WIDE: dict[str, Any] = EXPERIMENT | {
    "name": "wide",
    "metrics": ["UA", "RA", "TA", "ZRF", "relearn_epochs", "parameter_distance", "error_bound"],
    "figures": ["metric_vs_sparsity", "roc", "transfer"],
    "transfer": {"targets": {"high": {"method": "digits", "only": [5, 6, 7, 8, 9]}}, "probe": {"l2": [0.1]}},
    "grid": EXPERIMENT["grid"]
    | {
        "datasets": {"low": {"method": "digits", "only": [0, 1, 2, 3, 4]}},
        "scenarios": {
            "class": {"forget_class": 3},
            "hard": {"method": "memorised", "fraction": 0.1, "folds": 2, "model": "resnet8", "recipe": "brief"},
        },
        "unlearners": {"retrain": {}, "ga": {"epochs": 1, "lr": 1e-3}},
        "shadows": {"models": 6, "per_job": 3},
    },
}
# What is deleted before a run, so that it has jobs of each kind to do and does not take long.
PARTS = {
    "cell": [f"cells/{HERE}/class/omp-0.90/ga"],
    "oracle": [f"cells/{HERE}/class/dense/retrain"],
    "pruned": [f"models/{HERE}/omp-0.90", f"cells/{HERE}/class/omp-0.90/ga"],
}


class Lost(Exception):
    """What a fault did that must not happen."""


class Alike(Exception):
    """A harm that changes nothing."""


def models(project: Project) -> dict[str, str]:
    """SHA-256 of every model file; of packed shadow models without the seconds that each took."""
    found = {}
    for name, path in project.made("**/*.safetensors").items():
        digest = hashlib.sha256()
        if name.startswith("shadows/"):
            arrays = {k: v for k, v in load_file(path).items() if not k.endswith("/seconds")}
            for key in sorted(arrays):
                digest.update(key.encode() + arrays[key].tobytes())
        else:
            digest.update(path.read_bytes())
        found[name] = digest.hexdigest()
    return found


def numbers(project: Project) -> pd.DataFrame:
    """All cells, times left out: two runs may differ in them."""
    [name] = project.made("tables/*/cells.csv")
    cells = pd.read_csv(project / "results" / name, dtype={"sparsity": str})
    return cells[~cells["metric"].str.startswith(("time_s", "speedup"))].reset_index(drop=True)


def processes(project: Project) -> list[psutil.Process]:
    """Everything that runs in the project's folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(project.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def warm(process: psutil.Process | None) -> bool:
    """Whether it is the process that warm jobs are forked from, or one of them."""
    try:
        return process is not None and BOOT in process.cmdline()
    except psutil.Error:
        return False


def scripts(project: Project) -> list[psutil.Process]:
    """The jobs' own processes, started cold or forked."""
    found = []
    for process in processes(project):
        with contextlib.suppress(psutil.Error):
            cold = any(".snakemake/scripts/" in word for word in process.cmdline()[1:2])
            if cold or (warm(process) and warm(process.parent())):
                found.append(process)
    return found


def warm_parent(project: Project) -> psutil.Process | None:
    """The process that the run forks its jobs from, if there is one."""
    for process in processes(project):
        with contextlib.suppress(psutil.Error):
            if warm(process) and not warm(process.parent()):
                return process
    return None


def queue(*options: str) -> list[str]:
    """What squeue says about the jobs of this user."""
    told = subprocess.run(["squeue", "--me", "--noheader", *options], capture_output=True, text=True, check=True)
    return told.stdout.split()


def until(what: str, condition: Callable[[], object], share: float = 1.0) -> None:
    """Wait for a condition, for a share of the bound."""
    seconds = BOUND * share
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Lost(f"not in {seconds:.0f} s: {what}")
        time.sleep(0.1)


@dataclass
class Trial:
    """A run that meets a fault: a project, its command under way, and the random numbers of the fault."""

    project: Project
    rng: random.Random
    part: str
    command: tuple[str, ...] = ("tables",)
    number: int = 0  # which trial of its fault
    other: Path = Path()  # results of a run with other values
    by_hand: str = ""  # what verify had to set aside, because no job read it
    run: subprocess.Popen[str] | None = None
    output: list[str] = field(default_factory=list)
    runs: int = 0

    def start(self) -> subprocess.Popen[str]:
        self.runs += 1
        self.run = self.project.start(*self.command)
        return self.run

    def end(self, process: subprocess.Popen[str] | None = None) -> int:
        """Wait for the run; a run without an end is lost."""
        process = process or self.run
        assert process is not None
        try:
            output, _ = process.communicate(timeout=BOUND)
        except subprocess.TimeoutExpired:
            raise Lost(f"the run hangs: no end in {BOUND:.0f} s") from None
        self.output.append(output)
        return process.returncode

    def pause(self, low: float = 0.0, high: float = 1.0) -> None:
        time.sleep(self.rng.uniform(low, high))

    def in_a_job(self) -> psutil.Process:
        """Start the run and wait for a random moment of a job; the job's process, which may end meanwhile."""
        run = self.start()
        skip = self.rng.choice([0, 0, 1])  # which of the jobs
        seen: set[int] = set()
        while run.poll() is None:
            for script in scripts(self.project):
                seen.add(script.pid)
                if len(seen) > skip:
                    self.pause(0, 6)
                    return script
            time.sleep(0.05)
        raise Lost("no job to meet: " + "".join(self.output)[-300:])

    def under_a_job(self) -> tuple[psutil.Process, psutil.Process]:
        """Start the run and wait for a random moment of a job; the warm parent and the job, which may end meanwhile."""
        job = self.in_a_job()
        parent = warm_parent(self.project)
        if parent is None:
            raise Lost("no warm parent")
        return parent, job

    def without_a_job(self, had: bool) -> psutil.Process:
        """Start the run and wait until its warm parent has no job; the parent, stopped. had: it had one before."""
        run, parent = self.start(), None
        while run.poll() is None:
            time.sleep(0.02 if parent else 0.1)
            parent = parent or warm_parent(self.project)
            with contextlib.suppress(psutil.NoSuchProcess):
                if parent is not None:
                    if not had and self.rng.random() < 0.9:  # while it imports
                        continue
                    parent.suspend()
                    jobs = [job for job in parent.children() if job.status() != psutil.STATUS_ZOMBIE]
                    if had and not jobs:
                        return parent
                    if not had:
                        if jobs:
                            raise Lost("its first job came sooner")
                        return parent
                    parent.resume()
        raise Lost("no warm parent without a job: " + "".join(self.output)[-300:])

    def file(self, pattern: str) -> Path:
        """One of the result files that match."""
        return self.rng.choice(list(self.project.made(pattern).values()))


Fault = Callable[[Trial], None]
FAULTS: dict[str, tuple[int, Fault]] = {}
ON_CLUSTER: dict[str, tuple[int, Fault]] = {}
# on a whole tree with files of every kind, of each kind one
HARMS: dict[str, Fault] = {}


def fault(name: str, times: int, cluster: bool = False) -> Callable[[Fault], Fault]:
    """Register a fault and how often a round injects it."""

    def keep(inject: Fault) -> Fault:
        (ON_CLUSTER if cluster else FAULTS)[name] = (times, inject)
        return inject

    return keep


# ---- one machine ----------------------------------------------------------------------------------------------------


def signal_to(number: int, process_of: Callable[[Trial], psutil.Process]) -> Fault:
    def inject(trial: Trial) -> None:
        process = process_of(trial)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        trial.end()

    return inject


def parent_of_a_job(trial: Trial) -> psutil.Process:
    """The warm parent under a job: the job ends with it, before the run does."""
    return trial.under_a_job()[0]


fault("kill -9 of a job", 6)(signal_to(signal.SIGKILL, Trial.in_a_job))
fault("SIGTERM to a job", 2)(signal_to(signal.SIGTERM, Trial.in_a_job))
fault("SIGUSR1 to a job", 1)(signal_to(signal.SIGUSR1, Trial.in_a_job))
fault("kill -9 of the warm parent under a job", 3)(signal_to(signal.SIGKILL, parent_of_a_job))
fault("SIGTERM to the warm parent", 2)(signal_to(signal.SIGTERM, parent_of_a_job))


def kill_without_a_job(had: bool) -> Fault:
    """No job is lost: the next one starts cold, or from another parent."""

    def inject(trial: Trial) -> None:
        trial.without_a_job(had).kill()
        if trial.end() != 0:
            raise Lost("a job failed, though none ran: " + trial.output[-1][-600:])

    return inject


fault("kill -9 of the warm parent between jobs", 3)(kill_without_a_job(True))
fault("kill -9 of the warm parent before its first job", 2)(kill_without_a_job(False))


@fault("warm parent stopped for seconds", 2)
def stop_parent(trial: Trial) -> None:
    """The run waits for it, as for a job that is stopped."""
    parent, _ = trial.under_a_job()
    with contextlib.suppress(psutil.NoSuchProcess):
        parent.suspend()
        trial.pause(1, 8)
        parent.resume()
    if trial.end() != 0:
        raise Lost("a job failed, though nothing ended: " + trial.output[-1][-600:])


def leave(with_parent: bool) -> Fault:
    """Kill Snakemake, or all but the job: what is left ends by itself, and no run is needed for it."""

    def inject(trial: Trial) -> None:
        parent, _ = trial.under_a_job()
        assert trial.run is not None
        trial.run.kill()
        if with_parent:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent.kill()
        trial.run.wait()
        until("warm parent and job gone", lambda: not processes(trial.project), 0.2)

    return inject


fault("kill -9 of Snakemake, its job and parent left over", 3)(leave(False))
fault("kill -9 of Snakemake and the warm parent, a job left over", 2)(leave(True))


@fault("code changed between jobs", 2)
def change_code(trial: Trial) -> None:
    """The next job imports what lies there when it begins; of scripts Snakemake keeps its own copy for a run."""
    trial.in_a_job()
    code = [trial.project / "src/lacuna/errors.py", trial.project / "workflow/lib/lacuna_workflow/job.py"]
    before = {path: (path.read_bytes(), path.stat()) for path in code}
    mark = 'open(".snakemake/read", "a").write({!r} + "\\n")\n'
    for path in code:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + mark.format(path.parent.name))
    if trial.end() != 0:
        raise Lost("a job fails after a change of code: " + trial.output[-1][-600:])
    read = trial.project / ".snakemake/read"
    names = set(read.read_text().split()) if read.exists() else set()
    if names != {"lacuna", "lacuna_workflow"}:
        raise Lost(f"the next jobs did not read the new code, but that of {sorted(names)}")
    for path, (content, stamp) in before.items():
        path.write_bytes(content)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@fault("memory limit of a job", 2)
def limit_job(trial: Trial) -> None:
    """It may take no more than it has."""
    job = trial.in_a_job()
    with contextlib.suppress(psutil.NoSuchProcess):
        job.rlimit(psutil.RLIMIT_AS, (job.memory_info().vms,) * 2)
    if trial.end() != 0 and "Traceback" in trial.output[-1].split("lacuna: ")[0]:
        raise Lost("no sentence, but a traceback: " + trial.output[-1][-600:])


@fault("memory limit of a run", 1)
def limit_run(trial: Trial) -> None:
    """Neither the warm parent nor a job can load torch."""
    run = trial.start()
    psutil.Process(run.pid).rlimit(psutil.RLIMIT_AS, (2**31 + 2**30,) * 2)
    trial.end()


@fault("no file descriptor left", 1)
def few_descriptors(trial: Trial) -> None:
    """Of the run and of its warm parent, for a while."""
    parent, _ = trial.under_a_job()
    assert trial.run is not None
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(trial.run.pid), parent):
            _, most = process.rlimit(psutil.RLIMIT_NOFILE)
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + trial.rng.randrange(4), most))
    trial.end()


def without_streams(closed: str) -> Fault:
    def inject(trial: Trial) -> None:
        trial.runs += 1
        trial.run = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *trial.project.command(*trial.command)],
            cwd=trial.project.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if trial.end() != 0:
            raise Lost(f"it fails with {closed}: " + trial.output[-1][-600:])

    return inject


fault("standard output closed", 1)(without_streams(">&-"))
fault("all standard streams closed", 1)(without_streams("<&- >&- 2>&-"))


@fault("reader of the output gone", 1)
def broken_pipe(trial: Trial) -> None:
    """As of `| head -1`."""
    trial.in_a_job()
    assert trial.run is not None and trial.run.stdout is not None
    trial.run.stdout.close()
    try:
        trial.run.wait(BOUND)
    except subprocess.TimeoutExpired:
        raise Lost(f"the run hangs: no end in {BOUND:.0f} s") from None


@fault("kill -9 of Snakemake", 6)
def kill_snakemake(trial: Trial) -> None:
    """The job it leaves must end by itself, and never write beside the next run's."""
    trial.in_a_job()
    assert trial.run is not None
    trial.run.kill()
    trial.run.wait()


@fault("kill -9 of Snakemake and its job", 4)
def kill_all(trial: Trial) -> None:
    trial.in_a_job()
    assert trial.run is not None
    os.killpg(trial.run.pid, signal.SIGKILL)
    trial.run.wait()


@fault("kill -9 while Snakemake plans", 2)
def kill_planning(trial: Trial) -> None:
    run = trial.start()
    trial.pause(0.5, 3.0)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


@fault("Ctrl-C", 2)
def interrupt(trial: Trial) -> None:
    trial.in_a_job()
    assert trial.run is not None
    os.killpg(trial.run.pid, signal.SIGINT)
    trial.end()


@fault("two Snakemake at once", 2)
def twice(trial: Trial) -> None:
    """The second is refused, whatever the moment, and the first is not disturbed."""
    first = trial.start()
    trial.pause(0, 12)
    second = trial.project.start(*trial.command)
    codes = [trial.end(process) for process in (first, second)]
    if 0 not in codes:
        raise Lost("neither of two runs succeeded")


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Change a file's bytes and keep its time, as a bad disk does."""
    stamp = path.stat()
    path.write_bytes(how(path.read_bytes()))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


ARTIFACTS = {
    "cell": [f"models/{HERE}/omp-0.90/model.safetensors", f"models/{HERE}/omp-0.90/mask.npz", "data/digits/images.*"],
    "oracle": ["splits/digits/seed0/forget/class.npz", f"models/{HERE}/dense/mask.npz", "data/digits/images.*"],
    "pruned": [f"models/{HERE}/dense/*.safetensors", "splits/digits/seed0/split.npz", "data/digits/images.*"],
}


@fault("truncated artifact", 3)
def truncate(trial: Trial) -> None:
    path = trial.file(trial.rng.choice(ARTIFACTS[trial.part]))
    damage(path, lambda content: content[: trial.rng.randrange(len(content))])
    trial.start()
    if trial.end() == 0:
        raise Lost(f"{path.name} was truncated and nobody noticed")


@fault("bit-flipped artifact", 4)
def flip(trial: Trial) -> None:
    path = trial.file(trial.rng.choice(ARTIFACTS[trial.part]))

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[trial.rng.randrange(len(content) // 4, len(content) * 3 // 4)] ^= 1 << trial.rng.randrange(8)
        return bytes(changed)

    damage(path, change)
    trial.start()
    trial.end()  # a flip in what nobody reads, such as a time inside a zip, may go unnoticed


@fault("half-written output of an unknown writer", 2)
def half_written(trial: Trial) -> None:
    trial.in_a_job()
    assert trial.run is not None
    os.killpg(trial.run.pid, signal.SIGKILL)
    trial.run.wait()
    for folder in (trial.project / "results" / part for part in PARTS[trial.part]):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "job.json").exists():  # what is finished, nobody writes again
            (folder / "model.safetensors").write_bytes(b"half a mod")
        metrics = folder / "metrics" / f"{EXPERIMENT['name']}.json"
        if not metrics.exists() and "cells" in folder.parts:
            metrics.parent.mkdir(exist_ok=True)
            metrics.write_bytes(b'{"cell"')


def kinds_of_file(results: Path) -> dict[str, list[str]]:
    """The places of a tree by the kind of file that lies there: its top folder and name without labels and numbers."""
    kinds: dict[str, list[str]] = {}
    tables = {path.name: f"tables/{path.name}" for path in results.glob("tables/*/*")}
    for place in map(str, sorted(path.relative_to(results) for path in results.rglob("*") if path.is_file())):
        top, name = place.split("/")[0], Path(place).name
        if top in ("logs", "benchmarks") or ".damaged" in name:
            continue
        folder = next(
            (f for f in ("shadows", "probe", "metrics", "forget", "held_out_2") if f"/{f}/" in f"/{place}"), ""
        )
        alike = (
            "*" + Path(name).suffix if folder in ("shadows", "probe", "metrics", "forget") or top == "figures" else name
        )
        kinds.setdefault(tables.get(name) or "/".join(filter(None, (top, folder, alike))), []).append(place)
    return dict(sorted(kinds.items()))


def users_of(results: Path, place: str) -> list[str]:
    """The files that a job made from a file, and what is drawn from a table."""
    told = _Tree(results)
    for found in told.kinds:
        with contextlib.suppress(LacunaError):
            _content(told, found, results / found, told.kinds[found])
    if place.startswith("tables/"):
        return [f for f in sorted(told.kinds) if f.startswith("figures/") and f.endswith(".svg")]
    read = {place}
    if "/shadows/" in place:  # whoever reads the arrays looks at the JSON file that vouches for them
        read.add(str(Path(place).with_suffix(".npz")))
    users = [user for user, inputs in told.made_from.items() if {f"results/{path}" for path in read} & set(inputs)]
    of_results = {"metrics": "cells.csv", "probe": "probes.csv"}.get(Path(place).parent.name)
    return users + ([f"tables/{WIDE['name']}/{of_results}"] if of_results else [])


def harmed(name: str) -> Callable[[Callable[[Trial, Path], None]], None]:
    """Register a harm to one file of each kind.

    Verify sees it. Then a file that is made from it, if there is one, is deleted, so that a job of the same command
    reads what was harmed: the run finds and mends it by itself. What no job reads, verify sets aside.
    """

    def keep(harm: Callable[[Trial, Path], None]) -> None:
        def inject(trial: Trial) -> None:
            results = trial.project / "results"
            kinds = kinds_of_file(results)
            kind = list(kinds)[trial.number % len(kinds)]
            place = trial.rng.choice(kinds[kind])
            path = results / place
            trial.part = kind
            trial.output.append(f"{name}: {path}")
            users = users_of(results, place)
            harm(trial, path)
            found = list(verify(results))
            if path not in {finding.path for finding in found}:
                raise Lost(f"verify does not see: {place}")
            if users:
                (results / trial.rng.choice(users)).unlink()
            for _ in range(3):
                trial.start()
                if trial.end() == 0:
                    break
            if any("Traceback" in output for output in trial.output[1:]):
                raise Lost(f"a traceback: {place}")
            if left := list(verify(results)):
                if users and path in {finding.path for finding in left}:
                    raise Lost(f"a job read it and did not find it: {left[0]}")
                trial.by_hand = f"set aside by verify: {', '.join(sorted({f.path.name for f in left}))}"
                mend(left)

        HARMS[name] = inject

    return keep


@harmed("one byte of a file")
def one_byte(trial: Trial, path: Path) -> None:
    """In an archive within the first array: it has times and attributes that nobody reads."""

    def change(content: bytes) -> bytes:
        low, high = (70, 90) if path.suffix == ".npz" else (0, len(content))
        changed = bytearray(content)
        changed[trial.rng.randrange(low, high)] ^= 1 << trial.rng.randrange(8)
        return bytes(changed)

    damage(path, change)


@harmed("two files exchanged")
def exchanged(trial: Trial, path: Path) -> None:
    """With one of the same name whose content is another, or where there is none with any."""
    results = trial.project / "results"
    others = [results / place for places in kinds_of_file(results).values() for place in places]
    others = [p for p in others if p.read_bytes() != path.read_bytes()]
    other = trial.rng.choice([p for p in others if p.name == path.name] or others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    damage(path, lambda content: theirs)
    damage(other, lambda content: mine)


@harmed("another run's file in its place")
def of_another_run(trial: Trial, path: Path) -> None:
    """Of the same experiment with another seed of its own numbers: sound, and not this one."""
    results = trial.project / "results"
    other = trial.other / path.relative_to(results)
    content = other.read_bytes()
    if content == path.read_bytes():
        raise Alike(f"{path.name} of two runs are alike")
    damage(path, lambda _: content)


@harmed("another thing in a file's place")
def replaced(trial: Trial, path: Path) -> None:
    path.unlink()
    things: list[Callable[[], Any]] = [path.touch, path.mkdir, lambda: path.write_text("x\0"), lambda: os.mkfifo(path)]
    trial.rng.choice([*things, lambda: path.symlink_to("/etc/passwd")])()


@contextlib.contextmanager
def mounted(folder: Path, *command: str) -> Iterator[None]:
    subprocess.run(["mount", *command, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@fault("full disk", 3)
def full_disk(trial: Trial) -> None:
    """A file system of a few kilobytes where the job writes."""
    folder = trial.project / "results" / PARTS[trial.part][0]
    folder.mkdir(parents=True)
    size = trial.rng.choice(["4k", "8k", "16k", "32k"])
    with mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        trial.start()
        if trial.end() == 0:
            raise Lost(f"a model fitted into {size}")
        said_why(trial, "No space left on device")


@fault("read-only output", 1)
def read_only(trial: Trial) -> None:
    folder = trial.project / "results" / PARTS[trial.part][0]
    folder.mkdir(parents=True)
    with mounted(folder, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        trial.start()
        if trial.end() == 0:
            raise Lost("a model was written on a read-only disk")
        # Snakemake itself meets it, before the script begins
        if f"Read-only file system: '{folder.relative_to(trial.project.folder)}" not in trial.output[-1]:
            raise Lost("the run does not say which file is read-only")


def said_why(trial: Trial, reason: str) -> None:
    """The run must name the cell, the reason and the log in one sentence."""
    said = [line for line in trial.output[-1].splitlines() if line.startswith("lacuna: ") and reason in line]
    if not any("(log: results/logs/" in line and "seed=0" in line for line in said):
        raise Lost(f"no sentence names the cell, '{reason}' and the log")


@fault("clock skew between files", 3)
def skew(trial: Trial) -> None:
    """Some files come from a machine whose clock is hours away."""
    for path in trial.project.made("**/*").values():
        if trial.rng.random() < 0.3:
            shift = trial.rng.choice([-3600, -5, 5, 3600]) * 10**9
            stamp = path.stat()
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + shift))
    # what a job reads, from the future whatever its age
    later = time.time() + 3600
    os.utime(trial.file(trial.rng.choice(ARTIFACTS[trial.part])), (later, later))
    trial.start()
    trial.end()


# ---- a cluster ------------------------------------------------------------------------------------------------------


def running(trial: Trial) -> str:
    """Start the run and wait for a random moment of a running job of the cluster; its id."""
    trial.start()
    until("a running job", lambda: queue("--states", "R", "--format", "%i"), 0.5)
    trial.pause(0, 15)
    return (queue("--format", "%i") or ["0"])[0]


def administrate(*change: str) -> None:
    subprocess.run(["scontrol", *change], check=False, capture_output=True)


@fault("scancel", 2, cluster=True)
def cancel(trial: Trial) -> None:
    subprocess.run(["scancel", running(trial)], check=False)
    trial.end()


@fault("kill -9 of a job on a node", 1, cluster=True)
def kill_on_node(trial: Trial) -> None:
    running(trial)
    for script in scripts(trial.project):
        with contextlib.suppress(psutil.NoSuchProcess):
            script.kill()
    trial.end()


@fault("kill -9 of Snakemake, its jobs go on", 2, cluster=True)
def orphan(trial: Trial) -> None:
    running(trial)
    assert trial.run is not None
    trial.run.kill()
    trial.run.wait()


@fault("SIGUSR1 from SLURM", 1, cluster=True)
def warn(trial: Trial) -> None:
    """What `--signal=USR1@60` sends before the limit: the script makes a checkpoint, the job is sent again."""
    subprocess.run(["scancel", "--signal", "USR1", running(trial)], check=False)
    trial.end()


@fault("preempted and requeued", 1, cluster=True)
def requeue(trial: Trial) -> None:
    job = running(trial)
    administrate("requeue", job)
    # SLURM waits two minutes before it starts a requeued job again; a test need not
    time.sleep(5)
    administrate("update", f"JobId={job}", "StartTime=now")
    trial.end()


@fault("node down", 1, cluster=True)
def down(trial: Trial) -> None:
    job, node = running(trial), os.uname().nodename.partition(".")[0]
    administrate("update", f"NodeName={node}", "State=DOWN", "Reason=fault")
    time.sleep(5)
    administrate("update", f"NodeName={node}", "State=RESUME")
    administrate("update", f"JobId={job}", "StartTime=now")
    trial.end()


@fault("node drained", 1, cluster=True)
def drain(trial: Trial) -> None:
    node = os.uname().nodename.partition(".")[0]
    administrate("update", f"NodeName={node}", "State=DRAIN", "Reason=fault")
    trial.start()
    time.sleep(20)
    administrate("update", f"NodeName={node}", "State=RESUME")
    trial.end()


@fault("out of memory", 1, cluster=True)
def out_of_memory(trial: Trial) -> None:
    """The first attempt may use 150 MB."""
    limits = [f"{rule}:mem_mb=150*attempt**4" for rule in ("prune", "unlearn", "retrain")]
    trial.command = (*trial.command, "--set-resources", *limits)
    trial.start()
    if trial.end() != 0:
        raise Lost("memory that grows with each attempt did not help")
    trial.command = trial.command[:1]


@fault("time limit", 1, cluster=True)
def time_limit(trial: Trial) -> None:
    """A job is stopped until its minute is over, and goes on in the next attempt."""
    limits = [f"{rule}:runtime=attempt" for rule in ("prune", "unlearn", "retrain")]
    trial.command = (*trial.command, "--set-resources", *limits)
    trial.start()
    until("a job's script", lambda: scripts(trial.project), 0.5)
    stopped = scripts(trial.project)
    for script in stopped:
        script.suspend()
    until("the time limit", lambda: not any(s.is_running() for s in stopped))
    trial.end()
    trial.command = trial.command[:1]


@fault("controller away for 20 s", 1, cluster=True)
def controller(trial: Trial) -> None:
    running(trial)
    control = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "slurmctld"]
    for process in control:
        process.suspend()
    time.sleep(20)
    for process in control:
        process.resume()
    trial.end()


# ---- the campaign ---------------------------------------------------------------------------------------------------


def ask(trial: Trial) -> None:
    """`lacuna status` says in sentences how far the harmed tree is, and changes nothing of it. Raises Lost."""
    command = [sys.executable, "-m", "lacuna", "status", "results"]
    told = subprocess.run(command, cwd=trial.project.folder, capture_output=True, text=True, check=False, timeout=BOUND)
    trial.output.append(told.stdout + told.stderr)
    if told.returncode not in (0, 2) or "Traceback" in told.stderr or not (told.stdout or told.stderr).strip():
        raise Lost(f"lacuna status ends with {told.returncode}: {told.stderr[-600:]}")


def judge(trial: Trial, clean: Project, slurm: bool) -> None:
    """The same command finishes, and nothing tells that there was a fault. Raises Lost."""
    for _ in range(3):
        trial.start()
        if (code := trial.end()) == 0:
            break
    if code:
        raise Lost("the same command does not finish: " + trial.output[-1][-600:])
    if models(trial.project) != models(clean):
        raise Lost("a model has other bytes")
    if not numbers(trial.project).equals(numbers(clean)):
        raise Lost("the tables have other numbers")
    if findings := list(verify(trial.project / "results")):
        raise Lost(f"verify is not content: {findings[0]}")
    hidden = [name for name in trial.project.made("**/.*") if not name.startswith("logs/")]
    if hidden:
        raise Lost(f"left behind: {hidden}")
    if list((trial.project / ".snakemake").glob("locks/*")):
        raise Lost("Snakemake's lock is left")
    try:
        until("all processes gone", lambda: not processes(trial.project), 0.1)
    except Lost as lost:
        left = [(p.pid, p.name(), p.status(), p.cmdline()) for p in processes(trial.project)]
        raise Lost(f"{lost}: {left}") from None
    if slurm:
        until("an empty queue", lambda: not queue("--format", "%i"), 0.1)


def one_trial(name: str, trial: Trial, inject: Fault, clean: Project) -> str:
    """Inject a fault into a copy of the clean tree; what was lost, or nothing."""
    project, slurm = trial.project, "profiles/slurm" in clean.how
    began = time.monotonic()
    lost = ""
    try:
        inject(trial)
        ask(trial)
        judge(trial, clean, slurm)
    except Lost as reason:
        lost = str(reason)
    finally:
        for process in processes(project):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if slurm and (left := queue("--format", "%i")):
            subprocess.run(["scancel", *left], check=False)
    seconds = time.monotonic() - began
    said = f"{'LOST' if lost else 'ok':4} {name:40} {trial.part:28} {trial.runs} runs {seconds:5.0f} s"
    print(f"{said}  {lost or trial.by_hand}", flush=True)
    if lost:
        project.folder.with_suffix(".txt").write_text("\n=======\n".join(trial.output))
    else:
        shutil.rmtree(project.folder)
    return lost


def in_part(clean: Project, folder: Path, rng: random.Random) -> Trial:
    """A copy of the finished tree from which a part was deleted."""
    trial = Trial(clean.copy(folder), rng, rng.choice(["cell"] * 6 + ["oracle", "pruned"]))
    for place in PARTS[trial.part]:
        shutil.rmtree(trial.project / "results" / place)
    shutil.rmtree(trial.project / "results/tables")
    return trial


def finished(folder: Path, experiment: dict[str, Any], *command: str) -> Project:
    """A tree in which the experiment ran to its end, made once; `seconds` beside it says how long that took."""
    project = Project(folder)
    seconds = folder.with_name(f"{folder.name}.seconds")
    if not seconds.exists():
        project = Project.new(folder)
        project.choose(experiment)
        began = time.monotonic()
        run = project.start(*command)
        output, _ = run.communicate()
        if run.returncode:
            sys.exit(output)
        seconds.write_text(f"{time.monotonic() - began:.0f}\n")
    return project


def for_this_cluster(profile: str) -> str:
    """The profile as a user would change it: no GPU to compute on, yet one is asked for; looked at every 5 seconds."""
    for before, after in (
        ("device=cuda", "device=cpu"),
        ('slurm_partition: "gpu"\n', 'slurm_partition: "gpu"\n    gpu: 1\n'),
        ("status-checks: 10\n", "status-checks: 5\n"),
    ):
        assert before in profile, before
        profile = profile.replace(before, after)
    return profile


def another(experiment: dict[str, Any]) -> dict[str, Any]:
    """The same labels with other values, so that every file has its namesake."""
    grid = experiment["grid"]
    recipe = grid["recipes"]["brief"] | {"lr": 0.05}
    scenarios = {
        name: options | ({"forget_class": 2} if name == "class" else {"fraction": 0.2})
        for name, options in grid["scenarios"].items()
    }
    data = {name: options | {"only": [0, 1, 2, 3, 5]} for name, options in grid["datasets"].items()}
    return experiment | {"grid": grid | {"datasets": data, "recipes": {"brief": recipe}, "scenarios": scenarios}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", choices=["machine", "files", "cluster", "both"], default="machine")
    parser.add_argument("--only", default="", help="faults whose name matches this regular expression")
    parser.add_argument("--rounds", type=int, default=1, help="how often the whole list is gone through")
    parser.add_argument("--most", type=int, default=10**9, help="how often a round injects a fault at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", default="0/1", help="of the kinds of files: 0/2 and 1/2 make two processes")
    parser.add_argument("--minutes", type=float, default=1e9, help="no harm to another file begins later")
    parser.add_argument("--patience", type=float, default=8, help="the bound of a run: 400 s, or so many clean runs")
    parser.add_argument("--folder", type=Path, help="where the trees are made (default: a temporary one)")
    given = parser.parse_args()

    global BOUND
    named = re.compile(given.only).search
    folder = given.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    faults = {name: (*f, True) for name, f in ON_CLUSTER.items() if given.where in ("cluster", "both") and named(name)}
    faults |= {name: (*f, False) for name, f in FAULTS.items() if given.where in ("machine", "both") and named(name)}
    harms = {name: f for name, f in HARMS.items() if given.where != "cluster" and named(name)}
    told: dict[str, list[str]] = {name: [] for name in (*faults, *harms)}
    kinds: dict[str, list[str]] = {}
    began, count, alike = time.monotonic(), 0, 0
    if faults:
        local = finished(folder / "clean", EXPERIMENT | {"grid": GRID, "metrics": ["UA", "RA", "TA"]}, "tables")
        BOUND = max(BOUND, given.patience * float((folder / "clean.seconds").read_text()))
        cluster = Project(local.folder, ("--cores", "64", "--profile", "profiles/slurm"))
        if "device=cuda" in (text := (local / "profiles/slurm/config.yaml").read_text()):
            (local / "profiles/slurm/config.yaml").write_text(for_this_cluster(text))
    print(f"a run may take {BOUND:.0f} s", flush=True)
    for turn in range(given.rounds):
        for name, (times, inject, slurm) in faults.items():
            for i in range(min(times, given.most)):
                count += 1
                clean = cluster if slurm else local
                trial = in_part(clean, folder / f"{count:03}", random.Random(f"{given.seed} {turn} {name} {i}"))
                told[name].append(one_trial(name, trial, inject, clean))
    if harms:
        whole = finished(folder / "wide", WIDE)
        other = finished(folder / "other", another(WIDE)) / "results"
        BOUND = max(BOUND, given.patience * float((folder / "wide.seconds").read_text()))
        kinds = kinds_of_file(whole / "results")
        print(f"{len(kinds)} kinds of file: {', '.join(kinds)}", flush=True)
    # one harm of every kind of file first, then another one
    first, of = map(int, given.share.split("/"))
    for turn in range(given.rounds * len(harms)):
        for number in range(first, len(kinds), of):
            if time.monotonic() - began > 60 * given.minutes:
                break
            count += 1
            name = random.Random(f"{given.seed} {number}").sample(list(harms), len(harms))[turn % len(harms)]
            rng = random.Random(f"{given.seed} {turn} {name} {number}")
            trial = Trial(whole.copy(folder / f"{first}{count:03}"), rng, "", (), number, other)
            try:
                told[name].append(one_trial(name, trial, harms[name], whole))
            except Alike:
                alike += 1
                shutil.rmtree(trial.project.folder)
    print(f"{alike} files of another run are the same")
    print("\n| fault | injected | lost |\n|---|---|---|")
    for name, results in told.items():
        print(f"| {name} | {len(results)} | {sum(map(bool, results))} |")
    lost = {name: [r for r in results if r] for name, results in told.items() if any(results)}
    print(
        json.dumps({"faults": count, "lost": lost, "seconds": round(time.monotonic() - began), "folder": str(folder)})
    )
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
