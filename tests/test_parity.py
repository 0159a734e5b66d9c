"""A forked kernel is a cold one: the same notebooks, through both, leave the same behind."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nbpipe.kernels.heads import head_imports
from tests.kernel_rig import Ran, Rig, make_job

pytestmark = pytest.mark.kernel

CASES: dict[str, list[str]] = {
    "results, streams and displays": [
        "import sys\nprint('out'); print('err', file=sys.stderr)",
        "from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))\n{'a': [1, 2]}",
        "_, In[1][:3], Out",
    ],
    "the module search path": ["import sys\nsys.path"],
    "the arguments": [
        "import sys, os\n"
        "print([a if not a.endswith('.json') else 'FILE' for a in sys.argv])\n"
        "print([a if not a.endswith('.json') else 'FILE' for a in sys.orig_argv])\n"
        "print(sys.executable, sys.prefix, sys.flags, sys.warnoptions, sys._xoptions)"
    ],
    "what __main__ is": [
        "import sys, __main__\nx = 1\n"
        "print(type(__main__), __main__.x, __main__.__name__)\n"
        "print(sys.modules['__main__'] is __main__)\n"
        "print(sorted(n for n in globals() if not n.startswith('_i')))\n"
        "print(__name__, __doc__, __builtins__)"
    ],
    "the modules that are loaded": [
        "import sys\nbefore = sorted(sys.modules)\n",
        "print([m for m in before if m.split('.')[0] not in HIDDEN"
        " and not m.startswith(('_cython_', '_pydevd_'))])",
    ],
    "the working folder": ["import os\nprint(os.getcwd(), _dh)\n%pwd"],
    "signal handlers and masks": [
        "import signal\n"
        "for s in sorted(signal.valid_signals()):\n"
        "    print(s, signal.getsignal(s))\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1) > 0)"
    ],
    "the environment": [
        "import os\nprint(sorted(item for item in os.environ.items() if item[0] != 'NBPIPE_ROOT'))",
        "!echo $NBPIPE_TASK $MPLBACKEND $TERM $JUPYTER_NONE",
    ],
    "open files": [
        "import os, stat\n"
        "kinds = []\n"
        "for fd in sorted(map(int, os.listdir('/proc/self/fd'))):\n"
        "    try:\n"
        "        target = os.readlink(f'/proc/self/fd/{fd}')\n"
        "    except OSError:\n"
        "        continue\n"
        "    kinds.append(target.split(':')[0].replace(os.getcwd(), 'ROOT'))\n"
        "print([os.path.basename(k) for k in kinds if k.startswith(('/', 'ROOT'))])\n"
        "print(os.isatty(0), os.isatty(1), os.isatty(2))"
    ],
    "the standard streams": [
        "import sys\n"
        "for s in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__):\n"
        "    print(type(s), getattr(s, 'encoding', 0), getattr(s, 'errors', 0),"
        " s.isatty(), s.readable())",
        "import os\nprint(sys.stdin.read(), os.read(0, 10))",
        "print(sys.displayhook.__class__, sys.excepthook)",
    ],
    "threads": [
        "import threading\n"
        "# Thread-1 looks whether the parent lives: of a forked kernel the system does that.\n"
        "# And nobody listens to its heartbeat: the builder is told when it ends.\n"
        "# Its channels are one line to the builder, which needs no threads. And the thread that\n"
        "# publishes also reads what is written to the descriptors 1 and 2.\n"
        "silent = {'Thread-1', 'Heartbeat', 'Control', 'Shell channel'}\n"
        "found = {t.name for t in threading.enumerate() if '_watch_' not in t.name}\n"
        "names = sorted(found - silent)\n"
        "print(threading.current_thread(), threading.main_thread() is threading.current_thread())\n"
        "print(threading.Thread(target=print).name)\n"
        "print(names)"
    ],
    "limits, locale, mask and groups": [
        "import os, sys, resource, locale, time\n"
        "mask = os.umask(0); os.umask(mask)\n"
        "print(mask, sys.getrecursionlimit(), locale.setlocale(locale.LC_ALL), time.tzname)\n"
        "print([resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource))"
        " if n.startswith('RLIMIT')])\n"
        "print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.nice(0))\n"
        "print(sys.getswitchinterval(), sys.gettrace(), sys.getprofile(), os.sched_getaffinity(0))"
    ],
    "warning filters": [
        "import warnings\nprint(warnings.filters)",
        "warnings.warn('once')\nwarnings.warn('twice', DeprecationWarning)",
        "import numpy\nprint(warnings.filters)",
    ],
    "input is refused": ["input('name?')"],
    "getpass is refused": ["import getpass\ngetpass.getpass()"],
    "an error with its traceback": [
        "def f(x):\n    return 1 / x\n",
        "try:\n    f(0)\nexcept ZeroDivisionError as e:\n    raise ValueError('no') from e",
    ],
    "a syntax error": ["x = = 1"],
    "sys.exit": ["import sys\nsys.exit(3)"],
    "exit()": ["exit()"],
    "os._exit": ["print('before')\nimport os\nos._exit(7)"],
    "a crash in compiled code": ["import ctypes\nctypes.string_at(0)"],
    "killed": ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"],
    "ended by SIGTERM": [
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(9)"
    ],
    "an interrupt": [
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    ],
    "exit handlers and unflushed files": [
        "import atexit, weakref, tempfile, os\n"
        "def late():\n    open('late', 'w').write('late')\n"
        "atexit.register(late)\n"
        "held = open('held', 'w'); _ = held.write('held')\n"
        "class Cycle:\n    pass\n"
        "cycle = Cycle(); cycle.me = cycle; cycle.file = open('cycle', 'w')\n"
        "_ = cycle.file.write('cycle')\n"
        "import json; json.kept = open('kept', 'w'); _ = json.kept.write('kept')\n"
        "folder = tempfile.TemporaryDirectory(dir='.')\n"
        "class Last:\n    def __del__(self):\n        open('deleted', 'w').write('deleted')\n"
        "last = Last()"
    ],
    "what an exit handler shows": [
        "import atexit\natexit.register(print, 'bye', flush=True) and None",
    ],
    "output of subprocesses and of descriptors": [
        "import os, subprocess, sys\n"
        "os.write(1, b'raw\\n')\n"
        "subprocess.run(['echo', 'child'])\n"
        "subprocess.run([sys.executable, '-c', 'import sys; sys.stderr.write(\"cerr\")'])",
        "import time; time.sleep(0.3)",
        "!echo shell",
    ],
    "inline plots": [
        "import matplotlib\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])",
        "print(matplotlib.get_backend(), plt.isinteractive())\n"
        "print(sorted((k, str(v)) for k, v in matplotlib.rcParams.items()))",
        "plt.figure(figsize=(1, 1)); plt.bar([1], [2]); plt.show()",
    ],
    "top-level await": [
        "import asyncio\nawait asyncio.sleep(0.01)\nprint(type(asyncio.get_running_loop()))",
        "asyncio.create_task(asyncio.sleep(0)) and None",
        "async def f():\n    return 5\nawait f()",
    ],
    "threads and executors": [
        "import threading\n"
        "from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n    print(list(pool.map(abs, [-1, -2])))\n"
        "with ProcessPoolExecutor(2) as pool:\n    print(list(pool.map(abs, [-1, -2])))\n"
        "t = threading.Thread(target=print, args=('in a thread',)); t.start(); t.join()"
    ],
    "a thread that outlives the cells": [
        "import threading, time\n"
        "def slow():\n    time.sleep(0.3)\n    open('slow', 'w').write('slow')\n"
        "threading.Thread(target=slow).start()"
    ],
    "multiprocessing": [
        "import multiprocessing as mp\nprint(mp.get_start_method(), mp.current_process().name)\n"
        "with mp.Pool(2) as pool:\n    print(pool.map(str, range(3)))",
        "p = mp.Process(target=print, args=('child',)); p.start(); p.join(); print(p.exitcode)\n"
        "import time; time.sleep(0.2)",
    ],
    "joblib": [
        "from joblib import Parallel, delayed\n"
        "print(Parallel(n_jobs=2)(delayed(abs)(i) for i in (-1, -2)))"
    ],
    "pickles of what __main__ defines": [
        "import pickle\nclass C:\n    def __eq__(self, other):\n        return True\n"
        "data = pickle.dumps(C())\nprint(data, pickle.loads(data) == C())"
    ],
    "logging": [
        "import logging\nlogging.warning('warned')\nlogging.getLogger('x').error('failed')\n"
        "logging.basicConfig(level=logging.INFO, force=True)\nlogging.info('told')\n"
        "print(logging.getLogger().handlers, sorted(logging.root.manager.loggerDict))"
    ],
    "numbers: numpy, BLAS, OpenMP": [
        "import numpy as np\n"
        "a = np.arange(40000.0).reshape(200, 200); print((a @ a).sum())\n"
        "from threadpoolctl import threadpool_info\n"
        "print([{k: v for k, v in i.items() if k != 'filepath'} for i in threadpool_info()])",
        "from sklearn.ensemble import HistGradientBoostingRegressor as H\n"
        "from sklearn.cluster import KMeans\n"
        "rng = np.random.default_rng(0); X = rng.normal(size=(200, 3))\n"
        "print(H(max_iter=5).fit(X, X[:, 0]).predict(X[:3]))\n"
        "print(KMeans(2, n_init=1, random_state=0).fit(X).inertia_)",
    ],
    "pandas": [
        "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\nframe",
        "frame.to_csv('frame.csv'); print(pd.read_csv('frame.csv').dtypes)",
    ],
    "a script that sets OMP_NUM_THREADS": [
        "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nos.environ['OPENBLAS_NUM_THREADS'] = '1'",
        "import numpy\nfrom threadpoolctl import threadpool_info\n"
        "[(i['user_api'], i['num_threads']) for i in threadpool_info()]",
    ],
    "magics": ["%load_ext autoreload\n%autoreload 2\n%time 1", "%%timeit -n1 -r1\npass", "%who"],
    "faulthandler and crash files": ["import faulthandler\nfaulthandler.is_enabled()"],
    "history": ["1", "%history", "get_ipython().history_manager.hist_file, get_ipython().config"],
    "pyarrow": [
        "import pyarrow as pa\nimport pyarrow.parquet as pq\nimport pandas as pd",
        "pq.write_table(pa.table({'a': list(range(1000))}), 'a.parquet')\n"
        "print(pd.read_parquet('a.parquet').a.sum(), pa.cpu_count(), pa.io_thread_count())\n"
        "print(pa.compute.sum(pa.array([1, 2])) if hasattr(pa, 'compute') else '')",
    ],
    "torch": [
        "import torch\nimport torch.nn.functional as F",
        "print(torch.get_num_threads(), torch.get_default_dtype())\n"
        "torch.manual_seed(0)\nprint(torch.randn(3))\n"
        "a = torch.randn(200, 200); print((a @ a).sum())",
        "x = torch.ones(2, requires_grad=True); F.relu(x).sum().backward(); x.grad",
        "from torch.utils.data import DataLoader\n"
        "print([b.tolist() for b in DataLoader(list(range(4)), batch_size=2, num_workers=2)])",
    ],
    "a child that has ended and was not waited for": [
        "import subprocess, time\nprocess = subprocess.Popen(['true'])\ntime.sleep(0.1)",
    ],
}

MISSING = {name for name in ("pyarrow", "torch") if importlib.util.find_spec(name) is None}
"""Cases whose library, of the same name, is not installed."""

HIDDEN = (
    *(
        "debugpy",
        "_pydevd_bundle",
        "_pydev_bundle",
        "_pydevd_frame_eval",
        "pydevd",
        "pydevd_file_utils",
    ),
    *(
        "_pydev_runfiles",
        "pydevd_plugins",
        "pydevd_tracing",
        "_pydevd_sys_monitoring",
        "pydev_ipython",
        "pydevconsole",
    ),
    *("runpy", "gc"),
)
"""Of the debugger, which forked kernels do not have; what runs a module, and what stops collecting
garbage before a fork."""


class Seen(NamedTuple):
    """A notebook that was run, and the files that it left in its folder."""

    ran: Ran
    files: dict[str, bytes]


class Pair(NamedTuple):
    """One notebook, run both ways."""

    cold: Seen
    fork: Seen


LANES = 2
"""Notebooks at once, each lane in folders and with warm processes of its own."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """All cases, two kernels at a time."""
    base = tmp_path_factory.mktemp("parity")
    names = [name for name in CASES if name not in MISSING]

    async def main() -> dict[str, Pair]:
        lanes = [lane(base / str(n), names[n::LANES]) for n in range(LANES)]
        return {name: pair for found in await asyncio.gather(*lanes) for name, pair in found}

    with pytest.MonkeyPatch.context() as patch:
        # With it, ipykernel does not read what is written to the descriptors 1 and 2.
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)
        return asyncio.run(main())


async def lane(root: Path, names: list[str]) -> list[tuple[str, Pair]]:
    """Cases one after the other, each way in one folder."""
    found = []
    async with Rig(folder(root, "cold"), "cold") as cold, Rig(folder(root, "fork")) as fork:
        for name in names:
            cells = [cell.replace("HIDDEN", repr(HIDDEN)) for cell in CASES[name]]
            seen = await see(cold, name, cells)
            if head_imports(cells, str(root)):  # from a process that has imported as much
                own = root / re.sub(r"\W+", "-", name)
                async with Rig(folder(own, "fork"), sources=[cells] * 2) as branch:
                    found.append((name, Pair(seen, await see(branch, name, cells))))
            else:
                found.append((name, Pair(seen, await see(fork, name, cells))))
    return found


def folder(root: Path, mode: str) -> Path:
    (root / mode).mkdir(parents=True)
    return root / mode


async def see(rig: Rig, name: str, cells: list[str]) -> Seen:
    """Run a notebook, and take away the files that it has left in its folder."""
    ran = await rig.run(make_job(rig.root, cells, re.sub(r"\W+", "-", name), timeout=60.0))
    left = [p for p in rig.root.iterdir() if p.name != "run"]
    files = {
        path.relative_to(rig.root).as_posix(): path.read_bytes()
        for path in sorted(rig.root.rglob("*"))
        if path.is_file() and path.relative_to(rig.root).parts[0] != "run"
    }
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Seen(ran, files)


def plain(value: Any, ran: Ran) -> Any:
    """Without what differs between any two kernels: paths, process ids, addresses, times."""
    text = str(value).replace(str(ran.root), "ROOT")
    text = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", text)
    text = re.sub(r"/tmp/nbpipe-[\w-]+/kernel(-\d+)?", "PRIVATE/kernel", text)
    text = re.sub(r"ipykernel_\d+", "ipykernel_PID", text)
    text = re.sub(r"started \d{6,}", "started ID", text)
    text = re.sub(r"Compiler *: .*\n", "", text)  # told by %time where it takes long
    return re.sub(r"\b\d+(\.\d+)?(e[+-]\d+)? (ns|[mμu]s|s)\b.*", "TIME", text)


def outputs(ran: Ran) -> list[Any]:
    """Every output; the text of one stream in a cell as one, since it comes in pieces."""
    found = []
    for cell in ran.notebook.cells:
        streams: dict[str, str] = {}
        others = []
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                streams[output.name] = streams.get(output.name, "") + output.text
            elif output.output_type == "error":
                others.append(
                    (output.ename, output.evalue, plain("\n".join(output.traceback), ran))
                )
            else:
                data = {k: len(v) if k == "image/png" else v for k, v in output.data.items()}
                others.append(plain(data, ran))
        found.append(({k: plain(v, ran) for k, v in streams.items()}, others))
    return found


def ending(ran: Ran) -> Any:
    failure = ran.failure
    return failure and (failure.error, plain(failure.message, ran), failure.cell)


@pytest.mark.parametrize("name", CASES)
def test_a_forked_kernel_does_as_a_cold_one(pairs: dict[str, Pair], name: str) -> None:
    if name in MISSING:
        pytest.skip(f"{name} is not installed, so nothing shows how it bears a fork")
    (cold, cold_files), (fork, fork_files) = pairs[name]
    assert (cold.started and cold.started.start) == "cold"
    assert (fork.started and fork.started.start) == "fork"
    assert outputs(fork) == outputs(cold)
    assert ending(fork) == ending(cold)
    assert fork_files == cold_files
