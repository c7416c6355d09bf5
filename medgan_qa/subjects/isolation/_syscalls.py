"""Numbers of the system calls that a model's process may not make, on the two architectures that are known."""

from __future__ import annotations

import platform
from typing import NamedTuple


class Numbers(NamedTuple):
    """A call's number on x86_64 and on aarch64; None where the architecture lacks it."""

    x86_64: int | None
    aarch64: int | None


class Architecture(NamedTuple):
    """A machine as seccomp knows it."""

    name: str
    audit: int
    """The number in `struct seccomp_data`, so that calls of another instruction set are told apart."""

    def number(self, call: str) -> int | None:
        """The number of a system call, or None where the architecture lacks it."""
        found: int | None = getattr(NUMBERS[call], self.name)
        return found


ARCHITECTURES = (Architecture("x86_64", 0xC000003E), Architecture("aarch64", 0xC00000B7))


def architecture() -> Architecture | None:
    """This machine's, or None where its numbers are not known here."""
    return next((one for one in ARCHITECTURES if one.name == platform.machine()), None)


_OLD_AND_NEW: dict[str, tuple[int | None, int | None]] = {
    # Network
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # Other programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "clone": (56, 220),
    "clone3": (435, 435), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "kcmp": (312, 272), "prlimit64": (302, 261),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "setpgid": (109, 154), "setsid": (112, 157),
    # Doors into the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "uselib": (134, None), "nfsservctl": (180, 42), "lookup_dcookie": (212, 18),
    "personality": (135, 92), "syslog": (103, 116), "acct": (163, 89), "ioctl": (16, 29),
    # The machine
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "quotactl": (179, 60), "quotactl_fd": (443, 443), "vhangup": (153, 58),
    # Other views of the file system, and ways round the paths that are allowed
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "open_tree": (428, 428), "open_tree_attr": (467, 467), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    # Who may do what, which Landlock does not watch over
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "file_setattr": (469, 469), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45),
    "mknod": (133, None), "mknodat": (259, 33),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
    # Memory that the limits do not count, and mailboxes between processes
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # Changes of files, where nothing else watches over them
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "unlink": (87, None), "unlinkat": (263, 35),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36),
}  # fmt: skip
NUMBERS = {call: Numbers(*pair) for call, pair in _OLD_AND_NEW.items()}
"""By name, as in the kernel's `unistd_64.h` and `asm-generic/unistd.h`."""

ABOUT_FILES = frozenset(
    {"open", "openat", "openat2", "creat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"}
    | {"rmdir", "link", "linkat", "symlink", "symlinkat"}
)
"""Calls that are needed to write into the scratch folder, so refused only where nothing else confines files."""
BY_ARGUMENT = frozenset({"clone", "clone3", "kill", "tgkill", "prlimit64", "ioctl"})
"""Calls that are refused for some of their arguments only."""
SHARED_MEMORY = frozenset({"memfd_create"})
"""Calls that the drivers of accelerators may need."""
