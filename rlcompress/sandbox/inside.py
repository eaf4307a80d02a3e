"""What runs inside the jail: this file's text alone is started there, so it imports nothing of ours.

It answers requests, one after the other: run this code, give the value of this expression. The candidate shares the
process and may answer in its stead; all it gains is to return other values, as what is expected never comes here.
The parent uses the same `encode` and `decode`, so nothing but plain data crosses in either direction.

Wire: a frame is 16 bytes of nonce, 4 bytes of length (big-endian), one encoded value. A request is a mapping, its
answer a mapping under the request's nonce.
"""

import os
import sys

TYPE_CHECKING = False  # importing `typing` would double the time of a start
if TYPE_CHECKING:
    from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)
TAGS = dict(zip((*PLAIN, type(None)), b"bifcsyltdezn", strict=True))
DEPTH = 64
# Of all sets and mappings of a value: hashes that collide on purpose make the work of who reads them quadratic.
MEMBERS = 2048
NONCE = 16
ROOM = 4096  # bytes of an answer beside its value


class NotPlain(Exception):
    """No plain data, or too much of it."""


def encode(value: object, cap: int) -> bytes:
    """Plain data as at most `cap` bytes. Heirs of plain types go as what they inherit from: a Counter is a dict.

    Raises:
        NotPlain: another type, or more than `DEPTH` levels (cycles too), `cap` bytes or `MEMBERS` members.
    """
    parts: list[bytes] = []
    left, hashed = cap, 0

    def put(piece: bytes) -> None:
        nonlocal left
        left -= len(piece)
        if left < 0:
            raise NotPlain(f"more than {cap} bytes of data")
        parts.append(piece)

    def walk(item: object, depth: int) -> None:
        nonlocal hashed
        kind = type(item)
        if kind not in TAGS:
            kind = next((base for base in PLAIN if issubclass(kind, base)), kind)
        if kind not in TAGS:
            raise NotPlain(f"{kind.__name__} is no plain data")
        if depth > DEPTH:
            raise NotPlain(f"more than {DEPTH} levels of data")
        tag = bytes((TAGS[kind],))
        if isinstance(item, (list, tuple, set, frozenset, dict)):
            held = members(item)
            count = len(held) // 2 if kind is dict else len(held)
            hashed += 0 if kind in (list, tuple) else count
            if hashed > MEMBERS:
                raise NotPlain(f"more than {MEMBERS} members of sets and mappings")
            put(tag + count.to_bytes(4, "big"))
            for member in held:
                walk(member, depth + 1)
            return
        body = scalar(item)
        put(tag + len(body).to_bytes(4, "big") + body)

    def members(item: "list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any] | dict[Any, Any]") -> "list[Any]":
        """By the plain type's own methods: an heir may show others than it holds."""
        if isinstance(item, dict):
            return [side for pair in dict.items(item) for side in pair]
        plain: Any = next(base for base in (list, tuple, set, frozenset) if isinstance(item, base))
        return list(plain.__iter__(item))

    def scalar(item: object) -> bytes:
        if item is None:
            return b""
        if isinstance(item, bool):
            return b"1" if item else b""
        if isinstance(item, int):
            bits = int.bit_length(item)
            if bits > 8 * cap:
                raise NotPlain(f"more than {cap} bytes of data")
            return int.to_bytes(item, bits // 8 + 1, "big", signed=True)
        if isinstance(item, float):
            return float.hex(item).encode()
        if isinstance(item, complex):
            return (float.hex(item.real) + " " + float.hex(item.imag)).encode()
        if isinstance(item, str):
            return str.encode(item, "utf-8", "surrogatepass")
        assert isinstance(item, bytes)
        return bytes.__getitem__(item, slice(None))

    walk(value, 0)
    return b"".join(parts)


def decode(data: bytes) -> object:
    """The inverse of `encode`; whoever wrote the bytes may be hostile.

    Raises:
        NotPlain: bytes that `encode` does not write.
    """
    at = hashed = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        if at > len(data):
            raise NotPlain("the data breaks off")
        return data[at - count : at]

    def walk(depth: int) -> object:
        nonlocal hashed
        tag, count = take(1), int.from_bytes(take(4), "big")
        if depth > DEPTH:
            raise NotPlain("too deep")
        if tag in (b"l", b"t", b"e", b"z", b"d"):
            hashed += 0 if tag in (b"l", b"t") else count
            if count > len(data) or hashed > MEMBERS:
                raise NotPlain("too many members")
            if tag == b"d":
                return {walk(depth + 1): walk(depth + 1) for _ in range(count)}
            members = [walk(depth + 1) for _ in range(count)]
            return {b"l": list, b"t": tuple, b"e": set, b"z": frozenset}[tag](members)
        body = take(count)
        if tag == b"n":
            return None
        if tag == b"b":
            return body == b"1"
        if tag == b"i":
            return int.from_bytes(body, "big", signed=True)
        if tag == b"f":
            return float.fromhex(body.decode())
        if tag == b"c":
            real, imaginary = body.decode().split(" ")
            return complex(float.fromhex(real), float.fromhex(imaginary))
        if tag == b"s":
            return body.decode("utf-8", "surrogatepass")
        if tag == b"y":
            return body
        raise NotPlain("an unknown kind of data")

    try:
        value = walk(0)
    except (ValueError, TypeError, OverflowError) as error:
        raise NotPlain(f"broken data: {type(error).__name__}") from None
    if at != len(data):
        raise NotPlain("more data than there should be")
    return value


def limit(memory: int, cpu: int, file: int) -> None:
    """Limits of this process, soft and hard, that no candidate can raise again."""
    import resource

    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: file,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def describe(error: BaseException) -> str:
    """Class and message, cut; the message is the candidate's code too."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:
        return type(error).__name__


def answer(request: "dict[str, Any]", space: "dict[str, Any]", cap: int) -> "dict[str, Any]":
    """Run code, or give an expression's value as encoded bytes; what it raises is told, with its class."""
    try:
        if request["op"] == "run":
            exec(compile(request["code"], "<candidate>", "exec", dont_inherit=True), space)
            return {"ok": True}
        names = {name: decode(data) for name, data in request["values"].items()}
        code = compile(request["code"], "<test>", "eval", dont_inherit=True)
        value = eval(code, {**space, **names} if names else space)
        if request["op"] == "truth":
            value = bool(value)
        return {"ok": True, "value": encode(value, cap)}
    except NotPlain as error:
        return {"ok": False, "plain": False, "detail": str(error)}
    except BaseException as error:
        return {"ok": False, "plain": True, "detail": describe(error)}


def main(source: int, sink: int, cap: int, hello: bytes) -> None:
    """Say hello, then answer until the parent closes its end."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)
    os.dup2(1, 0)
    for low, high in ((3, min(source, sink)), (min(source, sink) + 1, max(source, sink)), (max(source, sink) + 1, 256)):
        os.closerange(low, high)
    module = type(sys)("candidate")  # a real module: dataclasses and the like look it up by name
    sys.modules["candidate"] = module

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = os.read(source, count - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    def write(nonce: bytes, value: object) -> None:
        body = encode(value, cap + ROOM)
        frame = nonce + len(body).to_bytes(4, "big") + body
        while frame:
            frame = frame[os.write(sink, frame) :]

    write(hello, {"ok": True})
    while True:
        nonce = read(NONCE)
        request = decode(read(int.from_bytes(read(4), "big")))
        assert isinstance(request, dict)
        write(nonce, answer(request, module.__dict__, cap))
