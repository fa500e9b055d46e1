"""What the benchmarks share: the program, C helpers, medians, verdicts."""

import array
import contextlib
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HANDLE = os.path.abspath(os.environ.get("MB_HANDLE") or os.path.join(HERE, "..", "..", "build", "mb-handle"))

# A handler that starts and does little more, and what it is given.
ECHO = """function(socket)
  repeat
    local line, status = socket:read(nil, "\\n")
    socket:write(line)
  until status == "eof"
end
"""
CAPTURE = b"".join(b"line %d of a small capture\n" % n for n in range(10))

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


def helper(*argv):
    """The numbers that a helper prints."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode().strip() or f"a helper ended with status {done.returncode}")
    return [float(word) for word in done.stdout.split()]


def starts(directory, rounds, programs):
    """Starts programs by turns, with CAPTURE as stdin: {name: [what must come out on stdout, program, argument...]}.
    Returns {name: [nanoseconds of each round]}."""
    capture = write(directory, "capture", CAPTURE)
    argv = [compile_helper(directory, "spawn"), str(rounds), capture]
    for number, program in enumerate(programs.values()):
        argv += [*(["--"] if number else []), *program]
    out = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    columns = list(zip(*(map(int, line.split()) for line in out.splitlines())))
    if len(columns) != len(programs) or len(columns[0]) != rounds:
        raise RuntimeError("not every round was measured")
    return dict(zip(programs, columns))


def installed(path, directory):
    """A copy, as install makes one: mb-handle as the linker wrote it was measured to start some 2 % slower."""
    return shutil.copy(path, os.path.join(directory, os.path.basename(path) + ".installed"))


def alternate(rounds, jobs):
    """Calls the jobs {name: function} in turn, in the opposite order in each second round. Returns {name: results}."""
    results = {name: [] for name in jobs}
    for number in range(rounds):
        for name in list(jobs)[:: -1 if number % 2 else 1]:
            try:
                results[name].append(jobs[name]())
            except RuntimeError as error:
                raise RuntimeError(f"{name}: {error}") from None
    return results


@contextlib.contextmanager
def one_processor():
    """What is started within shares a processor. Each of two that take turns would sleep meanwhile, and to wake a
    sleeping one takes longer than a request does, on virtual machines much longer: that would be measured."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def columns_of_httpstart(numbers, rounds, names):
    """What httpstart has printed. Returns {name: nanoseconds of each round}, and the same of the processor."""
    if len(numbers) != 2 * rounds * len(names):
        raise RuntimeError("not every round was measured")
    return tuple({name: numbers[2 * i + k :: 2 * len(names)] for i, name in enumerate(names)} for k in (0, 1))


def memory_directory(size):
    """Where a file of so many bytes should be: in memory if there is enough, so that no disk has a part in what is
    measured. None: where temporary files are."""
    memory = "/dev/shm"
    return memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * size else None


def write_counting(directory, size):
    """A file of 8-byte words that count, which httpload checks. Returns its path."""
    path = os.path.join(directory, "file")
    step = 2**20
    with open(path, "wb") as f:
        for begin in range(0, size // 8, step):
            array.array("Q", range(begin, min(begin + step, size // 8))).tofile(f)
    os.sync()  # nothing is left to be written back while it is read
    return path


def ours(directory, script):
    """mb-handle, and mb-handle-static if it is beside it, as they are installed: {name: [program, script]}."""
    programs = {"mb-handle": HANDLE, "mb-handle-static": HANDLE + "-static"}
    return {
        name: [installed(program, directory), script] for name, program in programs.items() if os.path.exists(program)
    }


def verdicts_of_starts(what, bars, columns):
    """bars: {program: the most times that it may take as long as a program that does nothing}; columns: {name: figures of
    each round}, also of "do nothing" and "lua5.3". mb-handle has to be faster than lua5.3, too."""
    for name, most in bars.items():
        if name in columns:
            ratio = pair_ratio(columns[name], columns["do nothing"])
            verdict(f"{name}, {what}: at most {most} times a do-nothing program", f"{ratio:.2f}", ratio <= most)
    ratio = pair_ratio(columns["mb-handle"], columns["lua5.3"])
    verdict(f"mb-handle, {what}: less than lua5.3 with an empty script", f"{ratio:.2f} of it", ratio < 1)


def pair_ratio(mine, other):
    """The median of the ratios of each round: what makes the machine slow for a while makes both slow."""
    return median(a / b for a, b in zip(mine, other))


def spread(ratios):
    """Of the ratios of all rounds: the median, and the quartiles."""
    if len(ratios) == 1:
        return tuple(ratios * 3)
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def find(tool):
    path = shutil.which(tool)
    if not path:
        raise RuntimeError(f"tool {tool} missing")
    return path


def verdict_line(requirement, measured, met):
    return f"{'met' if met else 'NOT met'}: {requirement}: {measured}"


def verdict(requirement, measured, met):
    print(verdict_line(requirement, measured, met), flush=True)


def run(main):
    """Exit status 1 when something did not run or answered wrongly; a figure that is not met is no failure."""
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {os.path.basename(error.cmd[0])} ended with status {error.returncode}")
    except (RuntimeError, OSError) as error:
        sys.exit(f"bench: {error}")
