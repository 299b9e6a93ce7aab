"""longhaul plan --what-if as a person meets it: the shipped files, table, JSON and charts, and what is refused.
Arguments: the folder of the programs and the tree."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BIN = sys.argv[1]
CLUSTERS = os.path.join(sys.argv[2], "deploy", "clusters")
SHAPES = ["llama-3.1-8b.yaml", "llama-3.1-70b.yaml", "llama-3.1-405b.yaml"]


def shipped(name):
    return os.path.join(CLUSTERS, name)


def what_if(cluster, *arguments, shape=SHAPES[0]):
    return subprocess.run([os.path.join(BIN, "longhaul"), "plan", "--what-if", cluster, "--shape", shipped(shape), *arguments],
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


class WhatIf(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def changed(self, old, new):
        """The H100 file with one place changed."""
        with open(shipped("h100.yaml"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count(old), 1, old)
        path = os.path.join(self.folder, "changed.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        return path

    def rows(self, *arguments, cluster=None, shape=SHAPES[0]):
        result = what_if(cluster or shipped("h100.yaml"), *arguments, "--json", shape=shape)
        self.assertEqual(result.returncode, 0, result.stderr)
        answer = json.loads(result.stdout)
        self.assertEqual(answer["schema_version"], 1)
        self.assertIn("manifest", answer)
        return answer["rows"]

    def test_every_shipped_file_is_read(self):
        files = sorted(name for name in os.listdir(CLUSTERS) if name not in SHAPES)
        self.assertEqual(files, ["b200.yaml", "cpu.yaml", "h100.yaml"])
        for name in files:
            for shape in SHAPES:
                rows = self.rows("--workers", "4", "--prompt-tokens", "16384", cluster=shipped(name), shape=shape)
                self.assertEqual([row["method"].split(":")[0] for row in rows], ["rope", "string", "lm_infinite"])
                for row in rows:
                    self.assertTrue(0 < row["efficiency"] <= 1, row)
                    self.assertTrue(0 < row["decode_seconds"] < 60, row)
                    self.assertLessEqual(row["compute_seconds"], row["predicted_seconds"] * 1.000001)

    def test_bytes_are_those_of_the_plan(self):
        row = self.rows("--workers", "4", "--prompt-tokens", "32768", "--method", "rope")[0]
        # In one stage and zigzag shards a worker takes 3/4 of the other workers' keys and values in the mean.
        whole = 2 * 32768 * 8 * 128 * 2 * 32
        self.assertEqual(row["stages"], 1)
        self.assertAlmostEqual(row["predicted_sent_bytes"] / (4 * 3 / 4 * 3 / 4 * whole), 1, delta=0.01)

    def test_a_slower_network_is_what_bounds(self):
        arguments = ("--workers", "16", "--prompt-tokens", "131072", "--method", "rope")
        fast = self.rows(*arguments)[0]
        self.assertEqual(fast["bound"], "arithmetic")
        slow = self.rows(*arguments, cluster=self.changed("gb_per_second: 48", "gb_per_second: 1"))[0]
        self.assertEqual(slow["bound"], "link")
        # Half of what travels goes between the two nodes, through eight cards each.
        self.assertGreater(slow["predicted_seconds"], slow["predicted_sent_bytes"] / 2 / 16 / 1e9)
        late = self.rows(*arguments, cluster=self.changed("latency_us: 10 ", "latency_us: 100000 "))[0]
        self.assertEqual(late["bound"], "latency")
        self.assertGreater(late["predicted_seconds"], fast["predicted_seconds"] + 32 * 0.1)

    def test_a_token_takes_at_least_what_reading_the_weights_takes(self):
        for workers in (1, 8):
            row = self.rows("--workers", str(workers), "--prompt-tokens", "32768", "--method", "rope")[0]
            self.assertGreater(row["decode_seconds"], 16e9 / workers / 8e12)
            self.assertLess(row["decode_seconds"], 1)

    def test_what_does_not_fit_is_said(self):
        row = self.rows("--workers", "8", "--prompt-tokens", "131072", "--method", "rope", shape="llama-3.1-405b.yaml")[0]
        self.assertFalse(row["fits"])
        self.assertGreater(row["memory_bytes"], 811e9)

    def test_prompts_grow_with_the_workers(self):
        rows = self.rows("--tokens-per-worker", "4096", "--method", "lm_infinite:window=1024,sinks=4",
                         cluster=self.changed("workers: 8 16 32 64 128 256 512 1024", "workers: 8 16 32"))
        self.assertEqual([row["prompt_tokens"] for row in rows], [32768, 65536, 131072])
        self.assertLess(max(row["predicted_seconds"] for row in rows), 1.1 * min(row["predicted_seconds"] for row in rows))

    def test_a_table_and_charts(self):
        out = os.path.join(self.folder, "charts")
        result = what_if(self.changed("workers: 8 16 32 64 128 256 512 1024", "workers: 2 4 8"), "--prompt-tokens", "32768", "-o", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        for words in ("Llama-3.1-8B on 8 H100", "of ideal", "bound by", "32k"):
            self.assertIn(words, result.stdout)
        self.assertNotIn("\033", result.stdout)
        expected = [f"{figure}-{method}.svg" for figure in ("efficiency", "seconds") for method in ("lm_infinite", "rope", "string")]
        self.assertEqual(sorted(os.listdir(out)), expected)
        for name in expected:
            root = xml.etree.ElementTree.parse(os.path.join(out, name)).getroot()
            self.assertTrue(root.tag.endswith("svg"))
            self.assertIn("32k tokens", "".join(root.itertext()))

    def test_what_is_wrong_is_refused(self):
        for result, words in [
            (what_if("/no/such.yaml"), "/no/such.yaml"),
            (what_if(shipped(SHAPES[0])), "there is no section"),
            (what_if(self.changed("workers: 8       ", "workers: 0       ")), "host.workers"),
            (what_if(self.changed("block_tokens: 4096", "block_tokens: 4097")), "multiple of 64"),
            (what_if(self.changed("methods: rope", "methods: rop")), "rop"),
            (what_if(shipped("h100.yaml"), "--workers", "1024", "--tokens-per-worker", "1048576"), "ask for fewer"),
        ]:
            self.assertNotEqual(result.returncode, 0, words)
            self.assertIn(words, result.stderr)
            self.assertEqual(result.stdout, "")
        both = what_if(shipped("h100.yaml"), "--prompt-tokens", "9", "--tokens-per-worker", "9")
        self.assertEqual(both.returncode, 2)
        self.assertEqual(what_if(shipped("h100.yaml"), "--model", "x.gguf").returncode, 2)
        self.assertEqual(what_if(shipped("h100.yaml"), "--prompt", "x").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
