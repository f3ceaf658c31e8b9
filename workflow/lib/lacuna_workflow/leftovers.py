"""What a job leaves in its process: what can be put back is, and the rest is the reason why no other job may follow.

The next job must find what a new process shows it, in all that results depend on. What jobs of lacuna do themselves is
put back: modules, random streams, folder, path, memory. Whatever else is not as it was (a switch of torch, a handler of
signals, a function that somebody replaced, a thread, an open file) ends the process, as it ends with its job elsewhere.
What a GPU's libraries keep is meant to stay: the context, kernels and plans that cuDNN has chosen.
"""

from __future__ import annotations

import _thread
import atexit
import builtins
import contextlib
import contextvars
import ctypes
import gc
import importlib
import importlib.machinery
import itertools
import linecache
import locale
import logging
import os
import random
import re
import resource
import signal
import sys
import sysconfig
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

# read anew by each job, for they may change
OWN = ("lacuna", "lacuna_workflow")
# packages of others that a job may import beside those that are there: they stay
_KNOWN = (
    *("torch_pruning", "torchvision", "PIL", "triton", "nvidia", "cuda", "pynvml"),
    *("sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "packaging"),
)
# places of files that a GPU's driver and libraries may open and keep
_OF_THE_SYSTEM = ("/dev/", "/proc/", "/sys/", "/memfd:", "/usr/", "/opt/", "/etc/", "/run/", "/var/lib/")
# where torch keeps the precision of products in float32
_PRECISIONS = tuple(itertools.product(("generic", "cuda", "mkldnn"), ("all", "matmul", "conv", "rnn")))
# a function or class of these that is another afterwards was replaced
_LOOKED_AT = re.compile(
    r"(builtins|random|math|os|json|time|pathlib|numpy(\.random|\.linalg)?|torch(\.(nn|autograd|optim|cuda|backends)\b.*"
    r"|\.(functional|random|serialization|_tensor|utils\.data))?)"
)
# switches of torch that need no argument to be read
_SWITCHES = re.compile(
    r"_get_\w*(enabled|benchmark|deterministic|tf32|accumulation|reduction|backend|precision|kernel|order|memory|_device"
    r"|warn|warn_only|warnAlways|optimize|immediate|qengine|grouped_gemm|carveout_experimental)"
    r"|_len_torch_(function|dispatch)_stack|_is_\w+_enabled|is_(grad|anomaly|autocast_cache|inference_mode)_\w*enabled"
    r"|is_anomaly_enabled|get_num(_interop)?_threads|get_default_dtype"
)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type)
# memory on a GPU that somebody still holds (bytes), and main memory that was not given back (MB)
_HELD_BYTES, _HELD_MB = 32 << 20, 512


class Clean:
    """A process as it is before its first job."""

    def __init__(self) -> None:
        self.modules = dict(sys.modules)
        self.roots = {name.partition(".")[0] for name in self.modules} | set(sys.stdlib_module_names) | set(_KNOWN)
        self.functions = _functions()
        self.path, self.main = list(sys.path), sys.modules.get("__main__")
        self.torch = sys.modules.get("torch")
        self.stream = self.torch.default_generator.get_state() if self.torch else None
        self.exits: list[str] = []
        self.resident = 0.0
        self.precisions = _precisions(self.torch) if self.torch else {}
        self.state = dict(_state())

    def begin(self) -> None:
        """Before each job: streams of random numbers as in a new process, and the peak of memory is that of the job."""
        random.seed()
        if self.torch:
            self.torch.default_generator.set_state(self.stream)
            if self.torch.cuda.is_initialized():
                self.torch.cuda.manual_seed_all(self.torch.initial_seed())
        importlib.invalidate_caches()
        # the peak of resident memory begins anew; where the kernel refuses, it is that of all jobs so far
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def run(self, work: Callable[..., int], *arguments: Any) -> int:
        """Do the work of a job; filters of warnings and context variables are as before afterwards."""
        register = atexit.register

        def noted(function: Callable[..., Any], *rest: Any, **named: Any) -> Any:
            caller = str(sys._getframe(1).f_globals.get("__name__"))
            if caller.partition(".")[0] not in self.roots or caller == "__main__":
                self.exits.append(caller)
            return register(function, *rest, **named)

        atexit.register = noted  # type: ignore[assignment]
        try:
            with warnings.catch_warnings():
                return contextvars.Context().run(work, *arguments)
        finally:
            atexit.register = register

    def left(self) -> str:
        """Put back what can be; the reason why no other job may follow, or nothing."""
        if self.exits:
            return f"a function for the end of the process, of {self.exits[0]}"
        _stop_bars()
        if strange := self._drop_modules():
            return strange
        sys.path[:] = self.path
        tempfile.tempdir = None
        linecache.clearcache()
        for place, precision in self.precisions.items():
            # a switch that was turned to and fro says so, though nothing computes otherwise
            self.torch._C._set_fp32_precision_setter(*place, precision)  # type: ignore[union-attr]
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        return self._changed() or self._memory()

    def _drop_modules(self) -> str:
        """Forget the modules of the job; those of others' packages stay, if they are known."""
        if self.main is not None:
            sys.modules["__main__"] = self.main
        for name, module in self.modules.items():
            if sys.modules.get(name) is not module:
                return f"another module {name}"
        installed = tuple({os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("purelib", "platlib")})
        for name, module in list(sys.modules.items()):
            root = name.partition(".")[0]
            if name in self.modules or (root in self.roots and root not in OWN):
                continue
            spec = getattr(module, "__spec__", None)
            place = os.path.realpath(getattr(module, "__file__", None) or "")
            compiled = isinstance(getattr(spec, "loader", None), importlib.machinery.ExtensionFileLoader)
            if root not in OWN and (compiled or place.startswith(installed)):
                return f"module {name}"
            del sys.modules[name]
        return ""

    def _changed(self) -> str:
        """The first thing that is not as it was."""
        for name, value in _state():
            if name not in self.state or self.state[name] != value:
                return f"{name}: {value!r}"[:200]
        for owner, functions in self.functions.items():
            for name, function in functions.items():
                if vars(owner).get(name) is not function:
                    return f"{owner.__name__}.{name}"
        return ""

    def _memory(self) -> str:
        """Give memory back; the reason if much of it is still held."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        if self.torch and self.torch.cuda.is_initialized():
            cuda = self.torch.cuda
            cuda.synchronize()
            # of cuBLAS; a job makes its own
            getattr(self.torch._C, "_cuda_clearCublasWorkspaces", bool)()
            cuda.empty_cache()
            for device in range(cuda.device_count()):
                cuda.reset_peak_memory_stats(device)
                if (held := cuda.memory_allocated(device)) > _HELD_BYTES:
                    return f"{held >> 20} MB on GPU {device}"
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * resource.getpagesize() / 2**20
        # the first job brings what stays: a context, libraries
        self.resident = self.resident or resident
        return f"{resident - self.resident:.0f} MB" if resident > self.resident + _HELD_MB else ""


def _functions() -> dict[Any, dict[str, Any]]:
    """The functions and classes of the modules that are looked at, and those of torch's best-known classes."""
    owners: list[Any] = [module for name, module in sys.modules.items() if _LOOKED_AT.fullmatch(name)]
    if torch := sys.modules.get("torch"):
        classes = [value for value in vars(torch.nn).values() if isinstance(value, type)]
        owners += [torch.Tensor, torch.optim.Optimizer, torch.autograd.Function, *classes]
    return {
        owner: {name: value for name, value in vars(owner).items() if isinstance(value, _FUNCTIONS)}
        for owner in dict.fromkeys(owners)
    }


def _stop_bars() -> None:
    """End the thread by which tqdm watches bars, if there were any."""
    bars: Any = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if monitor := getattr(bars, "monitor", None):
        monitor.exit()
        bars.monitor = None


def _state() -> Iterator[tuple[str, Any]]:
    """By name what a job may have changed in its process."""
    yield from _of_the_process()
    yield from _of_python()
    if numpy := sys.modules.get("numpy"):
        yield "numpy's errors", numpy.geterr()
        yield "numpy's form of numbers", numpy.get_printoptions()
    if torch := sys.modules.get("torch"):
        yield from _of_torch(torch)


def _of_the_process() -> Iterator[tuple[str, Any]]:
    for number in sorted(signal.valid_signals()):
        with contextlib.suppress(ValueError, OSError):
            yield f"signal {number}", signal.getsignal(number)
    yield "blocked signals", signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield "timer", [signal.getitimer(kind) for kind in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)]
    os.umask(mask := os.umask(0o022))
    yield "umask", mask
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    yield "limits", {name: resource.getrlimit(getattr(resource, name)) for name in limits}
    yield "priority", os.getpriority(os.PRIO_PROCESS, 0)
    yield "processors", os.sched_getaffinity(0)
    yield "processes", sorted(_children())
    yield "open files", sorted(_files())
    # subnormal numbers, which a processor can be told to take for zero
    yield "subnormal numbers", 5e-324 * float("1") > 0


def _of_python() -> Iterator[tuple[str, Any]]:
    # of Python: torch's own stay, as do those of a GPU's driver
    yield "threads", len(sys._current_frames())
    yield "streams", [(id(stream), getattr(stream, "closed", None)) for stream in (sys.stdin, sys.stdout, sys.stderr)]
    hooks = ("excepthook", "displayhook", "unraisablehook", "breakpointhook", "meta_path", "path_hooks")
    for name in (*hooks, "dont_write_bytecode", "tracebacklimit"):
        value = getattr(sys, name, None)
        yield f"sys.{name}", list(value) if isinstance(value, list) else value
    for get in ("getrecursionlimit", "getswitchinterval", "gettrace", "getprofile", "get_int_max_str_digits"):
        yield f"sys.{get}", getattr(sys, get)()
    yield "builtins", sorted(vars(builtins))
    yield "garbage collection", (gc.isenabled(), gc.get_threshold(), gc.get_debug())
    yield "locale", locale.setlocale(locale.LC_ALL)
    yield "time zone", (time.tzname, time.timezone)
    yield "warnings", (warnings.showwarning, warnings.formatwarning)
    root = logging.getLogger()
    yield "logging", (root.level, list(root.handlers), list(root.filters), root.manager.disable)
    loggers = {name: getattr(logger, "handlers", []) for name, logger in root.manager.loggerDict.items()}
    yield "loggers", {name: list(handlers) for name, handlers in loggers.items() if handlers}
    yield "stack of a thread", _thread.stack_size()


def _of_torch(torch: Any) -> Iterator[tuple[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in filter(_SWITCHES.fullmatch, dir(torch._C)):
            try:
                value = getattr(torch._C, name)()
            except Exception as error:
                value = type(error).__name__
            yield f"torch {name}", repr(value)
        for device in ("cpu", "cuda"):
            for name in ("is_autocast_enabled", "get_autocast_dtype"):
                yield f"torch.{name}({device!r})", getattr(torch, name)(device)
    yield "torch.get_default_device", torch.get_default_device()
    yield "precisions", _precisions(torch)
    yield "torch's form of numbers", vars(torch._tensor_str.PRINT_OPTS) | {}
    yield (
        "hooks of all modules",
        [(name, len(value)) for name, value in sorted(vars(torch.nn.modules.module).items()) if _is_hooks(name, value)],
    )
    yield "sharing", torch.multiprocessing.get_sharing_strategy()
    cuda = torch.cuda if torch.cuda.is_initialized() else None
    yield "current device", cuda.current_device() if cuda else 0
    yield "current stream", bool(cuda) and torch.cuda.current_stream() != torch.cuda.default_stream()
    yield "waits that are told", cuda.get_sync_debug_mode() if cuda else 0


def _precisions(torch: Any) -> dict[tuple[str, str], str]:
    """Those of products in float32, by backend and operation; none where torch has no such switches."""
    precisions = {}
    for place in _PRECISIONS:
        with contextlib.suppress(AttributeError, RuntimeError):  # not every backend has every operation
            precisions[place] = torch._C._get_fp32_precision_getter(*place)
    return precisions


def _is_hooks(name: str, value: Any) -> bool:
    return name.startswith("_global_") and isinstance(value, dict)


def _children() -> Iterator[str]:
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            yield from file.read().split()


def _files() -> Iterator[str]:
    """Files that are open, by their names; not pipes and sockets, of which a GPU's driver keeps its own."""
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            place = os.readlink(f"/proc/self/fd/{descriptor}")
            if place.startswith("/") and not place.startswith(_OF_THE_SYSTEM) and "/.nv/" not in place:
                yield place
