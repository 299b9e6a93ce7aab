"""The campaign of effect.py on the small model: a piece broken off and finished, and the report of it."""
import os
import subprocess
import sys
import tempfile
import unittest

BIN, TINY_MODEL_FILE = sys.argv[1:3]
EFFECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "effect.py")


class Effect(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="longhaul-effect-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.model = os.path.join(self.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=60)
        os.mkdir(os.path.join(self.folder, "runs"))
        with open(os.path.join(self.folder, "runs", "kjv.txt"), "w", encoding="utf-8") as file:
            file.writelines("And number %d came to pass, as it was said of old.\n" % n for n in range(200))

    def effect(self, *words):
        return subprocess.run([sys.executable, "-B", EFFECT, *words], capture_output=True, text=True, timeout=200)

    def test_a_piece_is_finished_and_reported(self):
        runs, out = os.path.join(self.folder, "runs"), os.path.join(self.folder, "out")
        words = ("run", "--bin", BIN, "--model", self.model, "--folder", runs, "--pieces", "ablation", "--lengths", "1024")
        broken = self.effect(*words, "--seconds", "0.2")
        self.assertEqual(broken.returncode, 75, broken.stderr)
        self.assertIn("not finished", self.effect("report", runs, "--out", out).stderr)
        done = self.effect(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.effect(*words).stdout, "")  # nothing is left to do
        told = self.effect("report", runs, "--out", out)
        self.assertEqual(told.returncode, 0, told.stderr)
        with open(os.path.join(out, "effect.md"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("| 1,024 tokens | to 8,192 | beyond | at the end | windows |", page)
        for method in ("lm_infinite:window=4096,sinks=10", "rerope:window=4096"):
            self.assertIn(f"| `{method}` |", page)
        self.assertTrue(os.path.exists(os.path.join(out, "effect-ablation-1024-loss-1024.svg")))

    def test_an_unknown_piece_is_refused(self):
        done = self.effect("plan", "--bin", BIN, "--model", self.model, "--pieces", "passkeys")
        self.assertIn("there is no piece passkeys: passkey, ", done.stderr)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
