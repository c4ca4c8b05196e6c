# SPDX-License-Identifier: Apache-2.0
"""The places at which a test build can be made to die."""
import re

from .box import ROOT

POINTS = ROOT / "src/allocator/fault_points.def"
MANAGER_POINTS = ROOT / "src/manager/fault_points.def"


def fault_points(path=POINTS):
    if not path.exists():
        return []
    return re.findall(r"^\s*\w*FAULT\w*\(\s*\"?([\w.-]+)\"?", path.read_text(), re.M)
