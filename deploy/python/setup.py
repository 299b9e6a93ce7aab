"""Makes the messages from the .proto files of the tree with protoc, where the package is built: none are kept in it."""
import os
import shutil
import subprocess
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
# In longhaul's tree, and where it is installed.
PLACES = [os.path.normpath(os.path.join(HERE, "..", "..", "proto")), os.path.normpath(os.path.join(HERE, "..", "proto"))]
MESSAGES = ["longhaul/v1/inference.proto", "longhaul/v1/batches.proto", "longhaul/v1/sessions.proto"]
DETAILS = "rpc/status_details.proto"
PROTO = next((place for place in PLACES if os.path.exists(os.path.join(place, MESSAGES[0]))), None)


def make_messages(target):
    """Writes longhaul/v1/*_pb2.py and longhaul/status_details_pb2.py below the folder."""
    protoc = shutil.which("protoc")
    if not protoc:
        raise SystemExit("longhaul: protoc is missing (Debian: protobuf-compiler)")
    if not PROTO:
        raise SystemExit("longhaul: build it in longhaul's tree or where that is installed: it reads the folder proto/ there")
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "longhaul"))
        shutil.copy(os.path.join(PROTO, DETAILS), os.path.join(folder, "longhaul", "status_details.proto"))
        subprocess.run([protoc, "-I", PROTO, "--python_out", target, *MESSAGES], check=True)
        subprocess.run([protoc, "-I", folder, "--python_out", target, "longhaul/status_details.proto"], check=True)
    with open(os.path.join(target, "longhaul", "v1", "__init__.py"), "w", encoding="ascii"):
        pass


class Build(build_py):
    def run(self):
        super().run()
        make_messages(self.build_lib)


if __name__ == "__main__":
    setup(cmdclass={"build_py": Build})
