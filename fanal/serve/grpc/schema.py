"""A `.proto` file as a descriptor: what `protoc` would make of it, made when the server starts.

It reads what our one file is written in (messages, enumerations, maps, `oneof`, services); so the text that people
read is what is on the wire, with nothing generated in between and no compiler to install.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

_TOKEN = re.compile(r'\s+|//[^\n]*|(?P<token>"[^"]*"|[A-Za-z_.][\w.]*|\d+|[{}()<>=;,])')
_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def file_from(text: str, name: str) -> FileDescriptorProto:
    """The descriptor of a file in proto3."""
    return _Reader(text, name).file()


class _Reader:
    def __init__(self, text: str, name: str):
        self._tokens = list(_tokens(text))
        self._at = 0
        self._made = FileDescriptorProto(name=name)

    def file(self) -> FileDescriptorProto:
        made = self._made
        while self._at < len(self._tokens):
            word = self._next()
            if word == "syntax":
                self._expect("=")
                made.syntax = self._next().strip('"')
                self._expect(";")
            elif word == "package":
                made.package = self._next()
                self._expect(";")
            elif word == "message":
                self._message(made.message_type.add())
            elif word == "enum":
                self._enum(made.enum_type.add())
            elif word == "service":
                self._service(made.service.add())
            else:
                raise self._error(word)
        return made

    def _message(self, made: DescriptorProto) -> None:
        made.name = self._next()
        self._expect("{")
        while (word := self._next()) != "}":
            if word == "message":
                self._message(made.nested_type.add())
            elif word == "enum":
                self._enum(made.enum_type.add())
            elif word == "oneof":
                made.oneof_decl.add(name=self._next())
                self._expect("{")
                while (word := self._next()) != "}":
                    self._field(made, word).oneof_index = len(made.oneof_decl) - 1
            elif word == "map":
                self._map(made)
            elif word == "repeated":
                self._field(made, self._next()).label = FieldDescriptorProto.LABEL_REPEATED
            else:
                self._field(made, word)

    def _field(self, owner: DescriptorProto, kind: str) -> FieldDescriptorProto:
        made = owner.field.add(label=FieldDescriptorProto.LABEL_OPTIONAL)
        _typed(made, kind)
        made.name = self._next()
        self._expect("=")
        made.number = int(self._next())
        self._expect(";")
        return made

    def _map(self, owner: DescriptorProto) -> None:
        self._expect("<")
        key = self._next()
        self._expect(",")
        value = self._next()
        self._expect(">")
        field = self._field(owner, "")
        entry = owner.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            part = entry.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            _typed(part, kind)
        field.type_name, field.label = entry.name, FieldDescriptorProto.LABEL_REPEATED

    def _enum(self, made: EnumDescriptorProto) -> None:
        made.name = self._next()
        self._expect("{")
        while (word := self._next()) != "}":
            self._expect("=")
            made.value.add(name=word, number=int(self._next()))
            self._expect(";")

    def _service(self, made: ServiceDescriptorProto) -> None:
        made.name = self._next()
        self._expect("{")
        while (word := self._next()) != "}":
            if word != "rpc":
                raise self._error(word)
            method = made.method.add(name=self._next())
            method.client_streaming, method.input_type = self._side()
            self._expect("returns")
            method.server_streaming, method.output_type = self._side()
            self._expect(";")

    def _side(self) -> tuple[bool, str]:
        self._expect("(")
        word = self._next()
        stream = word == "stream"
        if stream:
            word = self._next()
        self._expect(")")
        return stream, word

    def _next(self) -> str:
        if self._at == len(self._tokens):
            raise ValueError(f"{self._made.name} ends in the middle of something")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._error(found, token)

    def _error(self, found: str, wanted: str = "a declaration") -> ValueError:
        before = " ".join(self._tokens[max(0, self._at - 6) : self._at - 1])
        return ValueError(f"{self._made.name}: {found!r} after {before!r}; expected {wanted}")


def _typed(field: FieldDescriptorProto, kind: str) -> None:
    # Names are resolved, and told to be of messages or enumerations, by the pool that the file is added to.
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type_name = kind


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"not proto3: {text[at : at + 20]!r}")
        at = found.end()
        if found["token"]:
            yield found["token"]
