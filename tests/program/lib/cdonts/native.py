"""libcdonts through ctypes: what a binding without any code of ours would do. CDONTS_LIBRARY names the library."""
import ctypes
import os


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint32), ("text", ctypes.c_char * 512)]


class CdontsError(Exception):
    def __init__(self, error):
        super().__init__(f"{error.code:08X} {error.text.decode(errors='replace')}")
        self.code = error.code


LIBRARY = ctypes.CDLL(os.environ["CDONTS_LIBRARY"])
for _name in ("create", "compose", "get_text", "get_object"):
    getattr(LIBRARY, "cdonts_" + _name).restype = ctypes.c_void_p
for _name in ("put_text", "put_number", "set_header", "attach_file", "attach_url", "attach_bytes", "send", "wait"):
    getattr(LIBRARY, "cdonts_" + _name).restype = ctypes.c_uint32
LIBRARY.cdonts_get_number.restype = ctypes.c_int64


def _bytes(value):
    return value if value is None or isinstance(value, bytes) else str(value).encode()


class Object:
    """`get`, `put` and `call` by CDONTS's names."""

    def __init__(self, name=None, pointer=None):
        self._error = Error()
        self._pointer = ctypes.c_void_p(pointer or LIBRARY.cdonts_create(name.encode(), ctypes.byref(self._error)))
        if not self._pointer:
            raise CdontsError(self._error)

    def __del__(self):
        LIBRARY.cdonts_release(self._pointer)

    def _check(self, code):
        if code:
            self._error.code = code
            raise CdontsError(self._error)

    def put(self, member, value):
        if isinstance(value, int):
            self._check(LIBRARY.cdonts_put_number(self._pointer, member.encode(), ctypes.c_int64(value),
                                                  ctypes.byref(self._error)))
        else:
            self._check(LIBRARY.cdonts_put_text(self._pointer, member.encode(), _bytes(value), ctypes.byref(self._error)))
        return self

    def header(self, name, value):
        self._check(LIBRARY.cdonts_set_header(self._pointer, _bytes(name), _bytes(value), ctypes.byref(self._error)))

    def attach_file(self, path, name=None, encoding=-1):
        self._check(LIBRARY.cdonts_attach_file(self._pointer, _bytes(path), _bytes(name), encoding, ctypes.byref(self._error)))

    def attach_url(self, path, location, base=None, encoding=-1):
        self._check(LIBRARY.cdonts_attach_url(self._pointer, _bytes(path), _bytes(location), _bytes(base), encoding,
                                              ctypes.byref(self._error)))

    def attach_bytes(self, content, name, content_id=None):
        self._check(LIBRARY.cdonts_attach_bytes(self._pointer, content, ctypes.c_size_t(len(content)), _bytes(name),
                                                _bytes(content_id), ctypes.byref(self._error)))

    def text(self, member):
        pointer = LIBRARY.cdonts_get_text(self._pointer, member.encode(), ctypes.byref(self._error))
        self._check(self._error.code if not pointer else 0)
        text = ctypes.string_at(pointer).decode()
        LIBRARY.cdonts_free(ctypes.c_void_p(pointer))
        return text

    def number(self, member):
        number = LIBRARY.cdonts_get_number(self._pointer, member.encode(), ctypes.byref(self._error))
        self._check(self._error.code)
        return number

    def object(self, member):
        pointer = LIBRARY.cdonts_get_object(self._pointer, member.encode(), ctypes.byref(self._error))
        self._check(self._error.code if not pointer else 0)
        return Object(pointer=pointer) if pointer else None

    def compose(self):
        size = ctypes.c_size_t()
        pointer = LIBRARY.cdonts_compose(self._pointer, ctypes.byref(size), ctypes.byref(self._error))
        self._check(self._error.code if not pointer else 0)
        content = ctypes.string_at(pointer, size.value)
        LIBRARY.cdonts_free(ctypes.c_void_p(pointer))
        return content

    def send(self):
        self._check(LIBRARY.cdonts_send(self._pointer, ctypes.byref(self._error)))
        return self.text("PickupName")


def wait(name, folder, timeout_ms):
    error = Error()
    return LIBRARY.cdonts_wait(name.encode(), _bytes(str(folder)), timeout_ms, ctypes.byref(error)), error.text.decode()
