"""The opcodes that Python 2 pickled arrays with, by hand, because Python 3 pickles otherwise."""

from __future__ import annotations

import struct


def integer(value):
    return b"J" + struct.pack("<i", value)


def string(content):
    return b"T" + struct.pack("<i", len(content)) + content


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def dtype(kind, order=b"<"):
    made = b"cnumpy\ndtype\n" + sequence(string(kind), integer(0), integer(1)) + b"R"
    state = [integer(3), string(order), b"NNN", integer(-1), integer(-1), integer(0)]
    return made + sequence(*state) + b"b"


def array(values):
    empty = [b"cnumpy\nndarray\n", sequence(integer(0)), string(b"b")]
    state = [
        integer(1),
        sequence(*map(integer, values.shape)),
        dtype(values.dtype.str[1:].encode(), values.dtype.str[:1].encode()),
        b"\x89",
        string(values.tobytes()),
    ]
    made = b"cnumpy.core.multiarray\n_reconstruct\n" + sequence(*empty) + b"R"
    return made + sequence(*state) + b"b"


def stored(code):
    return b"\x80\x02" + code + b"."
