"""What a run was measured on: a flat dictionary of strings and numbers for the JSON file and the report."""

import os
import platform
import shlex
import subprocess


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def proc_value(path, *keys):
    """What the file says after the first of `keys` that it has, each followed by a colon."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            said = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    except OSError:
        return None
    return next((said[key] for key in keys if key in said), None)


def distribution():
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def memory_gib():
    total = proc_value("/proc/meminfo", "MemTotal")
    return round(int(total.split()[0]) / 2**20, 1) if total else None


def describe(compiler=None, flags=""):
    """The machine that this runs on; what can't be found out is left out. compiler may hold words (ccache g++)."""
    cpu_flags = (proc_value("/proc/cpuinfo", "flags") or "").split()
    found = {
        "cpu": proc_value("/proc/cpuinfo", "model name", "Processor", "CPU part"),
        "cpus": len(os.sched_getaffinity(0)),
        "virtual": "yes" if "hypervisor" in cpu_flags else None,
        "architecture": platform.machine(),
        "memory_gib": memory_gib(),
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": distribution(),
        "compiler": first_line([*shlex.split(compiler or os.environ.get("CXX", "g++")), "--version"]),
        "flags": flags or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def versions(entries):
    """The version that each subject's program says it has."""
    return {e["subject"]: version_text(e["subject"], e["version"]) for e in entries if "version" in e}


def version_text(subject, version):
    """BOOST_VERSION without its patch level, 1074, is 1.74."""
    if isinstance(version, (int, float)):
        number = int(version)
        if subject in ("boost_fiber", "asio") and number >= 1000:
            return f"Boost {number // 1000}.{number % 1000}"
        return f"{version:g}"
    return version
