"""Processes on a core of their own: started, measured, and ended by their id."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The benchmark cannot go on, or what it measured does not count."""


def cores():
    """The core of the proxy, and the core of client and upstream."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Failed("needs two cores: one for the proxy, one for client and upstream")
    return usable[0], usable[1]


def pinned(core, argv):
    """The command on one core, or on all if that is None; asked to end by the kernel if this process dies without doing so."""
    place = [] if core is None else ["taskset", "-c", str(core)]
    return ["setpriv", "--pdeathsig", "TERM", *place, *map(str, argv)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, seconds, probe):
    """Waits for `probe` to return something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A server of a run; a context manager that ends it."""

    def __init__(self, name, core, argv, log, environment=None, ending=signal.SIGTERM, stop_seconds=60):
        self.name, self.log, self.ending, self.stop_seconds = name, Path(log), ending, stop_seconds
        environment = {**os.environ, "TOKIO_WORKER_THREADS": "1", **(environment or {})}
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(pinned(core, argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, trace):
        if kind is None:
            self.stop()
        else:
            self.end()

    def until(self, what, seconds, probe):
        """Waits for `probe`, or for the process to end before that."""

        def alive():
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended with {self.child.returncode} before {what}:\n{self.tail()}")
            return probe()

        return until(f"{self.name}: {what}", seconds, alive)

    def stop(self):
        """Asks it to end and demands that it does so in good order."""
        self.child.send_signal(self.ending)
        try:
            code = self.child.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failed(f"{self.name} did not end within {self.stop_seconds} s:\n{self.tail()}") from None
        if code not in (0, -self.ending):
            raise Failed(f"{self.name} ended with {code}:\n{self.tail()}")

    def end(self):
        """Ends it in any case."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def kill(self):
        """Ends it as a crash does."""
        self.child.kill()
        self.child.wait()

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def pids(self):
        """Itself and its children: nginx works in a child."""
        pids = [self.child.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.child.pid:
                    pids.append(int(stat.parent.name))
            except (OSError, ValueError, IndexError):
                pass  # it ended meanwhile
        return pids

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def resident_bytes(self, field="VmRSS:"):
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field):
                    total += int(line.split()[1]) * 1024
        return total

    def peak_bytes(self):
        """The most memory that was ever resident."""
        return self.resident_bytes("VmHWM:")


def machine_seconds():
    """Seconds that all cores were busy, and seconds that the host took away from them."""
    fields = [int(field) / TICK for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return user + nice + system + irq + softirq, steal
