# SPDX-License-Identifier: Apache-2.0
"""A member's host whose CPU a test sets: /proc/stat of one process tree is a file of ours.

Where mounting is not allowed (no CAP_SYS_ADMIN), busy processes make the host's CPU real instead.
"""
import os
import subprocess
import threading
import time


def can_mount(folder):
    probe = folder / "probe"
    probe.write_text("x\n")
    return subprocess.run(["unshare", "-m", "mount", "--bind", str(probe), "/proc/stat"],
                          stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


class Host:
    def __init__(self, box):
        self.busy = 0.0
        self.burners = []
        self.path = box.folder / "stat"
        self.fake = can_mount(box.folder)
        self.stopped = False
        box.closers.append(self.close)
        if self.fake:
            self.ticks = [1000.0, 100000.0]
            self.last = time.monotonic()
            self.put()
            threading.Thread(target=self.run, daemon=True).start()

    @property
    def prefix(self):
        """What starts a program so that it sees this host."""
        if not self.fake:
            return ()
        mount = f'mount --bind "{self.path}" /proc/stat && exec "$0" "$@"'
        return ("unshare", "-m", "sh", "-c", mount)

    def put(self):
        now = time.monotonic()
        ticks = (now - self.last) * 1000  # finer than the kernel's, so that short intervals tell
        self.last = now
        self.ticks[0] += ticks * self.busy
        self.ticks[1] += ticks * (1 - self.busy)
        row = f"{int(self.ticks[0])} 0 0 {int(self.ticks[1])} 0 0 0 0 0 0\n"
        text = f"cpu  {row}cpu0 {row}intr 0\nctxt 0\nbtime 1700000000\nprocesses 1\n"
        with open(self.path, "r+" if self.path.exists() else "w", encoding="ascii") as file:
            file.write(text.ljust(400))

    def run(self):
        while not self.stopped:
            self.put()
            time.sleep(0.01)

    def set(self, busy):
        self.busy = busy
        if self.fake:
            return
        while busy > 0.5 and len(self.burners) < 2 * (os.cpu_count() or 1):
            self.burners.append(subprocess.Popen(["sh", "-c", "while :; do :; done"]))
        if busy <= 0.5:
            self.stop_burners()

    def stop_burners(self):
        for burner in self.burners:
            burner.kill()
            burner.wait()
        self.burners = []

    def close(self):
        self.stopped = True
        self.stop_burners()
