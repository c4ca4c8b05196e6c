# SPDX-License-Identifier: Apache-2.0
"""One test's box: a folder, the processes started in it, and waiting with deadlines."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import yaml

from . import http1
from .origin import Origin

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("FRESHET") or str(ROOT / "build-test/freshet")
MEMBER = str(ROOT / "tests/integration/member.py")
SANITIZER = re.compile(r"(ERROR: (Address|Leak)Sanitizer|(WARNING|ERROR|FATAL): ThreadSanitizer|"
                       r"runtime error:|invariant failed|requirement failed)")
BLOCK = 50  # ports, of port_range()
# A deadline is there to end a hopeless wait; a healthy run never comes near it.
PATIENCE = float(os.environ.get("FRESHET_TEST_PATIENCE", "20"))


def wait(what, condition, timeout=PATIENCE):
    """The first true value of condition(); exceptions of the network count as not yet."""
    until = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, http1.ProtocolError) as error:
            last = error
        if time.monotonic() > until:
            raise AssertionError(f"waited {timeout:.0f} s for {what}; last: {last!r}")
        time.sleep(0.01)


def hold(what, condition, seconds):
    """condition() must stay true for this long: for what must not happen."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert condition(), f"no longer so: {what}"
        time.sleep(0.01)


def sanitized():
    """The binary's memory is not what it would be: figures of it mean nothing."""
    with open(BINARY, "rb") as file:
        text = file.read()
    return b"libtsan" in text or b"libasan" in text


def free_port():
    """A port of the kernel's choice that it will not give to anyone else for a minute: a
    connection on it is left in TIME_WAIT, which a listener with SO_REUSEADDR may pass."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()
            client.recv(1)
    return port


class Process:
    def __init__(self, box, name, arguments, popen, out, err):
        self.box, self.name, self.arguments, self.popen = box, name, arguments, popen
        self.out_path, self.err_path = out, err
        self.expected = {0, -signal.SIGTERM, -signal.SIGKILL}

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.err_path.read_text(errors="replace")

    def out(self):
        return self.out_path.read_text(errors="replace")

    def events(self):
        """The JSON lines of its log."""
        rows = []
        for line in self.log().splitlines():
            if line.startswith("{"):
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    pass
        return rows

    def signal(self, number):
        self.popen.send_signal(number)

    def kill9(self):
        self.popen.kill()
        self.popen.wait(10)

    def wait(self, timeout=PATIENCE):
        return self.popen.wait(timeout)

    def stop(self, timeout=PATIENCE):
        """SIGTERM, and it must end by itself."""
        if self.alive():
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)
            self.popen.wait(10)
            raise AssertionError(f"{self.name} did not stop within {timeout} s of SIGTERM")


@contextlib.contextmanager
def shared_box():
    """A box for a fixture that many tests share: what is wrong at its end fails the last one."""
    box = Box()
    try:
        yield box
    finally:
        complaints = box.close()
        box.remove()
    assert not complaints, "\n".join(complaints)


class Box:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="freshet-"))
        self.processes = []
        self.origins = []
        self.closers = []
        self.given = set()
        self.marks = []  # of blocks of ports

    # ---- addresses ----

    def port(self):
        while True:
            port = free_port()
            if port not in self.given:
                self.given.add(port)
                return port

    def port_range(self, count):
        """The first of `count` neighbouring free ports, below those the kernel gives out. They are
        in a block that no other test of this machine may use before this box is closed: what is
        listened on a second from now is as taken as what is listened on now."""
        assert count <= BLOCK
        for _ in range(200):
            first = random.SystemRandom().randrange(12000, 31000 - BLOCK, BLOCK)
            held = [socket.socket(socket.AF_UNIX)]
            try:
                held[0].bind(f"\0freshet-test-ports-{first}")
                for port in range(first, first + count):
                    held.append(socket.socket())
                    held[-1].bind(("127.0.0.1", port))
                self.marks.append(held.pop(0))
                return first
            except OSError:
                continue
            finally:
                for sock in held:
                    sock.close()
        raise AssertionError("no free ports")

    def origin(self, name="a", **more):
        origin = Origin(name, **more)
        self.origins.append(origin)
        return origin

    # ---- files ----

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def config(self, settings, name="freshet.yaml"):
        return self.write(name, yaml.safe_dump(settings, sort_keys=False))

    def ledger(self, state="state"):
        """The whole ledger, or {} before there is one."""
        path = self.folder / state / "ledger.yaml"
        return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}

    def ledger_servers(self, cluster, state="state", only=None):
        """id -> entry of the servers that the ledger lists for a cluster."""
        clusters = self.ledger(state).get("clusters") or {}
        servers = (clusters.get(cluster) or {}).get("servers") or []
        return {s["id"]: s for s in servers if only is None or s["state"] == only}

    # ---- processes ----

    def start(self, *arguments, name=None, env=None, prefix=(), binary=BINARY):
        name = name or f"{arguments[0] if arguments else 'freshet'}-{len(self.processes)}"
        out, err = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with open(out, "wb") as stdout, open(err, "ab") as stderr:
            popen = subprocess.Popen([*prefix, binary, *map(str, arguments)], cwd=self.folder,
                                     stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                     env={**os.environ, **(env or {})}, start_new_session=True)
        process = Process(self, name, arguments, popen, out, err)
        self.processes.append(process)
        return process

    def run(self, *arguments, timeout=60, env=None):
        """A command that ends by itself."""
        done = subprocess.run([BINARY, *map(str, arguments)], cwd=self.folder, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env={**os.environ, **(env or {})})
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    def serving(self, address, process=None):
        """Waits until something answers on an address."""
        def ready():
            assert process is None or process.alive(), f"{process.name} ended:\n{process.log()}"
            http1.connect(address, 1.0).close()
            return True
        return wait(f"{address} to be served", ready)

    def members(self):
        """Processes of pools that carry this box's mark: pid -> command line."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                except OSError:
                    continue
                if b"--mark" in command and str(self.folder).encode() in command and state != "Z":
                    found[int(entry.name)] = [part.decode() for part in command if part]
        return found

    def strays(self):
        """Processes of the binary that still run in this box without being ours to stop."""
        own = {process.pid for process in self.processes if process.alive()}
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in own:
                try:
                    if (os.readlink(entry / "cwd") == str(self.folder) and
                            os.readlink(entry / "exe") == os.path.realpath(BINARY)):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def member_command(self, control=True):
        """The command of a process pool whose members this box finds again."""
        command = [sys.executable if sys.executable == "/usr/bin/python3" else "/usr/bin/python3",
                   MEMBER, "--port", "{port}", "--id", "{id}", "--mark", str(self.folder)]
        return command + (["--control", str(self.folder / "control.json")] if control else [])

    def control(self, **settings):
        path = self.folder / "control.json"
        path.with_suffix(".new").write_text(json.dumps(settings))
        path.with_suffix(".new").rename(path)

    def logs(self):
        parts = []
        for process in self.processes:
            text = process.log()
            if len(text) > 8000:
                text = text[:2000] + "\n[...]\n" + text[-6000:]
            parts.append(f"==== {process.name} {' '.join(map(str, process.arguments))} "
                         f"(exit {process.popen.poll()})\n{text}")
        for extra in sorted(self.folder.glob("*/ledger.yaml")):
            parts.append(f"==== {extra.name}\n{extra.read_text()}")
        return "\n".join(parts)

    def close(self):
        """Ends everything, then complains about what did not end well."""
        complaints = []
        for close in reversed(self.closers):
            try:
                close()
            except Exception as error:  # whatever it is, the processes are ended too
                complaints.append(f"{type(error).__name__}: {error}")
        running = [process for process in self.processes if process.alive()]
        for process in running:
            process.signal(signal.SIGTERM)
        for origin in self.origins:
            origin.release()
        for process in running:
            try:
                process.popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                complaints.append(f"{process.name} did not end within {PATIENCE} s of SIGTERM")
                process.kill9()
        for origin in self.origins:
            origin.stop()
        try:
            wait("every process of the box to end", lambda: not self.strays(), 5)
        except AssertionError:
            complaints.append(f"left running: {self.strays()}")
        for pid in [*self.members(), *self.strays()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.processes:
            if process.expected and process.popen.returncode not in process.expected:
                complaints.append(f"{process.name} ended with {process.popen.returncode}")
            found = SANITIZER.search(process.log())
            if found:
                complaints.append(f"{process.name}: {process.log()[found.start():][:4000]}")
        for mark in self.marks:
            mark.close()
        return complaints

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
