"""The Python client of docs/service.md runs as it is printed, but for the address, the document, and the chat form, which the
tiny model does not have, beside a package that has the name of our folder."""
import os
import re
import subprocess
import sys
import unittest

from cluster_under_test import FOLDER, SOURCE, ClusterTest


PROTOC = "protoc -I proto --python_out=. longhaul/v1/inference.proto"


def with_proto_plus():
    """A folder with the printed command's stubs, and one with a package `proto`, as PyPI's proto-plus installs it."""
    stubs, site = (os.path.join(FOLDER, name) for name in ("printed-stubs", "site-packages"))
    package = os.path.join(site, "proto")
    os.makedirs(package)
    os.mkdir(stubs)
    with open(os.path.join(package, "__init__.py"), "w", encoding="utf-8") as file:
        file.write("class Message: pass\n")
    subprocess.run(PROTOC.replace("=.", "=" + stubs).split(), cwd=SOURCE, check=True, timeout=60)
    return os.pathsep.join((site, stubs))


class PrintedClient(ClusterTest):
    def test_the_printed_client_prints_an_answer(self):
        with open(os.path.join(SOURCE, "docs/service.md"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("`%s`" % PROTOC, page)
        client = "import proto; proto.Message\n" + re.search(r"```python\n(.*?)```", page, re.S)[1]
        with open(os.path.join(FOLDER, "document.txt"), "w", encoding="utf-8") as file:
            file.write("a document " * 20)
        self.start()
        self.workers(2)
        for printed, here in (("127.0.0.1:7711", self.address), ("report.txt", "document.txt"),
                              ("raw = False", "raw = True")):
            self.assertIn(printed, client)
            client = client.replace(printed, here)
        said = subprocess.run([sys.executable, "-c", client], cwd=FOLDER, timeout=60, text=True,
                              env={**os.environ, "PYTHONPATH": with_proto_plus()},
                              capture_output=True, check=False)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertRegex(said.stdout, r"(?s)over 2 workers.*\w+\n\d+ tokens")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
