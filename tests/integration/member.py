#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A member as a process, for pools: python3 member.py --port N [--id ID] [--control FILE].

GET /healthz says 200. Everything else answers after the latency of the control file with
"ID PATH\\n" and X-Origin: ID. The control file is JSON, read anew for every request:
{"latency_ms": 20, "utilization": 0.9, "healthy": true, "servers": {"local-2": {"healthy": false}}}
"""
import argparse
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Member(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    options = None

    def settings(self):
        if not self.options.control:
            return {}
        try:
            with open(self.options.control, encoding="utf-8") as file:
                control = json.load(file)
        except (OSError, ValueError):
            return {}
        return {**control, **control.get("servers", {}).get(self.options.id, {})}

    def do_GET(self):
        settings = self.settings()
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            self.rfile.read(length)
        status = 200
        if self.path == "/healthz":
            status = 200 if settings.get("healthy", True) else 503
        elif settings.get("latency_ms"):
            time.sleep(settings["latency_ms"] / 1000)
        body = f"{self.options.id} {self.path}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Origin", self.options.id)
        self.send_header("X-Pid", str(os.getpid()))
        if settings.get("utilization") is not None:
            self.send_header("endpoint-load-metrics",
                             f"TEXT application_utilization={settings['utilization']}")
        if self.path.startswith("/static/"):
            self.send_header("Cache-Control", "max-age=60")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--id", default="member")
    parser.add_argument("--control")
    parser.add_argument("--mark", help="ignored: lets the test find this process again")
    Member.options = parser.parse_args()
    ThreadingHTTPServer.request_queue_size = 256
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer((Member.options.host, Member.options.port), Member)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
