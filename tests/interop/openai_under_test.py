"""A coordinator's HTTP port and the stock `openai` client of PyPI; without it the test that imports this is skipped."""
import os
import subprocess
import sys

from cluster_under_test import SOURCE
from http_under_test import HttpTest

SKIPPED = 77  # as tests/interop/CMakeLists.txt says

installed = subprocess.run([os.path.join(SOURCE, "tests", "interop", "openai-client")], stdout=subprocess.PIPE, text=True)
if installed.returncode != 0:
    print("skipped, as the client could not be installed")
    sys.exit(SKIPPED)
sys.path.insert(0, installed.stdout.strip())
import openai  # noqa: E402

MODEL = "tiny random model"


class OpenaiTest(HttpTest):
    def setUp(self):
        super().setUp()
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            os.environ.pop(name, None)
        self.start_http(*self.flags(), echo=self.echo_flags())
        self.client = openai.OpenAI(base_url="http://%s/v1" % self.http_address, api_key=self.key(), max_retries=0,
                                    timeout=60)
        self.addCleanup(self.client.close)

    def flags(self):
        return ()

    def echo_flags(self):
        """None: no stand-in for workers."""
        return ("--places=4", "--step-us=500")

    def key(self):
        return "none is needed"
