# SPDX-License-Identifier: Apache-2.0
"""What the integration tests read with must not see what is not there."""
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness import http1  # noqa: E402
from harness.box import Box, shared_box  # noqa: E402
from harness.h2member import H2Member  # noqa: E402
from harness.proper2 import Improper  # noqa: E402
from harness.setup import metric_in  # noqa: E402
from harness.stream import FakeManager, opening  # noqa: E402

TEXT = """# TYPE freshet_a_total counter
freshet_a_total{worker="0",cluster="web"} 1
freshet_a_total{worker="1",cluster="web"} 2
freshet_a_total{worker="1",cluster="api"} 0
# TYPE freshet_b gauge
freshet_b 0.5
"""


def test_a_metric_is_summed_over_the_rows_with_its_labels():
    assert metric_in(TEXT, "a") == 3
    assert metric_in(TEXT, "a", worker="1") == 2
    assert metric_in(TEXT, "a", cluster="api") == 0
    assert metric_in(TEXT, "b") == 0.5


@pytest.mark.parametrize("name, labels, words", [
    ("c", {}, "no metric c$"), ("a", {"cluster": "wed"}, "no metric a with {'cluster': 'wed'}"),
    ("b", {"worker": "0"}, "no metric b with")])
def test_a_metric_that_is_not_there_is_no_zero(name, labels, words):
    with pytest.raises(AssertionError, match=words):
        metric_in(TEXT, name, **labels)


def test_a_member_that_complains_leaves_the_rest_to_be_ended():
    ended = []
    with pytest.raises(AssertionError, match="5.1: of a test"), shared_box() as box:
        folder, member = box.folder, H2Member()
        member.improper.append(Improper("5.1: of a test"))
        box.closers += [lambda: ended.append(True), member.stop]
    assert ended and not folder.exists()


def test_each_complaint_of_a_box_is_told():
    box = Box()
    box.closers += [lambda: [][0], lambda: {}["b"]]
    complaints = box.close()
    box.remove()
    assert complaints == ["KeyError: 'b'", "IndexError: list index out of range"]


def test_a_manager_by_hand_asks_again_on_a_new_connection(tmp_path):
    """The first answer was lost with its connection; the second one counts."""
    address = f"unix:{tmp_path}/hand.sock"
    manager, asked = FakeManager(address), []

    def edge(answers):
        with http1.connect(address) as sock, sock.makefile("rwb") as stream:
            stream.write(opening("edge", "e") + b"<report/>")
            stream.flush()
            request = b""
            while b"<reconfigure " not in request or not request.endswith(b"</reconfigure>"):
                request += stream.read(1)
            asked.append(request[request.index(b"<reconfigure "):])
            if answers:
                stream.write(b'<result id="7:1" status="done"/>')
                stream.flush()
                stream.read(1)  # until the manager ends

    def lives():
        edge(False)
        edge(True)
    thread = threading.Thread(target=lives, daemon=True)
    thread.start()
    manager.wait_peer()
    assert manager.ask("<allocate/>").get("status") == "done"
    manager.close()
    thread.join(20)
    assert len(asked) == 2 and asked[0] == asked[1]
