"""Runs scenario `json` or `budgets` under a profiler; profile.sh calls it."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import bodies
from load import Usage, paced, wrk
from process import Failed, cores
from servers import ConstantUpstream, Gateway

CONNECTIONS = 64
WARM_UP_SECONDS = 2
RECORD_SECONDS = 10
# Under callgrind a request takes tens of times as long.
WARM_UP_REQUESTS = 500
COUNTED_REQUESTS = 5000
START_SECONDS = 300
LINES = 40


def said(*argv):
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def perf_works(directory):
    if not shutil.which("perf"):
        return False
    return said("perf", "record", "-o", f"{directory}/probe", "--", "true")[0] == 0


def configs(options):
    return {"budgets.yaml": bodies.budgets()} if options.budgets else None


def by_perf(options, directory, upstream, body, proxy_core, load_core):
    """Samples at full speed; and the machine's own count of instructions, if it lets perf see that."""
    gateway = Gateway(proxy_core, f"{directory}/tollgate", upstream.port, options.tollgate, configs=configs(options))
    with gateway.process:
        wrk(load_core, gateway, body, None, CONNECTIONS, WARM_UP_SECONDS, directory)
        pid = gateway.process.child.pid
        counter = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-e", "instructions:u,instructions:k", "-o", f"{directory}/stat", "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            usage = Usage([gateway, upstream])
            result = wrk(load_core, gateway, body, None, CONNECTIONS, RECORD_SECONDS, directory)
            used = usage.seconds()
        finally:
            counter.send_signal(signal.SIGINT)
            counter.wait(30)
        requests = result["requests"]
        print(f"{requests:,} requests in {RECORD_SECONDS} s, {1e6 * used['servers'][0] / requests:.1f} us of CPU each")
        for line in Path(f"{directory}/stat").read_text().splitlines():
            count, _, event, *_ = [*line.split(","), "", "", ""]
            if count.isdigit():
                print(f"{int(count) / requests:,.0f} {event} a request")
            elif "instructions" in event:
                print(f"{event}: this machine does not count them; `profile.sh callgrind` does")

        samples = subprocess.Popen(
            ["perf", "record", "-F", "1999", "-g", "-o", f"{directory}/perf.data", "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wrk(load_core, gateway, body, None, CONNECTIONS, RECORD_SECONDS, directory)
        finally:
            samples.send_signal(signal.SIGINT)
            samples.wait(60)
    for title, sort in (("By thread", "comm"), ("By binary", "dso"), ("By function", "symbol")):
        code, text = said("perf", "report", "-i", f"{directory}/perf.data", "--stdio", "--no-children", "-g", "none", "--sort", sort, "--percent-limit", "0.1")
        if code:
            raise Failed(f"perf report: {text}")
        lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#") and "%" in line]
        print(f"\n{title}, share of samples:")
        print("\n".join(lines[:LINES]))
    kept = Path(tempfile.mkdtemp(prefix="tollgate-profile-")) / "perf.data"
    shutil.move(f"{directory}/perf.data", kept)
    print(f"\nsamples with their callers: perf report -i {kept}")


def by_callgrind(options, directory, upstream, body, proxy_core, load_core):
    """Exact instructions in user space, of so many requests."""
    out = Path(tempfile.mkdtemp(prefix="tollgate-profile-")) / "callgrind.out"
    under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    gateway = Gateway(proxy_core, f"{directory}/tollgate", upstream.port, options.tollgate, under, START_SECONDS, configs=configs(options))
    gateway.process.stop_seconds = 300
    with gateway.process:
        pid = gateway.process.child.pid

        def load(count):
            return paced(options.paced, load_core, gateway, body, CONNECTIONS, count)["requests"]

        load(WARM_UP_REQUESTS)
        for switch in ("on", "off"):
            code, text = said("callgrind_control", "-i", switch, pid)
            if code:
                raise Failed(f"callgrind_control: {text}")
            if switch == "on":
                requests = load(COUNTED_REQUESTS)
    code, text = said("callgrind_annotate", "--auto=no", "--show-percs=no", "--threshold=99", out)
    if code:
        raise Failed(f"callgrind_annotate: {text}")
    total = re.search(r"^\s*([\d,]+).*PROGRAM TOTALS", text, re.M)
    if not total:
        raise Failed(f"callgrind counted nothing: {text}")
    instructions = int(total[1].replace(",", ""))
    print(f"{instructions / requests:,.0f} instructions a request in user space ({requests:,} requests)\n")
    print("instructions a request, share, function:")
    printed = 0
    for line in text[total.end() :].splitlines():
        found = re.match(r"\s*([\d,]+)\s+(\S.*)", line)
        if found and printed < LINES:
            count = int(found[1].replace(",", ""))
            name = re.sub(r"^\?\?\?:|^.*?/(?=[^/]*:)", "", found[2]).replace(" [" + str(options.tollgate) + "]", "")
            print(f"{count / requests:10,.0f} {100 * count / instructions:5.1f} %  {name[:150]}")
            printed += 1
    print(f"\nall of it: callgrind_annotate {out}")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("profile: ended by a signal"))
    signal.signal(signal.SIGINT, lambda *_: sys.exit("profile: interrupted"))
    parser = argparse.ArgumentParser(prog="tests/bench/profile.sh", description="Profiles the gateway under scenario `json`, or `budgets`.")
    parser.add_argument("tool", nargs="?", choices=("perf", "callgrind"), help="perf where it works, else callgrind")
    parser.add_argument("--budgets", action="store_true", help="scenario `budgets` instead: 1,000 of them, five for each call")
    parser.add_argument("--work", default="/var/tmp", help="folder on a disk, for the ledger (/var/tmp)")
    parser.add_argument("--tollgate", help=argparse.SUPPRESS)
    parser.add_argument("--paced", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.tollgate = os.path.abspath(options.tollgate)
    with tempfile.TemporaryDirectory(prefix="tollgate-profile-", dir=options.work) as directory:
        tool = options.tool or ("perf" if perf_works(directory) else "callgrind")
        body = Path(directory) / "body"
        body.write_bytes(bodies.request(1024))
        try:
            proxy_core, load_core = cores()
            upstream = ConstantUpstream(load_core, f"{directory}/upstream", bodies.completion(1024), "application/json")
            with upstream.process:
                profile = by_perf if tool == "perf" else by_callgrind
                profile(options, directory, upstream, body, proxy_core, load_core)
        except Failed as problem:
            sys.exit(f"profile: {problem}")


if __name__ == "__main__":
    main()
