# SPDX-License-Identifier: Apache-2.0
"""The command line: commands, exit codes, what configuration errors look like, signals, logs."""
import json
import re
import signal
import socket
import threading

import pytest

from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.setup import Edge, admin_json, base, cluster, process_pool, ready, scale

COMMANDS = ["run", "edge", "manager", "agent", "allocator", "proxy", "check", "status", "cluster",
            "why", "demo", "version", "help"]
SAMPLE = """\
workers: 2                          # default: one a core
state: ./state                      # ledger, journal
admin: unix:./state/admin.sock
manager:
  listen: unix:./state/manager.sock # `freshet run`; an edge alone says `connect:`
listen:
  - address: 127.0.0.1:8080
  - address: 127.0.0.1:8443
    tls: { certificate: cert.pem, key: key.pem }
cache:
  memory: 256MiB                    # present: every route caches unless it says `cache: off`
routes:
  - match: { host: example.com, path: /api/ }
    cluster: api
  - cluster: web                    # everything else
clusters:
  web:
    members: ["127.0.0.1:9001", { address: "127.0.0.1:9002", weight: 50 }]
  api:
    balance: p2c
    health: { path: /healthz, interval: 2s }
    limit: 64                       # requests in flight on one member at utilization 1.0
    scale: { from: local, min: 1, max: 8, upper: 0.80, lower: 0.30 }
pools:
  local:
    provider: process
    command: ["./app", "--port", "{port}"]
    ports: 9101-9120
  rack:
    provider: static
    servers: ["10.0.0.5:8080", "10.0.0.6:8080"]
"""
SMALLEST = ('listen: [{{ address: "127.0.0.1:{port}" }}]\nroutes: [{{ cluster: web }}]\n'
            'clusters: {{ web: {{ members: ["{member}"] }} }}\n')


def check(box, text, *arguments, name="freshet.yaml"):
    box.write(name, text)
    return box.run("check", "-c", name, *arguments)


def errors(done):
    """The (line, column, words) of every error a run printed."""
    return [(int(line), int(column), words) for line, column, words in
            re.findall(r"^freshet\.yaml:(\d+):(\d+): (.*)$", done.stdout + done.stderr, re.M)]


def test_version(box):
    done = box.run("version")
    assert done.returncode == 0
    assert re.match(r"freshet \d+\.\d+\.\d+", done.stdout)


def test_help_names_every_command(box):
    done = box.run("help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\b", done.stdout, re.M), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(box, command):
    done = box.run("help", command)
    assert done.returncode == 0 and command in done.stdout and len(done.stdout) > 30


def test_usage_errors_exit_2(box):
    for arguments in ([], ["frobnicate"], ["check", "--frobnicate"], ["why"], ["cluster", "grow"],
                      ["proxy", "--from", "127.0.0.1:0"], ["edge", "-c"]):
        done = box.run(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert done.stderr and not done.stdout, (arguments, done)


def test_unknown_command_is_named(box):
    assert "chekc" in box.run("chekc").stderr


def test_design_sample_loads(box):
    done = check(box, SAMPLE)
    assert done.returncode == 0, done.stderr


def test_smallest_configuration_loads_and_runs(box):
    member = box.origin("m")
    port = box.port()
    box.write("freshet.yaml", SMALLEST.format(port=port, member=member.address))
    assert box.run("check", "-c", "freshet.yaml").returncode == 0
    process = box.start("edge", "-c", "freshet.yaml")
    box.serving(f"127.0.0.1:{port}", process)
    assert http1.fetch(f"127.0.0.1:{port}").text == "m GET /\n"


def test_missing_file_exits_3(box):
    done = box.run("check", "-c", "nowhere.yaml")
    assert done.returncode == 3 and "nowhere.yaml" in done.stderr


def test_t_is_check(box):
    box.write("freshet.yaml", SMALLEST.format(port=1, member="127.0.0.1:1"))
    assert box.run("-t", "-c", "freshet.yaml").returncode == 0
    box.write("freshet.yaml", "listen: 5\n")
    done = box.run("-t", "-c", "freshet.yaml")
    assert done.returncode == 3 and errors(done)


def test_a_wrong_key_has_place_caret_and_suggestion(box):
    done = check(box, 'listen: [{ address: "127.0.0.1:80" }]\nroutes: [{ cluster: web }]\n'
                      "clusters:\n  web:\n    membres: [\"127.0.0.1:1\"]\n")
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("freshet.yaml:5:5: "))
    assert "membres" in lines[at] and 'did you mean "members"' in done.stderr
    quoted = next(n for n, line in enumerate(lines) if 'membres: ["127.0.0.1:1"]' in line)
    caret = lines[quoted + 1]
    assert caret.strip().startswith("^")
    assert caret.index("^") == lines[quoted].index("membres")


def test_every_error_in_one_run(box):
    done = check(box, "workers: many\n"
                      'listen: [{ address: "127.0.0.1:99999" }]\n'
                      "routes: [{ cluster: nowhere }]\n"
                      "clusters:\n"
                      "  web: { members: [\"127.0.0.1:1\"], drain: 5 parsecs }\n"
                      "caches: {}\n")
    assert done.returncode == 3
    found = {line for line, _, _ in errors(done)}
    assert found >= {1, 2, 3, 5, 6}, done.stderr
    assert [e[:2] for e in errors(done)] == sorted(e[:2] for e in errors(done))


@pytest.mark.parametrize("text,line,words", [
    ("listen: [\n", 2, ""),                                                   # broken YAML
    ("a: 1\na: 2\n", 2, "a"),                                                 # a key twice
    ("clusters:\n  web: { members: [\"127.0.0.1:1\"] }\n"
     "  web: { members: [\"127.0.0.1:2\"] }\n", 3, "web"),                    # two of one name
    ("clusters:\n  web: { members: [\"127.0.0.1:1\"], drain: 5 }\n", 2, "5"),  # no unit
    ("clusters:\n  web: { members: [\"127.0.0.1:1\"], drain: 5kg }\n", 2, "5kg"),
    ("cache: { memory: 5 bananas }\n", 1, "bananas"),
    ("clusters: { web: { members: [\"no-such-host.invalid:80\"] } }\n", 1, "no-such-host.invalid"),
    ("clusters: { web: { members: [\"127.0.0.1\"] } }\n", 1, "127.0.0.1"),    # no port
    ("clusters: { web: { scale: { from: nowhere } } }\n", 1, "nowhere"),
    ("pools: { p: { provider: proces } }\n", 1, "process"),
    ("manager: { listen: \"10.1.2.3:99\" }\n", 1, "10.1.2.3"),               # not loopback, no TLS
    ("clusters: { web: { scale: { upper: 30%, lower: 80% } } }\n", 1, ""),
    ("clusters: &x { web: *x }\n", 1, ""),                                     # anchors
], ids=range(13))
def test_configuration_errors(box, text, line, words):
    done = check(box, text)
    assert done.returncode == 3
    assert any(at == line and words in said for at, _, said in errors(done)), done.stderr


def test_route_to_an_unknown_cluster(box):
    done = check(box, 'listen: [{ address: "127.0.0.1:80" }]\nroutes: [{ cluster: wep }]\n'
                      'clusters: { web: { members: ["127.0.0.1:1"] } }\n')
    assert done.returncode == 3
    assert any(line == 2 and "wep" in words for line, _, words in errors(done))
    assert "web" in done.stderr  # the nearest known one


def test_bad_configuration_starts_nothing(box):
    port = box.port()
    box.write("freshet.yaml", SMALLEST.format(port=port, member="127.0.0.1:1") + "nonsense: 1\n")
    for command in ("edge", "run", "manager", "allocator", "agent"):
        done = box.run(command, "-c", "freshet.yaml")
        assert done.returncode == 3, (command, done)
        assert "nonsense" in done.stderr
    assert not (box.folder / "state/ledger.yaml").exists()


def test_port_in_use(box):
    member = box.origin()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        box.write("freshet.yaml", SMALLEST.format(port=taken.getsockname()[1],
                                                  member=member.address))
        done = box.run("edge", "-c", "freshet.yaml")
        assert done.returncode == 1
        assert str(taken.getsockname()[1]) in done.stderr
        assert "in use" in done.stderr


def test_port_of_another_freshet(box):
    """Both would get half of the connections: SO_REUSEPORT alone does not refuse it."""
    edge = Edge(box, {"web": cluster([box.origin("first")])})
    for argument in (edge.address, "0.0.0.0:" + edge.address.rsplit(":")[1]):
        done = box.run("proxy", "--from", argument, "--to", box.origin("second").address)
        assert done.returncode == 1
        assert edge.address.rsplit(":")[1] in done.stderr and "in use" in done.stderr
    for _ in range(10):
        assert http1.fetch(edge.address).text.startswith("first")


def test_one_run_on_a_state_folder(box):
    edge = Edge(box, {"web": cluster([box.origin("m")])}, role="run")
    edge.settings["listen"] = [{"address": f"127.0.0.1:{box.port()}"}]
    box.config(edge.settings, "second.yaml")
    done = box.run("run", "-c", "second.yaml")
    assert done.returncode == 1 and "another freshet run" in done.stderr
    assert http1.fetch(edge.address).status == 200


def test_run_waits_for_what_a_killed_one_left(box):
    """Its edge answers what is under way, on the address and files that the next one needs."""
    origin = box.origin("m")
    edge = Edge(box, {"web": cluster([origin])}, role="run")
    origin.delay = 1.0
    answers = []
    asking = threading.Thread(target=lambda: answers.append(http1.fetch(edge.address)))
    asking.start()
    wait("the request", lambda: origin.requests)
    edge.process.kill9()
    origin.delay = 0
    edge.start()
    # The earlier edge may be the one that took the first connection.
    wait("it to say so",
         lambda: "waiting for the processes of an earlier run" in edge.process.log())
    asking.join()
    assert answers[0].status == 200
    wait("it to take over", lambda: http1.fetch(edge.address).status == 200)


def test_proxy_without_a_file(box):
    member = box.origin("m")
    port = box.port()
    process = box.start("proxy", "--from", f"127.0.0.1:{port}", "--to", member.address)
    box.serving(f"127.0.0.1:{port}", process)
    assert http1.fetch(f"127.0.0.1:{port}", "/x").text == "m GET /x\n"
    assert process.stop() == 0


def test_proxy_refuses_what_is_no_address(box):
    done = box.run("proxy", "--from", "nonsense", "--to", "127.0.0.1:9")
    assert done.returncode in (2, 3) and "nonsense" in done.stderr


def test_sigterm_drains(box):
    """A request under way when SIGTERM comes is answered; new connections are not taken."""
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member])})
    member.hold()
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/slow"))
        wait("the request at the member", lambda: member.count("/slow"))
        edge.process.signal(signal.SIGTERM)

        def refused():
            try:
                http1.connect(edge.address, 1.0).close()
                return False
            except ConnectionRefusedError:
                return True
        wait("the listener to be gone", refused)
        assert edge.process.alive()
        member.release()
        assert client.read_response().text == "m GET /slow\n"
    assert edge.process.wait() == 0


def test_second_sigterm_stops_now(box):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member])})
    member.hold()
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/slow"))
        wait("the request at the member", lambda: member.count("/slow"))
        edge.process.signal(signal.SIGTERM)
        hold("it waits for the request", edge.process.alive, 0.3)
        edge.process.signal(signal.SIGTERM)
        edge.process.wait(5)


def test_idle_connections_do_not_hold_up_the_end(box):
    edge = Edge(box, {"web": cluster([box.origin("m")])})
    with http1.Client(edge.address) as client:
        assert client.request().status == 200
        edge.process.signal(signal.SIGTERM)
        assert edge.process.wait(5) == 0
        assert client.at_end()


def test_sighup_reloads(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one])})
    assert http1.fetch(edge.address).get("X-Origin") == "one"
    edge.settings["clusters"]["web"]["members"] = [two.address]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the new member", lambda: http1.fetch(edge.address).get("X-Origin") == "two")


def test_sighup_is_all_or_nothing(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one])})
    edge.settings["clusters"]["web"]["members"] = [two.address]
    edge.settings["clusters"]["web"]["drain"] = "five"
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the refusal to be logged", lambda: "five" in edge.process.log())
    for _ in range(10):
        assert http1.fetch(edge.address).get("X-Origin") == "one"
    assert re.search(r"edge\.yaml:\d+:\d+", edge.process.log())
    # And a good one after the bad one is taken.
    edge.settings["clusters"]["web"]["drain"] = "5s"
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the new member", lambda: http1.fetch(edge.address).get("X-Origin") == "two")


def test_sighup_under_load_fails_nothing(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one])})
    with Load(edge.address, 4) as load:
        for turn in range(10):
            members = [[one.address], [two.address, one.address]][turn % 2]
            edge.settings["clusters"]["web"]["members"] = members
            edge.write()
            edge.process.signal(signal.SIGHUP)
            load.wait_done(50)
    load.assert_clean()
    assert load.closed == 0


def test_logs_are_json_lines(box):
    edge = Edge(box, {"web": cluster([box.origin()])})
    edge.process.stop()
    lines = edge.process.log().splitlines()
    assert lines
    for line in lines:
        row = json.loads(line)
        assert {"level", "room", "event"} <= set(row), row


def test_status_and_cluster_list(box):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([{"address": member.address, "id": "first"}])})
    assert http1.fetch(edge.address).status == 200
    done = box.run("status", "-c", edge.file)
    assert done.returncode == 0 and "web" in done.stdout and "first" in done.stdout
    done = box.run("cluster", "list", "-c", edge.file)
    assert done.returncode == 0 and "web" in done.stdout and "first" in done.stdout


def test_commands_without_a_process_fail_clearly(box):
    box.config(base(None, {"web": cluster(["127.0.0.1:1"])},
                    listen=[{"address": "127.0.0.1:1"}]))
    for arguments in (["status"], ["cluster", "list"], ["cluster", "allocate", "web"]):
        done = box.run(*arguments, "-c", "freshet.yaml")
        assert done.returncode == 1, (arguments, done)
        assert "admin.sock" in done.stderr, (arguments, done)


def test_cluster_commands(box):
    edge = Edge(box, {"web": cluster(scale=scale("local", min=0, max=3, lower=None, upper=None))},
                pools={"local": process_pool(box)})

    def command(*arguments):
        return box.run("cluster", *arguments, "-c", edge.file)
    done = command("allocate", "web")
    assert done.returncode == 0, done.stderr
    (server,) = ready(box, "web", 1)
    assert server in done.stdout
    assert http1.fetch(edge.address).get("X-Origin") == server

    assert command("weight", "web", server, "50").returncode == 0
    wait("the weight in the ledger", lambda: box.ledger_servers("web")[server]["weight"] == 50)

    done = command("deallocate", "web", server)
    assert done.returncode == 0, done.stderr
    ready(box, "web", 0)
    wait("the process to be gone", lambda: not box.members())

    done = command("allocate", "nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr
    done = command("deallocate", "web", "nobody")
    assert done.returncode == 1 and "nobody" in done.stderr
    done = command("weight", "web", "nobody", "50")
    assert done.returncode == 1 and "nobody" in done.stderr


def test_cluster_drain(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([{"address": one.address, "id": "one"},
                                      {"address": two.address, "id": "two"}])})
    done = box.run("cluster", "drain", "web", "one", "-c", edge.file)
    assert done.returncode == 0, done.stderr

    def only_two():
        return {http1.fetch(edge.address).get("X-Origin") for _ in range(12)} == {"two"}
    wait("all requests on the other member", only_two)


def test_weight_by_hand_is_not_taken_back(box):
    """The manager gives back the weight that it took itself, not the one that a person set."""
    one, two = box.origin("one"), box.origin("two")
    members = [{"address": o.address, "id": o.name} for o in (one, two)]
    edge = Edge(box, {"web": cluster(members, limit=8, scale=scale(
        None, min=0, upper="80%", relief=["weight"]))}, role="run")
    done = box.run("cluster", "weight", "web", "one", "20", "-c", edge.file)
    assert done.returncode == 0, done.stderr

    def shown():
        (web,) = admin_json(edge)["clusters"]
        return {s["id"]: (s["weight"], s["weight_normal"]) for s in web["servers"]}
    assert shown() == {"one": (20, 20), "two": (100, 100)}
    with Load(edge.address, 1):
        hold("the weight to stay", lambda: shown()["one"] == (20, 20), 3)
    edge.process.stop()
    edge.start()
    hold("the weight to stay after a restart", lambda: shown()["one"] == (20, 20), 2)


def test_why_says_what_was_decided_and_why(box):
    box.control(latency_ms=50)
    edge = Edge(box, {"web": cluster(limit=4, scale=scale("local"))},
                pools={"local": process_pool(box)}, role="run")
    ready(box, "web", 1)
    with Load(edge.address, 6):
        wait("a second server", lambda: len(box.ledger_servers("web", only="ready")) >= 2)

    def told():
        done = box.run("why", "web", "-c", edge.file)
        assert done.returncode == 0, done.stderr
        return "allocate" in done.stdout and "upper level" in done.stdout and done.stdout
    text = wait("the decision in the journal", told)
    line = next(line for line in text.splitlines() if "upper level" in line)
    assert re.search(r"\d\.\d\d|\d+ ?%", line), f"no numbers in: {line}"
    done = box.run("why", "nowhere", "-c", edge.file)
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_why_finds_the_manager_that_an_edge_connects_to(box):
    port = box.port()
    box.write("edge.yaml", f"manager: {{ connect: '127.0.0.1:{port}' }}\n" +
              SMALLEST.format(port=1, member="127.0.0.1:1"))
    done = box.run("why", "web", "-c", "edge.yaml")  # nobody is there, but that is where it asks
    assert done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr, done


def test_admin_socket(box):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([{"address": member.address, "id": "first"}])},
                cache={"memory": "8MiB"})
    for _ in range(3):
        assert http1.fetch(edge.address).status == 200
    metrics = http1.fetch(edge.admin(), "/metrics")
    assert metrics.status == 200 and metrics.get("Content-Type").startswith("text/plain")
    seen = {}
    for line in metrics.text.splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-z_]\w* .+", line), line
            continue
        found = re.match(r"([a-zA-Z_:][\w:]*)(\{[^}]*\})? (-?[\d.e+-]+|NaN|\+Inf)$", line)
        assert found, f"not Prometheus text: {line}"
        seen[found.group(1)] = seen.get(found.group(1), 0) + 1
    assert all(name.startswith(("freshet_", "process_")) for name in seen)
    assert "first" in metrics.text
    status = http1.fetch(edge.admin(), "/status")
    assert status.status == 200 and status.get("Content-Type").startswith("application/json")
    assert "first" in json.dumps(json.loads(status.body))
    assert http1.fetch(edge.admin(), "/nowhere").status == 404
    refused = http1.fetch(edge.admin(), "/status", method="DELETE")
    assert refused.status == 405 and refused.get("Allow")


def test_admin_socket_is_for_its_owner_only(box):
    edge = Edge(box, {"web": cluster([box.origin()])})
    mode = (box.folder / "state/admin.sock").stat().st_mode & 0o777
    assert mode & 0o007 == 0, oct(mode)
    assert edge.process.alive()


def test_two_edges_of_one_state_folder(box):
    edge = Edge(box, {"web": cluster([box.origin()])})
    settings = dict(edge.settings, listen=[{"address": f"127.0.0.1:{box.port()}"}])
    box.config(settings, "second.yaml")
    done = box.run("edge", "-c", "second.yaml")
    assert done.returncode == 1 and "state" in done.stderr
    assert http1.fetch(edge.address).status == 200


def test_many_signals_at_once(box):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member])})
    threads = [threading.Thread(target=edge.process.signal, args=(signal.SIGHUP,))
               for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(20):
        assert http1.fetch(edge.address).status == 200
