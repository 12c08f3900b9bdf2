"""The mutations that tests/mutants applies: what is broken, and which tests must notice.

A module for each part of the library. Those that the explorer of schedules must find (tests/model/explore.hpp) are in explored.txt,
those for which more has to be built than a test program in planted.py.
"""

import os
import subprocess
from collections import namedtuple

# `apply` gives the changed text of the file, or None if the mutation does not fit it any more. `target` is the program
# that must fail, with `arguments`.
Mutation = namedtuple("Mutation", "name file apply target arguments")
MUTATIONS = []


def replacing(old, new):
    return lambda text: text.replace(old, new) if text.count(old) == 1 else None


def mutation(name, file, old, new, tests, target="handoff_unit"):
    arguments = ["--gtest_brief=1", f"--gtest_filter={tests}"]
    MUTATIONS.append(Mutation(name, file, replacing(old, new), target, arguments))


def read_explored(path):
    """Blocks of a name in brackets, and lines of `key = value`: see the head of the file."""

    def edit(expression):
        def apply(text):
            changed = subprocess.run(["sed", "-E", expression], input=text, stdout=subprocess.PIPE, text=True, check=True).stdout
            return changed if changed != text else None

        return apply

    with open(path, encoding="utf-8") as f:
        blocks = [b for b in f.read().split("\n\n") if b.startswith("[")]
    for block in blocks:
        name, *lines = block.strip().splitlines()
        value = {key.strip(): text for key, text in (line.split("= ", 1) for line in lines)}
        target, *arguments = value["fails"].split()
        MUTATIONS.append(Mutation(name.strip("[]"), value["file"], edit(value["sed"]), target, arguments))


read_explored(os.path.join(os.path.dirname(os.path.abspath(__file__)), "explored.txt"))

# Each adds its own, in this order.
import mutations.sched  # noqa: E402,F401
import mutations.calls  # noqa: E402,F401
import mutations.time  # noqa: E402,F401
import mutations.sync  # noqa: E402,F401
import mutations.objects  # noqa: E402,F401
import mutations.net  # noqa: E402,F401
import mutations.network  # noqa: E402,F401
import mutations.network_sim  # noqa: E402,F401
import mutations.processes  # noqa: E402,F401
import mutations.load  # noqa: E402,F401
import mutations.rest  # noqa: E402,F401
import mutations.parts  # noqa: E402,F401
import mutations.files  # noqa: E402,F401
import mutations.processes  # noqa: E402,F401
import mutations.names  # noqa: E402,F401
