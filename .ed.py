import pathlib,re
def ed(f,*prs):
    p=pathlib.Path(f); s=p.read_text()
    for a,b in prs:
        assert a in s,(f,a)
        s=s.replace(a,b)
    p.write_text(s)
ed('workflow/lib/lacuna_workflow/progress.py',('''_OF_ONE_JOB = re.compile(
    r"Exiting because a job execution failed|Command '.*' returned non-zero exit status", re.DOTALL
)
''','''_OF_ONE_JOB = re.compile(r"Exiting because a job execution failed|(RuleException:\\s+)?CalledProcessError|Command '")
# how much of a job's result its line shows
_SHOWN = 160
'''),('''        told = f"{name}: {said}" if said else name
''','''        told = f"{name}: {said if len(said) <= _SHOWN else f'{said[: _SHOWN - 3]}...'}" if said else name
'''),('''        rest = {
            job: now - run.started[log] if log in run.started else 0.0
            for job, log in jobs.items()
            if log not in run.finished and log not in run.failed
        }
''','''        held = {job for job, log in jobs.items() if log in run.failed}
        for job in self.grid.reads if held else ():  # a job stands behind those that it reads from
            if not held.isdisjoint(self.grid.reads[job]):
                held.add(job)
        rest = {
            job: now - run.started[log] if log in run.started else 0.0
            for job, log in jobs.items()
            if log not in run.finished and job not in held
        }
'''))
ed('docs/commands.md',('''## list and explain
''','''## plan, run and status

`lacuna plan FILE` asks Snakemake what a run would do, and starts no job: jobs of each stage that are finished, new, changed
or follow from others, the changed values (`ga.lr 0.001 → 0.002: 2 unlearn, also used by three_seeds`), a warning where the
run would overwrite cells that another experiment's tables were made from, and the time, estimated from finished jobs.
`snakemake -n` prints the same table last. `lacuna why FILE|KEY` answers the same question before anything is changed.

`lacuna run` takes Snakemake's arguments and prints a line for each job that ends:

    [68 of 165 jobs, 41 %, about 12 min left] ga: class, omp-0.90, digits, resnet8, brief, seed 0: done in 3.2 s: ...

The share is of the work and not of the jobs: each counts by its expected time. With `--verbose`, `--quiet`, `--printshellcmds`
or `--logger`, and under plain `snakemake`, Snakemake's own output stays. The run ends with one summary: what was done in which
time, each failed job with its reason and log, the jobs that waited for them, where tables and figures are, and what the
tables answer.

`lacuna status [RESULTS|FILE]` shows the same from outside, while a run is on, after it was killed, or from another machine
that sees the files. It reads files alone: no lock is taken and nothing is written. `--watch` looks every two seconds, `--json`
prints everything. 20,000 cells (40,000 jobs) take about three CPU seconds. It reads the journal that each run keeps
(`results/logs/runs/<name>.jsonl`: which jobs it set out to run, when each began and ended) and, without one, the results
themselves.

Times are those of `results/benchmarks`, by the nearest finished job: the same but for the seed, then another state or
scenario, then the same method scaled by epochs, and for trainings any other of the same network. Without such a job there is
no estimate, and the line says so.

A `--configfile` that does not exist or is no YAML is a sentence under `lacuna run`, `lacuna plan` and `lacuna check`. Plain
`snakemake` reads those files before any code of lacuna's and answers with a traceback of its own.

## list and explain
'''))
p=pathlib.Path('CHANGELOG.md'); s=p.read_text()
line='''* `lacuna status` shows how far an experiment is, what failed and the time left, from its files alone; `lacuna plan` and a dry
  run print a table of what would run and why, with the changed values, the other experiments that use the cells, and the
  time; `lacuna run` prints a line for each job with the time left, and every run ends with one summary
  ([docs/commands.md](docs/commands.md)). Every job's log begins with its cell, config and device and ends with its result;
  no word of a log makes a job run again.
'''
i=s.index("* Editors complete and underline"); s=s[:i]+line+s[i:]; p.write_text(s)
