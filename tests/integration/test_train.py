# SPDX-License-Identifier: Apache-2.0
"""tools/train: what a build is trained with is answered, and takes the ways that it is to."""
import re
import subprocess

from harness.box import BINARY, ROOT

REQUESTS = 320


def test_the_load_takes_all_ways():
    done = subprocess.run([f"{ROOT}/tools/train", "--load", "--requests", str(REQUESTS), BINARY],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    whole, not_modified, hits = (int(n) for n in re.match(
        r"train: (\d+) answers of 200, (\d+) of 304, (\d+) hits", done.stdout).groups())
    # Twice, without an access log and with one: hits with short heads and long ones, forwarded
    # requests, and streams of HTTP/2.
    assert whole > 2 * 3 * REQUESTS and hits > 2 * REQUESTS and not_modified > 0


def test_what_is_no_edge_is_told():
    done = subprocess.run([f"{ROOT}/tools/train", "--load", "/bin/false"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout.startswith("train: "), done.stdout


def test_what_does_not_come_up_is_told(tmp_path):
    binary = tmp_path / "freshet"
    binary.write_text(f"#!/bin/sh\n[ $1 = pki ] && exec {BINARY} \"$@\"\nexit 3\n")
    binary.chmod(0o755)
    done = subprocess.run([f"{ROOT}/tools/train", "--load", binary], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 1 and "the edge does not answer" in done.stdout, done.stdout
