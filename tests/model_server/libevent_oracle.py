"""libevent's HTTP server: a process that answers each request with method, target and digest of the body."""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from ctypes import CFUNCTYPE, c_char_p, c_int, c_size_t, c_uint16, c_void_p

LIBRARY = "libevent-2.1.so.7"
METHODS = {
    1 << bit: name
    for bit, name in enumerate(
        ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH")
    )
}
# TF Serving allows these.
ALLOWED = 1 | 2 | 4 | 8 | 16 | 32 | 256


def loaded() -> ctypes.CDLL:
    """Return the library with the types of what is called here.

    Raises:
        OSError: when the library is not installed.
    """
    library = ctypes.CDLL(LIBRARY)
    types: dict[str, tuple[object, tuple[object, ...]]] = {
        "event_base_new": (c_void_p, ()),
        "event_base_dispatch": (c_int, (c_void_p,)),
        "evhttp_new": (c_void_p, (c_void_p,)),
        "evhttp_set_allowed_methods": (None, (c_void_p, c_uint16)),
        "evhttp_set_gencb": (None, (c_void_p, c_void_p, c_void_p)),
        "evhttp_bind_socket_with_handle": (c_void_p, (c_void_p, c_char_p, c_uint16)),
        "evhttp_request_get_command": (c_int, (c_void_p,)),
        "evhttp_request_get_uri": (c_char_p, (c_void_p,)),
        "evhttp_request_get_input_buffer": (c_void_p, (c_void_p,)),
        "evhttp_uri_parse": (c_void_p, (c_char_p,)),
        "evhttp_uri_free": (None, (c_void_p,)),
        **{f"evhttp_uri_get_{part}": (c_char_p, (c_void_p,)) for part in ("path", "query", "fragment")},
        "evbuffer_get_length": (c_size_t, (c_void_p,)),
        "evbuffer_copyout": (c_size_t, (c_void_p, c_void_p, c_size_t)),
        "evbuffer_new": (c_void_p, ()),
        "evbuffer_free": (None, (c_void_p,)),
        "evbuffer_add": (c_int, (c_void_p, c_char_p, c_size_t)),
        "evhttp_send_reply": (None, (c_void_p, c_int, c_char_p, c_void_p)),
        "evhttp_send_error": (None, (c_void_p, c_int, c_char_p)),
    }
    for name, (result, arguments) in types.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def target_of(library: ctypes.CDLL, uri: bytes) -> str | None:
    """Return path, query and fragment of a URI, as TF Serving joins them; None if it is no URI."""
    parsed = library.evhttp_uri_parse(uri)
    if not parsed:
        return None
    path, query, fragment = (
        getattr(library, f"evhttp_uri_get_{part}")(parsed) for part in ("path", "query", "fragment")
    )
    library.evhttp_uri_free(parsed)
    found: bytes = b"/" if path is None else path
    found += b"" if query is None else b"?" + query
    return (found + (b"" if fragment is None else b"#" + fragment)).decode("latin-1")


def main() -> None:
    """Listen on the port in the arguments until the process is killed."""
    library = loaded()

    @CFUNCTYPE(None, c_void_p, c_void_p)  # type: ignore[untyped-decorator]  # ctypes has no types for it
    def answer(request: int, _: int | None) -> None:
        target = target_of(library, library.evhttp_request_get_uri(request))
        if target is None:
            library.evhttp_send_error(request, 400, None)
            return
        buffer = library.evhttp_request_get_input_buffer(request)
        body = ctypes.create_string_buffer(library.evbuffer_get_length(buffer))
        library.evbuffer_copyout(buffer, body, len(body))
        method = METHODS[library.evhttp_request_get_command(request)]
        content = json.dumps([method, target, hashlib.sha256(body.raw).hexdigest()]).encode()
        reply = library.evbuffer_new()
        library.evbuffer_add(reply, content, len(content))
        library.evhttp_send_reply(request, 200, b"OK", reply)
        library.evbuffer_free(reply)

    base = library.event_base_new()
    server = library.evhttp_new(base)
    library.evhttp_set_allowed_methods(server, ALLOWED)
    library.evhttp_set_gencb(server, ctypes.cast(answer, c_void_p), None)
    assert library.evhttp_bind_socket_with_handle(server, b"127.0.0.1", int(sys.argv[1]))
    library.event_base_dispatch(base)


if __name__ == "__main__":
    main()
