# SPDX-License-Identifier: Apache-2.0
"""The access log: formats, escapes, files, stderr, syslog, and that nobody waits for it."""
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer
from harness.setup import Edge, cluster, metric, simple

COMBINED = re.compile(r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] '
                      r'"([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"$')


def logged(box, answer=None, members=1, **settings):
    origins = [box.origin(f"m{i}", answer=answer) for i in range(members)]
    more = settings.pop("cluster", {})
    settings.setdefault("access-log", {"to": "access.log", "format": "json"})
    edge = Edge(box, {"web": cluster(origins, **more)}, **settings)
    return edge, origins


def lines(box, name="access.log"):
    path = box.folder / name
    return path.read_text().splitlines() if path.exists() else []


def rows(box, count, name="access.log", of=lambda row: row.get("user_agent") != "probe"):
    def enough():
        found = [row for row in map(json.loads, lines(box, name)) if of(row)]
        return found if len(found) >= count else None
    return wait(f"{count} lines in the access log", enough)


def row_of(box, target, name="access.log"):
    return rows(box, 1, name, of=lambda row: row.get("target") == target)[0]


def test_off_by_default(box):
    edge, _ = simple(box)
    http1.fetch(edge.address, "/x")
    assert not [p for p in box.folder.iterdir() if "access" in p.name]
    assert metric(edge, "access_log_records") == 0


def test_combined(box):
    edge, _ = logged(box, **{"access-log": "access.log"})
    http1.fetch(edge.address, "/a?b=c", fields=[("Referer", "http://r/"), ("User-Agent", "me/1")])
    line = wait("a line", lambda: [x for x in lines(box) if "/a?b=c" in x])[0]
    found = COMBINED.match(line)
    assert found, line
    assert found.group(1) == "127.0.0.1" and found.group(3) == "GET /a?b=c HTTP/1.1"
    assert found.group(4) == "200" and int(found.group(5)) == len("m0 GET /a?b=c\n")
    assert found.group(6) == "http://r/" and found.group(7) == "me/1"
    then = time.mktime(time.strptime(found.group(2)[:20], "%d/%b/%Y:%H:%M:%S")) - time.timezone
    assert abs(then - time.time()) < 120


def test_common(box):
    edge, _ = logged(box, **{"access-log": {"to": "access.log", "format": "common"}})
    http1.fetch(edge.address, "/common", "HEAD")
    line = wait("a line", lambda: [x for x in lines(box) if "/common" in x])[0]
    assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "HEAD /common HTTP/1\.1" 200 0', line), line


def test_json_says_what_happened(box):
    edge, origins = logged(box, lambda request: Answer(201, "x" * 500))
    http1.fetch(edge.address, "/j?k=1", "POST", fields=[("User-Agent", "me")], body=b"12345")
    row = row_of(box, "/j?k=1")
    assert row["method"] == "POST" and row["protocol"] == "HTTP/1.1" and row["status"] == 201
    assert row["client"] == row["peer"] == "127.0.0.1" and row["scheme"] == "http"
    assert row["cluster"] == "web" and row["route"] == "route-1"
    assert row["member"] == "web-" + origins[0].address.replace(":", "-")
    assert row["bytes"] == 500 and row["request_bytes"] == 5 and row["sent_bytes"] > 500
    assert row["end"] == "done" and row["retries"] == 0 and row["attempts"] == 1
    assert row["cache"] == "none" and len(row["request_id"]) == 32 and len(row["trace_id"]) == 32
    assert 0 < row["first_byte_us"] <= row["duration_us"] < 5_000_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])


def test_times_are_the_members(box):
    def slow(request):
        time.sleep(0.2)
        return Answer(200, "late")
    edge, _ = logged(box, slow)
    http1.fetch(edge.address, "/slow")
    row = row_of(box, "/slow")
    assert 200_000 <= row["first_byte_us"] <= row["duration_us"] < 3_000_000


def test_cache_words(box):
    edge, _ = logged(box, lambda request: Answer(200, "c", [("Cache-Control", "max-age=60")]),
                     cache={"memory": "1MiB"})
    for path, method in (("/c", "GET"), ("/c", "GET"), ("/c", "POST")):
        http1.fetch(edge.address, path, method)
    found = rows(box, 3, of=lambda row: row.get("target") == "/c")
    assert [row["cache"] for row in found] == ["miss", "hit", "bypass"]
    assert "member" not in found[1] and found[1]["attempts"] == 0 and found[1]["bytes"] == 1
    assert found[1]["first_byte_us"] > 0


def test_retries_are_counted(box):
    edge, origins = logged(box, cluster={"health": None, "eject": {"failures": 0},
                                         "retry-budget": 1, "balance": "round-robin"}, members=2)
    origins[0].stop()
    for i in range(4):
        assert http1.fetch(edge.address, f"/r{i}").status == 200
    found = rows(box, 4, of=lambda row: row.get("target", "").startswith("/r"))
    assert sum(row["retries"] for row in found) >= 1
    assert {row["member"] for row in found} == {"web-" + origins[1].address.replace(":", "-")}


def test_nobody_there(box):
    edge, origins = logged(box, cluster={"health": None, "eject": {"failures": 0}})
    origins[0].stop()
    assert http1.fetch(edge.address, "/gone").status == 503
    row = row_of(box, "/gone")
    assert row["status"] == 503 and row["attempts"] >= 1


def test_client_that_went_away_is_499(box):
    release = threading.Event()

    def hold(request):
        release.wait(10)
        return Answer(200, "x")
    edge, origins = logged(box, hold)
    with socket.create_connection(("127.0.0.1", edge.port)) as sock:
        sock.sendall(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
        wait("the request", lambda: any(r.path == "/left" for r in origins[0].requests))
    row = row_of(box, "/left")
    release.set()
    assert row["status"] == 499 and row["end"] == "dropped" and row["first_byte_us"] is None


def test_cut_response_is_seen(box):
    edge, _ = logged(box, lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nx")
    with http1.Client(edge.address) as client:
        with pytest.raises(Exception):
            client.request("GET", "/cut")
    assert row_of(box, "/cut")["end"] == "cut"


NASTY = [
    b"GET /a\\\"b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: x\" 200 1 \"-\r\n\r\n",
    b"GET /utf8 HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xc3\xa9 \xff\r\nReferer: a\tb\r\n\r\n",
    b"GET /x HTTP/1.1\nforged\r\n\r\n",
    b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"127.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \"GET /admin HTTP/1.1\" 200 1\r\n\r\n",
]


@pytest.mark.parametrize("form", ["common", "combined", "json"])
def test_no_line_can_be_forged(box, form):
    edge, _ = logged(box, **{"access-log": {"to": "access.log", "format": form}})
    http1.fetch(edge.address, "/first")
    before = len(wait("a first line", lambda: lines(box)))
    for raw in NASTY:
        with socket.create_connection(("127.0.0.1", edge.port)) as sock:
            sock.settimeout(10)
            sock.sendall(raw)
            assert sock.recv(4096)
    wait("a line each", lambda: len(lines(box)) >= before + len(NASTY))
    text = (box.folder / "access.log").read_bytes()
    assert all(c == 10 or 32 <= c < 127 for c in text)
    found = text.decode().splitlines()[before:]
    assert len(found) == len(NASTY)
    if form == "json":
        made = [json.loads(line) for line in found]
        agents = [row.get("user_agent") for row in made]
        assert 'x" 200 1 "-' in agents and "caf\xc3\xa9 \xff" in agents
        assert all(row["status"] in (200, 400) for row in made)
    elif form == "combined":
        assert all(COMBINED.match(line) for line in found), found


def test_long_fields_are_shortened(box):
    edge, _ = logged(box)
    http1.fetch(edge.address, "/" + "l" * 6000, fields=[("User-Agent", "u" * 5000)])
    row = rows(box, 1, of=lambda row: row.get("shortened"))[0]
    assert len(row["target"]) == 2048 and len(row["user_agent"]) == 512 and row["cluster"] == "web"


def test_file_is_opened_anew(box):
    edge, _ = logged(box)
    http1.fetch(edge.address, "/one")
    row_of(box, "/one")
    os.rename(box.folder / "access.log", box.folder / "access.log.1")
    edge.process.signal(signal.SIGUSR1)
    wait("the new file", lambda: (box.folder / "access.log").exists())
    http1.fetch(edge.address, "/two")
    row_of(box, "/two")
    assert not [x for x in lines(box, "access.log.1") if "/two" in x]
    assert edge.process.alive()


def test_file_moved_without_a_signal(box):
    edge, _ = logged(box)
    http1.fetch(edge.address, "/one")
    row_of(box, "/one")
    os.rename(box.folder / "access.log", box.folder / "access.log.1")

    def again():
        http1.fetch(edge.address, "/again")
        return (box.folder / "access.log").exists()
    wait("a new file by itself", again)
    row_of(box, "/again")


def test_signal_without_a_log_is_nothing(box):
    edge, _ = simple(box)
    edge.process.signal(signal.SIGUSR1)
    assert http1.fetch(edge.address).status == 200 and edge.process.alive()


def test_run_passes_the_signal_on(box):
    origin = box.origin("m")
    edge = Edge(box, {"web": cluster([origin])}, role="run",
                **{"access-log": {"to": "access.log", "format": "json"}})
    http1.fetch(edge.address, "/one")
    row_of(box, "/one")
    os.rename(box.folder / "access.log", box.folder / "access.log.1")
    edge.process.signal(signal.SIGUSR1)
    wait("the new file", lambda: (box.folder / "access.log").exists())
    assert edge.process.alive() and http1.fetch(edge.address).status == 200


def test_reload_turns_it_on_changes_it_and_off(box):
    edge, _ = simple(box)

    def reload(log):
        edge.settings["access-log"] = log
        edge.write()
        before = len([e for e in edge.process.events() if e["event"] == "configuration re-read"])
        edge.process.signal(signal.SIGHUP)
        wait("the reload", lambda: len([e for e in edge.process.events() if e["event"] ==
                                        "configuration re-read"]) > before)
    reload({"to": "a.log", "format": "json"})
    wait("a line", lambda: http1.fetch(edge.address, "/a").status and lines(box, "a.log"))
    reload({"to": "b.log", "format": "combined"})
    wait("a line", lambda: http1.fetch(edge.address, "/b").status and
         [x for x in lines(box, "b.log") if COMBINED.match(x)])
    reload("off")
    time.sleep(0.1)
    size = (box.folder / "b.log").stat().st_size
    for _ in range(20):
        http1.fetch(edge.address, "/c")
    time.sleep(0.2)
    assert (box.folder / "b.log").stat().st_size == size


def test_reload_with_a_bad_path_changes_nothing(box):
    edge, _ = logged(box)
    edge.settings["access-log"]["to"] = "not/there/access.log"
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the refusal", lambda: [e for e in edge.process.events()
                                 if "not/there/access.log" in str(e.get("why"))])
    http1.fetch(edge.address, "/still")
    row_of(box, "/still")


def test_start_with_a_bad_path_is_refused(box):
    edge = Edge(box, {"web": cluster([box.origin("m")])}, wait_for=False,
                **{"access-log": "not/there/access.log"})
    edge.process.expected = {1}
    assert edge.process.wait() == 1
    assert "access-log not/there/access.log: No such file or directory" in edge.process.log()


def test_stderr(box):
    edge, _ = logged(box, **{"access-log": "stderr"})
    http1.fetch(edge.address, "/err")
    wait("a line", lambda: [x for x in edge.process.log().splitlines()
                            if COMBINED.match(x) and "/err" in x])


def test_syslog(box):
    path = str(box.folder / "log.sock")
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    daemon.bind(path)
    daemon.settimeout(10)
    edge, _ = logged(box, id="edge-1", **{"access-log": {
        "to": "syslog", "socket": "log.sock", "facility": "local0", "format": "json"}})
    http1.fetch(edge.address, "/sys")
    while True:
        message = daemon.recv(65536).decode()
        if "/sys" in message:
            break
    found = re.fullmatch(r"<134>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S+) edge-1 (\d+) "
                         r"access - (\{.*\})", message)
    assert found, message
    assert int(found.group(3)) == edge.process.pid
    assert json.loads(found.group(4))["target"] == "/sys"
    # The daemon goes, and comes back: what it missed is counted.
    daemon.close()
    os.unlink(path)
    http1.fetch(edge.address, "/missed")
    wait("a lost line", lambda: metric(edge, "access_log_lost") > 0)
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    daemon.bind(path)
    daemon.settimeout(0.2)

    def back():
        http1.fetch(edge.address, "/back")
        return "/back" in daemon.recv(65536).decode()
    wait("a line to the new daemon", back)
    daemon.close()


def test_nobody_waits_for_a_full_pipe(box):
    os.mkfifo(box.folder / "pipe")
    reader = os.open(box.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    edge, _ = logged(box, **{"access-log": {"to": "pipe", "format": "json", "buffer": "64KiB"}})
    agent = "u" * 500
    with http1.Client(edge.address) as client:
        def dropped():
            for _ in range(50):
                assert client.request("GET", "/p", [("User-Agent", agent)]).status == 200
            return metric(edge, "access_log_dropped") > 0
        wait("records to be dropped", dropped)
    # Once somebody reads, lines come whole again, and what was dropped was counted.
    text = b""
    until = time.monotonic() + 20
    while time.monotonic() < until and b'"/after"' not in text:
        http1.fetch(edge.address, "/after")
        try:
            text += os.read(reader, 1 << 20)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(reader)
    whole = text.split(b"\n")[:-1]
    assert len(whole) > 10 and all(json.loads(line) for line in whole)


def test_every_request_is_there_when_it_ends(box):
    edge, _ = logged(box, workers=2)
    with http1.Client(edge.address) as client:
        for i in range(2000):
            assert client.request("GET", f"/n{i}").status == 200
    edge.process.stop()
    seen = [row["target"] for row in map(json.loads, lines(box)) if row["target"].startswith("/n")]
    assert seen == [f"/n{i}" for i in range(2000)]
