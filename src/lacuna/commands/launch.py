"""lacuna check and lacuna run: an experiment's files are looked at before Snakemake reads them.

Snakemake reads the files of --configfile before any of lacuna's code, and its words for those that it cannot read name
no line; a file may also make it run code (`__use_yte__`) or never end (nested aliases).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lacuna.errors import LacunaError, meant
from lacuna.experiment import catalogue
from lacuna.experiment.config import load, results_of
from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import RULES
from lacuna.experiment.yaml_files import located, no_such_file, read_yaml

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
_CONFIGFILES = ("--configfile", "--configfiles")
# what a plan leaves for the next
CACHE = ".snakemake/lacuna"
# the environment variable by which `lacuna run` and `lacuna plan` let the workflow speak in Snakemake's place
VIEW = "LACUNA_VIEW"
# its value that asks for the plan as JSON
JSON = "json"
# options that ask for Snakemake's own words
_OWN_WORDS = ("--verbose", "--debug-dag", "--printshellcmds", "--quiet", "--logger")


# what a command takes for an experiment
FILE = "an experiment's file, or its name in config/experiments"
_SUFFIXES = (".yaml", ".yml", ".json")
# targets that are no files
TARGETS = ("all", "tables", "report", "tune")
# options without a value, behind which a word is one of its own
_FLAGS = ("-n", "--dry-run", "--dryrun", "-k", "--keep-going", "-F", "--forceall", "-p", "--printshellcmds", "-q")


def default_config() -> Path:
    """The file that every experiment lies over: of the working directory, or else the workflow's own."""
    here = Path("config/config.yaml")
    return here if here.exists() else ROOT / here


def experiment_file(word: str | Path) -> Path:
    """The file that a word means: a path, or the bare name of one of config/experiments, or of the default one.

    Raises LacunaError for one that is not there, with the nearest that is.
    """
    path = Path(word)
    if path.exists():
        return path
    if named := _named(str(word)):
        return named
    raise no_such_file(path)


def _named(word: str) -> Path | None:
    """The file of an experiment that is called by its name alone."""
    if Path(word).name != word or Path(word).suffix in _SUFFIXES:
        return None
    default = default_config()
    path = default.parent / "experiments" / f"{word}.yaml"
    if path.is_file():
        return path
    return default if default.is_file() and read_yaml(default).get("name") == word else None


def catalogue_cache() -> Path:
    """Where the catalogue is kept: in the working directory if a workflow runs there, else in the workflow's own."""
    return Path(CACHE) if Path(".snakemake").is_dir() or Path("Snakefile").exists() else ROOT / CACHE


def check_experiment(files: Sequence[str | Path]) -> Experiment:
    """The experiment of these files over the default one, checked as a run would: values, data, networks.

    Raises LacunaError with file and line, key, value and what is allowed.
    """
    return experiment_of(files, data=True)[0]


def experiment_of(
    files: Sequence[str | Path], data: bool = False, write: bool = True
) -> tuple[Experiment, catalogue.Catalogue, Path]:
    """The experiment of these files over the default one, the catalogue, and the folder of results that they name.

    data: check data and networks too, as a run would. write: keep what takes long to find out for the next command.
    Raises LacunaError with file and line, key, value and what is allowed.
    """
    files = [default_config(), *(Path(file).absolute() for file in files)]
    for file in files:
        read_yaml(file)
    known = catalogue.load(CACHE, write)
    try:
        results = Path(results_of(files, {}) or "results")
        checked = {"data_folder": results / "data"} if data else {}
        return load(files, {}, SCHEMA, known, cache=CACHE, **checked), known, results
    except LacunaError as error:
        raise LacunaError(located(str(error), files, {})) from None


def words_of(options: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The words that Snakemake takes for values of an option: all behind it up to the next one."""
    words, taking = [], False
    for word in arguments:
        option, equals, value = word.partition("=")
        if word.startswith("-"):
            taking = option in options and not equals
            if option in options and equals:
                words.append(value)
        elif taking:
            words.append(word)
    return words


def with_configfile(arguments: Sequence[str]) -> list[str]:
    """The arguments of `lacuna run` as Snakemake takes them: an experiment that is named by a word of its own behind
    --configfile, and those there by their files. Targets below the results stay what they are.

    Raises LacunaError for a file of config/experiments that is not there.
    """
    behind = set(words_of(_CONFIGFILES, arguments))
    if behind or any(word.partition("=")[0] in _CONFIGFILES for word in arguments):
        return [str(_named(word) or word) if word in behind and not Path(word).exists() else word for word in arguments]
    results = Path(results_of([default_config()], {}) or "results").absolute()
    rest: list[str] = []
    files: list[str] = []
    for position, word in enumerate(arguments):
        before = arguments[position - 1] if position else ""
        path = _experiment_in(word, before, results)
        (rest if path is None else files).append(word if path is None else str(path))
    return [*rest, "--configfile", *files] if files else rest


def _experiment_in(word: str, before: str, results: Path) -> Path | None:
    """The experiment's file that a word of the command line means, if it means one and not a target or a value."""
    path = Path(word)
    if word.startswith("-") or "=" in word or (before.startswith("-") and before not in _FLAGS and "=" not in before):
        return None
    if path.suffix not in _SUFFIXES:
        return None if word in (*TARGETS, *RULES) or path.exists() else _named(word)
    if path.is_file():
        return None if path.absolute().is_relative_to(results) else path
    if path.absolute().parent == (default_config().parent / "experiments").absolute():
        raise no_such_file(path)
    return None


def _check_targets(arguments: Sequence[str]) -> None:
    """Raise LacunaError for a word that is no file, experiment or rule: Snakemake tells the name of an exception.

    Words with a folder are files that a rule may make, and other workflows have rules of their own.
    """
    snakefile = Path("Snakefile") if Path("Snakefile").exists() else ROOT / "Snakefile"
    rules = _rules_of(snakefile)
    results = Path(results_of([default_config()], {}) or "results").absolute()

    def is_strange(word: str) -> bool:
        path = Path(word)
        if word.startswith("-") or "=" in word or word in rules or path.exists():
            return False
        return path.name == word or (path.suffix in _SUFFIXES and not path.absolute().is_relative_to(results))

    strange = [word for word in arguments if is_strange(word)]
    if not rules or not strange or {"--snakefile", "-s"} & {word.partition("=")[0] for word in arguments}:
        return
    targets = _targets_of(arguments)
    for word in strange:
        if word in targets and Path(word).suffix in _SUFFIXES:
            raise no_such_file(word)
        if word in targets:
            experiments = [path.stem for path in sorted((default_config().parent / "experiments").glob("*.yaml"))]
            near = meant(word, [*experiments, *TARGETS, *rules])
            raise LacunaError(
                f"{word}: no such file, experiment or rule{near}; allowed: {FILE}; {', '.join(TARGETS)}; another "
                "rule; a file of results"
            )


def _rules_of(snakefile: Path) -> set[str]:
    """The rules of this workflow; none where a Snakefile is another, or takes rules from elsewhere."""
    try:
        files = [snakefile, *(snakefile.parent / "workflow/rules").glob("*.smk")]
        text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    except OSError:
        return set()
    if re.search(r"^\s*(module\s+\w|use rule \*)", text, re.MULTILINE):
        return set()
    found = re.findall(r"^\s*(?:(?:rule|checkpoint)\s+(\w+)\s*:|use rule \w+ as (\w+))", text, re.MULTILINE)
    rules = {name for names in found for name in names if name}
    return rules if set(TARGETS) <= rules else set()


def _targets_of(arguments: Sequence[str]) -> list[str]:
    """The words that Snakemake takes for targets; none where it has words of its own for the arguments."""
    from snakemake.cli import get_argument_parser  # takes a second

    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        try:
            return [str(word) for word in get_argument_parser().parse_known_args(list(arguments))[0].targets]
        except SystemExit:
            return []


def own_words(arguments: Sequence[str]) -> bool:
    """Whether arguments ask for Snakemake's own output."""
    return any(word in ("-p", "-q") or word.partition("=")[0] in _OWN_WORDS for word in arguments)


def _check_folders(arguments: Sequence[str]) -> None:
    """Raise LacunaError where Snakemake cannot keep its cache or its records, which it meets with a traceback."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "snakemake")
    _check_folder(cache, "cache", "a HOME that can be written, or XDG_CACHE_HOME for another folder")
    # a run on somebody else's clone, or on one that is archived
    records = Path(*words_of(["--directory", "-d"], arguments)[:1], ".snakemake")
    _check_folder(records, "records", "a working directory that can be written, or --directory for another one")


def _check_folder(folder: Path, what: str, allowed: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise LacunaError(
            f"{folder}: Snakemake cannot keep its {what} there ({error.strerror}); allowed: {allowed}"
        ) from None


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """The command that `lacuna run` becomes: with the profile of one machine, all cores and the Snakefile if not given.

    Raises LacunaError for a file behind --configfile that cannot be read as one, for other words behind --config than
    values of keys, and where Snakemake's cache or records cannot be written.
    """
    for word in words_of(["--config", "-C"], arguments):
        if not re.fullmatch(r"[A-Za-z_]\w*=.*", word, re.DOTALL):
            raise LacunaError(
                f"--config: '{word}' is not allowed; allowed: key=value with a key of the top level; "
                "what is deeper goes into a file"
            )
    arguments = with_configfile(arguments)
    for file in words_of(_CONFIGFILES, arguments):
        if not Path(file).exists() and Path(file).suffix not in _SUFFIXES:
            raise LacunaError(
                f"--configfile: '{file}' is no file; Snakemake takes every word up to the next option for one; "
                "allowed: targets before --configfile"
            )
        if not Path(file).exists():
            raise no_such_file(file)
        read_yaml(file)
    _check_targets(arguments)
    _check_folders(arguments)
    # of the process that this one becomes; Snakemake ends in a KeyError without
    os.environ.setdefault("PATH", os.defpath)
    given = {word.partition("=")[0] for word in arguments}
    added = []
    if not given & {"--profile", "--workflow-profile"}:
        local = Path("profiles/local")
        added += ["--profile", str(local if local.exists() else ROOT / local)]
    if not any(word in ("--cores", "--jobs") or word[:2] in ("-c", "-j") for word in given):
        added += ["--cores", "all"]
    if not given & {"--snakefile", "-s"} and not Path("Snakefile").exists():
        added += ["--snakefile", str(ROOT / "Snakefile")]
    # before --configfile, which would take what follows
    return [sys.executable, "-m", "snakemake", *added, *arguments]
