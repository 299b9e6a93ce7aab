"""longhaul run and score with real workers and a small model: answers, JSON, interrupts, dead workers, and that no
process is ever left. Arguments: the folder of the programs and the program that writes a small model file."""
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
import unittest

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 100


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        # The path is this test's own, so it marks this test's processes.
        self.model = os.path.join(self.folder.name, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=60)

    def path(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def processes(self, word=""):
        """Processes that were started with this test's model, apart from longhaul itself."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            name = os.path.basename(arguments[0])
            if name != "longhaul" and word in name and any(self.model in a for a in arguments):
                found.append(int(pid))
        return found

    def expect_nothing_left(self):
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.processes(), [])

    def longhaul(self, command, *arguments, environment=None):
        result = subprocess.run(
            [LONGHAUL, command, "--model", self.model, *arguments], capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=SECONDS, env={**os.environ, **(environment or {})})
        self.expect_nothing_left()
        return result

    def answer(self, *arguments):
        result = subprocess.run(
            [LONGHAUL, "run", "--model", self.model, "--json", *arguments], capture_output=True,
            text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "", "quiet when piped")
        return json.loads(result.stdout)

    def start_long(self, *arguments):
        """A run that takes longer than any test; returns once its answer flows."""
        process = subprocess.Popen(
            [LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "a", "--seed", "1",
             "--temperature", "2", "--max-tokens", "1000000", "--ignore-eos", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertTrue(process.stdout.read(1), "no answer")
        return process

    def finish(self, process, seconds):
        """The exit code, within so many seconds; what it still says is read meanwhile."""
        begin = time.monotonic()
        _, error = process.communicate(timeout=seconds + 30)
        self.assertLess(time.monotonic() - begin, seconds)
        self.expect_nothing_left()
        return process.returncode, error.decode()

    def test_a_directory_answers_as_the_gguf_file_of_the_same_weights(self):
        text = self.path("t.txt", "In the end there is the other light. " * 5)
        scores, answers = [], []
        for form in ("f32", "directory", "shards"):
            self.model = os.path.join(self.folder.name, form)
            subprocess.run([TINY_MODEL_FILE, self.model, form], check=True, timeout=60)
            result = self.longhaul("score", "--file", text, "--workers", "2", "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            score = json.loads(result.stdout)
            scores.append((score["token_ids"], score["logprobs"]))
            answer = self.answer("--prompt", "the other", "--max-tokens", "12")
            answers.append((answer["token_ids"], answer["text"], answer["usage"]["prompt_tokens"]))
        self.assertEqual(scores[0], scores[1])
        self.assertEqual(scores[0], scores[2])
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])

    def test_an_answer_steers_no_terminal_and_goes_unchanged_into_a_file(self):
        """The random model writes control characters among others."""
        command = [LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "a", "--seed", "1",
                   "--temperature", "2", "--max-tokens", "100"]
        piped = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL,
                               timeout=SECONDS)
        self.assertEqual(piped.returncode, 0, piped.stderr)
        text = piped.stdout.decode()
        controls = [c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"]
        self.assertGreater(len(controls), 5, text)
        reader, terminal = pty.openpty()
        attributes = termios.tcgetattr(terminal)
        attributes[1] &= ~termios.OPOST  # so that the terminal adds nothing
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        process = subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL,
                                   stdin=subprocess.DEVNULL)
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(reader, 4096)
            except OSError:  # the other side is closed
                break
        os.close(reader)
        self.assertEqual(process.wait(timeout=SECONDS), 0)
        for control in set(controls):
            text = text.replace(control, "." * len(control.encode()))
        self.assertEqual(shown.decode(), text)
        self.expect_nothing_left()

    def test_logprobs_are_told_beside_the_ids(self):
        result = self.answer("--prompt", "ab", "--raw", "--max-tokens", "3", "--logprobs", "2")
        self.assertEqual(len(result["logprobs"]), len(result["token_ids"]))
        for token_id, told in zip(result["token_ids"], result["logprobs"]):
            self.assertLess(told["logprob"], 0)
            self.assertEqual([len(told["likeliest"]), told["likeliest"][0]["id"]], [2, token_id], "greedy")
            self.assertAlmostEqual(told["likeliest"][0]["logprob"], told["logprob"], 6)
            self.assertLessEqual(told["likeliest"][1]["logprob"], told["logprob"])
        self.assertNotIn("logprobs", self.answer("--prompt", "ab", "--raw", "--max-tokens", "3"))
        refused = subprocess.run([LONGHAUL, "run", "--model", self.model, "--prompt", "ab", "--logprobs", "2"],
                                 capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("add --json", refused.stderr)

    def test_json_has_what_it_promises(self):
        answer = self.answer("--prompt", "hello", "--max-tokens", "5")
        self.assertEqual(answer["schema_version"], 1)
        self.assertEqual(answer["usage"]["completion_tokens"], len(answer["token_ids"]))
        self.assertIn(answer["finish_reason"], ("stop", "length"))
        for part in ("load", "prefill", "decode"):
            self.assertGreaterEqual(answer["seconds"][part], 0)
        self.assertEqual(answer["plan"]["workers"], 1)
        self.assertEqual(answer["plan"]["method"], "rope")

    def test_a_told_seed_gives_the_same_answer_back(self):
        hot = ["--raw", "--prompt", "a", "--temperature", "2", "--max-tokens", "16"]
        drawn = self.answer(*hot)
        again = self.answer(*hot, "--seed", str(drawn["seed"]))
        self.assertEqual((again["token_ids"], again["text"], again["seed"]),
                         (drawn["token_ids"], drawn["text"], drawn["seed"]))
        seeds = (0, 1, 2, 2**53 + 1, 2**63, 2**64 - 1)
        answers = [self.answer(*hot, "--seed", str(seed)) for seed in seeds]
        self.assertEqual([answer["seed"] for answer in answers], list(seeds))
        self.assertEqual(len({answer["token_ids"][0] for answer in answers[:3]}), 3, "first tokens of small seeds")
        self.assertEqual(len({tuple(answer["token_ids"]) for answer in answers}), len(seeds))
        plain = self.longhaul("run", *hot, "--seed", str(seeds[-1]), "--verbose")
        self.assertEqual(plain.stdout.strip("\n"), answers[-1]["text"].strip("\n"))
        self.assertIn(str(seeds[-1]), plain.stderr)

    def test_a_seed_of_no_64_bits_is_a_wrong_command_line(self):
        for seed in (str(2**64), "-1", "1.5", "7x", "+1", " 1", ""):
            result = self.longhaul("run", "--prompt", "a", "--seed", seed)
            self.assertEqual(result.returncode, 2, seed)
            self.assertIn("--seed", result.stderr)
        self.assertIn("18446744073709551615", self.longhaul("run", "--prompt", "a", "--seed", str(2**64)).stderr)

    def test_an_answer_is_moved_and_its_end_held_back(self):
        asked = ["--raw", "--prompt", "hello", "--max-tokens", "9", "--logit-bias", "2:100"]  # 2 ends an answer
        self.assertEqual(self.answer(*asked)["token_ids"], [2])
        held = self.answer(*asked, "--min-tokens", "4", "--logit-bias", "50:90", "--presence-penalty", "-1")
        self.assertEqual(held["token_ids"], [50, 50, 50, 50, 2])
        self.assertEqual(self.answer(*asked, "--ignore-eos")["token_ids"], [2] * 9)

    def test_guesses_change_no_token_and_are_counted(self):
        asked = ["--raw", "--prompt", "abcabcabc", "--max-tokens", "200", "--logit-bias", "70:100"]
        none, lookup = (self.answer(*asked, "--draft", draft) for draft in ("none", "lookup"))
        self.assertEqual(none["token_ids"], lookup["token_ids"])
        self.assertEqual(none["usage"]["drafted_tokens"], 0)
        self.assertGreater(lookup["usage"]["accepted_tokens"], 0)
        self.assertLess(lookup["usage"]["accepted_tokens"], 200)

    def test_sampling_out_of_its_range_starts_nothing(self):
        for option, value in (("--min-p", "1"), ("--top-p", "0"), ("--temperature", "101"), ("--top-k", "-1"),
                              ("--repetition-penalty", "0"), ("--top-p", "nan"), ("--presence-penalty", "2.5"),
                              ("--frequency-penalty", "-3"), ("--logit-bias", "4"), ("--logit-bias", "4:101"),
                              ("--logit-bias", "x:1"), ("--min-tokens", "-1"), ("--draft", "model")):
            result = self.longhaul("run", "--prompt", "a", option, value)
            self.assertEqual(result.returncode, 2, option)
            self.assertIn(option.strip("-").replace("-", "_"), result.stderr.replace("-", "_"))
            self.assertEqual(result.stdout, "")

    def test_numbers_that_are_not_finite_are_an_internal_error(self):
        self.model = os.path.join(self.folder.name, "spoilt.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model, "spoilt"], check=True, timeout=60)
        text = self.path("t.txt", "one token is spoilt: z, and that is all. " * 4)
        for command in (["run", "--raw", "--prompt-file", text], ["run", "--json", "--raw", "--prompt", "abz"],
                        ["score", "--file", text], ["score", "--file", text, "--json", "--workers", "2"]):
            result = self.longhaul(*command)
            self.assertEqual(result.returncode, 70, result.stderr)
            self.assertEqual(result.stdout, "")
            self.assertRegex(result.stderr, r"token \d+ of the sequence .* not finite .* in layer 1 of 2")
        self.assertEqual(self.longhaul("run", "--raw", "--prompt", "ab", "--max-tokens", "3").returncode, 0)

    def test_the_parts_of_a_step_add_up_to_what_was_computed(self):
        answer = self.answer("--prompt", "hello " * 300, "--max-tokens", "20", "--workers", "2")
        self.assertGreater(max(rank["parts"]["head"] for rank in answer["ranks"]), 0)
        for rank in answer["ranks"]:
            self.assertTrue(all(rank["parts"][part] > 0 for part in rank["parts"] if part != "head"), rank["parts"])
            self.assertAlmostEqual(sum(rank["parts"].values()), rank["compute_seconds"], delta=1e-6)
            self.assertLess(rank["compute_seconds"], answer["seconds"]["prefill"] + answer["seconds"]["decode"])

    def test_a_rank_says_what_the_request_took_of_its_process_and_host(self):
        answer = self.answer("--prompt", "hello " * 300, "--max-tokens", "20", "--workers", "2")
        for rank in answer["ranks"]:
            self.assertGreater(rank["cpu_seconds"], 0)
            self.assertGreater(rank["wait_seconds"], 0)
            self.assertEqual(rank["host_cores"], os.cpu_count())

    def test_two_mpi_workers_say_what_one_says(self):
        document = self.path("d.txt", "the quick brown fox " * 40)
        question = ["--prompt-file", document, "--prompt", "what?", "--max-tokens", "8",
                    "--kernels", "reference"]
        one = self.answer(*question)
        two = self.answer(*question, "--workers", "2")
        loopback = self.answer(*question, "--workers", "2", "--transport", "loopback")
        self.assertEqual(one["token_ids"], two["token_ids"])
        self.assertEqual(one["token_ids"], loopback["token_ids"])
        self.expect_nothing_left()
        self.assertEqual(two["plan"]["workers"], 2)
        self.assertEqual(len(two["ranks"]), 2)
        for rank in two["ranks"]:
            self.assertEqual(rank["sent_bytes"], rank["predicted_sent_bytes"])

    def test_text_goes_to_standard_output_and_talk_to_standard_error(self):
        result = self.longhaul("run", "--prompt", "hello", "--max-tokens", "5", "--verbose")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("tokens by rope over 1 worker", result.stderr)
        self.assertNotIn("rope", result.stdout)
        self.assertTrue(result.stdout.endswith("\n"))

    def test_score_has_one_entry_less_than_tokens(self):
        path = self.path("t.txt", "hello world")
        result = self.longhaul("score", "--file", path, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        scores = json.loads(result.stdout)
        self.assertEqual(scores["schema_version"], 1)
        self.assertEqual(len(scores["logprobs"]), len(scores["token_ids"]) - 1)
        self.assertTrue(all(logprob <= 0 for logprob in scores["logprobs"]))

    @unittest.skipIf("TSAN_OPTIONS" in os.environ, "the thread sanitizer's own memory is the process's too")
    def test_a_process_holds_what_the_plan_says_and_the_base(self):
        """Fifty times the length: under a window neither the plan nor the base grows, and no process outgrows them."""
        plans = []
        for words in (300, 15000):
            path = self.path("long.txt", "and " * words)
            for workers in ("1", "2"):
                # Unasked, threads follow from the cores that other groups leave.
                result = self.longhaul("score", "--file", path, "--workers", workers, "--threads", "1", "--context", "80000",
                                       "--method", "lm_infinite:window=256", "--json")
                self.assertEqual(result.returncode, 0, result.stderr)
                score = json.loads(result.stdout)
                self.assertGreater(len(score["token_ids"]), words)
                for rank in score["ranks"]:
                    self.assertLessEqual(rank["peak_resident_bytes"], rank["memory_bytes"] + rank["base_bytes"])
                plans.append((score["plan"]["memory_bytes"], score["plan"]["base_bytes"]))
        for short, long in zip(plans[:2], plans[2:]):
            self.assertEqual(short[0], long[0])
            self.assertLess(long[1], short[1] + (1 << 20))

    def test_more_than_the_context_is_refused_with_the_numbers(self):
        result = self.longhaul("run", "--prompt", "hello", "--context", "20", "--max-tokens", "256")
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("20", result.stderr)
        self.assertIn("256", result.stderr)

    def test_without_max_tokens_an_answer_takes_what_the_context_leaves(self):
        question = ("--raw", "--prompt", "a" * 20, "--temperature", "2", "--seed", "3")
        answer = self.answer(*question, "--context", "28")
        self.assertEqual((answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]), (20, 8))
        self.assertEqual(self.answer(*question)["plan"]["context_tokens"], 276)
        for asked, code in (((), 0), (("--max-tokens", "8"), 0), (("--max-tokens", "9"), 65)):
            result = self.longhaul("plan", "--prompt-tokens", "20", "--context", "28", *asked)
            self.assertEqual(result.returncode, code, result.stderr)

    def test_a_chat_with_a_coordinator_of_its_own(self):
        result = subprocess.run([LONGHAUL, "chat", "--model", self.model, "-n", "6", "--json"],
                                input="one\ntwo\n", capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for answer in map(json.loads, result.stdout.splitlines()):
            self.assertLessEqual(answer["usage"]["completion_tokens"], 6)
        self.assertEqual(len(result.stdout.splitlines()), 2, result.stdout)
        self.expect_nothing_left()

    def test_without_mpirun_the_reason_is_told(self):
        result = self.longhaul("run", "--prompt", "x", "--workers", "2",
                               environment={"PATH": self.folder.name})
        self.assertEqual(result.returncode, 66)
        self.assertIn("mpirun", result.stderr)

    def test_an_interrupt_ends_everything(self):
        process = self.start_long("--workers", "2")
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process, 12)[0], 130)

    def test_a_second_interrupt_does_not_wait(self):
        process = self.start_long()
        for pid in self.processes("longhaul-worker"):
            os.kill(pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(process, 6)[0], 143)

    def test_a_reader_that_goes_away_ends_everything(self):
        process = self.start_long()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=30), 141)
        self.assertEqual(process.stderr.read().decode(), "longhaul run: write standard output: Broken pipe\n")
        self.expect_nothing_left()

    def test_a_killed_worker_is_69_and_named(self):
        process = self.start_long("--workers", "2")
        os.kill(self.processes("longhaul-worker")[0], signal.SIGKILL)
        code, error = self.finish(process, 30)
        self.assertEqual(code, 69, error)
        self.assertIn("rank", error)
        # What mpirun wrote when it saw it, though that was after the request had failed.
        self.assertRegex(error, r"exited on signal 9 \(Killed\)\.\n")
        self.assertRegex(error, r'event="workers ended" .*exited on signal 9')
        self.assertIn("longhaul run: ", error.splitlines()[-1])

    def test_workers_that_cannot_start_tell_why(self):
        """The programs beside a worker that fails: what it wrote is shown, and its sentence is the reason."""
        folder = os.path.join(self.folder.name, "bin")
        os.mkdir(folder)
        for program in ("longhaul", "longhaul-coordinator"):
            shutil.copy(os.path.join(BIN, program), folder)
        with open(os.path.join(folder, "longhaul-worker"), "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho the driver is 17 years old >&2\n"
                       "echo longhaul-worker: no luck here >&2\necho and more >&2\nexit 70\n")
        os.chmod(file.name, 0o755)
        result = subprocess.run([os.path.join(folder, "longhaul"), "run", "--model", self.model, "--prompt", "x"],
                                capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        self.expect_nothing_left()
        self.assertEqual(result.returncode, 70, result.stderr)
        self.assertEqual(result.stderr, "the driver is 17 years old\nlonghaul-worker: no luck here\nand more\n"
                         "longhaul run: the workers ended before they were ready (exit code 70): no luck here\n")

    def test_a_stopped_worker_is_69(self):
        process = self.start_long()
        for pid in self.processes("longhaul-worker"):
            os.kill(pid, signal.SIGSTOP)
        self.assertEqual(self.finish(process, 60)[0], 69)

    def test_a_killed_longhaul_takes_all_along(self):
        process = self.start_long("--workers", "2")
        process.kill()
        process.wait(timeout=10)
        deadline = time.monotonic() + 40
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertEqual(self.processes(), [])

    def test_generate_and_plan_ask_a_running_coordinator(self):
        ready = os.path.join(self.folder.name, "ready")
        coordinator = subprocess.Popen(
            [os.path.join(BIN, "longhaul-coordinator"), "--model", self.model, "--launch",
             "--listen", "127.0.0.1:0", "--ready-file", ready, "--kernels", "reference"],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(coordinator.kill)
        deadline = time.monotonic() + 30
        while not os.path.exists(ready) and time.monotonic() < deadline:
            time.sleep(0.05)
        with open(ready, encoding="ascii") as file:
            server = file.readline().strip()

        def ask(command, *arguments):
            return subprocess.run([LONGHAUL, command, "--server", server, "--prompt", "hello",
                                   *arguments], capture_output=True, text=True, timeout=SECONDS,
                                  stdin=subprocess.DEVNULL)
        result = ask("generate", "--max-tokens", "4", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        here = self.answer("--prompt", "hello", "--max-tokens", "4", "--kernels", "reference")
        self.assertEqual(json.loads(result.stdout)["token_ids"], here["token_ids"])
        result = ask("plan", "--json", "--method", "string")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("string:shift=", json.loads(result.stdout)["plan"]["method"])
        result = ask("generate", "--max-tokens", "1000000")
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("1000000", result.stderr)
        coordinator.terminate()
        self.assertEqual(coordinator.wait(timeout=40), 0)
        self.expect_nothing_left()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
