# SPDX-License-Identifier: Apache-2.0
"""Files from a folder: lookup, conditions, ranges, neighbours, and every way out of the folder."""
import email.parser
import gzip
import hashlib
import os
import re
import resource
import signal
import socket
import time

import pytest

from harness import http1
from harness.box import hold, wait
from harness.setup import Edge, cluster, metric, resident_kib

HELLO = b"hello, file\n"


def folder(box, name="www"):
    top = box.folder / name
    (top / "sub").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / ".git").mkdir()
    (top / ".well-known").mkdir()
    for path, data in (("hello.txt", HELLO), ("index.html", b"<p>top"), ("zero.bin", b""),
                       ("sub/index.html", b"<p>sub"), ("sub/a b.css", b"a{}"),
                       (".git/config", b"secret"), (".well-known/x", b"known"),
                       (".env", b"secret"), ("ten.bin", b"0123456789")):
        (top / path).write_bytes(data)
    (box.folder / "secret.txt").write_text("secret")
    return top


def serve(box, routes=None, **files):
    folder(box)
    return Edge(box, {}, routes=routes or [{"files": {"folder": "www", **files}}])


# ---- lookup ---------------------------------------------------------------------------------

def test_a_file(box):
    edge = serve(box)
    response = http1.fetch(edge.address, "/hello.txt?query=ignored")
    assert response.status == 200 and response.body == HELLO
    assert response.get("Content-Type") == "text/plain; charset=utf-8"
    assert response.get("Accept-Ranges") == "bytes" and response.get("Date")
    assert re.fullmatch(r'"[0-9a-f-]+"', response.get("ETag"))
    assert response.get("Last-Modified").endswith(" GMT")
    assert response.get("Vary") is None and response.get("Cache-Control") is None
    head = http1.fetch(edge.address, "/hello.txt", "HEAD")
    assert head.status == 200 and head.body == b"" and head.get("Content-Length") == "12"
    assert head.get("ETag") == response.get("ETag")


@pytest.mark.parametrize("path, status, body", [
    ("/", 200, b"<p>top"), ("/sub/", 200, b"<p>sub"), ("/sub//", 200, b"<p>sub"),
    ("//sub///a%20b.css", 200, b"a{}"), ("/%73ub/a%20b.css", 200, b"a{}"),
    ("/zero.bin", 200, b""), ("/.well-known/x", 200, b"known"),
    ("/none", 404, None), ("/none/", 404, None), ("/hello.txt/", 404, None),
    ("/hello.txt/x", 404, None), ("/empty/", 403, None), ("/" + "a" * 300, 404, None),
    ("/.env", 404, None), ("/.git/config", 404, None), ("/%2egit/config", 404, None),
    ("/sub/%2e%2e/hello.txt", 400, None),
])
def test_lookup(box, path, status, body):
    edge = serve(box)
    response = http1.fetch(edge.address, path)
    assert response.status == status
    if body is not None:
        assert response.body == body


def test_a_folder_without_its_slash(box):
    edge = serve(box)
    for path, location in (("/sub", "/sub/"), ("/sub?a=b", "/sub/?a=b"), ("//sub", "/sub/"),
                           ("/%73ub", "/%73ub/")):
        response = http1.fetch(edge.address, path)
        assert response.status == 301 and response.get("Location") == location


def test_methods(box):
    edge = serve(box)
    with http1.Client(edge.address) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            response = client.request(method, "/hello.txt", body=b"12345")
            assert response.status == 405 and response.get("Allow") == "GET, HEAD"
        assert client.request(path="/hello.txt").body == HELLO


def test_settings(box):
    top = folder(box)
    (top / "start.htm").write_text("start")
    edge = Edge(box, {}, routes=[
        {"match": {"path": "/docs/"},
         "files": {"folder": "www", "strip": "/docs", "index": "start.htm", "hidden": True,
                   "cache-control": "public, max-age=60", "headers": {"X-One": "1"}}},
        {"match": {"path": "/app"},
         "files": {"folder": "www", "strip": "/app", "fallback": "/index.html", "ranges": 0}}])
    response = http1.fetch(edge.address, "/docs/")
    assert response.text == "start" and response.get("X-One") == "1"
    assert response.get("Cache-Control") == "public, max-age=60"
    assert http1.fetch(edge.address, "/docs/.env").text == "secret"
    tag = response.get("ETag")
    response = http1.fetch(edge.address, "/docs/", fields=[("If-None-Match", tag)])
    assert response.status == 304 and response.get("Cache-Control") == "public, max-age=60"
    for path in ("/app/none", "/app/a/b/c", "/app/.env", "/app/empty/none", "/application"):
        response = http1.fetch(edge.address, path)
        assert response.status == 200 and response.text == "<p>top", path
        assert response.get("Content-Type") == "text/html; charset=utf-8"
    response = http1.fetch(edge.address, "/app/hello.txt", fields=[("Range", "bytes=0-0")])
    assert response.status == 200 and response.get("Accept-Ranges") == "none"
    assert http1.fetch(edge.address, "/app").get("Location") == "/app/"
    assert http1.fetch(edge.address, "/app/../x").status == 400


def test_forbidden_files(box):
    top = folder(box)
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(top / "sock"))
    (top / "closed").write_text("x")
    (top / "closed").chmod(0)
    edge = Edge(box, {}, routes=[{"files": "www"}])
    for path in ("/fifo", "/sock") + (() if os.geteuid() == 0 else ("/closed",)):
        assert http1.fetch(edge.address, path).status == 403, path
    wait("them to be counted", lambda: metric(edge, "files_forbidden") >= 2)


# ---- ways out -------------------------------------------------------------------------------

ESCAPES = [
    b"/../secret.txt", b"/sub/../../secret.txt", b"/./../secret.txt", b"/%2e%2e/secret.txt",
    b"/.%2e/secret.txt", b"/%2E./secret.txt", b"/..%2fsecret.txt", b"/..%2Fsecret.txt",
    b"/%2e%2e%2fsecret.txt", b"/..%5csecret.txt", b"/..\\secret.txt", b"/%252e%252e/secret.txt",
    b"/..%c0%afsecret.txt", b"/%c0%ae%c0%ae/secret.txt", b"/%uff0e%uff0e/secret.txt",
    b"/..;/secret.txt", b"/sub/..;/..;/secret.txt", b"//../secret.txt", b"/.//..//secret.txt",
    b"/..%00/secret.txt", b"/hello.txt%00.html", b"/%00", b"/%", b"/%2", b"/%zz",
    b"/etc/passwd", b"//etc/passwd", b"/%2fetc/passwd", b"/%2f%2fetc%2fpasswd",
    b"/up/secret.txt", b"/upfile", b"/absolute/passwd", b"/proc/self/root/etc/passwd",
    b"/top/etc/passwd", b"/loop", b"/...", b"/.../secret.txt", b"/.", b"/..", b"/%2e%2e",
    b"/sub/..", b"/sub/.", b"/hello.txt/..", b"/hello.txt%0d%0aX-Split:%201",
    b"http://test.example/../secret.txt", b"/" + b"../" * 60 + b"etc/passwd",
    b"/" + b"%2e%2e/" * 60 + b"etc/passwd", b"/" + b"a/" * 3000,
]


@pytest.mark.parametrize("symlinks", ["inside", "none"])
def test_no_path_leads_out(box, symlinks):
    top = folder(box)
    (top / "up").symlink_to("..")
    (top / "upfile").symlink_to("../secret.txt")
    (top / "absolute").symlink_to("/etc")
    (top / "top").symlink_to("/proc/self/root")
    (top / "loop").symlink_to("loop")
    edge = Edge(box, {}, routes=[{"files": {"folder": "www", "hidden": True,
                                            "symlinks": symlinks}}])
    for path in ESCAPES:
        got = http1.until_the_end(edge.address, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n"
                                                b"Connection: close\r\n\r\n")
        status = int(got.split(b" ", 2)[1])
        assert status in (400, 403, 404), (path, got)
        assert b"root:" not in got and b"secret\n" not in got and b"X-Split" not in got, path
        assert not got.endswith(b"\r\n\r\nsecret"), path
    wait("them to be counted", lambda: metric(edge, "files_escapes") > 10)


def test_symlinks_inside(box):
    top = folder(box)
    (top / "link.txt").symlink_to("hello.txt")
    (top / "sub" / "link.txt").symlink_to("../hello.txt")
    (top / "there").symlink_to("sub")
    edge = Edge(box, {}, routes=[
        {"match": {"path": "/n"}, "files": {"folder": "www", "strip": "/n", "symlinks": "none"}},
        {"files": "www"}])
    for path in ("/link.txt", "/sub/link.txt"):
        assert http1.fetch(edge.address, path).body == HELLO
        assert http1.fetch(edge.address, "/n" + path).status == 403
    assert http1.fetch(edge.address, "/there/").text == "<p>sub"
    assert http1.fetch(edge.address, "/n/there/").status == 403


def test_a_folder_that_is_moved_away_and_a_reload(box):
    top = folder(box)
    edge = Edge(box, {}, routes=[{"files": "www"}])
    top.rename(box.folder / "old")
    folder(box, "new")
    (box.folder / "new" / "hello.txt").write_text("new")
    (box.folder / "www").symlink_to("new")
    assert http1.fetch(edge.address, "/hello.txt").body == HELLO  # the folder that was opened
    edge.process.signal(signal.SIGHUP)
    wait("the new folder", lambda: http1.fetch(edge.address, "/hello.txt").text == "new")
    (box.folder / "www").unlink()
    edge.process.signal(signal.SIGHUP)
    wait("the refusal", lambda: "which cannot be opened" in edge.process.log())
    assert http1.fetch(edge.address, "/hello.txt").text == "new"
    descriptors = len(os.listdir(f"/proc/{edge.process.pid}/fd"))
    (box.folder / "www").symlink_to("new")
    for _ in range(5):
        before = edge.process.log().count("re-read")
        edge.process.signal(signal.SIGHUP)
        wait("the reload", lambda: edge.process.log().count("re-read") > before)
    wait("the old folders to be closed",
         lambda: len(os.listdir(f"/proc/{edge.process.pid}/fd")) <= descriptors)


# ---- conditions -----------------------------------------------------------------------------

def test_conditions(box):
    edge = serve(box)
    first = http1.fetch(edge.address, "/hello.txt")
    tag, date = first.get("ETag"), first.get("Last-Modified")
    old, other = "Mon, 01 Jan 2001 00:00:00 GMT", '"other"'
    for fields, status in (
            ({"If-None-Match": tag}, 304), ({"If-None-Match": "W/" + tag}, 304),
            ({"If-None-Match": "*"}, 304), ({"If-None-Match": f"{other}, {tag}"}, 304),
            ({"If-None-Match": other}, 200), ({"If-Modified-Since": date}, 304),
            ({"If-Modified-Since": old}, 200), ({"If-Match": tag}, 200), ({"If-Match": "*"}, 200),
            ({"If-Match": other}, 412), ({"If-Match": "W/" + tag}, 412),
            ({"If-Unmodified-Since": date}, 200), ({"If-Unmodified-Since": old}, 412),
            ({"If-None-Match": other, "If-Modified-Since": date}, 200),
            ({"If-Match": tag, "If-Unmodified-Since": old}, 200),
            ({"If-Match": tag, "If-None-Match": tag}, 304),
            ({"If-Match": other, "If-None-Match": tag}, 412),
            ({"If-None-Match": tag, "Range": "bytes=0-0"}, 304),
            ({"If-Match": other, "Range": "bytes=99-"}, 412)):
        for method in ("GET", "HEAD"):
            response = http1.fetch(edge.address, "/hello.txt", method, fields=list(fields.items()))
            assert response.status == status, (method, fields, response)
            if status == 304:
                assert response.get("ETag") == tag and response.get("Content-Length") is None
    wait("304s to be counted", lambda: metric(edge, "files_not_modified") >= 7)


def test_a_change_makes_another_tag(box):
    edge = serve(box)
    path = box.folder / "www" / "hello.txt"
    tags = set()
    for turn in range(5):
        path.write_bytes(b"hello, %04d\n" % turn)  # the same length, within the same second
        os.utime(path, ns=(10**18 + turn, 10**18 + turn))
        tags.add(http1.fetch(edge.address, "/hello.txt").get("ETag"))
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(10**18 + 4, 10**18 + 4))
    new.rename(path)
    tags.add(http1.fetch(edge.address, "/hello.txt").get("ETag"))
    assert len(tags) == 6


def test_a_time_to_come_is_not_shown(box):
    edge = serve(box)
    ahead = time.time() + 10**6
    os.utime(box.folder / "www" / "hello.txt", (ahead, ahead))
    response = http1.fetch(edge.address, "/hello.txt")
    assert response.get("Last-Modified") == response.get("Date")


# ---- ranges ---------------------------------------------------------------------------------

@pytest.mark.parametrize("value, status, body, content_range", [
    ("bytes=0-0", 206, b"0", "bytes 0-0/10"), ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
    ("bytes=5-", 206, b"56789", "bytes 5-9/10"), ("bytes=-3", 206, b"789", "bytes 7-9/10"),
    ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=8-99", 206, b"89", "bytes 8-9/10"), ("bytes=20-,3-3", 206, b"3", "bytes 3-3/10"),
    ("bytes=10-", 416, b"", "bytes */10"), ("bytes=-0", 416, b"", "bytes */10"),
    ("bytes=4-2", 200, b"0123456789", None), ("lines=1-2", 200, b"0123456789", None),
    ("bytes=0-,0-,0-,0-", 200, b"0123456789", None), ("bytes=x", 200, b"0123456789", None),
    ("bytes=" + ",".join(f"{i % 10}-{i % 10}" for i in range(17)), 200, b"0123456789", None),
])
def test_ranges(box, value, status, body, content_range):
    edge = serve(box)
    with http1.Client(edge.address) as client:
        response = client.request(path="/ten.bin", fields=[("Range", value)])
        assert response.status == status and response.body == body
        assert response.get("Content-Range") == content_range
        # HEAD knows no ranges (RFC 9110 section 14.2), and the connection is still good.
        response = client.request("HEAD", "/ten.bin", fields=[("Range", value)])
        assert response.status == 200 and response.get("Content-Length") == "10"


def test_ranges_of_nothing(box):
    edge = serve(box)
    assert http1.fetch(edge.address, "/zero.bin", fields=[("Range", "bytes=0-")]).status == 416
    assert http1.fetch(edge.address, "/zero.bin", fields=[("Range", "bytes=-1")]).status == 416


def parts_of(response):
    text = b"Content-Type: " + response.get("Content-Type").encode() + b"\r\n\r\n" + response.body
    message = email.parser.BytesParser().parsebytes(text)
    assert message.is_multipart() and not message.defects
    return [(part["Content-Range"], part.get_payload(decode=True)) for part in
            message.get_payload()]


def test_several_ranges(box):
    edge = serve(box)
    big = bytes(i * 31 % 251 for i in range(1 << 20))
    (box.folder / "www" / "big.png").write_bytes(big)
    with http1.Client(edge.address) as client:
        response = client.request(path="/ten.bin", fields=[("Range", "bytes=0-1, 4-5, -1")])
        assert response.status == 206 and response.get("Content-Range") is None
        assert response.get("Content-Type").startswith("multipart/byteranges; boundary=")
        assert parts_of(response) == [("bytes 0-1/10", b"01"), ("bytes 4-5/10", b"45"),
                                      ("bytes 9-9/10", b"9")]
        fields = [("Range", "bytes=500000-999999,7-300007")]
        response = client.request(path="/big.png", fields=fields)
        size = len(big)
        # Lines in a part are data: they are compared as bytes, not as mail.
        boundary = response.get("Content-Type").partition("boundary=")[2].encode()
        want = b""
        for first, last in ((500000, 999999), (7, 300007)):
            want += (b"" if not want else b"\r\n") + b"--" + boundary
            want += b"\r\nContent-Type: image/png\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (
                first, last, size)
            want += big[first:last + 1]
        assert response.body == want + b"\r\n--" + boundary + b"--\r\n"
        assert client.request(path="/hello.txt").body == HELLO
    wait("ranges to be counted", lambda: metric(edge, "files_partial") == 2)


def test_if_range(box):
    edge = serve(box)
    first = http1.fetch(edge.address, "/ten.bin")
    tag = first.get("ETag")
    os.utime(box.folder / "www" / "hello.txt", (10**9, 10**9))
    date = http1.fetch(edge.address, "/hello.txt").get("Last-Modified")
    for path, value, status in (("/ten.bin", tag, 206), ("/ten.bin", "W/" + tag, 200),
                                ("/ten.bin", '"other"', 200), ("/hello.txt", date, 206),
                                ("/hello.txt", "Mon, 01 Jan 2029 00:00:00 GMT", 200),
                                ("/ten.bin", "junk", 200)):
        fields = [("Range", "bytes=0-0"), ("If-Range", value)]
        assert http1.fetch(edge.address, path, fields=fields).status == status, value
    # When it is another one, not even an unsatisfiable range is looked at.
    fields = [("Range", "bytes=99-"), ("If-Range", '"other"')]
    assert http1.fetch(edge.address, "/ten.bin", fields=fields).status == 200


# ---- neighbours -----------------------------------------------------------------------------

def test_precompressed(box):
    edge = serve(box, precompressed=["br", "gzip"])
    top = box.folder / "www"
    (top / "hello.txt.gz").write_bytes(gzip.compress(HELLO))
    (top / "hello.txt.br").write_bytes(b"not really brotli")
    plain = http1.fetch(edge.address, "/hello.txt")
    assert plain.body == HELLO and plain.get("Vary") == "Accept-Encoding"
    assert plain.get("Content-Encoding") is None
    tags = {plain.get("ETag")}
    for accept, coding in (("gzip", "gzip"), ("br", "br"), ("gzip, br", "br"), ("*", "br"),
                           ("br;q=0.5, gzip", "gzip"), ("br;q=0, *;q=0.1", "gzip"),
                           ("gzip;q=0", None), ("identity", None), ("zstd", None), ("", None)):
        response = http1.fetch(edge.address, "/hello.txt", fields=[("Accept-Encoding", accept)])
        assert response.get("Content-Encoding") == coding, accept
        assert response.get("Content-Type") == "text/plain; charset=utf-8"
        assert response.get("Vary") == "Accept-Encoding"
        tags.add(response.get("ETag"))
        if coding == "gzip":
            assert gzip.decompress(response.body) == HELLO
    assert len(tags) == 3
    accept = [("Accept-Encoding", "gzip")]
    tag = http1.fetch(edge.address, "/hello.txt", fields=accept).get("ETag")
    response = http1.fetch(edge.address, "/hello.txt", fields=accept + [("If-None-Match", tag)])
    assert response.status == 304 and response.get("Vary") == "Accept-Encoding"
    assert http1.fetch(edge.address, "/hello.txt", fields=[("If-None-Match", tag)]).status == 200
    # One that is older than what it was made of is not it any more.
    os.utime(top / "hello.txt.gz", (10**9, 10**9))
    response = http1.fetch(edge.address, "/hello.txt", fields=accept)
    assert response.body == HELLO and response.get("Content-Encoding") is None
    # A neighbour alone is no file.
    (top / "alone.gz").write_bytes(b"x")
    assert http1.fetch(edge.address, "/alone", fields=accept).status == 404
    wait("them to be counted", lambda: metric(edge, "files_precompressed") >= 5)


# ---- connections ----------------------------------------------------------------------------

def test_kept_and_pipelined_between_members(box):
    origin = box.origin("m")
    folder(box)
    edge = Edge(box, {"web": cluster([origin])},
                routes=[{"match": {"path": "/api/"}, "cluster": "web"}, {"files": "www"}])
    paths = ["/hello.txt", "/api/x", "/none", "/", "/ten.bin", "/api/y", "/hello.txt"]
    with http1.Client(edge.address) as client:
        client.send(b"".join(http1.head("GET", path) for path in paths))
        got = [client.read_response() for _ in paths]
        assert [r.status for r in got] == [200, 200, 404, 200, 200, 200, 200]
        assert got[0].body == got[6].body == HELLO and got[4].body == b"0123456789"
        assert client.request("HEAD", "/hello.txt").status == 200
        assert client.request(path="/ten.bin", fields=[("Connection", "close")]).status == 200
        assert client.at_end()
    got = http1.until_the_end(edge.address, b"GET /ten.bin HTTP/1.0\r\n\r\n")
    assert got.endswith(b"\r\n\r\n0123456789")


def sparse(path, size):
    """A file that takes no disk, with marks that show where a byte came from."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset in range(0, size - 16, 1 << 20):
            file.seek(offset)
            file.write(b"%016x" % offset)


def test_a_huge_file_and_a_slow_reader(box):
    edge = serve(box)
    size = (256 << 20) + 5
    sparse(box.folder / "www" / "huge.bin", size)
    with open(box.folder / "www" / "huge.bin", "rb") as file:
        want = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
    http1.fetch(edge.address, "/ten.bin")
    before = resident_kib(edge.process.pid)
    with http1.Client(edge.address, 60) as client:
        client.send(http1.head("GET", "/huge.bin"))
        head = client.read_head()
        assert head.get("Content-Length") == str(size)
        hold("memory does not grow while nobody reads",
             lambda: resident_kib(edge.process.pid) < before + 4096, 1)
        assert http1.fetch(edge.address, "/hello.txt").body == HELLO  # others are served meanwhile
        digest, left = hashlib.sha256(), size
        while left:
            data = client.read_exactly(min(left, 65536))
            digest.update(data)
            left -= len(data)
        assert resident_kib(edge.process.pid) < before + 4096
        assert client.request(path="/hello.txt").body == HELLO
    if want:
        assert digest.hexdigest() == want.hexdigest()


def test_a_file_that_becomes_shorter(box):
    edge = serve(box)
    path = box.folder / "www" / "huge.bin"
    sparse(path, 64 << 20)
    descriptors = len(os.listdir(f"/proc/{edge.process.pid}/fd"))
    with http1.Client(edge.address, 20) as client:
        client.send(http1.head("GET", "/huge.bin"))
        assert client.read_head().status == 200
        os.truncate(path, 100)
        with pytest.raises((http1.ProtocolError, ConnectionResetError)):
            client.read_exactly(64 << 20)  # the end comes first, and visibly
    wait("it to be counted", lambda: metric(edge, "files_shrunk") == 1)
    assert http1.fetch(edge.address, "/huge.bin").get("Content-Length") == "100"
    wait("the file to be closed",
         lambda: len(os.listdir(f"/proc/{edge.process.pid}/fd")) <= descriptors)


def test_clients_that_leave_leave_no_descriptor(box):
    edge = serve(box)
    sparse(box.folder / "www" / "huge.bin", 64 << 20)
    http1.fetch(edge.address, "/hello.txt")
    descriptors = len(os.listdir(f"/proc/{edge.process.pid}/fd"))
    for _ in range(20):
        client = http1.Client(edge.address)
        client.send(http1.head("GET", "/huge.bin"))
        client.read_head()
        client.close()
    wait("every descriptor to be given back",
         lambda: len(os.listdir(f"/proc/{edge.process.pid}/fd")) <= descriptors)


def test_out_of_descriptors(box):
    """503 and a count, not a crash; and it is over when the descriptors are back."""
    folder(box)
    edge = Edge(box, {}, routes=[{"files": "www"}])
    with http1.Client(edge.address) as client:
        assert client.request(path="/hello.txt").status == 200
        table = f"/proc/{edge.process.pid}/fd"
        wait("the file to be closed", lambda: not [
            fd for fd in os.listdir(table) if os.readlink(f"{table}/{fd}").endswith("hello.txt")])
        used = {int(fd) for fd in os.listdir(table)}
        free = min(set(range(len(used) + 1)) - used)  # what would be opened next

        limits = resource.prlimit(edge.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(edge.process.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
        response = client.request(path="/hello.txt")
        resource.prlimit(edge.process.pid, resource.RLIMIT_NOFILE, limits)
        assert response.status == 503 and response.get("Retry-After") == "1"
        assert client.request(path="/hello.txt").body == HELLO
    wait("it to be counted", lambda: metric(edge, "files_failed") == 1)
