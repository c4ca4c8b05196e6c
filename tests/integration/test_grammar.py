# SPDX-License-Identifier: Apache-2.0
"""The validator of the tests must see what is wrong, or the tests that use it see nothing."""
import pytest

from lxml import etree

from harness.grammar import NAMESPACE, Validator

SERVER = ('<server id="web-3" address="10.0.0.7:8080" state="ready" weight="100" pool="rack" '
          'utilization="0.93" cpu="0.1" requests="2711" errors="0" connect-failures="0" '
          'in-flight="15" connections="1" bytes-in="5" bytes-out="6" p50-ms="4.1" p90-ms="5" '
          'p99-ms="31.0" memory-bytes="100" cache-hits="1" cache-misses="1" cache-bytes="1"/>')
STREAM = (f'<stream xmlns="{NAMESPACE}" version="1" role="edge" id="e" epoch="0">'
          '<report seq="1" at="2026-01-01T12:00:00.000Z"><cluster name="web" requests="1">'
          f'{SERVER * 8}</cluster></report></stream>')


def problem(text):
    return Validator().problem(etree.fromstring(text.encode()))


def test_what_is_valid_is_valid():
    assert problem(STREAM) is None


@pytest.mark.parametrize("old,new", [
    ('utilization="0.93"', 'utilization="lots"'), ('weight="100"', 'weight="-1"'),
    ('requests="2711"', 'requests="1e3"'), ('state="ready"', 'status="ready"'),
    (' name="web"', ""), ("<report ", "<rapport "), ('seq="1"', 'seq=""'),
    ('at="2026', 'at="26'), ('role="edge"', 'role="emperor"'), ('version="1"', 'version="2"'),
    (' id="web-3" address="10.0.0.7:8080"', ""), (NAMESPACE, "urn:other"),
    ('<cluster name="web" requests="1">', '<cluster name="web" requests="1"><inner/>'),
])
def test_what_is_wrong_is_seen(old, new):
    text = STREAM.replace(old, new, 1)
    if old.startswith("<report"):
        text = text.replace("</report>", "</rapport>")
    assert text != STREAM and problem(text) is not None
