"""The Python client of docs/service.md runs as it is printed, but for the address, the document, and the chat form, which the
tiny model does not have."""
import os
import re
import subprocess
import sys
import unittest

from cluster_under_test import FOLDER, SOURCE, ClusterTest


class PrintedClient(ClusterTest):
    def test_the_printed_client_prints_an_answer(self):
        with open(os.path.join(SOURCE, "docs/service.md"), encoding="utf-8") as file:
            client = re.search(r"```python\n(.*?)```", file.read(), re.S)[1]
        with open(os.path.join(FOLDER, "document.txt"), "w", encoding="utf-8") as file:
            file.write("a document " * 20)
        self.start()
        self.workers(2)
        for printed, here in (("127.0.0.1:7711", self.address), ("report.txt", "document.txt"),
                              ("raw = False", "raw = True")):
            self.assertIn(printed, client)
            client = client.replace(printed, here)
        said = subprocess.run([sys.executable, "-c", client], cwd=FOLDER, timeout=60, text=True,
                              env={**os.environ, "PYTHONPATH": os.path.join(FOLDER, "stubs")},
                              capture_output=True, check=False)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertRegex(said.stdout, r"(?s)over 2 workers.*\w+\n\d+ tokens")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
