"""A pickle machine that can only build values.

A pickle is a program for a small stack machine (https://docs.python.org/3/library/pickletools.html describes
its opcodes). Python's own machine imports and calls whatever the program names, which is how a file of
weights runs code. This one interprets the opcodes that `torch.save` writes (protocols 2 to 5) and imports
nothing: a name is text, a call is done only where `names.CALLS` has a function of ours for it, and makes a
`Record` otherwise. Steps, objects and nesting are counted, so that a short program cannot ask for much.

Values may contain themselves, and be nested without end: whoever walks through them has to bound that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from yolofast.limits import (
    MAX_PICKLE_NAME,
    MAX_PICKLE_NAMES,
    MAX_PICKLE_NESTING,
    MAX_PICKLE_OBJECTS,
    MAX_PICKLE_OPCODES,
    MAX_PICKLE_TUPLE_KEYS,
)
from yolofast.printable import printable
from yolofast.torch_file.names import CALLS, DTYPES, checked, is_key
from yolofast.torch_file.records import Name, PickleError, Record, StoredTensor

_U16, _I32, _U32, _F64 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I"), struct.Struct(">d")
_SMALLEST_PROTOCOL, _LARGEST_PROTOCOL = 2, 5
_STOP = ord(".")
_COST_OF_STORAGE = 4
"""Objects that a persistent id counts for: it takes as long to look at."""

_REFUSED = {
    "F": "FLOAT",
    "I": "INT",
    "L": "LONG",
    "S": "STRING",
    "T": "BINSTRING",
    "U": "SHORT_BINSTRING",
    "V": "UNICODE",
    "P": "PERSID",
    "d": "DICT",
    "g": "GET",
    "i": "INST",
    "l": "LIST",
    "o": "OBJ",
    "p": "PUT",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x8b": "LONG4",
    "\x8d": "BINUNICODE8",
    "\x8e": "BINBYTES8",
    "\x96": "BYTEARRAY8",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}
"""Opcodes of pickle that `torch.save` has no use for."""


class Machine:
    """Interprets one pickle. `persistent` turns a persistent id into a value."""

    def __init__(self, data: bytes, persistent: Callable[[Any], Any]) -> None:
        self._data, self._persistent = data, persistent
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._objects = self._tuple_keys = 0
        self._names: dict[tuple[str, str], Any] = {}

    def run(self) -> Any:
        """The value that the pickle describes. Raises `PickleError`."""
        try:
            return self._run()
        except PickleError:
            raise
        except (IndexError, struct.error):
            raise PickleError("its pickle ends too early, or takes more from its stack than it has") from None
        except (UnicodeError, OverflowError):
            raise PickleError("its pickle has text or numbers that are damaged") from None

    def _run(self) -> Any:
        data, actions = self._data, _ACTIONS
        if data[:1] != b"\x80" or not _SMALLEST_PROTOCOL <= data[1] <= _LARGEST_PROTOCOL:
            raise PickleError("its pickle is not of protocol 2 to 5")
        self._at = 2
        for _ in range(MAX_PICKLE_OPCODES):
            code = data[self._at]
            self._at += 1
            if code == _STOP:
                return self._result()
            action = actions[code]
            if action is None:
                raise PickleError(
                    f"the opcode {_opcode_name(code)} of pickle, which torch.save does not write"
                )
            action(self)
        raise PickleError(f"its pickle has more than {MAX_PICKLE_OPCODES} steps")

    def _result(self) -> Any:
        if self._marks or len(self._stack) != 1:
            raise PickleError("its pickle ends with more than one value")
        if self._at != len(self._data):
            raise PickleError(f"its pickle has {len(self._data) - self._at} bytes after its end")
        return self._stack[0]

    # -------------------------------------------------- what opcodes share

    def _take(self, size: int) -> bytes:
        raw = self._data[self._at : self._at + size]
        if len(raw) != size:
            raise PickleError("its pickle ends too early")
        self._at += size
        return raw

    def _number(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self._data, self._at)
        self._at += form.size
        return value

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + MAX_PICKLE_NAME)
        if end < 0:
            raise PickleError(f"a name of over {MAX_PICKLE_NAME} bytes")
        return self._take(end + 1 - self._at)[:-1].decode()

    def _count(self, objects: int = 1) -> None:
        self._objects += objects
        if self._objects > MAX_PICKLE_OBJECTS:
            raise PickleError(f"its pickle makes more than {MAX_PICKLE_OBJECTS} objects")

    def _text(self, size: int) -> str:
        raw = self._take(size)
        try:
            return raw.decode()
        except UnicodeDecodeError:  # lone surrogates, as in paths that are not UTF-8; each takes long
            self._count(len(raw) // 4)
            return raw.decode("utf-8", "surrogatepass")

    def _since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marks.pop()
        return values

    def _push_object(self, value: Any) -> None:
        self._count()
        self._stack.append(value)

    # -------------------------------------------------- stack and memo

    def _mark(self) -> None:
        if len(self._marks) >= MAX_PICKLE_NESTING:
            raise PickleError(f"its pickle is nested more than {MAX_PICKLE_NESTING} times")
        self._count()
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        self._stack.pop()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _duplicate(self) -> None:
        self._stack.append(self._stack[-1])

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise PickleError(f"its pickle uses value {key} before it is there")
        self._stack.append(self._memo[key])

    def _binget(self) -> None:
        self._get(self._take(1)[0])

    def _long_binget(self) -> None:
        self._get(self._number(_U32))

    def _put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]
        if len(self._memo) > MAX_PICKLE_OBJECTS:
            raise PickleError(f"its pickle keeps more than {MAX_PICKLE_OBJECTS} values")

    def _binput(self) -> None:
        self._put(self._take(1)[0])

    def _long_binput(self) -> None:
        self._put(self._number(_U32))

    def _memoize(self) -> None:
        self._put(len(self._memo))

    def _frame(self) -> None:
        self._take(8)

    # -------------------------------------------------- plain values

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)

    def _binint(self) -> None:
        self._stack.append(self._number(_I32))

    def _binint1(self) -> None:
        self._stack.append(self._take(1)[0])

    def _binint2(self) -> None:
        self._stack.append(self._number(_U16))

    def _long1(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def _binfloat(self) -> None:
        self._stack.append(self._number(_F64))

    def _binunicode(self) -> None:
        self._stack.append(self._text(self._number(_U32)))

    def _short_binunicode(self) -> None:
        self._stack.append(self._text(self._take(1)[0]))

    def _binbytes(self) -> None:
        self._stack.append(self._take(self._number(_U32)))

    def _short_binbytes(self) -> None:
        self._stack.append(self._take(self._take(1)[0]))

    # -------------------------------------------------- containers

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _empty_list(self) -> None:
        self._push_object([])

    def _empty_dict(self) -> None:
        self._push_object({})

    def _empty_set(self) -> None:
        self._push_object(set())

    def _tuple(self) -> None:
        values = tuple(self._since_mark())
        self._push_object(values)

    def _tuple_of(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError
        values = tuple(self._stack[-size:])
        del self._stack[-size:]
        self._push_object(values)

    def _frozenset(self) -> None:
        values = self._since_mark()
        self._check_keys(values)
        self._push_object(frozenset(values))

    def _append(self) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Record):
            target.items.extend(values)
        else:
            raise PickleError("its pickle appends to something that is not a list")

    def _add_items(self) -> None:
        values = self._since_mark()
        target = self._stack[-1]
        if not isinstance(target, set):
            raise PickleError("its pickle adds to something that is not a set")
        self._check_keys(values)
        target.update(values)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set_items(self) -> None:
        self._set(self._since_mark())

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        keys, items = values[::2], values[1::2]
        if len(keys) != len(items):
            raise PickleError("its pickle has a key without a value")
        if isinstance(target, Record):
            target.items.extend(zip(keys, items, strict=True))
        elif isinstance(target, dict):
            self._check_keys(keys)
            target.update(zip(keys, items, strict=True))
        else:
            raise PickleError("its pickle sets items of something that is not a dictionary")

    def _check_keys(self, keys: list[Any]) -> None:
        if not all(is_key(key) for key in keys):
            raise PickleError("a key of a dictionary or element of a set that is not a plain value")
        self._tuple_keys += sum(isinstance(key, tuple) for key in keys)
        if self._tuple_keys > MAX_PICKLE_TUPLE_KEYS:
            raise PickleError(f"its pickle uses tuples as keys more than {MAX_PICKLE_TUPLE_KEYS} times")

    # -------------------------------------------------- names, objects, tensors

    def _global(self) -> None:
        module = self._line()
        self._name(module, self._line())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name that is not text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if max(len(module), len(name)) > MAX_PICKLE_NAME:
            raise PickleError(f"a name of over {MAX_PICKLE_NAME} characters")
        found = self._names.get((module, name))
        if found is None:
            if len(self._names) >= MAX_PICKLE_NAMES:
                raise PickleError(f"its pickle mentions more than {MAX_PICKLE_NAMES} classes and functions")
            dtype = DTYPES.get(name) if module == "torch" else None
            found = self._names[module, name] = checked(Name(module, name)) if dtype is None else dtype
        self._push_object(found)

    def _reduce(self) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        self._stack.append(self._called(kind, arguments))

    def _newobj(self) -> None:
        self._reduce()

    def _newobj_ex(self) -> None:
        keywords = self._stack.pop()
        if keywords != {}:
            self._stack[-1] = (*self._tuple_at_top(), keywords)
        self._reduce()

    def _tuple_at_top(self) -> tuple[Any, ...]:
        value = self._stack[-1]
        if not isinstance(value, tuple):
            raise PickleError("a call whose arguments are not a tuple")
        self._count(len(value))
        return value

    def _called(self, kind: Any, arguments: Any) -> Any:
        """What a call makes: a plain value for the functions that are known, a record for all others."""
        if not isinstance(kind, Name):
            raise PickleError(f"a call of something that is not a name, but {type(kind).__name__}")
        if not isinstance(arguments, tuple):
            raise PickleError("a call whose arguments are not a tuple")
        self._count()
        function = CALLS.get(kind)
        if function is None:
            return Record(kind, arguments)
        for argument in arguments:  # it is copied, and the memo can give it any number of times
            if isinstance(argument, list | tuple | dict | set):
                self._count(len(argument))
            elif isinstance(argument, str | bytes):
                self._count(len(argument) // 16)
        try:
            return function(*arguments)
        except TypeError:
            raise PickleError(
                f"a call of {printable(str(kind), 100)} with arguments that it does not have"
            ) from None

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict | set | StoredTensor):  # of these, attributes tell nothing
            raise PickleError("its pickle gives a state to something that has none")

    def _binpersid(self) -> None:
        self._count(_COST_OF_STORAGE)
        self._stack.append(self._persistent(self._stack.pop()))


def _opcode_name(code: int) -> str:
    return _REFUSED.get(chr(code), f"0x{code:02x}")


_BY_CODE: dict[str, Callable[[Machine], None]] = {
    "(": Machine._mark,
    "0": Machine._pop,
    "1": Machine._pop_mark,
    "2": Machine._duplicate,
    "h": Machine._binget,
    "j": Machine._long_binget,
    "q": Machine._binput,
    "r": Machine._long_binput,
    "\x94": Machine._memoize,
    "\x95": Machine._frame,
    "N": Machine._none,
    "\x88": Machine._true,
    "\x89": Machine._false,
    "J": Machine._binint,
    "K": Machine._binint1,
    "M": Machine._binint2,
    "\x8a": Machine._long1,
    "G": Machine._binfloat,
    "X": Machine._binunicode,
    "\x8c": Machine._short_binunicode,
    "B": Machine._binbytes,
    "C": Machine._short_binbytes,
    ")": Machine._empty_tuple,
    "]": Machine._empty_list,
    "}": Machine._empty_dict,
    "\x8f": Machine._empty_set,
    "t": Machine._tuple,
    "\x85": lambda machine: machine._tuple_of(1),
    "\x86": lambda machine: machine._tuple_of(2),
    "\x87": lambda machine: machine._tuple_of(3),
    "\x91": Machine._frozenset,
    "a": Machine._append,
    "e": Machine._appends,
    "\x90": Machine._add_items,
    "s": Machine._set_item,
    "u": Machine._set_items,
    "c": Machine._global,
    "\x93": Machine._stack_global,
    "R": Machine._reduce,
    "\x81": Machine._newobj,
    "\x92": Machine._newobj_ex,
    "b": Machine._build,
    "Q": Machine._binpersid,
}
_ACTIONS = [_BY_CODE.get(chr(code)) for code in range(256)]
