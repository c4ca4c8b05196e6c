# SPDX-License-Identifier: Apache-2.0
"""What the integration tests read with must not see what is not there."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness.setup import metric_in  # noqa: E402

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
