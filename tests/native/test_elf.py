"""The loader: objects reach their constants wherever they land, and damage is an error."""

import ctypes

import pytest

from fanal.backends.native import elf
from fanal.backends.native.jit import compile_ir

SUM = """
@table = private constant [4 x i64] [i64 1, i64 20, i64 300, i64 4000]
@counter = internal global i64 5
@zeros = internal global [512 x i64] zeroinitializer
declare i64 @strlen(ptr)
@text = internal global [6 x i8] c"fanal\\00"

define internal i64 @entry(i64 %i) noinline {
  %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %i
  %v = load i64, ptr %p
  ret i64 %v
}
define i64 @pick(i64 %i) {
  %v = call i64 @entry(i64 %i)
  ret i64 %v
}
define i64 @count() {
  %v = load i64, ptr @counter
  %n = add i64 %v, 1
  store i64 %n, ptr @counter
  %z = load i64, ptr @zeros
  %r = add i64 %n, %z
  ret i64 %r
}
define i64 @length() {
  %n = call i64 @strlen(ptr @text)
  ret i64 %n
}
"""


def call(address, *arguments):
    kinds = [ctypes.c_int64] * len(arguments)
    return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)(*arguments)


@pytest.fixture(scope="module")
def data():
    return compile_ir(SUM)


def test_constants_calls_and_data(data):
    found = elf.load(data, ("pick", "count", "length"), elf.process_symbol)
    assert [call(found["pick"], i) for i in range(4)] == [1, 20, 300, 4000]
    assert [call(found["count"]) for _ in range(3)] == [6, 7, 8]
    assert call(found["length"]) == 5


def test_each_load_has_its_own_data(data):
    one = elf.load(data, ("count",), elf.process_symbol)["count"]
    two = elf.load(data, ("count",), elf.process_symbol)["count"]
    assert call(one) == 6 and call(one) == 7 and call(two) == 6


def test_code_pages_are_not_writable(data):
    address = elf.load(data, ("pick",), elf.process_symbol)["pick"]
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, mode = line.split()[:2]
            low, high = (int(word, 16) for word in span.split("-"))
            if low <= address < high:
                assert mode.startswith("r-x")
                return
    raise AssertionError("the code is not mapped")


def test_a_missing_outside_symbol_is_named(data):
    with pytest.raises(elf.ObjectError, match="strlen"):
        elf.load(data, ("pick",))
    with pytest.raises(elf.ObjectError, match="absent"):
        elf.load(data, ("absent",), elf.process_symbol)
    with pytest.raises(elf.ObjectError, match="fanal_no_such"):
        elf.process_symbol("fanal_no_such")


@pytest.mark.parametrize("keep", [0, 3, 64, 200])
def test_a_cut_object_is_an_error(data, keep):
    with pytest.raises(elf.ObjectError):
        elf.load(data[:keep], ("pick",), elf.process_symbol)


def test_an_object_for_another_machine_is_an_error(data):
    other = bytearray(data)
    other[18:20] = b"\x08\x00"
    with pytest.raises(elf.ObjectError, match="machine 8"):
        elf.load(bytes(other), ("pick",), elf.process_symbol)
