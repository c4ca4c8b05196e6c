# SPDX-License-Identifier: Apache-2.0
"""measure.py - processes and what they cost: run time, memory, how busy the cores are."""
import os
import pathlib
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """The process and its children, theirs included."""
    pids = [pid]
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += tree(int(child))
    except OSError:  # it ended meanwhile
        pass
    return pids


def cpu(pids):
    """Run time of all threads in us by the scheduler's count, and ticks (user, system), which are
    coarse and only tell how it splits. What a send causes on loopback, up to the receiver's
    wake-up, is the sender's."""
    total, user, system = 0, 0, 0
    for pid in pids:
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) // 1000
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        except OSError:
            continue
    return total, user, system


def memory_kib(pids):
    """Proportional: shared pages count once in all."""
    total = 0
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def cores(wanted):
    """Busy and stolen us of the cores, over all that runs there."""
    busy, stolen = 0, 0
    names = {f"cpu{core}" for core in wanted}
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] in names:
            values = [int(value) for value in fields[1:]]
            busy += values[0] + values[1] + values[2] + values[5] + values[6]
            stolen += values[7]
    return busy * 1000000 // TICKS, stolen * 1000000 // TICKS


def quiet(wanted, seconds):
    """Gives way to whatever else keeps the cores busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = cores(wanted)
        time.sleep(0.2)
        after = cores(wanted)
        if after[0] - before[0] <= 40000 and after[1] - before[1] <= 10000:
            return


def start(argv, core, log):
    with open(log, "ab") as out:
        return subprocess.Popen(["taskset", "-c", str(core), *argv], stdin=subprocess.DEVNULL,
                                stdout=out, stderr=out)


def end(process):
    """Ends it and its children, by pid."""
    pids = tree(process.pid)
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, kind)
            except ProcessLookupError:
                pass
        try:
            process.wait(4)
        except subprocess.TimeoutExpired:
            continue
        deadline = time.monotonic() + 2
        while any(os.path.exists(f"/proc/{pid}") for pid in pids) and \
                time.monotonic() < deadline:
            time.sleep(0.02)
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
