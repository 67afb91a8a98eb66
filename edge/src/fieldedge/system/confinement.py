"""What a process that handles what others made may no longer do: use much memory or time, reach out, start another.

For a child that has imported what it needs and has not yet touched the thing. The limits on memory and time come on top
of what it has used by then, so that they hold on any machine. System calls are filtered by seccomp (seccomp(2)) on
x86-64 and aarch64; where the kernel cannot, the limits hold alone.
"""

import ctypes
import errno
import platform
import resource
import signal
import struct
from pathlib import Path

CPU_S = 10
EXTRA_BYTES = 64_000_000
MAX_FILE_BYTES = 1_000_000

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF: LD|W|ABS, JMP|J..|K, RET|K
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_CLONE3, _CLONE_THREAD = (
    435,
    0x10000,
)  # threads are made by clone where clone3 is not known, and by its flags told apart
_X32 = 0x40000000  # another table of calls on x86-64 begins here

# Sockets, other programs, other processes' memory, io_uring, and the changing of names on the disk; then clone.
_CALLS = {
    "x86_64": (
        0xC000003E,
        (
            *(41, 42, 43, 44, 46, 49, 50, 53, 57, 58, 59, 76, 82, 86, 87, 88, 90, 101),
            *(263, 264, 265, 266, 268, 288, 307, 310, 311, 316, 322, 425),
        ),
        56,
    ),
    "aarch64": (
        0xC00000B7,
        (35, 36, 37, 38, 45, 53, 117, 198, 199, 200, 201, 202, 203, 206, 211, 221, 242, 269, 270, 271, 276, 281, 425),
        220,
    ),
}


def end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends; and first of all where memory is short."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return  # a kernel without it, or one that does not let us


def confine(cpu_s: int = CPU_S, extra_bytes: int = EXTRA_BYTES) -> bool:
    """From now on: `cpu_s` seconds of processor time, `extra_bytes` more memory, no network, no other program.

    Returns:
        Whether the kernel took the filter of system calls; the limits hold in any case.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(used.ru_utime + used.ru_stime) + 1
    _limit(resource.RLIMIT_CPU, used_s + cpu_s, used_s + cpu_s + 1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    for kind, name in ((resource.RLIMIT_DATA, "VmData:"), (resource.RLIMIT_AS, "VmSize:")):
        held_bytes = _status_bytes(name)
        if held_bytes is not None:
            _limit(kind, held_bytes + extra_bytes)
    return _filter_calls()


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; a stricter one that holds already stays."""
    known_soft, known_hard = resource.getrlimit(kind)
    bounds = [soft, soft if hard is None else hard]
    for number, known in enumerate((known_soft, known_hard)):
        if known != resource.RLIM_INFINITY:
            bounds[number] = min(bounds[number], known)
    resource.setrlimit(kind, (min(bounds), bounds[1]))


def _status_bytes(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


def _filter_calls() -> bool:
    known = _CALLS.get(platform.machine())
    if known is None:
        return False
    program = _program(*known)
    buffer = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(described), 0, 0) == 0)


def _program(architecture: int, calls: tuple[int, ...], clone: int) -> bytes:
    """Classic BPF over `struct seccomp_data`: number at 0, architecture at 4, the first argument at 16.

    Each step is its code, where to go on if it holds and if not (by name; None is the next step), and its operand.
    """
    steps: list[tuple[int, str | None, str | None, int]] = [
        (_LOAD, None, None, 4),
        (_EQUAL, None, "refuse", architecture),
        (_LOAD, None, None, 0),
        (_AT_LEAST, "refuse", None, _X32),
        *((_EQUAL, "refuse", None, call) for call in calls),
        (_EQUAL, "unknown", None, _CLONE3),
        (_EQUAL, None, "allow", clone),
        (_LOAD, None, None, 16),
        (_HAS_BITS, "allow", "refuse", _CLONE_THREAD),
    ]
    ends = {"allow": _ALLOW, "refuse": _REFUSE, "unknown": _UNKNOWN}
    at = {name: len(steps) + number for number, name in enumerate(ends)}

    def jump(number: int, to: str | None) -> int:
        return 0 if to is None else at[to] - number - 1

    whole = [(code, jump(n, held), jump(n, not_held), k) for n, (code, held, not_held, k) in enumerate(steps)]
    return b"".join(struct.pack("HBBI", *step) for step in (*whole, *((_RETURN, 0, 0, end) for end in ends.values())))
