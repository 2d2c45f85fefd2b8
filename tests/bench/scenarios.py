"""What is measured: each scenario alternates between the subjects and returns plain data for report.py."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import bodies
import ledger
from load import HeldStreams, Usage, paced, wrk
from process import Failed
from servers import ConstantUpstream, Gateway, NginxProxy, Simulator

JSON_TYPE, STREAM_TYPE = "application/json", "text/event-stream"


@dataclass
class Throughput:
    """Requests a second at full speed."""

    name: str
    question: str
    request: bytes
    upstream: str  # "constant" or "simulator"
    answer: bytes = b""
    directives: str = ""
    stream: bool = False
    goal: float | None = None
    connections: int = 64


@dataclass
class Latency:
    """Latency at a constant rate that saturates nothing."""

    name: str
    question: str
    request: bytes
    answer: bytes
    rate: int = 1000
    connections: int = 16
    goal_us: int = 150


@dataclass
class Beside:
    """What something that is switched on costs the request path: the gateway with it and without, in turn."""

    name: str
    question: str
    request: bytes
    answer: bytes
    configs: dict[str, str]  # resources beside gateway.yaml, by the names of their files
    goal: float
    exports: bool = False
    connections: int = 64


@dataclass
class Lag:
    """How far an exporter is behind while calls arrive at a constant rate."""

    name: str
    question: str
    request: bytes
    answer: bytes
    configs: dict[str, str]
    rate: int = 5000
    connections: int = 64
    goal_us: int = 2_000_000


@dataclass
class Idle:
    """Memory of streams that are held open."""

    name: str
    question: str
    request: bytes
    streams: int = 5000
    # The simulator sends the role and this many words, then nothing more.
    directives: str = "chunks=100; stall_after=3"
    events: int = 3


EXPORTER = (Path(__file__).parent / "exporter.yaml").read_text()

SCENARIOS = [
    Throughput("json", "1 KB in, 1 KB out", bodies.request(1024), "constant", bodies.completion(1024), goal=0.5),
    Throughput("prompt50k", "50 KB in, 1 KB out", bodies.request(50 * 1024), "constant", bodies.completion(1024)),
    Throughput(
        "sse", "stream of 100 chunks, each a write of its own", bodies.request(1024, True), "simulator",
        directives=f"chunks={bodies.CHUNKS}; {bodies.SIMULATED_USAGE}", stream=True, goal=2 / 3,
    ),
    Throughput(
        "sse-merged", "stream of 100 chunks, merged into larger writes", bodies.request(1024, True), "simulator",
        directives=f"chunks={bodies.CHUNKS}; flush=0; {bodies.SIMULATED_USAGE}", stream=True, goal=2 / 3,
    ),
    Throughput(
        "sse-constant", "stream of 100 chunks, all there at once", bodies.request(1024, True), "constant", bodies.stream(),
        stream=True, goal=2 / 3,
    ),
    Latency("latency", "added latency at 1,000 requests/s, 1 KB in, 1 KB out", bodies.request(1024), bodies.completion(1024)),
    Beside(
        "budgets", "with 1,000 budgets defined, five of them for each call", bodies.request(1024), bodies.completion(1024), {"budgets.yaml": bodies.budgets()},
        goal=0.95,
    ),
    Beside(
        "exporting", "with an exporter that delivers every row while calls are made", bodies.request(1024), bodies.completion(1024),
        {"exporter.yaml": EXPORTER}, goal=0.97, exports=True,
    ),
    Lag("lag", "how far an exporter is behind at 5,000 calls/s", bodies.request(1024), bodies.completion(1024), {"exporter.yaml": EXPORTER}),
    Idle("idle", "memory of 5,000 idle streams", bodies.request(1024, True)),
]  # fmt: skip


class Bench:
    """One run of the benchmarks: its options, its folder, and servers that are started afresh for every measurement."""

    def __init__(self, options, directory, proxy_core, load_core):
        self.options, self.directory = options, Path(directory)
        self.proxy_core, self.load_core = proxy_core, load_core
        self.count = 0
        if options.simulator:
            self.simulator_command = [*options.simulator.split(), "{listen}"]
        else:
            self.simulator_command = [options.tollgate, "simulate", "--listen", "{listen}"]

    def place(self, what):
        self.count += 1
        return str(self.directory / f"{self.count:03}-{what}")

    def body(self, content):
        path = Path(self.place("body"))
        path.write_bytes(content)
        return path

    def say(self, text):
        print(f"  {text}", flush=True)

    def upstream(self, scenario):
        if getattr(scenario, "upstream", "constant") == "simulator":
            return Simulator(self.load_core, self.place("simulator"), self.simulator_command)
        content_type = STREAM_TYPE if getattr(scenario, "stream", False) else JSON_TYPE
        return ConstantUpstream(self.load_core, self.place("upstream"), scenario.answer, content_type)

    @contextlib.contextmanager
    def gateway(self, upstream, configs=None, receiver=None):
        """A gateway with further resources, alone on its core."""
        environment = {"BENCH_RECEIVER": f"http://127.0.0.1:{receiver.port}/rows"} if receiver else None
        target = Gateway(self.proxy_core, self.place("tollgate"), upstream.port, self.options.tollgate, configs=configs, environment=environment)
        with target.process:
            yield target
        target.forget()

    @contextlib.contextmanager
    def receiver(self, wanted=True):
        """Takes what exporters send, on the core of the load."""
        if not wanted:
            yield None
            return
        far = ConstantUpstream(self.load_core, self.place("receiver"), b"{}", JSON_TYPE)
        with far.process:
            yield far

    @contextlib.contextmanager
    def subject(self, name, upstream, stream):
        """The server that the client talks to, alone on its core."""
        if name == "direct":
            yield upstream
            return
        if name == "nginx":
            target = NginxProxy(self.proxy_core, self.place("nginx"), upstream.port, stream)
        else:
            target = Gateway(self.proxy_core, self.place("tollgate"), upstream.port, self.options.tollgate)
        with target.process:
            yield target
        if name == "tollgate":
            target.forget()

    def rounds(self):
        """A B A B A B, so that what changes on the machine meanwhile changes for all."""
        for number in range(self.options.pairs):
            for name in self.options.subjects:
                yield number, name

    # === throughput ===

    def throughput(self, scenario):
        body = self.body(scenario.request)
        extra = {"x-simulate": scenario.directives} if scenario.directives else None
        runs = []
        upstream = self.upstream(scenario)
        with upstream.process:
            for number, name in self.rounds():
                if name == "direct" and number:
                    continue  # it only shows where the upstream ends
                with self.subject(name, upstream, scenario.stream) as target:
                    runs.append(self._throughput_run(scenario, name, target, upstream, body, extra))
        return {"kind": "throughput", "upstream": upstream.name, "connections": scenario.connections, "goal": scenario.goal, "runs": runs}

    def _throughput_run(self, scenario, name, target, upstream, body, extra):
        def load(seconds):
            return wrk(self.load_core, target, body, extra, scenario.connections, seconds, self.directory)

        warm = load(self.options.warm_up)
        usage = Usage([target, upstream])
        result = load(self.options.seconds)
        used = usage.seconds()
        rate = result["requests"] * 1_000_000 / result["duration_us"]
        run = {"subject": name, "requests_per_second": rate, **result, **_load_of(used, result["requests"], name)}
        if name == "tollgate":
            run["ledger"] = ledger.check(target, warm["requests"] + result["requests"], 2 * scenario.connections)
        self.say(f"{name}: {rate:,.0f} requests/s, proxy core {run['proxy_percent']:.0f} %, others {run['foreign_percent']:.0f} %")
        return run

    # === with something beside it, and without ===

    def beside(self, scenario):
        body = self.body(scenario.request)
        runs = []
        upstream = self.upstream(scenario)
        with upstream.process, self.receiver(scenario.exports) as receiver:
            for number in range(self.options.pairs):
                # Each goes first every other time: what a run leaves to the machine is the next one's.
                order = ("without", "with") if number % 2 == 0 else ("with", "without")
                for name in order:
                    configs = scenario.configs if name == "with" else None
                    with self.gateway(upstream, configs, receiver) as target:
                        run = self._throughput_run(_Plain(scenario.connections), "tollgate", target, upstream, body, None)
                        if name == "with" and scenario.exports:
                            run["exports"] = _delivered(target, run["ledger"]["row_count"])
                        runs.append({**run, "subject": name})
        return {"kind": "beside", "upstream": upstream.name, "connections": scenario.connections, "goal": scenario.goal, "runs": runs}

    # === an exporter's lag ===

    def lag(self, scenario):
        body = self.body(scenario.request)
        count = scenario.rate * (self.options.seconds + 1)
        runs = []
        upstream = self.upstream(scenario)
        with upstream.process, self.receiver() as receiver:
            for _ in range(self.options.pairs):
                with self.gateway(upstream, scenario.configs, receiver) as target, LagSamples(target) as samples:
                    usage = Usage([target, upstream])
                    result = paced(
                        self.options.paced, self.load_core, target, body, scenario.connections, count, scenario.rate, skip=scenario.rate
                    )
                    used = usage.seconds()
                    behind = samples.stop()
                    run = {"subject": "tollgate", **result, **_load_of(used, result["requests"], "tollgate"), **behind}
                    run["ledger"] = ledger.check(target, result["requests"], 0)
                    run["exports"] = _delivered(target, run["ledger"]["row_count"])
                    runs.append(run)
                    self.say(f"lag: at most {run['lag_max_us'] / 1e6:.2f} s in {run['samples']} samples, others {run['foreign_percent']:.0f} %")
        return {"kind": "lag", "upstream": upstream.name, "rate": scenario.rate, "goal_us": scenario.goal_us, "runs": runs}

    # === latency ===

    def latency(self, scenario):
        body = self.body(scenario.request)
        count = scenario.rate * (self.options.seconds + 1)
        runs = []
        upstream = self.upstream(scenario)
        with upstream.process:
            for _, name in self.rounds():
                with self.subject(name, upstream, False) as target:
                    usage = Usage([target, upstream])
                    result = paced(
                        self.options.paced, self.load_core, target, body, scenario.connections, count, scenario.rate, skip=scenario.rate
                    )
                    run = {"subject": name, **result, **_load_of(usage.seconds(), result["requests"], name)}
                    if name == "tollgate":
                        run["ledger"] = ledger.check(target, result["requests"], 0)
                    runs.append(run)
                    self.say(f"{name}: median {run['p50_us']:.0f} us, p99 {run['p99_us']:.0f} us, others {run['foreign_percent']:.0f} %")
        return {"kind": "latency", "upstream": upstream.name, "rate": scenario.rate, "goal_us": scenario.goal_us, "runs": runs}

    # === idle streams ===

    def idle(self, scenario):
        body = self.body(scenario.request)
        extra = {"x-simulate": scenario.directives}
        runs = []
        upstream = Simulator(self.load_core, self.place("simulator"), self.simulator_command)
        with upstream.process:
            for name in self.options.subjects:
                if name == "direct":
                    continue
                with self.subject(name, upstream, True) as target:
                    runs.append(self._idle_run(scenario, name, target, body, extra))
        return {"kind": "idle", "upstream": upstream.name, "runs": runs}

    def _idle_run(self, scenario, name, target, body, extra):
        def hold(streams):
            return HeldStreams(self.load_core, target, body, extra, streams, scenario.events)

        # The first stream makes what is made once; what is freed again after more of them would be counted as there before.
        with hold(1):
            before = _settled(target)
        with hold(scenario.streams) as held:
            held_open = _settled(target)
        after = _settled(target)
        run = {
            "subject": name, "streams": held["streams"], "before_bytes": before, "held_bytes": held_open, "after_bytes": after,
            "bytes_per_stream": (held_open - before) / held["streams"],
        }  # fmt: skip
        if name == "tollgate":
            run["rows"] = _aborted_rows(target, scenario.streams + 1)
        self.say(f"{name}: {before / 1e6:.1f} MB before, {held_open / 1e6:.1f} MB with {held['streams']} streams")
        return run


@dataclass
class _Plain:
    """A whole answer, as the constant upstream gives it."""

    connections: int
    directives: str = ""


EXPORTS = "SELECT lag_rows, lag_us, delivered, retried, dead FROM exports"


class LagSamples:
    """Asks four times a second how far the exporter is behind, while calls are made."""

    def __init__(self, gateway):
        self.gateway, self.seen, self.problem = gateway, [], None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        try:
            while not self.ended.wait(0.25):
                self.seen.append(self.gateway.sql(EXPORTS)[0])
        except (Failed, OSError) as problem:
            self.problem = problem

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def stop(self):
        self.__exit__()
        if self.problem:
            raise Failed(f"the exporter's lag could not be asked for: {self.problem}")
        # Before the first row there is nothing to be behind.
        lags = [row["lag_us"] or 0 for row in self.seen if row["delivered"] or row["lag_rows"]]
        if not lags:
            raise Failed(f"the exporter never had a row: {self.seen}")
        return {"samples": len(lags), "lag_median_us": median(lags), "lag_max_us": max(lags), "lag_rows_max": max(row["lag_rows"] or 0 for row in self.seen)}


def _delivered(gateway, rows, seconds=60):
    """Every row of the run must arrive, and none be refused."""
    deadline = time.monotonic() + seconds
    while True:
        found = gateway.sql(EXPORTS)[0]
        if found["delivered"] == rows and not found["dead"]:
            return found
        if found["dead"] or found["delivered"] > rows or time.monotonic() > deadline:
            raise Failed(f"{rows} rows were to be delivered, each once: {found}")
        time.sleep(0.25)


def _load_of(used, requests, name):
    """Shares of a core, in percent; of a direct call nothing is a proxy."""
    proxy, upstream = used["servers"]
    proxy = 0.0 if name == "direct" else proxy
    return {
        "proxy_percent": 100 * proxy / used["wall"],
        "proxy_us_per_request": 1_000_000 * proxy / requests,
        "upstream_percent": 100 * upstream / used["wall"],
        "foreign_percent": used["foreign_percent"],
        "steal_percent": used["steal_percent"],
    }


def _settled(target, seconds=40):
    """Resident memory once it has been within 0.5 % for three seconds."""
    deadline = time.monotonic() + seconds
    seen = []
    while True:
        seen.append(target.process.resident_bytes())
        last = seen[-4:]
        if len(last) == 4 and max(last) - min(last) <= 0.005 * min(last):
            return seen[-1]
        if time.monotonic() > deadline:
            raise Failed(f"{target.name}: resident memory did not settle within {seconds} s: {seen}")
        time.sleep(1)


def _aborted_rows(gateway, streams, seconds=150):
    """Every stream that the client closed must become exactly one row; an upstream that is silent is given up within `abandoned_read`."""
    statement = "SELECT count(*) AS row_count, count(*) FILTER (WHERE outcome = 'client_aborted') AS aborted FROM usage"
    deadline = time.monotonic() + seconds
    while True:
        rows = gateway.sql(statement)[0]
        if rows == {"row_count": streams, "aborted": streams}:
            return rows
        if time.monotonic() > deadline or rows["row_count"] > streams:
            raise Failed(f"{streams} streams were opened and closed by the client, but the rows are {rows}")
        time.sleep(1)
