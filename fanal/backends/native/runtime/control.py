"""Entries of a program's table that are no phases: loops, branches and jumps (see `layout.py`)."""

SOURCE = '''
def run_control(desc: ptr, bufs: ptr) -> i64:
    """An entry that is no phase: moves slots of the table of buffers; how far to go in the table."""
    end = desc + 8 + (i64[desc] << 5)
    desc = desc + 8
    while desc < end:
        code = i64[desc]
        slot = bufs + (i64[desc + 8] << 3)
        other = i64[desc + 16]
        number = i64[desc + 24]
        desc = desc + 32
        if code == CONTROL_ADVANCE:
            i64[slot] += number
        elif code == CONTROL_ROTATE:
            was = i64[bufs + (other << 3)]
            i64[slot] = was
            i64[bufs + (other << 3)] = i64[bufs + (number << 3)]
            i64[bufs + (number << 3)] = was
        elif code == CONTROL_POINT:
            i64[slot] = i64[bufs + (other << 3)] + number
        elif code == CONTROL_COUNT:
            i64[slot] = number
        elif code == CONTROL_REPEAT:
            i64[slot] -= 1
            if i64[slot] > 0:
                return number
        elif code == CONTROL_UNLESS:
            if i8[ptr[slot] + other] == 0:
                return number
        else:
            return number
    return 0
'''
