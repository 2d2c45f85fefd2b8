"""The load generators: wrk at full speed, paced on a schedule, and streams that are held open."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import bodies
from process import Failed, machine_seconds, pinned

HERE = Path(__file__).parent
SPARE_SECONDS = 60


def headers(extra=None):
    return {"Content-Type": "application/json", "Authorization": f"Bearer {bodies.KEY}", **(extra or {})}


def _children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Usage:
    """Who used the cores while a load ran, in percent of one core."""

    def __init__(self, servers):
        self.servers = servers
        self.before = self._now()

    def _now(self):
        return time.monotonic(), machine_seconds(), _children_seconds(), [server.process.cpu_seconds() for server in self.servers]

    def seconds(self):
        """Wall time, CPU seconds of each server, and those of everything that is not part of the benchmark."""
        before, now = self.before, self._now()
        servers = [late - early for early, late in zip(before[3], now[3], strict=True)]
        ours = sum(servers) + now[2] - before[2]
        wall = now[0] - before[0]
        foreign = max(0.0, now[1][0] - before[1][0] - ours)
        return {"wall": wall, "servers": servers, "foreign_percent": 100 * foreign / wall, "steal_percent": 100 * (now[1][1] - before[1][1]) / wall}


def _completed(argv, seconds, environment=None):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + SPARE_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv[-1]}: the load generator did not end") from None
    if done.returncode:
        raise Failed(f"the load generator failed: {done.stdout}{done.stderr}")
    return done.stdout


def _counted(result, target):
    wrong = {name: result[name] for name in ("not_2xx", "socket_errors", "timeouts") if result.get(name)}
    if wrong or not result["requests"]:
        raise Failed(f"{target.name}: not every request was answered well: {result}\n{target.process.tail()}")
    return result


def wrk(core, target, body, extra, connections, seconds, directory):
    """As many requests as the target answers."""
    out = Path(directory) / "wrk.json"
    environment = {
        **os.environ,
        "BENCH_BODY": str(body),
        "BENCH_OUT": str(out),
        "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in headers(extra).items()),
    }
    url = f"http://127.0.0.1:{target.port}{target.path}"
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", HERE / "load.lua", url]
    _completed(pinned(core, argv), seconds, environment)
    return _counted(json.loads(out.read_text()), target)


def paced(binary, core, target, body, connections, count, rate=0, skip=0):
    """So many requests, at so many a second."""
    argv = [binary, "--to", f"127.0.0.1:{target.port}", "--path", target.path, "--body", body, "--connections", connections]
    argv += ["--count", count, "--rate", rate, "--skip", skip]
    for name, value in headers().items():
        argv += ["--header", f"{name}: {value}"]
    printed = _completed(pinned(core, argv), count / rate if rate else 600)
    return _counted(json.loads(printed), target)


class HeldStreams:
    """Streams whose upstream has stopped in the middle; they stay open while this is entered."""

    def __init__(self, core, target, body, extra, streams, events):
        argv = [sys.executable, "-B", HERE / "streams.py", target.port, target.path, body, streams, events]
        argv += [f"{name}: {value}" for name, value in headers(extra).items()]
        self.child = subprocess.Popen(pinned(core, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.child.stdout.readline()
        if not line:
            self.__exit__()
            raise Failed("the client of the idle streams failed")
        return json.loads(line)

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
