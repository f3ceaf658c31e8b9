"""lacuna clean: files of results that no experiment of the project uses."""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lacuna.artifacts.layout import CELL_FILES, FOLDERS, MODEL_FILES, is_trials
from lacuna.artifacts.processes import share
from lacuna.commands.base import Command
from lacuna.errors import LacunaError
from lacuna.registry import register

# what a job that makes a model leaves in its folder
_OF_MODELS = {*MODEL_FILES, *CELL_FILES, "rewind.safetensors", "initial.safetensors"}
_SET_ASIDE = re.compile(r".+\.damaged\d*")
_TEMPORARY = re.compile(r"\..+\.tmp(\.\w+)?")
_UNFINISHED = (".checkpoint", ".shadow", ".trials.")
# the folders whose second name is an experiment's
_OF_EXPERIMENTS = ("tables", "figures", "tuning", "report", "reports")


@register("clean", group="keep")
class Clean(Command):
    """List, then remove, the results that no experiment of the project uses.

    An experiment of the project is config/config.yaml, a file in config/experiments or config/tuned, what tuning found
    for one of them, and each file behind --keep. Whatever one of them uses stays. All else that lacuna made goes:
    tables, figures, models, cells, datasets, logs, checkpoints, *.damaged and what killed jobs left. Files of other
    origin stay. Asks before it removes anything; where nobody can be asked, it only lists. Removes nothing as long as
    the tree holds an experiment that no file names: --keep its file, or give it up with --without its name. Ends with
    status 1 if something could be removed and was not.

    Example: lacuna clean
    lacuna clean results --keep mine.yaml
    lacuna clean --yes
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "results", nargs="?", type=Path, default=Path("results"), metavar="RESULTS", help="by default results"
        )
        parser.add_argument(
            "--keep", nargs="+", type=Path, default=[], metavar="FILE", help="further experiment files in use"
        )
        parser.add_argument(
            "--without", nargs="+", default=[], metavar="NAME", help="experiments to give up, which no file names"
        )
        parser.add_argument("--yes", action="store_true", help="remove without asking")

    def run(self, options: argparse.Namespace) -> int:
        with _alone(options.results):
            used = used_by_project(options.results, options.keep)
            unused = unused_in(options.results, used)
            _check_names(options.without, unused, used)
            for line in report(unused, used):
                print(line)
            if not unused.files:
                return 0
            if others := sorted(nameless(unused, used) - {*options.without}):
                print(f"nothing is removed; to give up experiments that no file names: --without {' '.join(others)}")
                return 1
            if not options.yes and not _agreed():
                return 1
            remove(options.results, unused)
        return 0


def _check_names(without: Sequence[str], unused: Unused, used: Used) -> None:
    """Raise LacunaError for a name that is no experiment's to give up."""
    others = sorted(nameless(unused, used))
    for name in without:
        if name in used.names:
            raise LacunaError(f"--without: '{name}' is an experiment of the project; allowed: its file removed first")
        if name not in others:
            raise LacunaError(f"--without: '{name}' is not here; allowed: {', '.join(others) or 'nothing'}")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("nothing is removed; to remove it: lacuna clean --yes")
        return False
    try:
        answer = input("remove them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        answer = False
    print("removed" if answer else "nothing is removed")
    return answer


@contextlib.contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Let no run begin meanwhile. Raises LacunaError for what is no results tree, and while a run is on."""
    if not results.is_dir():
        raise LacunaError(f"{results}: no such folder; allowed: a results folder of lacuna")
    if not any((results / name).is_dir() for name in FOLDERS):
        raise LacunaError(f"{results}: no results tree; allowed: the folder that holds data, models, cells and tables")
    for folder in {Path(".snakemake"), results.absolute().parent / ".snakemake"}:
        if any((folder / "locks").glob("*.lock")) and _lives(folder):
            raise LacunaError(f"{results}: a run in {folder.absolute().parent} works on it; allowed: once it has ended")
    try:
        let_go = share(results.resolve() / ".running", f"lacuna clean, process {os.getpid()}")
    except LacunaError as error:
        raise LacunaError(f"{results}: a run in {error} works on it; allowed: once it has ended") from None
    try:
        yield
    finally:
        let_go()


def _lives(snakemake: Path) -> bool:
    """Whether the run that left its locks in Snakemake's folder is alive; where nobody can tell, it is."""
    try:
        with open(snakemake / "lacuna" / "alive", encoding="utf-8") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except OSError:
        return True


# ---- what is used ----------------------------------------------------------------------------------------------------


@dataclass
class Used:
    """What experiments use of a results tree. names: of the experiments. made: the last file of each job, without its
    suffix; traces: logs and benchmarks, without theirs; kept: experiment files in the tree that the user asked to keep.
    Paths are relative to the tree. config: the folder of the project's experiment files."""

    config: Path
    names: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    traces: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    def has(self, place: PurePosixPath) -> bool:
        """Whether a file of ours is used."""
        first, folder = place.parts[0], place.parent
        if first in _OF_EXPERIMENTS:
            return place.parts[1].partition(".html")[0] in self.names
        if first in ("logs", "benchmarks"):
            of_run = place.parts[1] == "runs" and place.stem in self.names
            return of_run or str(place.with_suffix("")) in self.traces
        if first == "data":
            return str(folder / "meta") in self.made
        if place.name.startswith(_UNFINISHED):
            return str(folder) in self.folders
        return str(folder / ("job" if place.name in _OF_MODELS else place.stem)) in self.made


def used_by_project(results: Path, further: Iterable[Path]) -> Used:
    """What the experiments of the project and the further files use.

    Raises LacunaError for a tree of another project, and for a file that is not in order: nobody knows what it uses.
    """
    from lacuna.commands.launch import SCHEMA, catalogue_cache, default_config
    from lacuna.experiment import catalogue
    from lacuna.experiment.config import load
    from lacuna.experiment.jobs import Jobs, traces_of
    from lacuna.experiment.yaml_files import shown

    default, further = default_config().absolute(), [path.absolute() for path in further]
    used = Used(default.parent)
    files: list[list[Path]] = [[default]]
    for pattern in ("experiments/*.yaml", "tuned/*.yaml"):
        files += [[default, path] for path in sorted(default.parent.glob(pattern))]
    files += [[default, path] for path in further]
    _check_owner(results, files)
    known = catalogue.load(catalogue_cache())
    # what tuning found is an experiment of its own, as long as the one that asked for it is there
    for tuned in sorted(results.glob("tuning/*/*/*/*/tuned.yaml")):
        files.append([default, tuned.absolute()])
    for these in files:
        found = these[-1].is_relative_to(results.absolute() / "tuning")
        if found and these[-1] not in further and these[-1].relative_to(results.absolute()).parts[1] not in used.names:
            continue
        try:
            experiment = load(these, {}, SCHEMA, known)
        except LacunaError as error:
            raise LacunaError(
                f"clean: {shown(these[-1])} is not in order, so its results are not known: {error}"
            ) from None
        used.names.add(experiment.name)
        if (file := these[-1].resolve()).is_relative_to(results.resolve()) and these[-1] in further:
            used.kept.add(file.relative_to(results.resolve()).as_posix())
        for job in Jobs(experiment, known).reads:
            traces = traces_of(job, experiment.name)
            used.made.add(str(PurePosixPath(traces.made).with_suffix("")))
            used.folders.add(str(PurePosixPath(traces.made).parent))
            # labels hold dots, so the suffix is cut and not replaced
            used.traces |= {traces.log.removesuffix(".log"), traces.benchmark.removesuffix(".tsv")}
    return used


def _check_owner(results: Path, files: Sequence[Sequence[Path]]) -> None:
    """Raise LacunaError unless a tree is of the project in use: it lies in its folder, or one of its files names it."""
    from lacuna.experiment.config import results_of

    default = files[0][0]
    own = Path(os.path.abspath(results)).parent / "config/config.yaml"
    if own.exists() and own.samefile(default):
        return
    # the file of lacuna's own clone stands for a folder without one, and tells nothing of the results there
    if default.parent.parent == Path.cwd() and not own.exists():
        for these in files:
            with contextlib.suppress(LacunaError):
                if Path(results_of(these, {}) or "results").resolve() == results.resolve():
                    return
    if own.exists():
        where = f"lacuna clean in {own.parent.parent}"
    else:
        where = f"{own}, or lacuna clean in the folder of the project whose files name these results"
    raise LacunaError(
        f"{results}: not of the project in use, whose experiments are in {default.parent}; allowed: {where}"
    )


# ---- what is not -----------------------------------------------------------------------------------------------------


@dataclass
class Unused:
    """Files, or folders that were set aside, with their sizes in bytes; strangers: files that lacuna did not make."""

    files: dict[PurePosixPath, int] = field(default_factory=dict)
    strangers: list[PurePosixPath] = field(default_factory=list)


def unused_in(results: Path, used: Used) -> Unused:
    """The files of a tree that nothing uses. Links are not followed."""
    from lacuna.commands.verify import IGNORED, PLACES

    unused = Unused()
    for folder, folders, names in os.walk(results):
        here = PurePosixPath(Path(folder).relative_to(results).as_posix())
        for name in [name for name in folders if _SET_ASIDE.fullmatch(name)]:
            folders.remove(name)
            unused.files[here / name] = sum(p.lstat().st_size for p in Path(folder, name).rglob("*") if not p.is_dir())
        for name in names:
            place, size = here / name, Path(folder, name).lstat().st_size
            if str(place) in used.kept:
                continue
            if _is_debris(name):
                unused.files[place] = size
            elif name.startswith(_UNFINISHED) or any(pattern.fullmatch(str(place)) for pattern, _ in PLACES):
                if not used.has(place):
                    unused.files[place] = size
            elif not IGNORED.fullmatch(name):
                unused.strangers.append(place)
    return unused


def _is_debris(name: str) -> bool:
    """Whether a file was set aside, or left by a killed job that does not go on from it."""
    temporary = _TEMPORARY.fullmatch(name) and not name.startswith(_UNFINISHED)
    return bool(_SET_ASIDE.fullmatch(name) or temporary)


def nameless(unused: Unused, used: Used) -> set[str]:
    """The experiments of a tree that no file names, be it that they have only begun."""
    named = set()
    for place in unused.files:
        if _is_debris(place.name):
            continue
        if place.parts[0] in _OF_EXPERIMENTS and len(place.parts) > 1:
            named.add(place.parts[1].partition(".html")[0])
        elif place.match("logs/runs/*.jsonl") or (place.parts[0] == "cells" and place.match("metrics/*.json")):
            named.add(place.stem)
    return named - used.names


def report(unused: Unused, used: Used) -> Iterator[str]:
    """Whose experiments count, what could go, in groups with their sizes, and what stays."""
    yield f"the project: {used.config}"
    groups: dict[str, list[int]] = {}
    for place, size in unused.files.items():
        groups.setdefault(_group(place), []).append(size)
    for name, sizes in sorted(groups.items()):
        files = f"{len(sizes)} file{'s' if len(sizes) > 1 else ''}"
        yield f"  {_size(sum(sizes)):>9}  {files:>11}  {name}"
    if others := sorted(nameless(unused, used)):
        yield f"of experiments that no file names: {', '.join(others)} (--keep FILE keeps one)"
    if unused.strangers:
        yield f"left alone, not made by lacuna: {len(unused.strangers)} files, such as {unused.strangers[0]}"
    total, experiments = _size(sum(unused.files.values())), f"{len(used.names)} experiments of the project"
    if unused.files:
        yield f"{total} in {len(unused.files)} files that none of {experiments} uses"
    else:
        yield f"nothing to remove: {experiments} use all that is here"


def _group(place: PurePosixPath) -> str:
    """The line of a list that a file belongs to."""
    if _SET_ASIDE.fullmatch(place.name):
        return "*.damaged"
    if place.name.startswith(_UNFINISHED) and not is_trials(Path(place)):
        return "checkpoints of jobs that no experiment has"
    if place.name.startswith("."):
        return "left by killed jobs"
    first, *names = place.parts
    if place.parent.name in ("metrics", "probe"):
        return f"{first}/.../{place.parent.name}/{place.name}"
    if first in ("models", "cells", "shadows"):
        return "/".join([first, *names[:3], "..."])
    return first if first in ("logs", "benchmarks") else "/".join([first, names[0]])


def _size(count: float) -> str:
    """Bytes, in a unit that a person reads."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB"


# ---- removal ---------------------------------------------------------------------------------------------------------


def remove(results: Path, unused: Unused) -> None:
    """Remove files, the folders that this leaves empty, and what Snakemake has noted of the files."""
    gone = []
    for place in unused.files:
        path = results / place
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise LacunaError(
                f"{path}: cannot be removed ({error.strerror}); allowed: a folder that can be written"
            ) from None
        gone.append(path)
    for folder in sorted({parent for path in gone for parent in path.parents}, key=lambda p: -len(p.parts)):
        if folder != results and folder.is_relative_to(results) and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for snakemake in {Path(".snakemake").absolute(), results.absolute().parent / ".snakemake"}:
        _forget(snakemake, gone)


def _forget(snakemake: Path, files: Sequence[Path]) -> None:
    """Remove Snakemake's records of files: what is gone must not be taken as made as it was."""
    gone = {os.path.abspath(path) for path in files}
    for kind in ("metadata", "incomplete"):
        for record in (snakemake / kind).rglob("*"):
            # a name in base64, long ones cut into folders that begin with @
            coded = "".join(part.removeprefix("@") for part in record.relative_to(snakemake / kind).parts)
            try:
                path = base64.urlsafe_b64decode(coded).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            if record.is_file() and os.path.abspath(snakemake.parent / path) in gone:
                record.unlink()
