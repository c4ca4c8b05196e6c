# SPDX-License-Identifier: Apache-2.0
"""What the edge forwards, other readers take for the same single request."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from harness.box import free_port

import strict
import table
import wire

BEHIND = b"GET /behind HTTP/1.1\r\nHost: edge.test\r\n\r\n"
# What these refuse on principle, and so cannot misread.
REFUSES = {
    "nginx": {"method of every tchar", "method in lower case is another", "asterisk of OPTIONS",
              "OPTIONS for a whole server, absolute"},
    "haproxy": set(),
}

NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  large_client_header_buffers 8 64k; underscores_in_headers on; ignore_invalid_headers off;
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Host $http_host;
    proxy_set_header Connection ""; }} }}
}}
"""
HAPROXY = """global
  tune.bufsize 65536
  tune.http.maxhdr 300
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 5s
listen l
  bind 127.0.0.1:{port}
  server o 127.0.0.1:{origin}
"""


def captured(suite):
    rows = [r for r in suite.rows if isinstance(r.expect, table.Forwarded)]
    assert len(rows) > 80
    return [(row, suite.captured[id(row)]) for row in rows if id(row) in suite.captured]


def h11_reads_the_same(suite):
    h11 = pytest.importorskip("h11")
    for row, data in captured(suite):
        mine, after = strict.request(data)
        assert after == len(data), row.name
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        reader.receive_data(data + BEHIND)
        head = reader.next_event()
        body, trailers = b"", []
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage), (row.name, event)
                trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
                break
        assert (head.method, head.target, body) == (mine.method, mine.target, mine.body), row.name
        assert [(n.lower(), v) for n, v in mine.fields] == [
            (bytes(n), bytes(v)) for n, v in head.headers], row.name
        assert trailers == [(n.lower(), v) for n, v in mine.trailers], row.name
        assert reader.trailing_data[0] == BEHIND, row.name


def start(name, folder, port, origin):
    text = (NGINX if name == "nginx" else HAPROXY).format(folder=folder, port=port, origin=origin)
    path = os.path.join(folder, "conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    program = shutil.which(name) or f"/usr/sbin/{name}"
    if not os.access(program, os.X_OK):
        pytest.skip(f"{name} is not installed here")
    arguments = ["-c", path, "-p", folder] if name == "nginx" else ["-f", path, "-db"]
    return subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(port, process):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "it ended"
            time.sleep(0.02)
    raise AssertionError("it does not listen")


def server_reads_the_same(suite, name):
    folder = tempfile.mkdtemp(prefix="freshet-others-")
    os.chmod(folder, 0o777)
    line, port, process = wire.Wire(), free_port(), None
    try:
        process = start(name, folder, port, line.port)
        wait_for(port, process)
        trials = []
        for number, (row, data) in enumerate(captured(suite)):
            if row.name in REFUSES[name]:
                continue
            behind = b"/q/%06d" % number
            methods = [strict.request(data)[0].method.decode("latin-1"), "GET"]
            run = wire.Run([data + BEHIND.replace(b"/behind", behind)], methods)
            trials.append((row, data, behind.decode(), run))
        line.run([run for *_, run in trials], ("127.0.0.1", port))
        line.idle(0.2)
        wrong = [why for row, data, behind, run in trials
                 if (why := verdict(line, row, data, behind, run))]
        assert not wrong, "\n".join(wrong[:10])
        assert not line.bad
    finally:
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        line.close()
        shutil.rmtree(folder, ignore_errors=True)


def verdict(line, row, data, behind, run):
    mine, _ = strict.request(data)
    key = wire.Wire.key_of(mine)
    seen = line.seen.get(key, [])
    if len(seen) != 1 or len(line.seen.get(behind, [])) != 1:
        return (f"{row.topic}: {row.name}: {len(seen)} requests, then "
                f"{len(line.seen.get(behind, []))}; the client got {run.data[:80]!r}")
    got = seen[0]
    if (got.method, got.body) != (mine.method, mine.body):
        return f"{row.topic}: {row.name}: {got.method!r} {got.body[:60]!r}"
    if got.target != mine.target or got.get("host") != mine.get("host"):
        return f"{row.topic}: {row.name}: {got.target[:60]!r} at {got.get('host')!r}"
    return None
