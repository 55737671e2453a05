"""Confine a process that decodes untrusted slides: few files, no network, no other programs (a sandbox).

Linux only: Landlock (kernel 5.13 and later) for files, seccomp for system calls. Neither needs root, neither
can be undone, and both hold for all threads and children that the process makes from then on. Decoders are C
libraries fed with foreign bytes; one that is taken over this way finds nothing to read, to change or to call.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/opt", "/sys", "/dev")
"""Where programs and libraries lie, and what the kernel tells of the machine; readable."""

PROC = ("self", "cpuinfo", "meminfo", "stat", "sys", "version", "filesystems", "driver")
"""What is readable of /proc: nothing of other processes, whose environment may hold passwords."""

SYSTEM_FILES = ("ld.so.cache", "localtime", "mime.types", "nsswitch.conf", "passwd", "ssl/openssl.cnf")
"""Files of /etc that libraries look into; readable."""

NULL = Path("/dev/null")
"""Writable whatever else is."""

REFUSED = (
    *("socket", "connect", "bind", "listen", "accept", "accept4", "sendto", "io_uring_setup"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kill", "perf_event_open"),
    *("bpf", "userfaultfd", "keyctl", "add_key", "request_key", "open_by_handle_at"),
    *("mount", "umount2", "pivot_root", "chroot", "setns", "unshare"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon"),
)
"""System calls that fail with EPERM: network, other processes, the kernel."""

PROGRAMS = ("execve", "execveat")
"""System calls that start another program; they fail too, unless programs are allowed."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds for the process; `missing` says why the rest does not."""

    files: bool
    calls: bool
    missing: tuple[str, ...] = ()


def confine(
    *, readable: Iterable[Path] = (), writable: Iterable[Path] = (), programs: bool = False
) -> Confinement:
    """Confine this process as far as the platform can, and say how far that is.

    Call it in the main thread before others are made: threads that are there already keep their files.

    Args:
        readable: Files and folders to read, beside Python, its packages and the system's libraries.
        writable: Folders to read and change as well. What does not exist is left out.
        programs: Whether other programs may be started, such as a compiler.
    """
    if sys.platform != "linux":
        return Confinement(files=False, calls=False, missing=("only Linux has Landlock and seccomp",))
    missing = []
    files = calls = True
    try:
        _limit_files([*_system_paths(), *readable], [NULL, *writable])
    except (ImportError, OSError) as error:
        files, missing = False, [f"Landlock: {error}"]
    try:
        _refuse_calls(REFUSED if programs else (*REFUSED, *PROGRAMS))
    except (ImportError, OSError, RuntimeError) as error:
        calls, missing = False, [*missing, f"seccomp: {error}"]
    return Confinement(files, calls, tuple(missing))


def folders_of(slide: Path) -> list[Path]:
    """Return the folders that hold the files of a slide: MIRAX and DICOM slides are several, others one.

    Where files are links, the folders that they lead to are among them. Empty where there is no slide.
    """
    folder = slide if slide.is_dir() else slide.parent
    if not folder.is_dir():
        return []
    linked = [path for path in (slide, *folder.iterdir()) if path.is_symlink()]
    return [folder, *{path.resolve().parent for path in linked}]


def _system_paths() -> list[Path]:
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *(entry or os.curdir for entry in sys.path)]
    etc = (Path("/etc") / name for name in SYSTEM_FILES)
    proc = (Path("/proc") / name for name in PROC)
    return [*map(Path, python), *map(Path, SYSTEM), *proc, *etc]


def _limit_files(readable: Collection[Path], writable: Collection[Path]) -> None:
    """Let this thread and those it makes open these paths alone.

    Raises:
        ImportError: The package landlock is not installed.
        OSError: The kernel has no Landlock.
    """
    from landlock import FSAccess, Ruleset  # noqa: PLC0415  (Linux only)

    ctypes.set_errno(0)  # the package takes an old error for one of its own calls
    rules = Ruleset()
    # Libraries are mapped as programs are; which programs may start is left to seccomp.
    reading = (
        FSAccess.READ_FILE | FSAccess.READ_DIR | FSAccess.EXECUTE | FSAccess.IOCTL_DEV
    ) & FSAccess.all()
    for paths, access in ((readable, reading), (writable, FSAccess.all())):
        for path in paths:
            if path.exists():
                rules.allow(path, rules=access if path.is_dir() else access & FSAccess.all_file())
    rules.apply()


def _refuse_calls(names: Collection[str]) -> None:
    """Make system calls fail with EPERM in all threads of this process.

    Raises:
        ImportError: The package pyseccomp is not installed.
        RuntimeError: libseccomp is not installed.
        OSError: The kernel has no seccomp.
    """
    import pyseccomp  # noqa: PLC0415  (Linux only)

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
    for name in names:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    rules.load()
