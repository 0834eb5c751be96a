"""What the shim is told: struct orders of shim.c, mapped."""
import mmap
import os
import pathlib
import re
import struct
import time

SHIM_C = pathlib.Path(__file__).resolve().parents[1] / "shim.c"


def constants(prefix):
    """The enum of shim.c whose names begin so, by name without it."""
    body = re.search(r"enum " + prefix.lower() + r" \{(.*?)\};", SHIM_C.read_text(), re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    names = [name.strip() for name in body.split(",") if name.strip()]
    return {name.removeprefix(prefix + "_").lower(): number for number, name in enumerate(names)}


CALLS = constants("CALL")
DEFECTS = constants("DEFECT")
ONE_BY_ONE = ("points kill_at kill_is_after fail_at fail_call fail_errno fail_is_ever fail_is_short is_failing failed "
              "defect clock_scale clock_jump_ms image_every image_first").split()
CLOCKS_AT = 8 * len(ONE_BY_ONE)
CALLS_AT = CLOCKS_AT + 8 * 16
TAIL_AT = CALLS_AT + 8 * CALLS["count"]
SIZE = 4096
CLOCKS = (0, 1, 5, 6, 7)  # REALTIME, MONOTONIC, their COARSE ones, BOOTTIME


class Orders:
    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.truncate(SIZE)
        fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(fd, SIZE)
        os.close(fd)

    def write(self, clock_scale=20, **values):
        """Forgets all, then these."""
        self.map[:] = bytes(SIZE)
        for clock in CLOCKS:
            struct.pack_into("q", self.map, CLOCKS_AT + 8 * clock, time.clock_gettime_ns(clock))
        for name, value in dict(values, clock_scale=clock_scale).items():
            self[name] = value

    def __setitem__(self, name, value):
        struct.pack_into("q", self.map, 8 * ONE_BY_ONE.index(name), value)

    def __getitem__(self, name):
        return struct.unpack_from("q", self.map, 8 * ONE_BY_ONE.index(name))[0]

    def calls(self, name):
        return struct.unpack_from("q", self.map, CALLS_AT + 8 * CALLS[name])[0]

    def forget_calls(self):
        """Calls are counted from here on."""
        self.map[CALLS_AT:TAIL_AT] = bytes(TAIL_AT - CALLS_AT)
        self["failed"] = 0

    @property
    def record_size(self):
        return struct.unpack_from("q", self.map, TAIL_AT)[0]

    @property
    def was_played(self):
        return struct.unpack_from("q", self.map, TAIL_AT + 8)[0] != 0

    @property
    def killed_in(self):
        return self.map[TAIL_AT + 16:TAIL_AT + 48].split(b"\0")[0].decode()

    def close(self):
        self.map.close()
