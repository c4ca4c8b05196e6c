# SPDX-License-Identifier: Apache-2.0
"""The clients that people have, against one edge over TLS: curl, nghttp, h2load, Chromium, gRPC,
ws.

What is not installed is skipped and says so in the summary. curl, nghttp, h2load and gRPC come with
`tools/install-deps test`; Chromium (some 100 MB) with `tools/install-deps clients`; ws is fetched
by npm, which nobody but this test and `make cache-conformance` needs.
"""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess

import grpc
import pytest

from harness.box import ROOT, wait
from harness.origin import Answer, field
from harness.pki import Authority
from harness.setup import Edge, cluster
from harness.websocket import EchoSocket

PIECES = 12

PAGE = """<!doctype html><title>page</title><link rel="stylesheet" href="/style.css">
<p id="p">text</p>%s<script src="/script.js"></script>""" % "".join(
    f'<img src="/piece/{i}.svg">' for i in range(PIECES))

STYLE = "#p { color: rgb(1, 2, 3) }"

# Tells the member what the browser made of it: protocols, the style, a POST, a WebSocket.
SCRIPT = """
window.onload = async () => {
  const said = {};
  try {
    said.protocols = performance.getEntriesByType("resource").map(e => e.nextHopProtocol);
    said.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
    said.color = getComputedStyle(document.getElementById("p")).color;
    said.images = [...document.images].filter(i => i.naturalWidth === 7).length;
    const echo = await fetch("/echo", { method: "POST", body: "x".repeat(200000) });
    said.echo = (await echo.text()).length;
    said.socket = await new Promise((resolve, reject) => {
      const socket = new WebSocket("wss://" + location.host + "/socket");
      socket.onopen = () => socket.send("over a stream");
      socket.onmessage = (m) => { resolve(m.data); socket.close(4002); };
      socket.onerror = () => reject("the socket failed");
    });
  } catch (error) {
    said.error = String(error);
  }
  fetch("/report", { method: "POST", body: JSON.stringify(said) });
};
"""


def needs(program, install):
    return pytest.mark.skipif(not shutil.which(program),
                              reason=f"{program} is not here: {install}")


def answer(request):
    path = request.path.split("?")[0]
    if path == "/page":
        return Answer(200, PAGE, [("Content-Type", "text/html")])
    if path == "/style.css":
        return Answer(200, STYLE, [("Content-Type", "text/css"), ("Cache-Control", "max-age=60")])
    if path == "/script.js":
        return Answer(200, SCRIPT, [("Content-Type", "text/javascript")])
    if path.startswith("/piece/"):
        return Answer(200, '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>',
                      [("Content-Type", "image/svg+xml"), ("Cache-Control", "max-age=60")])
    if path == "/echo":
        return Answer(200, request.body)
    if path == "/large":
        return Answer(200, bytes(range(256)) * 4000)
    return Answer(200, f"{request.method} {path}\n")


class House:
    def __init__(self, box):
        self.box = box
        self.authority = Authority(box.folder)
        self.member = box.origin("m", answer=answer)
        self.echo = EchoSocket(box)
        self.port = box.port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"https://localhost:{self.port}"
        self.edge = Edge(box, {"web": cluster([self.member], health=None),
                               "echo": cluster([self.echo], health=None)},
                         listen=[{"address": self.address,
                                  "tls": self.authority.issue("front", "localhost")}],
                         routes=[{"match": {"path": "/socket"}, "cluster": "echo"},
                                 {"cluster": "web"}], cache={"memory": "8MiB"},
                         **{"access-log": {"to": "access.log", "format": "common"}})

    def run(self, *command, **more):
        done = subprocess.run(command, cwd=self.box.folder, capture_output=True, text=True,
                              timeout=60, check=False, **more)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def at(self, path):
        return [request for request in self.member.requests if request.path == path]


@pytest.fixture
def house(box):
    return House(box)


CURL = ["curl", "-sS", "--cacert", "ca.pem"]


@needs("curl", "tools/install-deps test")
def test_curl(house):
    data = house.box.folder / "data"
    data.write_bytes(os.urandom(700_000))
    told = "%{http_version} %{http_code} %{num_connects}\\n"
    # Several on one connection, in turns and at once.
    said = house.run(*CURL, "-w", told, "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null",
                     *(house.url + path for path in ("/a", "/large", "/b")))
    assert said.split("\n")[:-1] == ["2 200 1", "2 200 0", "2 200 0"]
    said = house.run(*CURL, "-Z", "-w", told, "--output", "piece-#1",
                     f"{house.url}/piece/[0-11].svg")
    assert sorted(line[:5] for line in said.split("\n")[:-1]) == ["2 200"] * 12
    for option, version in (("--http2", "2"), ("--http1.1", "1.1")):
        said = house.run(*CURL, option, "-w", told, "--data-binary", "@data", "-o", "back",
                         house.url + "/echo")
        assert said == f"{version} 200 1\n"
        assert (house.box.folder / "back").read_bytes() == data.read_bytes()
    assert house.run(*CURL, "-I", house.url + "/large").startswith("HTTP/2 200")
    said = house.run("curl", "-sS", "--http2-prior-knowledge", "-w", told,
                     f"http://{house.edge.address}/clear")
    assert said == "GET /clear\n2 200 1\n"
    assert field(house.at("/a")[0], "X-Forwarded-Proto") == "https"
    assert field(house.at("/clear")[0], "X-Forwarded-Proto") == "http"


@needs("nghttp", "tools/install-deps test")
def test_nghttp(house):
    said = house.run("nghttp", "-nv", house.url + "/page", house.url + "/large",
                     house.url + "/missing")
    assert len(re.findall(r":status: 200", said)) == 3
    assert "RST_STREAM" not in said and "The negotiated protocol: h2" in said, said
    # With all that the page names: as a browser would, with a table of what came when.
    said = house.run("nghttp", "-ans", house.url + "/page")
    rows = re.findall(r"^ *\d+ .* (\d{3}) +\S+ (/\S+)$", said, re.M)
    assert ("200", "/page") in rows and ("200", "/style.css") in rows, said
    (house.box.folder / "data").write_bytes(b"y" * 100_000)
    assert house.run("nghttp", "--no-verify-peer", "-d", "data", house.url + "/echo") == \
        "y" * 100_000
    said = house.run("nghttp", "-nv", f"http://{house.edge.address}/clear")
    assert ":status: 200" in said


@needs("h2load", "tools/install-deps test")
@pytest.mark.parametrize("kind", ["h2", "h2c", "http/1.1"])
def test_h2load(house, kind):
    options = {"h2": [house.url + "/style.css"], "http/1.1": ["--h1", house.url + "/style.css"],
               "h2c": [f"http://{house.edge.address}/style.css"]}[kind]
    said = house.run("h2load", "-n", "2000", "-c", "10", "-m", "20", *options)
    assert "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" \
        in said, said
    assert "status codes: 2000 2xx" in said
    assert kind == "h2c" or f"Application protocol: {kind}" in said, said
    assert len(house.at("/style.css")) == 1 # the cache had the rest


@needs("chromium", "tools/install-deps clients")
def test_chromium(house):
    house.box.folder.joinpath("profile").mkdir()
    browser = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-extensions", "--disable-background-networking",
         "--ignore-certificate-errors", f"--user-data-dir={house.box.folder}/profile",
         house.url + "/page"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, "HOME": str(house.box.folder)})
    try:
        wait("Chromium to report", lambda: house.at("/report"), 60)
    finally:
        browser.terminate()
        browser.wait(20)
    said = json.loads(house.at("/report")[0].body)
    assert "error" not in said, said
    assert said["page"] == "h2" and set(said["protocols"]) == {"h2"}, said
    assert len(said["protocols"]) >= PIECES + 2, said
    assert said["images"] == PIECES and said["color"] == "rgb(1, 2, 3)", said
    assert said["echo"] == 200000 and said["socket"] == "over a stream", said
    wait("the socket to close", lambda: house.echo.closes)
    assert house.echo.closes == [4002]
    house.edge.process.stop()
    lines = [line for line in (house.box.folder / "access.log").read_text().splitlines()
             if "HTTP/1.1" in line or " /socket " in line]
    assert len(lines) == 1 and "HTTP/2" in lines[0], lines # the socket too was a stream


def same(data):
    return data


def test_grpc_over_tls_on_both_sides(box):
    """Calls of all four kinds; test_grpc.py has the outcomes, without TLS."""
    authority = Authority(box.folder)
    authority.issue("service", "localhost")

    def read(name):
        return (box.folder / name).read_bytes()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {
        "One": grpc.unary_unary_rpc_method_handler(lambda one, _: b"got " + one),
        "Up": grpc.stream_unary_rpc_method_handler(lambda them, _: b",".join(them)),
        "Down": grpc.unary_stream_rpc_method_handler(
            lambda one, _: iter([one] * 5)),
        "Both": grpc.stream_stream_rpc_method_handler(
            lambda them, _: (one.upper() for one in them))}),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
        [(read("service.key"), read("service.pem"))]))
    server.start()
    box.closers.append(lambda: server.stop(None))
    edge = Edge(box, {"web": {"members": [f"127.0.0.1:{port}"], "protocol": "h2",
                              "tls": {"ca": "./ca.pem", "name": "localhost"}}},
                listener={"tls": authority.issue("front", "localhost")})
    trust = grpc.ssl_channel_credentials(read("ca.pem"))
    with grpc.secure_channel(edge.address, trust,
                             [("grpc.ssl_target_name_override", "localhost")]) as channel:
        parts = [b"a", b"b", b"c" * 200_000]
        assert channel.unary_unary("/test.Echo/One", same, same)(b"x", timeout=20) == b"got x"
        assert channel.stream_unary("/test.Echo/Up", same, same)(iter(parts), timeout=20) == \
            b",".join(parts)
        assert list(channel.unary_stream("/test.Echo/Down", same, same)(b"d", timeout=20)) == \
            [b"d"] * 5
        assert list(channel.stream_stream("/test.Echo/Both", same, same)(iter(parts),
                                                                         timeout=20)) == \
            [part.upper() for part in parts]


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """The folder with the client, and ws beside it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here: the client of npm cannot be installed")
    folder = tmp_path_factory.mktemp("ws")
    for file in (ROOT / "tests/integration/ws").iterdir():
        shutil.copy(file, folder)
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
                          cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install ws: {done.stderr[-300:]}")
    return folder


@pytest.mark.parametrize("secure", [True, False])
def test_websocket_client_of_npm(house, ws, secure):
    base = house.url.replace("https", "wss") if secure else f"ws://{house.edge.address}"
    said = json.loads(house.run("node", str(ws / "client.js"), base + "/socket",
                                house.authority.path))
    assert said == {"equal": 4, "kinds": ["text", "bytes", "text", "bytes"], "pong": True,
                    "protocol": "chat", "close": [4001, "done"]}
    assert house.echo.messages == 4 and house.echo.closes == [4001]
