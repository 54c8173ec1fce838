"""A node in l7 mode on sockets of loopback, and an origin behind it, both with a directory and ports of their own."""

import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """
[server]
mode = "l7"
worker_threads = 1
state_dir = "{folder}/state"
keepalive_timeout = "60s"
max_connections = 20000
[io]
driver = "socket"
[[listeners]]
name = "https"
bind_address = "127.0.0.1:{port}"
[[backends]]
name = "origin"
address = "127.0.0.1:{origin}"
[health]
enable = false
passive_failures = 0
[tls]
source_handshake_rate = 0
worker_handshake_rate = 0
[limits]
source_rate = 0
source_connections = 0
[lists]
auto_ban = false
[waf]
rate_limit_rps = 0
[http]
max_body_bytes = 0
head_timeout = "2s"
rate_grace = "3s"
min_body_rate = 500
min_response_rate = 500
max_requests = 0
[http.upstream]
breaker_percent = 0
[metrics]
bind_address = "127.0.0.1:{api}"
[access_log]
path = "off"
[logging]
level = "warn"
"""


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for holder in held:
        holder.bind(("127.0.0.1", 0))
    ports = [holder.getsockname()[1] for holder in held]
    for holder in held:
        holder.close()
    return ports


class Place:
    def __init__(self, node, origin_port=None):
        """With the origin at `origin_port`, or one of its own."""
        self.folder = tempfile.mkdtemp(prefix="http2-test-")
        self.port, self.origin_port, self.api = free_ports(3)
        self.path = node
        self.log = open(f"{self.folder}/node.log", "wb")
        self.processes = []
        if origin_port is None:
            origin = [sys.executable, str(ROOT / "tests/origin.py"), str(self.origin_port)]
            self.processes.append(subprocess.Popen(origin))
        else:
            self.origin_port = origin_port
        config = pathlib.Path(self.folder) / "node.toml"
        config.write_text(
            CONFIG.format(folder=self.folder, port=self.port, origin=self.origin_port, api=self.api)
        )
        self.node = subprocess.Popen([node, "--config", str(config)], stdout=self.log, stderr=self.log)
        self.processes.append(self.node)
        self.wait()

    def wait(self):
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.api}/health", timeout=2).read()
                socket.create_connection(("127.0.0.1", self.origin_port), timeout=2).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise SystemExit(f"the node does not start:\n{self.said()}")

    def said(self):
        self.log.flush()
        return pathlib.Path(f"{self.folder}/node.log").read_text()[-3000:]

    def url(self, path="/"):
        return f"https://127.0.0.1:{self.port}{path}"

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def violations(self):
        """Counts by name, as exported."""
        counts = {}
        for line in self.metrics().splitlines():
            if line.startswith("secbeat_http2_violations_total{"):
                labels, _, value = line.partition("} ")
                name = labels.split('violation="')[1].split('"')[0]
                counts[name] = counts.get(name, 0) + int(float(value))
        return counts

    def rss_bytes(self):
        for line in open(f"/proc/{self.node.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
