"""The package as pip installs it from the tree, and a coordinator with echo workers for it (LONGHAUL_BIN, LONGHAUL_TESTS:
folders of the programs that were built)."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

PYTHON = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.dirname(os.path.dirname(PYTHON))
BIN, TESTS = os.environ["LONGHAUL_BIN"], os.environ["LONGHAUL_TESTS"]
FOLDER = tempfile.mkdtemp(prefix="longhaul-python-")
INSTALLED = os.path.join(FOLDER, "installed")


def install():
    """From a copy of the tree, so that the build leaves nothing in it."""
    tree = os.path.join(FOLDER, "tree")
    shutil.copytree(PYTHON, os.path.join(tree, "deploy", "python"))
    shutil.copytree(os.path.join(SOURCE, "proto"), os.path.join(tree, "proto"))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
                    "--disable-pip-version-check", "--root-user-action=ignore", "--target", INSTALLED,
                    os.path.join(tree, "deploy", "python")], check=True, timeout=300)


install()
sys.path.insert(0, INSTALLED)
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
os.environ["XDG_RUNTIME_DIR"] = FOLDER


def pytest_unconfigure():
    shutil.rmtree(FOLDER, ignore_errors=True)


class Service:
    """A coordinator with a store, at an address that stays, and an echo group that joins it again and again."""

    def __init__(self, folder, *worker_flags):
        self.folder, self.ready = folder, os.path.join(folder, "ready")
        self.model = os.path.join(folder, "tiny.gguf")
        subprocess.run([os.path.join(TESTS, "tiny_model_file"), self.model], check=True, timeout=60)
        self.address = self.worker_address = "127.0.0.1:0"
        self.coordinator = self.worker = None
        self.secret = os.path.join(folder, "secret")
        self.start()
        self.worker = self.spawn("worker", os.path.join(TESTS, "echo-worker"), "--coordinator", self.worker_address,
                                 "--join-secret", self.secret, "--model", self.model, "--ranks=2", "--again", *worker_flags)

    def spawn(self, name, *command):
        with open(os.path.join(self.folder, name + ".log"), "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        if os.path.exists(self.ready):
            os.remove(self.ready)
        self.coordinator = self.spawn(
            "coordinator", os.path.join(BIN, "longhaul-coordinator"), "--model", self.model, "--listen", self.address,
            "--worker-listen", self.worker_address, "--join-secret", self.secret, "--store",
            os.path.join(self.folder, "store"), "--ready-file", self.ready)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.ready):
            assert self.coordinator.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        with open(self.ready, encoding="ascii") as file:
            self.address, self.worker_address = file.read().split()[:2]

    def log(self):
        with open(os.path.join(self.folder, "coordinator.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def kill(self):
        self.coordinator.kill()
        self.coordinator.wait(10)

    def end(self):
        for process in (self.worker, self.coordinator):
            process.kill()
            process.wait(10)


@pytest.fixture
def service(tmp_path):
    made = Service(str(tmp_path), "--places=8", "--step-us=500")
    yield made
    made.end()


@pytest.fixture
def client(service):
    import longhaul
    with longhaul.Client(service.address, timeout=60) as made:
        yield made
