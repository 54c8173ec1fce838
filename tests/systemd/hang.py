#!/usr/bin/env python3
"""Makes one thread of a process stand still, by the debugger's interface, for as long as this program runs.

usage: hang.py <thread id> <seconds>
"""
import ctypes
import os
import sys
import time

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread, seconds = int(sys.argv[1]), float(sys.argv[2])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f"ptrace {request:#x} of {thread}: {os.strerror(ctypes.get_errno())}")
os.waitpid(thread, WALL)
print("hangs", flush=True)
time.sleep(seconds)
