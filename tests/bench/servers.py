"""The servers of a run: upstreams, the yardstick and the gateway."""

import json
import os
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import bodies
from process import Failed, Process, accepts, free_port

HERE = Path(__file__).parent
NGINX = "/usr/sbin/nginx"
START_SECONDS = 60


def _nginx(name, core, directory, http):
    directory = Path(directory)
    directory.mkdir()
    for temporary in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (directory / temporary).mkdir()
    config = directory / "nginx.conf"
    config.write_text(
        f"""
        {"user root;" if os.getuid() == 0 else ""}
        daemon off;
        worker_processes 1;
        worker_rlimit_nofile 20000;
        pid {directory}/pid;
        error_log {directory}/error.log error;
        events {{ worker_connections 16384; }}
        http {{
            access_log off;
            client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi;
            uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            # A body of 50 KB stays in memory; connections are kept, as the gateway keeps them.
            client_body_buffer_size 128k;
            keepalive_requests 1000000000;
            keepalive_timeout 300s;
            {http}
        }}
        """
    )
    argv = [NGINX, "-e", directory / "error.log", "-p", directory, "-c", config]
    return Process(name, core, argv, directory / "log", ending=signal.SIGTERM, stop_seconds=10)


class ConstantUpstream:
    """nginx that answers the same bytes to everything: the fastest upstream there is."""

    name = "nginx, constant answer"

    def __init__(self, core, directory, answer, content_type):
        self.port = free_port()
        self.path = bodies.PATH
        files = Path(directory + "-files")
        files.mkdir()
        (files / "answer").write_bytes(answer)
        if len(answer) < 4000 and b"'" not in answer and b"$" not in answer:
            # In nginx's configuration a backslash before a quote or backslash is taken away.
            text = answer.decode().replace("\\", "\\\\")
            location = f"location / {{ default_type {content_type}; return 200 '{text}'; }}"
        else:
            # Longer than nginx's configuration can hold: a file, though it was asked for by POST.
            location = "location / { error_page 418 =200 /answer; return 418; }"
            location += f"location = /answer {{ internal; default_type {content_type}; root {files}; open_file_cache max=10; }}"
        http = f"sendfile on; tcp_nopush on; server {{ listen 127.0.0.1:{self.port} backlog=16384; {location} }}"
        self.process = _nginx("upstream", core, directory, http)
        self.process.until("it listens", START_SECONDS, lambda: accepts(self.port))
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.path}", b"{}", timeout=10) as got:
            if got.read() != answer or got.headers["Content-Type"] != content_type:
                raise Failed("nginx does not answer what it was told to answer")


class Simulator:
    """The simulator, which writes each event of a stream as it comes."""

    name = "simulator"

    def __init__(self, core, directory, command):
        self.port = free_port()
        self.path = bodies.PATH
        listen = f"127.0.0.1:{self.port}"
        argv = [part.replace("{listen}", listen) for part in command]
        self.process = Process("simulator", core, argv, directory + ".log", ending=signal.SIGINT, stop_seconds=40)
        self.process.until("it listens", START_SECONDS, lambda: accepts(self.port))


class NginxProxy:
    """The yardstick: proxy_pass with one worker and connections to the upstream that are kept."""

    name = "nginx"

    def __init__(self, core, directory, upstream_port, stream):
        self.port = free_port()
        self.path = bodies.PATH
        http = f"""
            upstream provider {{ server 127.0.0.1:{upstream_port}; keepalive 16384; keepalive_requests 1000000000; keepalive_timeout 300s; }}
            server {{
                listen 127.0.0.1:{self.port} backlog=16384;
                location /openai/ {{
                    proxy_pass http://provider;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_set_header Authorization "Bearer {bodies.PROVIDER_KEY}";
                    proxy_buffering {"off" if stream else "on"};
                    proxy_read_timeout 300s;
                }}
            }}
        """
        self.process = _nginx("nginx proxy", core, directory, http)
        self.process.until("it listens", START_SECONDS, lambda: accepts(self.port))


class Gateway:
    """The gateway with everything on, and a data directory of its own on disk."""

    name = "tollgate"

    def __init__(self, core, directory, upstream_port, binary, under=(), start_seconds=START_SECONDS, config="gateway.yaml", data=None, environment=None, configs=None):
        """`under` is a command that runs the gateway, such as a profiler; `data` is a directory that is there already; `configs`, texts by the names of their files, are read beside `config`."""
        self.directory = Path(directory)
        self.directory.mkdir()
        self.data = Path(data or self.directory / "data")
        (self.data / "addresses.json").unlink(missing_ok=True)
        self.path = bodies.PATH
        environment = {
            "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream_port}/openai",
            "BENCH_KEY": bodies.KEY,
            "BENCH_PROVIDER_KEY": bodies.PROVIDER_KEY,
            **(environment or {}),
        }
        argv = [*under, binary, "serve", "--config", self._config(config, configs), "--data", self.data]
        self.process = Process("gateway", core, argv, self.directory / "log", environment=environment)
        addresses = self.process.until("it says where it listens", start_seconds, self._addresses)
        self.port = int(addresses["http"].rpartition(":")[2])
        self._sql = f"http://{addresses['controller']}/api/query/v1/sql"
        self._token = os.environ.get("TOLLGATE_ADMIN_TOKEN") or (self.data / "admin-token").read_text().strip()
        self.process.until("it is ready", START_SECONDS, lambda: self._ready(addresses["admin"]))

    def _config(self, first, others):
        if not others:
            return HERE / first
        folder = self.directory / "config"
        folder.mkdir()
        shutil.copy(HERE / first, folder)
        for name, text in others.items():
            (folder / name).write_text(text)
        return folder

    def _addresses(self):
        path = self.data / "addresses.json"
        return json.loads(path.read_text()) if path.exists() else None

    @staticmethod
    def _ready(admin):
        try:
            with urllib.request.urlopen(f"http://{admin}/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def sql(self, statement, timeout=60):
        """Rows of a query, as dictionaries; decimals are text."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._sql, json.dumps({"sql": statement}).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"SQL was answered {error.code}: {error.read().decode(errors='replace')}") from None

    def forget(self):
        """Removes the data, of which a run at full speed leaves hundreds of megabytes."""
        shutil.rmtree(self.data)
