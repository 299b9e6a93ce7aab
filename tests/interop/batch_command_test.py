"""`longhaul batch`: the commands as a person or a script runs them, against a coordinator with echo workers."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

from batch_client import DOCUMENT_TEXTS, BatchTest, bp, completion, joined, question
from cluster_under_test import BIN, FOLDER, wait_until


class Commands(BatchTest):
    def begin(self, *echo):
        self.start(self.store())
        self.echo("--group=g", "--places=4", *echo)
        self.wait_ready()

    def command(self, *words, **arguments):
        words = [os.path.join(BIN, "longhaul"), "batch", words[0], "--server", self.address, *words[1:]]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, **arguments)

    def file(self, name, data=b""):
        path = os.path.join(FOLDER, self.id().split(".")[-1] + "-" + name)
        if data:
            with open(path, "wb") as file:
                file.write(data)
        return path

    def submit(self, lines, *flags):
        done = self.command("submit", self.file("in.jsonl", joined(lines)), *flags)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def test_submit_watch_and_results(self):
        self.begin()
        name = self.submit([completion(str(n), "PROMPT %d" % n) for n in range(20)], "--metadata", "who=me", "--id", "my-batch")
        self.assertEqual(name, "batches/my-batch")
        self.assertEqual(self.get(name).metadata[0].value, "me")
        watched = self.command("watch", name)
        self.assertEqual(watched.returncode, 0, watched.stderr)
        self.assertIn("20: 20 completed, 0 failed", watched.stdout)
        output = self.file("out.jsonl")
        done = self.command("results", "my-batch", "-o", output)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        with open(output, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual(sorted(json.loads(line)["custom_id"] for line in lines), sorted(map(str, range(20))))
        on_standard_output = self.command("results", name)
        self.assertEqual(on_standard_output.stdout.splitlines(), lines)
        status = json.loads(self.command("status", name, "--json").stdout)
        self.assertEqual((status["name"], status["state"], status["metadata"]), (name, "succeeded", {"who": "me"}))
        self.assertEqual([status["counts"][key] for key in ("total", "completed", "failed")], [20, 20, 0])
        usage = status["usage"]
        self.assertEqual(usage["prompt_tokens"], usage["cached_tokens"] + usage["prefilled_tokens"])
        self.assertEqual(usage["completion_tokens"], 160)

    def test_results_go_on_where_they_were_broken_off(self):
        self.begin("--step-us=3000")
        lines = [completion(str(n), "PROMPT %d" % n, 30) for n in range(60)]
        name = self.submit(lines)
        output = self.file("out.jsonl")
        for kill in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen([os.path.join(BIN, "longhaul"), "batch", "results", "--server", self.address, name,
                                        "-o", output], stderr=subprocess.DEVNULL)
            before = self.get(name).counts.completed
            wait_until(lambda: self.get(name).counts.completed > before + 5 or process.poll() is not None, 30, "more results")
            process.send_signal(kill)
            self.assertIn(process.wait(10), (-9, 130, 0))
        with open(output, "ab") as file:
            file.write(b'{"torn')
        self.assertEqual(self.command("results", name, "-o", output).returncode, 0)
        with open(output, encoding="utf-8") as file:
            ids = [json.loads(line)["custom_id"] for line in file]
        self.assertEqual(sorted(ids, key=int), [str(n) for n in range(60)])
        other = self.submit([completion("else", "ELSE")])
        refused = self.command("results", other, "-o", output)
        self.assertEqual(refused.returncode, 69)
        self.assertIn("--overwrite", refused.stderr)
        self.assertEqual(self.command("results", other, "-o", output, "--overwrite").returncode, 0)
        with open(output, encoding="utf-8") as file:
            self.assertEqual(len(file.read().splitlines()), 1)

    def test_failed_lines_make_exit_code_1_and_can_be_retried(self):
        self.begin("--fail-id=%d" % (3 + ord("?")))
        name = self.submit([completion("good", "GOOD"), completion("bad", "BAD?"), "no JSON"])
        self.assertEqual(self.command("watch", name).returncode, 1)
        done = self.command("results", name)
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (1, 3))
        again = self.command("retry", name).stdout.strip()
        self.assertEqual((self.get(again).retry_of, self.wait_ended(again).counts.total), (name, 2))
        listed = [json.loads(line)["name"] for line in self.command("list", "--json").stdout.splitlines()]
        self.assertEqual(listed, [again, name])
        self.assertIn(again, self.command("list", "--state", "succeeded").stdout)
        self.assertEqual(self.command("list", "--state", "running", "--json").stdout, "")
        self.assertEqual(self.command("list", "--state", "nonsense").returncode, 2)

    def test_cancel_ends_it(self):
        self.begin("--step-us=20000")
        name = self.submit([completion(str(n), "PROMPT %d" % n, 1900) for n in range(8)])
        self.assertEqual(self.command("cancel", name).returncode, 0)
        self.assertEqual(self.wait_ended(name, 5).state, bp.BATCH_STATE_CANCELLED)
        self.assertEqual(self.command("cancel", name).returncode, 78)
        self.assertEqual(self.command("status", "batches/nothere").returncode, 66)

    def test_an_estimate_is_what_it_takes(self):
        self.begin()
        text = "A LONG BEGINNING " * 20
        path = self.file("in.jsonl", joined([completion(str(n), text + str(n), 5) for n in range(9)]))
        told = json.loads(self.command("estimate", path, "--json").stdout)
        self.assertIn("9 lines, 0 of them invalid", self.command("estimate", path).stdout)
        name = self.command("submit", path).stdout.strip()
        usage = self.wait_ended(name).usage
        self.assertEqual((told["prompt_tokens"], told["unique_tokens"], told["completion_tokens_max"]),
                         (usage.prompt_tokens, usage.prefilled_tokens, usage.completion_tokens))
        self.assertGreater(told["memory_bytes"], 0)
        after = json.loads(self.command("estimate", name, "--json").stdout)
        self.assertEqual(after["usage"]["prefilled_tokens"], after["unique_tokens"])
        self.assertIn("it took: ", self.command("estimate", name).stdout)

    def test_standard_input_and_a_request_id(self):
        self.begin()
        first = self.command("submit", "-", "--request-id", "once", input=joined([completion("a", "A")]).decode())
        again = self.command("submit", "-", "--request-id", "once", input=joined([completion("a", "A")]).decode())
        self.assertEqual((first.returncode, first.stdout), (0, again.stdout))
        self.assertEqual(self.wait_ended(first.stdout.strip()).counts.completed, 1)

    def test_an_upload_waits_for_a_coordinator_that_comes_back(self):
        self.begin()
        port = self.address.split(":")[1]
        data = joined([completion(str(n), "PROMPT %d" % n, 1) for n in range(40)])
        self.coordinator.kill()
        self.coordinator.wait(10)
        process = subprocess.Popen([os.path.join(BIN, "longhaul"), "batch", "submit", "--server", self.address,
                                    self.file("in.jsonl", data)], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        self.start(self.store(), "--listen=127.0.0.1:" + port, "--worker-listen=127.0.0.1:0")
        name = process.communicate(timeout=30)[0].strip()
        total = lambda: json.loads(self.command("status", name, "--json").stdout)["counts"]["total"]
        wait_until(lambda: total() == 40, 10, "all lines are there")

    def test_documents_are_uploaded_listed_and_deleted(self):
        self.begin()

        def run(*words):
            return subprocess.run([os.path.join(BIN, "longhaul"), "document", words[0], "--server", self.address, *words[1:]],
                                  capture_output=True, text=True, timeout=30)
        text = DOCUMENT_TEXTS[1] * 5000  # more than one message
        name = run("upload", self.file("d.txt", text.encode()), "--title", "A report").stdout.strip()
        self.assertRegex(name, "^documents/")
        told = json.loads(run("upload", self.file("e.txt", b"another"), "--id", "chosen", "--json").stdout)
        self.assertEqual((told["name"], told["bytes"]), ("documents/chosen", 7))
        self.assertEqual(run("upload", self.file("d.txt", text.encode())).stdout.strip(), name, "the same bytes")
        listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
        self.assertEqual([(each["name"], each["title"], each["bytes"]) for each in listed],
                         [("documents/chosen", "", 7), (name, "A report", len(text))])
        self.assertRegex(run("list").stdout, name + " +%d .* A report" % len(text))
        made = self.create([question("q", told["name"], "WHAT?")])
        self.assertEqual(self.wait_ended(made.name).counts.completed, 1)
        self.assertEqual(run("delete", "chosen").returncode, 0)
        self.assertEqual(run("delete", listed[1]["digest"]).returncode, 0)
        self.assertEqual(run("list", "--json").stdout, "")
        self.assertEqual(run("delete", name).returncode, 66)
        self.assertEqual(run("upload", "/nowhere").returncode, 66)
        self.assertEqual(run("upload", self.file("f.txt", b"\xff")).returncode, 65)

    def test_a_store_is_checked_and_copied_while_it_serves(self):
        self.begin()
        folder = self.store().split("=")[1]

        def run(*words):
            return subprocess.run([os.path.join(BIN, "longhaul"), "store", *words], capture_output=True, text=True, timeout=60)
        document = self.upload_document(DOCUMENT_TEXTS[0])
        long = "LONG " * 200  # the input lies in segment files
        before = self.create([completion("b%d" % n, long + str(n), 4) for n in range(100)]).name
        self.wait_ended(before)
        during = self.create([question("d%d" % n, document.name, str(n), 40) for n in range(60)]).name
        copy = folder + "-copy"
        result = run("backup", folder, copy)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        self.assertEqual(run("backup", folder, copy).returncode, 69)  # it is there
        self.call("DeleteBatch", bp.DeleteBatchRequest(name=before), bp.DeleteBatchResponse)
        self.assertEqual(self.wait_ended(during).counts.completed, 60)
        self.assertEqual(run("verify", folder).returncode, 0)
        self.coordinator.kill()
        self.coordinator.wait(10)
        self.assertEqual(run("verify", folder).returncode, 0, "without a coordinator, after an unclean end")
        self.start("--store=" + copy)
        self.echo("--group=h", "--places=8")
        self.assertEqual(len(self.results(before)), 100)
        self.assertEqual(self.wait_ended(during).counts.completed, 60)
        self.coordinator.terminate()
        self.coordinator.wait(20)
        segment = os.path.join(copy, "segments", sorted(os.listdir(os.path.join(copy, "segments")))[0])
        with open(segment, "r+b") as file:
            file.seek(1000)
            file.write(b"damaged")
        result = run("verify", copy)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("damaged", result.stdout)
        self.assertEqual(run("verify", FOLDER).returncode, 66, "no store")
        self.assertEqual(run("verify").returncode, 2)

    def test_wrong_command_lines_say_what_to_do(self):
        self.begin()
        run = lambda *words: subprocess.run([os.path.join(BIN, "longhaul"), "batch", *words], capture_output=True, text=True,
                                            timeout=20)
        self.assertEqual(run().returncode, 2)
        self.assertIn("submit", run("submti").stderr)
        self.assertEqual(run("--help").returncode, 0)
        for word in ("submit", "status", "watch", "results", "cancel", "retry", "estimate", "list"):
            self.assertIn("Example", run(word, "--help").stdout.split("\n")[0])
        self.assertIn("--server", run("status", "x").stderr)
        self.assertEqual(self.command("submit", "/nowhere").returncode, 66)
        self.assertEqual(self.command("submit", self.file("in", b"x"), "--order", "odd").returncode, 2)
        self.assertEqual(self.command("submit", self.file("in", b"x"), "--metadata", "odd").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
