"""The records of a file to import: one JSON text after another, however they are packed.

A file may hold one object a line (also gzipped, with a byte order mark, CRLF or empty lines), or be
one JSON document: an array of objects, or an object with a list under `events`. Lines are read one
by one, so a file may be larger than memory; a document may not.
"""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from tidemill.errors import UnreadableFile
from tidemill.problems import Problem

__all__ = ["DOCUMENT_BYTES_MAX", "RECORD_BYTES_MAX", "Record", "opened", "records"]

RECORD_BYTES_MAX: Final = 10_000_000
"""A line or object this long or longer is refused without being kept in memory."""

DOCUMENT_BYTES_MAX: Final = 500_000_000
"""A JSON document longer than this must be written as one object a line."""

_SHOWN: Final = 1_000
_GZIP: Final = b"\x1f\x8b"
_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_BLOCK: Final = 1 << 20
_AS_LINES: Final = "Write one JSON object a line, as `jq -c '.[]'` does."


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON text of a file, or what stands where one should be."""

    origin: str
    """File and line, ``books.jsonl:17``; of a document file and place, ``books.json#17``."""
    body: bytes
    """The text; only its beginning when there is a problem."""
    problem: Problem | None = None

    @property
    def shown(self) -> str:
        """The body as text that can be kept, whatever bytes it is made of."""
        return self.body.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


class _Document(msgspec.Struct):
    """An object that holds a list of records."""

    events: list[msgspec.Raw]


_LISTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DOCUMENTS: Final = msgspec.json.Decoder(_Document)


@contextmanager
def opened(file: str | Path | BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """The name people know a file by, and a stream over it that can be read from the start again.

    file: a path, ``-`` for standard input, or an open binary stream. What cannot be rewound, such
          as a pipe, is first copied to a temporary file.
    Raises: UnreadableFile when it is not there or may not be read.
    """
    with ExitStack() as stack:
        if isinstance(file, str | Path) and str(file) != "-":
            try:
                yield str(file), stack.enter_context(Path(file).open("rb"))
            except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
                raise UnreadableFile(str(file), error.strerror or str(error)) from None
            return
        stream = sys.stdin.buffer if isinstance(file, str | Path) else file
        if not stream.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            while block := stream.read(_BLOCK):
                copy.write(block)
            stream = copy
        yield "-", stream


def records(name: str, stream: BinaryIO) -> Iterator[Record]:
    """Every record of a stream, from its start.

    Raises: UnreadableFile when a compressed file is damaged or the text is not UTF-8 at all; the
            records before the damage have been given by then.
    """
    stream.seek(0)
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    raw: Any = gzip.GzipFile(fileobj=stream) if packed else stream
    text: io.BufferedReader = io.BufferedReader(raw)
    try:
        yield from _records(name, text)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        hint = "Import it again once it is whole; what came before the damage is kept."
        raise UnreadableFile(name, f"it is damaged ({error})", hint=hint) from None
    finally:
        if not stream.closed:
            # Closing the wrapper must not close a stream that is read again.
            text.detach()


def _records(name: str, stream: io.BufferedReader) -> Iterator[Record]:
    if stream.peek(len(_MARK))[:2] in _WIDE_MARKS:
        raise UnreadableFile(name, "it is not UTF-8", hint="Convert it from UTF-16 to UTF-8.")
    if stream.peek(len(_MARK)).startswith(_MARK):
        stream.read(len(_MARK))
    skipped = 0
    while stream.peek(1)[:1].isspace():
        skipped += stream.read(1) == b"\n"
    # A list is a document, on one line or many.
    if stream.peek(1)[:1] == b"[":
        yield from _document(name, b"", stream)
        return
    lines = _lines(stream, skipped)
    first, second = next(lines, None), next(lines, None)
    if first is not None and second is not None and _goes_on(first[1], second[1]):
        yield from _document(name, first[1] + second[1], stream)
        return
    for line in (first, second):
        if line is not None:
            yield from _line(name, *line)
    for line in lines:
        yield from _line(name, *line)


def _goes_on(first: bytes, second: bytes) -> bool:
    """Whether an object that begins on the first line is written over several lines."""
    start = first.strip()
    inner = second[:1] in {b" ", b"\t", b"}", b'"'}
    return start == b"{" or (start.startswith(b"{") and not start.endswith(b"}") and inner)


def _lines(stream: io.BufferedReader, number: int) -> Iterator[tuple[int, bytes, int]]:
    """Number, text and length of every line; of a line that is too long only the beginning."""
    while text := stream.readline(RECORD_BYTES_MAX):
        number += 1
        length = len(text)
        if length == RECORD_BYTES_MAX:
            ended = text.endswith(b"\n")
            text = text[:_SHOWN]
            # The rest of the line is read and dropped, block by block.
            while not ended and (rest := stream.readline(_BLOCK)):
                length += len(rest)
                ended = rest.endswith(b"\n")
        yield number, text, length


def _line(name: str, number: int, text: bytes, length: int) -> Iterator[Record]:
    origin = f"{name}:{number}"
    if length >= RECORD_BYTES_MAX:
        yield Record(origin, text, _too_long("line", length))
    elif stripped := text.strip():
        inside = _held(stripped)
        if inside is None:
            yield Record(origin, stripped)
        else:
            yield from _members(origin, inside)


def _document(name: str, head: bytes, stream: io.BufferedReader) -> Iterator[Record]:
    # One byte more than allowed tells a document that is too long from one that just fits.
    text = head + stream.read(DOCUMENT_BYTES_MAX + 1)
    if len(text) > DOCUMENT_BYTES_MAX:
        yield Record(name, text[:_SHOWN], _too_long("document", len(text)))
        return
    inside = _held(text)
    if inside is None:
        # One object over several lines, or something that is no JSON: its reader will say.
        broken = len(text) >= RECORD_BYTES_MAX
        problem = _too_long("object", len(text)) if broken else None
        yield Record(name, text[:_SHOWN] if broken else text, problem)
        return
    yield from _members(name, inside)


def _held(text: bytes) -> list[msgspec.Raw] | None:
    """The records inside a list, or under `events`; None when the text is itself a record."""
    try:
        if text.lstrip().startswith(b"["):
            return _LISTS.decode(text)
        # Asked for only where the word stands: decoding every line twice would be wasteful.
        return _DOCUMENTS.decode(text).events if b'"events"' in text else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _members(origin: str, inside: list[msgspec.Raw]) -> Iterator[Record]:
    for place, member in enumerate(inside, 1):
        body = bytes(member)
        where = f"{origin}#{place}"
        if len(body) >= RECORD_BYTES_MAX:
            yield Record(where, body[:_SHOWN], _too_long("object", len(body)))
        else:
            yield Record(where, body)


def _too_long(what: str, length: int) -> Problem:
    most = DOCUMENT_BYTES_MAX if what == "document" else RECORD_BYTES_MAX
    return Problem("", f"the {what} is {length:,} bytes long, of {most:,} at most", _AS_LINES)
