"""A job in a process that ran others before finds what a new process would show it; rehearsed on the CPU."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow import ROOT, warm, warm_parent, warm_patch
from lacuna_workflow.warm import WarmJobs

import pytest
from snakemake.benchmark import BenchmarkRecord

from lacuna.artifacts import processes

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux has what is used")


@pytest.fixture(scope="module")
def jobs():
    made = WarmJobs("always")
    yield made
    made.end()


@pytest.fixture
def run(jobs, tmp_path):
    """Runs the text of a script in a worker; its exit status."""

    def run(text: str, **how) -> int:
        path = tmp_path / "script.py"
        path.write_text(text, encoding="utf-8")
        return jobs.run(str(path), 1, how.pop("temporary", None), stays=how.pop("stays", True), **how)

    return run


@pytest.fixture
def value(run, tmp_path):
    """The value of an expression in a worker, or with stays=False in a process of its own, and the process."""

    def value(expression: str, **how) -> tuple:
        text = "import gc, json, logging, os, random, signal, sys, threading, time, warnings\nimport numpy, torch\n"
        text += f"seen = [{expression}, os.getpid()]\n"
        assert run(text + f"json.dump(seen, open({str(tmp_path / 'seen')!r}, 'w'), default=str)", **how) == 0
        return tuple(json.loads((tmp_path / "seen").read_text()))

    return value


def test_jobs_follow_one_another_in_one_process(jobs, value):
    first, second = value("__name__"), value("__name__")
    assert first == second and first[0] == "__main__"
    assert [(worker.pid, worker.left) for worker in jobs.idle] == [(first[1], "")]


# What a job may leave, an expression that would show it to the next one, and whether the process goes on.
LEFT = {
    "names": ("x = 1; import builtins", "'x' in globals()", True),
    "modules of its own": (
        "import sys, types; sys.modules['lacuna'] = types.ModuleType('lacuna'); sys.modules['mine'] = sys",
        "['lacuna' in sys.modules, 'mine' in sys.modules]",
        True,
    ),
    "its path": (
        "import sys; sys.path[:0] = ['/nowhere']; sys.argv = ['it']",
        "['/nowhere' in sys.path, sys.argv[1:]]",
        True,
    ),
    "folder": ("import os; os.chdir('/')", "os.getcwd()", True),
    "environment": ("import os; os.environ['LEFT'] = '1'; del os.environ['PATH']", "dict(os.environ)", True),
    "temporary folder": ("import tempfile; tempfile.tempdir = '/nowhere'", "__import__('tempfile').gettempdir()", True),
    "torch's numbers": ("import torch; torch.manual_seed(5); torch.rand(9)", "torch.rand(3).tolist()", True),
    "filters": ("import warnings; warnings.simplefilter('error')", "len(warnings.filters)", True),
    "numpy's errors": ("import numpy; numpy.seterr(all='raise')", "numpy.geterr()", True),
    "bars": (
        "import io, tqdm; list(tqdm.tqdm(range(3), file=io.StringIO()))",
        "[thread.name for thread in threading.enumerate()]",
        True,
    ),
    "deterministic": (
        "import torch; torch.use_deterministic_algorithms(True)",
        "torch.are_deterministic_algorithms_enabled()",
        False,
    ),
    "precision": (
        "import torch; torch.set_float32_matmul_precision('medium')",
        "torch.get_float32_matmul_precision()",
        False,
    ),
    "tf32": (
        "import torch; torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.cudnn.allow_tf32",
        False,
    ),
    "benchmark": ("import torch; torch.backends.cudnn.benchmark = True", "torch.backends.cudnn.benchmark", False),
    "attention": (
        "import torch; torch.backends.cuda.enable_flash_sdp(False)",
        "torch.backends.cuda.flash_sdp_enabled()",
        False,
    ),
    "mkldnn": ("import torch; torch._C._set_mkldnn_enabled(False)", "torch.backends.mkldnn.enabled", False),
    "dtype": ("import torch; torch.set_default_dtype(torch.float64)", "torch.get_default_dtype()", False),
    "default device": ("import torch; torch.set_default_device('meta')", "torch.rand(1).device", False),
    "gradients": ("import torch; torch.set_grad_enabled(False)", "torch.is_grad_enabled()", False),
    "threads of torch": ("import torch; torch.set_num_threads(2)", "torch.get_num_threads()", False),
    "autocast": (
        "import torch; torch.autocast('cpu').__enter__()",
        "[torch.is_autocast_enabled('cpu'), torch.get_autocast_dtype('cpu')]",
        False,
    ),
    "anomalies": ("import torch; torch.autograd.set_detect_anomaly(True)", "torch.is_anomaly_enabled()", False),
    "subnormal numbers": ("import torch; assert torch.set_flush_denormal(True)", "float('5e-324') * 1.0", False),
    "a replaced function": ("import torch; torch.relu = torch.tanh", "torch.relu.__name__", False),
    "a replaced method": (
        "import torch; torch.nn.Conv2d.forward = lambda self, x: x",
        "torch.nn.Conv2d.forward.__name__",
        False,
    ),
    "hooks": (
        "import torch; torch.nn.modules.module.register_module_forward_hook(lambda *_: None)",
        "len(torch.nn.modules.module._global_forward_hooks)",
        False,
    ),
    "form of numbers": (
        "import torch, numpy; torch.set_printoptions(precision=1); numpy.set_printoptions(precision=1)",
        "[str(torch.tensor(1 / 3)), str(numpy.float64(1) / 3 * numpy.ones(1))]",
        False,
    ),
    "log": ("import logging; logging.basicConfig()", "len(logging.root.handlers)", False),
    "a signal": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "signal.getsignal(signal.SIGTERM)",
        False,
    ),
    "an alarm": ("import signal; signal.alarm(1000)", "signal.alarm(0)", False),
    "a blocked signal": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        "len(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
        False,
    ),
    "umask": ("import os; os.umask(0o077)", "os.umask(0)", False),
    "a thread": (
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        "threading.active_count()",
        False,
    ),
    "a file": (
        "import os; os.open(__file__, os.O_RDONLY)",
        "[name for name in map(os.path.realpath, (f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')))"
        " if name.endswith('script.py')]",
        False,
    ),
    # one that nobody waits for: Popen would, where the process has ended first
    "a process": ("import os; os.fork() or os._exit(0)", "os.path.exists('/proc/self/fd/99')", False),
    "collection": ("import gc; gc.disable()", "gc.isenabled()", False),
    "recursion": ("import sys; sys.setrecursionlimit(5000)", "sys.getrecursionlimit()", False),
    "streams": ("import io, sys; sys.stdout = io.StringIO()", "sys.stdout is sys.__stdout__", False),
    "limits": (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "list(__import__('resource').getrlimit(4))",
        False,
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_nothing_of_a_job_reaches_the_next(jobs, run, value, name):
    """What cannot be put back ends the process."""
    dirt, expression, goes_on = LEFT[name]
    clean, _ = value(expression, stays=False)
    _, worker = value("0")
    assert run(dirt) == 0
    seen, process = value(expression)
    assert seen == clean
    assert (process == worker) is goes_on


def test_a_function_for_the_end_of_a_job_runs_at_its_end(run, value, tmp_path):
    _, worker = value("0")
    ended = tmp_path / "ended"
    assert run(f"import atexit, pathlib; atexit.register(pathlib.Path({str(ended)!r}).touch)") == 0
    assert ended.exists() and value("0")[1] != worker


def test_a_thread_is_waited_for(run, tmp_path):
    text = "import threading, time, pathlib\n"
    text += f"def late():\n    time.sleep(0.5)\n    pathlib.Path({str(tmp_path / 'late')!r}).touch()\n"
    assert run(text + "threading.Thread(target=late).start()") == 0
    assert (tmp_path / "late").exists()


def test_code_that_changed_between_two_jobs_is_read_anew(run, tmp_path, value):
    """A module beside the script, of the same length as before; of another second, by which Python tells them."""
    module, _ = tmp_path / "beside.py", value("0")
    seen = []
    for number in (1, 2):
        module.write_text(f"NUMBER = {number}\n")
        os.utime(module, (number, number))
        assert run(f"import beside; open({str(tmp_path / 'n')!r}, 'w').write(str(beside.NUMBER))") == 0
        seen.append((tmp_path / "n").read_text())
    assert seen == ["1", "2"]


def test_own_streams_of_python_and_numpy_are_new_for_each_job(value):
    drawn = [value("[random.random(), numpy.random.rand()]") for _ in range(2)]
    assert drawn[0][1] == drawn[1][1]
    assert drawn[0][0][0] != drawn[1][0][0] and drawn[0][0][1] != drawn[1][0][1]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('a sentence')", 1),
        ("raise ValueError('no')", 1),
        ("raise KeyboardInterrupt", 130),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import os; os._exit(7)", 7),
        ("import os; os._exit(0)", 0),
    ],
)
def test_a_worker_ends_with_a_job_that_fails(run, value, text, status):
    _, worker = value("0")
    assert run(text) == status
    assert value("0")[1] != worker


def test_an_idle_worker_that_is_killed_is_replaced(run, value):
    _, worker = value("0")
    os.kill(worker, signal.SIGKILL)
    seen, process = value("1")
    assert seen == 1 and process != worker


def test_jobs_at_once_have_a_worker_each_and_no_more(jobs, value, tmp_path, monkeypatch):
    texts, found = [], {}
    for mine, other in (("a", "b"), ("b", "a")):
        path = tmp_path / f"{mine}.py"
        wait = f"while not pathlib.Path({str(tmp_path / other)!r}).exists(): time.sleep(0.01)"
        path.write_text(f"import pathlib, time\npathlib.Path({str(tmp_path / mine)!r}).touch()\n{wait}\n")
        texts.append(str(path))
    threads = [threading.Thread(target=lambda p=p: found.update({p: jobs.run(p, 1, None, stays=True)})) for p in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = {worker.pid for worker in jobs.idle}
    assert set(found.values()) == {0} and len(pids) == 2
    # of another kind: those that wait hold what it will need
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    _, other = value("0")
    assert [worker.pid for worker in jobs.idle] == [other] and other not in pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "they are waited for"


GPU = """
import sys; sys.path[:0] = [{library!r}, {sources!r}]
import torch
from lacuna_workflow.leftovers import Clean

calls, held = [], {held}
torch.cuda.is_initialized = lambda: bool(calls)
torch.cuda.device_count = lambda: 1
torch.cuda.current_device = lambda: 0
torch.cuda.current_stream = torch.cuda.default_stream = lambda: "the default one"
torch.cuda.get_sync_debug_mode = lambda: 0
torch.cuda.memory_allocated = lambda device: held
for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "manual_seed_all"):
    setattr(torch.cuda, name, lambda *told, name=name: calls.append((name, *told)))

clean = Clean()
seed = torch.initial_seed()
clean.begin()
calls.append("a context")
from lacuna.models.modes import arithmetic
for precision in ("fp32", "fp32_strict", "bf16"):
    with arithmetic(precision, torch.device("cuda")):
        torch.backends.cudnn.benchmark = True
torch.manual_seed(3)
del calls[1:]
left = clean.left()
assert left == {left!r}, left
if not left:
    assert calls[1:] == [("synchronize",), ("empty_cache",), ("reset_peak_memory_stats", 0)], calls
    clean.begin()
    assert calls[4:] == [("manual_seed_all", seed)], calls
"""


@pytest.mark.parametrize(("held", "left"), [(1 << 20, ""), (1 << 30, "1024 MB on GPU 0")])
def test_a_job_of_a_gpu_leaves_nothing_but_what_is_to_stay(run, held, left):
    """As far as it can be seen without one: a context, and the switches of precision, are no leftovers."""
    library, sources = str(Path(warm.__file__).parents[1]), str(ROOT / "src")
    assert run(GPU.format(library=library, sources=sources, held=held, left=left), stays=False) == 0


def test_only_a_process_that_holds_a_gpu_stays(jobs, run, monkeypatch):
    """Without a context a fork serves as well."""
    monkeypatch.setattr(jobs, "keeps", "cuda")
    monkeypatch.setenv("OTHER", "than those that wait")
    assert run("import torch; assert not torch.cuda.is_initialized()") == 0 and jobs.idle == []


def test_after_an_end_processes_begin_anew(jobs, value):
    _, worker = value("0")
    jobs.end()
    assert jobs.idle == [] and jobs.parents == {}
    assert value("0")[1] != worker


WAITS = """
import os, signal, sys, time
caught = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, lambda number, _: caught.append(signal.Signals(number).name))
open({!r}, "w").write(str(os.getpid()))
while not caught:
    time.sleep(0.01)
open({!r}, "w").write(caught[0])
sys.exit(9)
"""


def begun(path: Path) -> int:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return int(path.read_text())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_reaches_the_job(jobs, run, tmp_path, name):
    found = []
    files = [str(tmp_path / "pid"), str(tmp_path / "caught")]
    thread = threading.Thread(target=lambda: found.append(run(WAITS.format(*files))))
    thread.start()
    os.kill(begun(tmp_path / "pid"), getattr(signal, name))
    thread.join()
    assert found == [9] and (tmp_path / "caught").read_text() == name


def test_an_interrupt_between_jobs_ends_no_worker(value):
    """Ctrl-C reaches all processes of the terminal; the run decides what becomes of them."""
    _, worker = value("0")
    os.kill(worker, signal.SIGINT)
    assert value("0")[1] == worker


def test_workers_end_with_a_killed_run(tmp_path):
    """One that waits at once; one with a job by a signal, as a job of its own, which notices by a variable instead."""
    files = [str(tmp_path / "pid"), str(tmp_path / "caught")]
    (tmp_path / "script.py").write_text("")
    (tmp_path / "waits.py").write_text(
        f"import os; assert {warm_parent.RUN!r} not in os.environ\n{WAITS.format(*files)}"
    )
    assert warm_parent.RUN == processes._RUN
    text = f"""
import os, sys, threading, time; sys.path[:0] = {[str(Path(warm.__file__).parents[1])]!r}
from lacuna_workflow.warm import WarmJobs
jobs = WarmJobs("always")
threading.Thread(target=jobs.run, args=({str(tmp_path / "waits.py")!r}, 1, None, None, True)).start()
while not os.path.exists({files[0]!r}): time.sleep(0.01)
jobs.run({str(tmp_path / "script.py")!r}, 1, None, stays=True)
print(jobs.idle[0].pid, flush=True)
time.sleep(600)
"""
    command, environment = [sys.executable, "-c", text], os.environ | {warm_parent.RUN: "set"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        workers = [os.pidfd_open(begun(tmp_path / "pid")), os.pidfd_open(int(run.stdout.readline()))]
        run.kill()
    for worker in workers:
        assert warm.select.select([worker], [], [], 60)[0], "it is still there"
        os.close(worker)
    assert (tmp_path / "caught").read_text() == "SIGTERM"


def test_figures_are_of_the_job_alone(run, value):
    """CPU time and peak memory: a dear job goes before a cheap one."""
    _, worker = value("0")
    dear = "import time\na = bytearray(300 << 20)\nwhile time.process_time() < {}: pass"
    first, second = BenchmarkRecord(), BenchmarkRecord()
    assert run(dear.format(2), measure=functools.partial(warm_patch.measured, first)) == 0
    expression = "[time.sleep(0.2), __import__('resource').getrusage(0).ru_maxrss]"
    seen, process = value(expression, measure=functools.partial(warm_patch.measured, second))
    assert process == worker
    assert first.cpu_time > 1.5 > second.cpu_time and second.running_time >= 0.2
    assert first.max_rss > second.max_rss + 200 and second.max_rss >= seen[1] / 1024
    (_, alone), _ = value(expression, stays=False)
    assert seen[1] < alone + (200 << 10), "kilobytes"


def test_memory_does_not_grow_with_the_jobs(run, value):
    """Modules of lacuna are read anew each time; those of the job before are gone."""
    resident = "int(open('/proc/self/statm').read().split()[1]) * 4096 / 2**20"
    text = f"import sys; sys.path[:0] = [{str(ROOT / 'src')!r}]\nimport lacuna.unlearning, lacuna.pruning"
    for _ in range(3):
        assert run(text) == 0
    before, worker = value(resident)
    for _ in range(10):
        assert run(text) == 0
    after, same = value(resident)
    assert same == worker and after < before + 20, "megabytes"


@pytest.mark.parametrize(
    ("on", "gpu", "way"),
    [
        ({"fork", "worker"}, 1, "worker"),
        ({"fork", "worker"}, 0, "fork"),
        ({"fork"}, 1, "fork"),
        ({"worker"}, 1, "worker"),
        ({"worker"}, 0, None),
    ],
)
def test_each_patch_has_its_jobs(monkeypatch, on, gpu, way):
    monkeypatch.setattr(warm_patch, "_ON", on)
    monkeypatch.setattr(warm_patch, "is_plain", lambda script: True)
    assert warm_patch.way_of(SimpleNamespace(resources={"gpu": gpu})) == way
    monkeypatch.setattr(warm_patch, "is_plain", lambda script: False)
    assert warm_patch.way_of(SimpleNamespace(resources={"gpu": gpu})) is None
