"""Waiting for something to be true, woken by changes of a folder where that is possible."""
import ctypes
import os
import select
import time

_libc = ctypes.CDLL(None, use_errno=True)
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_MOVED_FROM = 0x2, 0x80, 0x100, 0x200, 0x40
SLICE_S = 0.05  # the longest a change can go unnoticed when inotify can't tell


class Timeout(AssertionError):
    pass


class FolderWatch:
    """Wakes when anything in a folder changes."""

    def __init__(self, folder):
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM
        if self.fd < 0 or _libc.inotify_add_watch(self.fd, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(folder))

    def wait(self, seconds):
        if select.select([self.fd], [], [], max(0, min(seconds, SLICE_S)))[0]:
            os.read(self.fd, 65536)

    def close(self):
        os.close(self.fd)


def wait_until(condition, seconds=10, folder=None, what="the condition", check=None):
    """The first true value of condition(); fails after `seconds`. `check` may raise to end it sooner."""
    deadline = time.monotonic() + seconds
    watch = FolderWatch(folder) if folder else None
    try:
        while True:
            value = condition()
            if value:
                return value
            if check:
                check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"{what} did not come true in {seconds} s")
            if watch:
                watch.wait(left)
            else:
                select.select([], [], [], min(left, 0.01))
    finally:
        if watch:
            watch.close()
