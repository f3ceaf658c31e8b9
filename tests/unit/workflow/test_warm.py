"""A job that is forked from a process which has imported torch is the job that Python would have started."""

import contextlib
import functools
import inspect
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow import ROOT, warm, warm_parent, warm_patch
from lacuna_workflow.warm import WarmJobs, environment_of
from lacuna_workflow.warm_patch import is_plain

import pytest
from snakemake.benchmark import BenchmarkRecord

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux has what is used")


@pytest.fixture(scope="module")
def jobs():
    made = WarmJobs()
    yield made
    made.end()


def script(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def cold(path: str) -> int:
    """Its exit status from Python itself, as a shell has it."""
    status = subprocess.run(
        [sys.executable, path], capture_output=True, check=False, env=environment_of(1, None)
    ).returncode
    return status if status >= 0 else 128 - status


@pytest.mark.parametrize(
    "text",
    [
        "pass",
        "import sys; sys.exit(3)",
        "import sys; sys.exit(None)",
        "import sys; sys.exit('a sentence')",
        "import sys; sys.exit(-1)",
        "raise ValueError('no')",
        "raise KeyboardInterrupt",
        "not python",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os; os._exit(7)",
        "import sys; sys.stdout.close()",
        "import sys; sys.stdout = None",
        # not the features of the module that runs it
        "def f(x: int): pass\nassert f.__annotations__ == {'x': int}",
    ],
)
def test_its_exit_status_is_that_of_python(jobs, tmp_path, text):
    path = script(tmp_path, text)
    assert jobs.run(path, 1, None, None) == cold(path)


SEEN = """
import atexit, json, os, signal, sys, threading
held = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
state = {
    "told": [__name__, __file__, sys.argv, sys.path[0], os.getcwd(), dict(os.environ), sys.modules["__main__"].__file__,
        str(signal.getsignal(signal.SIGINT)), threading.current_thread() is threading.main_thread()],
    "held": [path for path in held if "socket" in path or "pidfd" in path],
    "modules": sorted(sys.modules),
}
atexit.register(lambda: open(sys.argv[0] + ".json", "w").write(json.dumps(state)))
threading.Thread(target=lambda: state.update(thread="waited for")).start()
"""


def test_a_script_sees_what_python_would_show_it_and_no_lacuna(jobs, tmp_path, monkeypatch):
    """Its name, file, arguments, path, folder, environment, signals; threads and exit handlers end as ever. What is
    imported already is of other packages: the code of lacuna may have changed."""
    monkeypatch.setenv("ONLY_HERE", "yes")
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, SEEN)
    seen = []
    for run in (lambda: jobs.run(path, 1, str(tmp_path), None), lambda: _cold_with(path, tmp_path)):
        assert run() == 0
        seen.append(json.loads(Path(path + ".json").read_text()))
    warm_one, cold_one = seen
    assert warm_one["told"] == cold_one["told"]
    assert warm_one["thread"] == cold_one["thread"] == "waited for"
    assert warm_one["held"] == [], "no socket of the run, no process of another job"
    assert "torch" in warm_one["modules"]
    assert not [name for name in warm_one["modules"] if name.partition(".")[0] in ("lacuna", "lacuna_workflow")]


def _cold_with(path: str, folder: Path) -> int:
    return subprocess.run([sys.executable, path], check=False, env=environment_of(1, str(folder))).returncode


def test_jobs_at_once_share_a_process_and_end_apart(jobs, tmp_path):
    """Each waits for the other, so neither ran after the other; the one that fails does not take the other along."""
    text = "import os, sys, time\nfrom pathlib import Path\nmine, other, code = {}, {}, {}\nPath(mine).touch()\n"
    text += "while not Path(other).exists(): time.sleep(0.01)\nPath(mine + '.pid').write_text(str(os.getppid()))\n"
    text += "sys.exit(code)\n"
    paths = []
    for name, other, code in (("a", "b", 0), ("b", "a", 5)):
        path = tmp_path / f"{name}.py"
        path.write_text(text.format(repr(str(tmp_path / name)), repr(str(tmp_path / other)), code))
        paths.append(str(path))
    found = {}
    threads = [threading.Thread(target=lambda p=p: found.update({p: jobs.run(p, 1, None, None)})) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {paths[0]: 0, paths[1]: 5}
    assert (tmp_path / "a.pid").read_text() == (tmp_path / "b.pid").read_text() == str(jobs.parents["1"].process.pid)


def test_jobs_draw_apart(jobs, tmp_path):
    """A user's network may draw from NumPy's own stream, which is seeded when NumPy is imported."""
    text = "import numpy, random, sys\nopen({}, 'a').write(f'{{numpy.random.rand()}} {{random.random()}}\\n')"
    path = script(tmp_path, text.format(repr(str(tmp_path / "drawn"))))
    assert [jobs.run(path, 1, None, None) for _ in range(2)] == [0, 0]
    first, second = (line.split() for line in (tmp_path / "drawn").read_text().splitlines())
    assert first[0] != second[0] and first[1] != second[1]


def test_the_benchmark_is_what_the_kernel_counted_of_the_job(jobs, tmp_path):
    """All of it: a job that has ended before Snakemake's own benchmark would have looked twice."""
    said = tmp_path / "said"
    text = "import json, os, resource, sys, time\nheld = bytearray(300 << 20)\ndel held\n"
    text += "while time.process_time() < 0.3: pass\n"
    text += f"with open({str(said)!r}, 'wb') as file: file.write(bytes(4 << 20)), os.fsync(file.fileno())\n"
    # another process that it has waited for
    text += "if not (child := os.fork()):\n    while time.process_time() < 0.2: pass\n    os._exit(0)\n"
    text += "os.waitpid(child, 0)\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
    text += "said = [used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, used.ru_oublock / 2048]\n"
    text += f"json.dump(said, open({str(said)!r} + '.json', 'w'))"
    record, alone = BenchmarkRecord(), BenchmarkRecord()
    assert jobs.run(script(tmp_path, "pass"), 1, None, functools.partial(warm_patch.measured, alone)) == 0
    assert jobs.run(script(tmp_path, text), 1, None, functools.partial(warm_patch.measured, record)) == 0
    seconds, peak, written = json.loads(Path(f"{said}.json").read_text())
    assert seconds + 0.2 <= record.cpu_time < seconds + 1
    assert peak <= record.max_rss < peak + 20 and record.max_rss > alone.max_rss + 290
    # none in a folder that is held in memory
    assert record.running_time >= 0.5 and written <= record.io_out < written + 1
    line = dict(zip(record.get_header(), record.to_tsv(False).split("\t"), strict=True))
    assert [line[name] for name in ("max_vms", "max_uss", "max_pss")] == ["-", "-", "-"], "nobody counted them"
    assert float(line["mean_load"]) == pytest.approx(100 * record.cpu_time / record.running_time, abs=0.01)


WAITS = "import os, time\nopen({}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"


def pid_in(path: Path) -> int:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return int(path.read_text())


@pytest.fixture(params=["few", "more than select takes"])
def open_files(request):
    """The descriptors that a run has open already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as files:
        if request.param != "few":
            if resource.RLIM_INFINITY != hard < 1200:
                if os.environ.get("CI"):
                    pytest.fail("CI must allow 1,200 open files")
                pytest.skip("so many cannot be had here")
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
            files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(1025):
                files.enter_context(open(os.devnull))
        yield


def test_a_job_does_not_outlive_a_killed_parent_and_the_next_one_runs(tmp_path, open_files):
    jobs, found = WarmJobs(), []
    path = script(tmp_path, WAITS.format(repr(str(tmp_path / "pid"))))
    thread = threading.Thread(target=lambda: found.append(jobs.run(path, 1, None, None)))
    thread.start()
    job = pid_in(tmp_path / "pid")
    os.kill(jobs.parents["1"].process.pid, signal.SIGKILL)
    thread.join()
    assert found == [137]
    assert not Path(f"/proc/{job}").exists() or "Z" in Path(f"/proc/{job}/stat").read_text().rpartition(")")[2]
    assert jobs.run(script(tmp_path, "raise SystemExit(4)"), 1, None, None) == 4
    jobs.end()


SCARCE = """
import json, os, resource, sys
sys.path[:0] = [{library!r}]
from functools import partial
from lacuna_workflow.warm import WarmJobs
from lacuna_workflow.warm_patch import measured
from snakemake.benchmark import BenchmarkRecord

held = lambda: set(map(int, os.listdir("/proc/self/fd")))
jobs, seen = WarmJobs(), []
if {whose!r} != "run, without a parent":
    assert jobs.run({script!r}, 1, None, partial(measured, BenchmarkRecord())) == 4
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for free in range(10):
    if os.path.exists({began!r}):
        os.remove({began!r})
    if {whose!r} == "parent":
        process = jobs.parents["1"].process.pid
        most = max(map(int, os.listdir(f"/proc/{{process}}/fd"))) + 1 + free
        resource.prlimit(process, resource.RLIMIT_NOFILE, (most, hard))
    before = held()
    # the places below the limit are taken, but for as many as are to be free
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(10 if {whose!r} != "parent" else 0)]
    if taken:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before | set(taken)) + 1 + free, hard))
    status = jobs.run({script!r}, 1, None, partial(measured, BenchmarkRecord()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for place in taken:
        os.close(place)
    left = held() - before - {{parent.control.fileno() for parent in jobs.parents.values()}}
    seen.append([status, os.path.exists({began!r}), [os.readlink(f"/proc/self/fd/{{place}}") for place in left]])
jobs.end()
print(json.dumps(seen))
"""


@pytest.mark.parametrize("whose", ["run", "run, without a parent", "parent"])
def test_without_a_free_descriptor_a_job_is_left_to_snakemake(tmp_path, whose):
    """It runs watched or does not begin at all, however many are left, and none stays open."""
    began = str(tmp_path / "began")
    text = SCARCE.format(
        library=str(Path(warm.__file__).parents[1]),
        whose=whose,
        began=began,
        script=script(tmp_path, f"open({began!r}, 'w')\nraise SystemExit(4)"),
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert [one for one in seen if one not in ([None, False, []], [4, True, []])] == []
    assert seen[0][0] is None and seen[-1][0] == 4


def test_the_parent_ends_with_a_killed_run(tmp_path):
    """Its socket closes with the run, however that died."""
    text = f"""
import sys; sys.path[:0] = {[str(Path(warm.__file__).parents[1])]!r}
from lacuna_workflow.warm import WarmJobs
jobs = WarmJobs()
jobs.run({script(tmp_path, "pass")!r}, 1, None, None)
print(jobs.parents["1"].process.pid, flush=True)
import time; time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as run:
        parent = os.pidfd_open(int(run.stdout.readline()))
        run.kill()
    try:
        assert warm.select.select([parent], [], [], 60)[0], "it is still there"
    finally:
        os.close(parent)


def test_each_number_of_threads_has_a_process_that_loaded_libraries_with_it(jobs, tmp_path):
    path = script(tmp_path, f"import torch; open({str(tmp_path / 'n')!r}, 'w').write(str(torch.get_num_threads()))")
    counts = []
    for threads in (1, 2):
        assert jobs.run(path, threads, None, None) == 0
        counts.append((tmp_path / "n").read_text())
    assert counts == ["1", "2"]
    assert jobs.parents["1"] is not jobs.parents["2"]


@pytest.mark.parametrize("other", ["conda_env", "container_img", "env_modules", "shadow_dir", "shell_exec", "path"])
def test_what_has_an_environment_of_its_own_is_left_to_snakemake(other):
    path = SimpleNamespace(get_path_or_uri=lambda secret_free: str(ROOT / "workflow/scripts/train.py"))
    plain = SimpleNamespace(
        conda_env=None, container_img=None, env_modules=None, shadow_dir=None, resources={}, path=path
    )
    assert is_plain(plain)
    if other == "shell_exec":
        plain.resources = {other: "zsh"}
    elif other == "path":  # of a workflow that imports this one
        plain.path = SimpleNamespace(get_path_or_uri=lambda secret_free: "/home/me/study/scripts/train.py")
    else:
        setattr(plain, other, "mine")
    assert not is_plain(plain)


def test_its_environment_is_that_of_snakemakes_shell(tmp_path, monkeypatch):
    """All of it, with threads and the folder for temporary files."""
    seen = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **options: seen.append(options["env"]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        warm_patch.snakemake.script.shell("true", threads=3, resources={"tmpdir": str(tmp_path)})
    assert environment_of(3, str(tmp_path)) == seen[0]


def test_only_packages_of_others_are_imported_before():
    assert not [name for name in warm_parent.PACKAGES if name.startswith("lacuna")]


def test_at_its_end_a_job_runs_its_own_finalizers_and_none_of_packages(jobs, tmp_path):
    """Those of packages, 149 of torch alone, only take down what ends with the process, and that costs each job."""
    text = f"""
        import atexit, weakref
        import torch
        waiting = [f for f in list(weakref.finalize._registry) if f.atexit]
        class Own: pass
        own = Own()
        weakref.finalize(own, open, {str(tmp_path / "finalized")!r}, "w")
        atexit.register(open, {str(tmp_path / "called")!r}, "w")
        raise SystemExit(len(waiting))
        """
    assert jobs.run(script(tmp_path, inspect.cleandoc(text)), 1, None, None) == 0
    assert (tmp_path / "finalized").exists()
    assert (tmp_path / "called").exists()


@pytest.mark.parametrize("error", ["MemoryError", "ImportError('no such library')"])
def test_where_a_package_cannot_be_imported_jobs_are_left_to_snakemake(tmp_path, monkeypatch, error):
    """As under a limit of memory: each says so itself, and the run does not try again."""
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'tried')!r}, 'a').write('x')\nraise {error}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    jobs = WarmJobs()
    path = script(tmp_path, "pass")
    assert [jobs.run(path, 1, None, None) for _ in range(3)] == [None] * 3
    assert (tmp_path / "tried").read_text() == "x"
    jobs.end()


def test_an_interrupt_while_packages_are_imported_begins_no_job(tmp_path):
    """Started again as Snakemake starts it, it would run to its end."""
    jobs, found = WarmJobs(), []
    path = script(tmp_path, f"open({str(tmp_path / 'began')!r}, 'w')")
    thread = threading.Thread(target=lambda: found.append(jobs.run(path, 1, None, None)))
    thread.start()
    while "1" not in jobs.parents:
        time.sleep(0.01)
    process = jobs.parents["1"].process.pid
    while b"torch" not in Path(f"/proc/{process}/maps").read_bytes():
        time.sleep(0.01)
    os.kill(process, signal.SIGINT)
    thread.join()
    assert found == [130] and not (tmp_path / "began").exists()
    jobs.end()


@pytest.fixture
def first(monkeypatch):
    """Has a function do something to the process of a job before it is let begin."""

    def first(act):
        watched = warm._watched

        def after(pid, *rest):
            act(pid)
            return watched(pid, *rest)

        monkeypatch.setattr(warm, "_watched", after)

    return first


def test_an_interrupt_before_a_job_begins_begins_none(jobs, tmp_path, first):
    """Its process is there, and hears of it before the run has let it begin."""

    def interrupted(pid):
        gone = os.pidfd_open(pid)
        while not warm.select.select([gone], [], [], 0.05)[0]:
            os.kill(pid, signal.SIGINT)
        os.close(gone)

    first(interrupted)
    path = script(tmp_path, f"open({str(tmp_path / 'began')!r}, 'w')")
    assert jobs.run(path, 1, None, None) == 130
    assert not (tmp_path / "began").exists()


def test_a_parent_and_a_job_killed_before_the_job_heard_that_it_may_begin(tmp_path, first, monkeypatch):
    """What it was told is lost with it, which a socket calls an error."""
    jobs = WarmJobs()

    def killed(pid):
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, lambda: [os.kill(each, 9) for each in (pid, jobs.parents["1"].process.pid)]).start()

    first(killed)
    path = script(tmp_path, f"open({str(tmp_path / 'began')!r}, 'w')")
    assert jobs.run(path, 1, None, None) in (None, 137)
    assert not (tmp_path / "began").exists()
    monkeypatch.undo()
    assert jobs.run(path, 1, None, None) == 0
    jobs.end()


def test_a_request_that_no_socket_takes_is_left_to_snakemake(jobs, tmp_path, monkeypatch):
    """And the others' process stays."""
    path = script(tmp_path, "pass")
    assert jobs.run(path, 1, None, None) == 0
    parent = jobs.parents["1"]
    monkeypatch.setenv("LONG", "x" * warm_parent.LARGEST)
    assert jobs.run(path, 1, None, None) is None
    assert jobs.parents["1"] is parent and parent.process.poll() is None


def test_a_fork_that_fails_is_left_to_the_run(monkeypatch):
    """As where no process may be made any more: the others go on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job, end = socket.socketpair()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "fork", lambda: (_ for _ in ()).throw(BlockingIOError()))
    with ours, theirs, job:
        parent = warm_parent.Parent(theirs)
        socket.send_fds(ours, [b"{}"], [end.fileno()])
        end.close()
        assert parent.take() and parent.jobs == {}
        assert job.recv(1) == b""


def test_no_socket_takes_the_place_of_a_closed_stream():
    """A job would print into it."""
    text = f"""
import os, sys; sys.path[:0] = {[str(Path(warm.__file__).parents[1])]!r}
from lacuna_workflow.warm import WarmJobs
os.close(1)
jobs = WarmJobs()
sys.exit(jobs.run({str(Path(__file__).with_name("__init__.py"))!r}, 1, None, None))
"""
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
