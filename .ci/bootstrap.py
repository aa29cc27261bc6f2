"""Makes `.venv` and installs rlbook into it; `make lab`, `make test` and `make bench` call it first.

It needs the standard library only and stays within the syntax of Python 3.6, so that on an old Python the reader gets a
sentence and not a SyntaxError. A stamp in `.venv` says what was installed from what; where it matches, nothing is run.
The stamp goes away before anything changes and comes back at the end, so an interrupted set-up is seen and made again.

Usage: python bootstrap.py [--only] EXTRA...    (--only: use this very Python and look for no other)
"""

import argparse
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys

from failures import INSTALL_BYTES, NEWEST_TESTED, OLDEST, dotted, explain, no_disk_sentence

CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11")
LEAVE_OUT = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_HASHES")
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SOURCES = ("pyproject.toml", "constraints.txt", "setup.py")
PROBE = """
import importlib.util, json, sys
try:
    import ensurepip, venv
    usable = True
except ImportError:
    usable = False
pip = importlib.util.find_spec("pip") is not None
print(json.dumps({"executable": sys.executable, "version": list(sys.version_info[:3]), "usable": usable, "pip": pip}))
"""


class SetupError(Exception):
    """The set-up cannot go on; the text is one sentence that says what is wrong and what to do."""


def probe(command):
    """What `command` is: executable, version [x, y, z], usable (makes venvs), pip (has it); None if it does not run."""
    try:
        text = subprocess.check_output([command, "-c", PROBE], stderr=subprocess.DEVNULL, timeout=60)
        return json.loads(text.decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose_python(found):
    """The Python to make `.venv` with, out of `found` in order of preference: tested versions first, then newer ones.

    Raises SetupError when each of them is too old or lacks the venv module.
    """
    recent = [python for python in found if tuple(python["version"][:2]) >= OLDEST]
    if not recent:
        newest = max(found, key=lambda python: python["version"])
        raise SetupError(
            f"Python {dotted(newest['version'])} at {newest['executable']} is too old: rlbook needs {dotted(OLDEST)} "
            f"or newer; install one, or say where it is with PYTHON=/path/to/python{dotted(OLDEST)}"
        )
    usable = [python for python in recent if python["usable"]]
    if not usable:
        version = dotted(recent[0]["version"][:2])
        raise SetupError(
            f"Python {version} at {recent[0]['executable']} has no venv module; install it (Debian and Ubuntu: "
            f"apt install python{version}-venv), or name another Python with PYTHON=/path/to/python"
        )
    tested = [python for python in usable if tuple(python["version"][:2]) <= NEWEST_TESTED]
    return (tested or usable)[0]


def this_python():
    """What choosing needs to know about the Python that runs this file."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        usable = False
    else:
        usable = True
    return {"executable": sys.executable, "version": list(sys.version_info[:3]), "usable": usable}


def digest(root):
    """A digest of the files that decide what is installed."""
    total = hashlib.sha256()
    for name in SOURCES:
        with open(os.path.join(root, name), "rb") as source:
            total.update(name.encode() + b"\0" + hashlib.sha256(source.read()).digest())
    return total.hexdigest()


class Environment:
    """The `.venv` of one clone and the stamp in it."""

    def __init__(self, root):
        self.root = root
        self.folder = os.path.join(root, ".venv")
        self.python = os.path.join(self.folder, "bin", "python")
        self.log = os.path.join(self.folder, "setup.log")
        self.stamp = os.path.join(self.folder, "rlbook-setup.json")
        self.touched = False  # whether pip came so far as to change what is installed

    def read_stamp(self):
        """What was installed, {} for a set-up that did not end, None where this file did not make the folder."""
        try:
            with open(self.stamp) as source:
                return json.load(source)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}

    def write_stamp(self, content):
        """Replace the stamp in one step; None removes it."""
        if content is None:
            os.remove(self.stamp)
            return
        with open(self.stamp + ".new", "w") as target:
            json.dump(content, target)
        os.replace(self.stamp + ".new", self.stamp)

    def installed(self):
        """The names of the `.dist-info` folders, which carry name and version."""
        pattern = os.path.join(glob.escape(self.folder), "lib", "python3*", "site-packages", "*.dist-info")
        return sorted(os.path.basename(path) for path in glob.glob(pattern))

    def is_current(self, extras):
        """Whether these extras are installed, as the clone's files ask for, and nothing of them went away since."""
        stamp = self.read_stamp()
        return bool(
            stamp
            and stamp["digest"] == digest(self.root)
            and set(extras) <= set(stamp["extras"])
            and set(stamp["installed"]) <= set(self.installed())
        )

    def create(self, python):
        """Make the folder anew with `python` (as `probe` describes it); raises SetupError."""
        note(f"making .venv with Python {dotted(python['version'])} ({python['executable']})")
        if os.path.islink(self.folder):
            os.unlink(self.folder)
        elif os.path.exists(self.folder):
            shutil.rmtree(self.folder)
        free = shutil.disk_usage(self.root).free
        if free < INSTALL_BYTES:
            raise OSError(errno.ENOSPC, "too little space")
        os.mkdir(self.folder)
        self.write_stamp({})
        self.follow([python["executable"], "-m", "venv", self.folder], python["version"])

    def install(self, extras, found):
        """Install rlbook, editable, with `extras` and their pinned dependencies; raises SetupError."""
        before = self.read_stamp()
        self.write_stamp({})
        self.touched = False
        try:
            if not found["pip"]:
                self.follow([self.python, "-m", "ensurepip"], found["version"])
            names = ",".join(extras)
            note(f"installing rlbook[{names}]: some minutes the first time; pip's log is .venv/setup.log")
            pip = [self.python, "-m", "pip", "install", "--no-input", "-c", "constraints.txt", "-e", f".[{names}]"]
            self.follow(pip, found["version"])
        except (SetupError, KeyboardInterrupt):
            if not self.touched:
                self.write_stamp(before)
            raise
        self.write_stamp(
            {
                "root": self.root,
                "python": found["version"],
                "digest": digest(self.root),
                "extras": extras,
                "installed": self.installed(),
            }
        )

    def follow(self, command, version):
        """Run a step with its output in the log and its progress on the terminal; raises SetupError when it fails."""
        environment = {name: value for name, value in os.environ.items() if name not in LEAVE_OUT}
        # pip only says that it could not connect when it tries again, so it must try again at least once.
        retries = environment.get("PIP_RETRIES", "2")
        environment.update(PIP_RETRIES="1" if retries == "0" else retries, PIP_USER="0", PYTHONUNBUFFERED="1")
        environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1")
        lines = []
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("$ " + " ".join(command) + "\n")
            child = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            try:
                for raw in child.stdout:
                    line = raw.decode("utf-8", "replace")
                    lines.append(line.rstrip())
                    log.write(line)
                    progress(line)
                    self.touched = self.touched or line.startswith("Installing collected packages")
            except BaseException:
                child.terminate()
                raise
            finally:
                code = child.wait()
                progress("")
        if code != 0:
            raise SetupError(explain(lines, version))


def note(text):
    sys.stderr.write("rlbook: " + text + "\n")
    sys.stderr.flush()


def progress(line):
    """Show on a terminal what pip is at, on one line that is written over; an empty line wipes it."""
    if not sys.stderr.isatty():
        return
    words = line.split()
    if not words:
        sys.stderr.write("\r\033[K")
    elif words[0] in ("Collecting", "Downloading", "Installing", "Building", "Preparing"):
        sys.stderr.write("\r\033[K  " + " ".join(words)[:70])
    sys.stderr.flush()


def lock(root):
    """Keep a second set-up of the same clone waiting; returns a handle to hold on to."""
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("another set-up of this clone is at work; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass  # some network file systems cannot lock a folder, and one reader alone needs no lock
    return handle


def set_up(root, extras, only):
    """Bring the `.venv` under `root` up to date with `extras`; raises SetupError or OSError."""
    environment = Environment(root)
    found = probe(environment.python)
    stamp = environment.read_stamp()
    sound = (
        found is not None
        and tuple(found["version"][:2]) >= OLDEST
        and (not only or found["version"] == list(sys.version_info[:3]))
        and (stamp is None or (stamp.get("root") == root and stamp["python"] == found["version"]))
    )
    if sound and environment.is_current(extras):
        return
    if not sound:
        choices = [this_python()]
        if not only:
            choices += [python for python in map(probe, CANDIDATES) if python]
        environment.create(choose_python(choices))
        found = probe(environment.python)
        if found is None:
            raise SetupError("the new .venv/bin/python does not run; .venv/setup.log has the story")
    installed = (stamp or {}).get("extras", []) if sound else []
    environment.install(sorted({*extras, *installed}), found)


def main():
    parser = argparse.ArgumentParser(description="Make .venv and install rlbook into it.")
    parser.add_argument("--only", action="store_true", help="use this very Python and look for no other")
    parser.add_argument("extras", nargs="+", metavar="EXTRA")
    options = parser.parse_args()
    try:
        handle = lock(ROOT)
        set_up(ROOT, options.extras, options.only)
        os.close(handle)
    except SetupError as error:
        note(f"error: {error}")
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        note("error: " + (no_disk_sentence() if full else f"the set-up failed ({error}); mend that and run again"))
        return 1
    except KeyboardInterrupt:
        note("error: interrupted; run the same command again and the set-up starts afresh")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
