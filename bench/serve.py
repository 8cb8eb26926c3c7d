#!/usr/bin/env python3
"""Measures folk beside nginx + php-fpm: hello, mixed slow and fast, kills, overload, memory.

Everything runs on loopback, on free ports, in a temporary directory; load is bounded and stops by
itself. Needs wrk, nginx and php-fpm (Debian: apt install wrk nginx-light php-fpm php-cli).

    bench/serve.py [hello|mixed|kills|overload|memory ...] [--rounds 5] [--seconds 5] [--folk target/release/folk]
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELLO_FPM = "<?php header('Content-Type: text/html; charset=UTF-8'); echo 'Hello, world!';\n"
WORKER = """<?php
require %s;
Folk\\serve(function (Folk\\Request $request) {
    $path = $request->path();
    if ($path === '/') { return 'Hello, world!'; }
    if ($path === '/pid') { return (string) getmypid(); }
    $ms = (int) substr($path, 1);
    usleep($ms * 1000);
    return 'slept';
});
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, deadline=20):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.2):
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port}")


def tree(pid):
    """The process and all below it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                pass
    return found


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Server:
    def __init__(self, name, argv, port, pids=None):
        self.name, self.port = name, port
        self.log = tempfile.NamedTemporaryFile("w+", suffix=f".{name}.log")
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log)
        self.others = pids or []
        wait_for(port)

    def pids(self):
        return [pid for root in [self.process.pid, *[o.pid for o in self.others]] for pid in tree(root)]

    def stop(self):
        for process in [self.process, *self.others]:
            process.send_signal(signal.SIGTERM)
        for process in [self.process, *self.others]:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def start_folk(folk, work, workers, *options):
    (work / "worker.php").write_text(WORKER % json.dumps(str(ROOT / "php" / "autoload.php")))
    port = free_port()
    config = work / "folk.toml"
    config.write_text(
        f'[log]\nlevel = "warn"\n[http]\nlisten = "127.0.0.1:{port}"\n[server]\nrpc = ""\n'
        f'[pools.default]\nruntime = "process"\nscript = "worker.php"\nworkers = {workers}\nmax_jobs = 0\n'
    )
    argv = [folk, "serve", "-c", str(config)]
    for option in options:
        argv += ["-o", option]
    server = Server("folk", argv, port)
    check(server)
    return server


def check(server):
    status, body, _ = get(server.port, "/")
    if (status, body) != (200, b"Hello, world!"):
        server.stop()
        raise SystemExit(f"{server.name} answers {status} {body!r}")


def start_nginx(work):
    fpm = next((p for p in (shutil.which("php-fpm8.2"), shutil.which("php-fpm")) if p), None)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    fpm = fpm or "/usr/sbin/php-fpm8.2"
    root = work / "www"
    root.mkdir()
    (root / "index.php").write_text(HELLO_FPM)
    for directory in (work, work.parent):
        directory.chmod(0o755)  # for php-fpm's own user
    sock, port = work / "fpm.sock", free_port()
    (work / "fpm.conf").write_text(
        f"[global]\nerror_log = {work}/fpm.log\ndaemonize = no\n[www]\nlisten = {sock}\nlisten.mode = 0666\n"
        "user = www-data\ngroup = www-data\npm = static\npm.max_children = 8\npm.max_requests = 0\n"
    )
    # Kept connections: 2 nginx workers with 4 each, never more than the 8 children.
    (work / "nginx.conf").write_text(
        f"""daemon off; worker_processes 2; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {work}/b; proxy_temp_path {work}/p;
fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; tcp_nodelay on;
upstream php {{ server unix:{sock}; keepalive 4; }}
server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ fastcgi_pass php; fastcgi_keep_conn on;
fastcgi_param SCRIPT_FILENAME {root}/index.php; fastcgi_param QUERY_STRING $query_string;
fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REQUEST_URI $request_uri;
fastcgi_param SERVER_PROTOCOL $server_protocol; fastcgi_param REMOTE_ADDR $remote_addr; }} }} }}
"""
    )
    php = subprocess.Popen([fpm, "-F", "-y", str(work / "fpm.conf")], stderr=subprocess.DEVNULL)
    for _ in range(500):
        if sock.exists():
            break
        time.sleep(0.02)
    server = Server("nginx+fpm", [nginx, "-e", f"{work}/nginx-start.log", "-c", str(work / "nginx.conf")], port, [php])
    check(server)
    return server


def get(port, path, timeout=10):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def wrk(port, path, connections, seconds, threads=1):
    text = subprocess.run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s", f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, check=True,
    ).stdout
    ms = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def percentile(which):
        match = re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", text)
        return float(match[1]) * ms[match[2]] if match else float("nan")

    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: (.*)", text)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "total": int(re.search(r"(\d+) requests in", text)[1]),
        "p50": percentile(50), "p99": percentile(99),
        "errors": int(errors[1]) if errors else 0, "sockets": sockets[1] if sockets else "",
    }


def spread(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}..{max(values):,.0f})"


def hello(args, work):
    (work / "nginx").mkdir()
    servers = [start_folk(args.folk, work, args.workers), start_nginx(work / "nginx")]
    try:
        for connections in (32, 128):
            runs = {server.name: [] for server in servers}
            for server in servers:
                wrk(server.port, "/", connections, 1)
            for _ in range(args.rounds):
                for server in servers:
                    pids = server.pids()
                    before = cpu_seconds(pids)
                    run = wrk(server.port, "/", connections, args.seconds)
                    run["cpu_us"] = (cpu_seconds(pids) - before) / run["total"] * 1e6
                    runs[server.name].append(run)
            for name, measured in runs.items():
                print(
                    f"hello {connections:4} connections  {name:10} {spread([m['rate'] for m in measured]):>28} req/s  "
                    f"p50 {statistics.median(m['p50'] for m in measured):.2f} ms  p99 {statistics.median(m['p99'] for m in measured):.2f} ms  "
                    f"CPU {statistics.median(m['cpu_us'] for m in measured):.1f} us/req  errors {sum(m['errors'] for m in measured)}"
                )
            ratios = [f["rate"] / n["rate"] for f, n in zip(runs["folk"], runs["nginx+fpm"])]
            print(f"hello {connections:4} connections  folk / nginx+fpm: {statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})")
    finally:
        for server in servers:
            server.stop()


def mixed(args, work):
    """1 ms requests on 8 workers, without and with two workers busy with 200 ms ones."""
    server = start_folk(args.folk, work, 8)
    try:
        wrk(server.port, "/1", 4, 1)
        alone, beside = [], []
        for _ in range(args.rounds):
            alone.append(wrk(server.port, "/1", 4, args.seconds)["p99"])
            slow = subprocess.Popen(
                ["wrk", "-t1", "-c2", f"-d{args.seconds + 1}s", f"http://127.0.0.1:{server.port}/200"], stdout=subprocess.DEVNULL
            )
            time.sleep(0.5)
            beside.append(wrk(server.port, "/1", 4, max(1, args.seconds - 1))["p99"])
            slow.wait()
        print(f"mixed  p99 of 1 ms requests: alone {statistics.median(alone):.2f} ms, beside two of 200 ms {statistics.median(beside):.2f} ms, ratio {statistics.median(beside) / statistics.median(alone):.2f}")
    finally:
        server.stop()


class Load(threading.Thread):
    """One keep-alive client in a loop; counts failures and the longest wait."""

    def __init__(self, port, path, stop):
        super().__init__(daemon=True)
        self.port, self.path, self.stop_event = port, path, stop
        self.good = self.failed = self.refused = 0
        self.longest = 0.0
        self.kinds = {}
        self.no_retry_after = 0

    def run(self):
        connection = None
        while not self.stop_event.is_set():
            began = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", self.path)
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.good += 1
                elif response.status == 503:
                    self.refused += 1
                    self.no_retry_after += "Retry-After" not in response.headers
                else:
                    self.failed += 1
                    self.kinds[response.status] = self.kinds.get(response.status, 0) + 1
                if response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failed += 1
                self.kinds[repr(error)] = self.kinds.get(repr(error), 0) + 1
                connection = None
            self.longest = max(self.longest, time.monotonic() - began)


def load(port, path, clients, during):
    stop = threading.Event()
    clients = [Load(port, path, stop) for _ in range(clients)]
    for client in clients:
        client.start()
    try:
        during()
    finally:
        stop.set()
    for client in clients:
        client.join(40)
    kinds = {}
    for client in clients:
        for kind, count in client.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return clients, kinds


def workers_of(server):
    return [pid for pid in tree(server.process.pid) if pid != server.process.pid]


def kills(args, work):
    server = start_folk(args.folk, work, 4)
    killed = 0

    def kill():
        nonlocal killed
        while killed < 200:
            alive = workers_of(server)
            if alive:
                try:
                    os.kill(random.choice(alive), signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        time.sleep(1)

    try:
        clients, kinds = load(server.port, "/1", 8, kill)
        hung = sum(client.is_alive() for client in clients)
        print(
            f"kills  {killed} workers killed: {sum(c.good for c in clients)} answered, {sum(c.failed for c in clients)} failed {kinds}, "
            f"{sum(c.refused for c in clients)} refused, longest {max(c.longest for c in clients):.2f} s, hung {hung}"
        )
    finally:
        server.stop()


def overload(args, work):
    """Ten times what 2 workers can do: 200 clients for requests of 100 ms, a queue of 20."""
    server = start_folk(args.folk, work, 2, "pools.default.queue.max=20", "pools.default.queue.timeout=1s")
    before, peak = rss_kib(server.process.pid), 0

    def watch():
        nonlocal peak
        for _ in range(50):
            peak = max(peak, rss_kib(server.process.pid))
            time.sleep(0.1)

    try:
        clients, kinds = load(server.port, "/100", 200, watch)
        print(
            f"overload  {sum(c.good for c in clients)} answered, {sum(c.refused for c in clients)} refused with 503 "
            f"({sum(c.no_retry_after for c in clients)} without Retry-After), {sum(c.failed for c in clients)} failed {kinds}, "
            f"longest {max(c.longest for c in clients):.2f} s, server {before} KiB before, {peak} KiB at most"
        )
    finally:
        server.stop()


def memory(args, work):
    server = start_folk(args.folk, work, 2)
    try:
        time.sleep(1)
        rest = rss_kib(server.process.pid)
        sockets = []
        for _ in range(1000):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            sockets.append(s)
        for s in sockets:
            s.recv(4096)
        time.sleep(1)
        held = rss_kib(server.process.pid)
        print(f"memory  server at rest {rest / 1024:.1f} MiB, with 1,000 idle keep-alive connections {held / 1024:.1f} MiB (+{(held - rest) / 1024:.1f})")
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folk", default=str(ROOT / "target" / "release" / "folk"))
    args = parser.parse_args()
    benches = {"hello": hello, "mixed": mixed, "kills": kills, "overload": overload, "memory": memory}
    unknown = set(args.what) - set(benches)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(benches)}")
    for name in args.what or benches:
        with tempfile.TemporaryDirectory(prefix="folk-bench-") as work:
            benches[name](args, Path(work))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
