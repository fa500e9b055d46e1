"""What the benchmarks share: the program, C helpers, medians, verdicts."""

import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HANDLE = os.path.abspath(os.environ.get("MB_HANDLE") or os.path.join(HERE, "..", "..", "build", "mb-handle"))

median = statistics.median


def write(directory, name, content):
    path = os.path.join(directory, name)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def compile_helper(directory, name, *flags):
    """Compiles NAME.c beside this file, with more flags for the compiler; returns the program's path."""
    path = os.path.join(directory, name)
    cc = os.environ.get("CC", "cc").split()
    subprocess.run([*cc, "-O2", "-o", path, os.path.join(HERE, name + ".c"), *flags], check=True)
    return path


def find(tool):
    path = shutil.which(tool)
    if not path:
        raise RuntimeError(f"tool {tool} missing")
    return path


def verdict(requirement, measured, met):
    print(f"{'met' if met else 'NOT met'}: {requirement}: {measured}", flush=True)


def run(main):
    """Exit status 1 when something did not run or answered wrongly; a figure that is not met is no failure."""
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {os.path.basename(error.cmd[0])} ended with status {error.returncode}")
    except (RuntimeError, OSError) as error:
        sys.exit(f"bench: {error}")
