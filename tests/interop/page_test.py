"""The page at / in a real browser (Debian's chromium, headless): it shows what runs, and runs nothing but its own."""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from cluster_under_test import FOLDER, wait_until
from http_under_test import COMPLETIONS, HttpTest

SKIPPED = 77  # as tests/interop/CMakeLists.txt says
BROWSER = shutil.which("chromium")
# A folder that gets pictures of the page, for people to look at.
PICTURES = os.environ.get("LONGHAUL_PAGE_PICTURES")


class Page(HttpTest):
    def browse(self, *flags, dark=False, width=1160):
        """The page's elements after three seconds of its own time, and what the browser complains of."""
        profile = os.path.join(FOLDER, "profile-%d" % time.monotonic_ns())
        result = subprocess.run(
            [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--no-proxy-server", "--user-data-dir=" + profile, "--window-size=%d,1000" % width, "--enable-logging=stderr",
             "--virtual-time-budget=3000", *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
             *flags, "http://127.0.0.1:%d/" % self.http_port],
            capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
        shutil.rmtree(profile, ignore_errors=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]

    def picture(self, name, **arguments):
        if PICTURES:
            self.browse("--screenshot=" + os.path.join(PICTURES, name + ".png"), **arguments)

    def text_of(self, page, identifier):
        return re.search(r'id="%s"[^>]*>([^<]*)<' % identifier, page)[1]

    def test_it_shows_a_running_request_and_its_plan(self):
        self.start_http("--store", os.path.join(FOLDER, "page-store"), echo=("--ranks=2", "--places=4", "--step-us=30000"))
        self.begin_stream(COMPLETIONS, {"prompt": "SHOWN " * 100, "max_tokens": 1000})
        hostile = "<img src=x onerror=alert(1)>"  # a client's own name for its request
        named = self.connect()
        body = b'{"prompt": "A", "max_tokens": 1000, "stream": true}'
        named.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s"
                      % (hostile.encode(), len(body), body))
        wait_until(lambda: len(self.cluster().requests) == 2, 10, "both run")
        page, complaints = self.browse("--dump-dom")
        self.assertEqual(complaints, [])
        self.assertEqual(self.text_of(page, "state"), "serving")
        self.assertEqual(self.text_of(page, "running"), "2")
        self.assertEqual(self.text_of(page, "model"), "tiny random model")
        self.assertIn("600 tokens by rope over 2 workers", page)
        self.assertIn("answering", page)
        self.assertIn("rank 1", page)
        self.assertIn("No batch has been made.", page)
        self.assertNotIn(hostile, page)
        self.assertIn("&lt;img src=x onerror=alert(1)&gt;", page)
        self.picture("light")
        self.picture("dark", dark=True)
        self.picture("narrow", width=480)

    def test_it_asks_for_a_token_where_there_are_tenants(self):
        access = os.path.join(FOLDER, "page-access")
        with open(os.open(access, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("tenant alpha\n")
        self.start_http("--access-file", access, echo=None)
        page, _ = self.browse("--dump-dom")
        self.assertEqual(self.text_of(page, "state"), "token needed")
        self.assertRegex(page, r'<div id="content" hidden="">')
        self.assertEqual(self.get("/longhaul/v1/state")[0], 401)

    def test_nothing_comes_from_elsewhere(self):
        self.start_http(echo=None)
        code, headers, page = self.get("/")
        self.assertEqual(code, 200)
        self.assertIn("default-src 'none'; script-src 'self'", headers["Content-Security-Policy"])
        for text in (page, self.get("/page.js")[2], self.get("/page.css")[2]):
            self.assertNotRegex(text, r"(?i)https?:|//\w+\.|@import|innerHTML|eval\(")


if __name__ == "__main__":
    if not BROWSER:
        print("page_test: skipped, as chromium is not installed (deploy/install-packages chromium)")
        sys.exit(SKIPPED)
    unittest.main(argv=["page_test"])
