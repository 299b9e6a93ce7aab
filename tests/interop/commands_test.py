"""The commands that ask a running coordinator, as a person and as a script meet them. Stand-in workers, whose answer
depends on the prompt alone; terminals are pseudo-terminals."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

from cluster_under_test import BIN, FOLDER, MODEL, ClusterTest, grpc, pb, text_of, wait_until, INFERENCE

LONGHAUL = os.path.join(BIN, "longhaul")
PROMPT = r">(\x1b\[0m)? "  # of a chat, in colour or not


class Terminal:
    """A command on a terminal of so many columns."""

    def __init__(self, columns, *arguments, stdout=None, environment=None):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([LONGHAUL, *arguments], stdin=theirs, stdout=stdout or theirs, stderr=theirs,
                                        env={**os.environ, "TERM": "xterm", **(environment or {})},
                                        preexec_fn=take_terminal)
        os.close(theirs)
        self.seen = ""

    def read(self, seconds):
        """What comes within so many seconds, once something does; "" at the end."""
        if not select.select([self.ours], [], [], seconds)[0]:
            return None
        try:
            data = os.read(self.ours, 65536).decode(errors="replace")
        except OSError:
            data = ""  # the other end is closed
        self.seen += data
        return data

    def wait_for(self, pattern, seconds=20):
        """Until the pattern stands in what came after the last one that was waited for."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            if time.monotonic() > deadline or self.read(0.1) == "":
                raise AssertionError("%r did not come: %r" % (pattern, self.seen))
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def type(self, text):
        os.write(self.ours, text.encode())

    def end(self, seconds=20):
        """The exit code; the rest of what it says is in `seen`."""
        deadline = time.monotonic() + seconds
        while self.read(0.1) != "" and time.monotonic() < deadline:
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def close(self):
        self.process.kill()
        self.process.wait(10)
        os.close(self.ours)


class Commands(ClusterTest):
    def run_command(self, command, *arguments, text=None):
        standard_input = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([LONGHAUL, command, "--server", self.address, *arguments], capture_output=True, text=True,
                              timeout=60, **standard_input)

    def answer(self, *arguments, prompt="hello there"):
        result = self.run_command("generate", "--raw", "--prompt", prompt, "--json", *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def expect(self, result, code, *words):
        self.assertEqual(result.returncode, code, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def terminal(self, columns, command, *arguments, **settings):
        terminal = Terminal(columns, command, "--server", self.address, *arguments, **settings)
        self.addCleanup(terminal.close)
        return terminal


class Generate(Commands):
    def test_the_first_of_several_stop_texts_ends_the_answer(self):
        self.start()
        self.workers(1)
        whole = self.answer("--max-tokens", "30")["text"]
        early, late = whole[4:7], whole[20:23]
        for stops in ((early, late), (late, early)):
            cut = self.answer("--max-tokens", "30", "--stop", stops[0], "--stop", stops[1], "--stop", "no such text")
            self.assertEqual(cut["text"], whole[:whole.index(early)])
            self.assertEqual(cut["finish_reason"], "stop")
        many = [word for i in range(17) for word in ("--stop", "%d" % i)]
        self.expect(self.run_command("generate", "--prompt", "x", *many), 2, "--stop: is given more than 16 times")

    def test_without_max_tokens_the_answer_takes_what_is_left(self):
        self.start()
        self.workers(1, "--token-ms=1")
        for prompt_tokens, left in ((2000, 48), (100, 256)):
            usage = self.answer(prompt="a" * prompt_tokens)["usage"]
            self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (prompt_tokens, left))
        result = self.run_command("generate", "--raw", "--prompt", "a" * 2000, "--max-tokens", "49")
        self.expect(result, 65, "2000", "49", "2048")

    def test_a_timeout_ends_the_request_and_the_line(self):
        self.start()
        self.workers(1, "--token-ms=50")
        begin = time.monotonic()
        result = self.run_command("generate", "--raw", "--prompt", "x", "--max-tokens", "1000", "--timeout", "0.8")
        self.assertLess(time.monotonic() - begin, 5)
        self.expect(result, 75, "longhaul generate: not done within the 0.8 s of --timeout")
        self.assertRegex(result.stdout, r"\A[a-z]+\n\Z")
        self.wait_ready()

    def test_a_prompt_that_no_message_holds_is_refused_before_it_is_sent(self):
        self.start()
        path = os.path.join(FOLDER, "large.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write("a" * (33 << 20))
        for command, option in (("generate", "--prompt-file"), ("plan", "--prompt-file"), ("score", "--file"),
                                ("tokenize", "--file")):
            self.expect(self.run_command(command, option, path), 65, "the request has 34.6 MB", "33.6 MB")

    def test_an_address_is_checked_first(self):
        for command in (["generate", "--prompt", "x"], ["chat"], ["status"], ["cancel", "r1"],
                        ["plan", "--prompt-tokens", "9"], ["score", "--file", "x"], ["tokenize", "--file", "x"]):
            result = subprocess.run([LONGHAUL, *command, "--server", "localhost"], capture_output=True, text=True,
                                    timeout=20, stdin=subprocess.DEVNULL)
            self.expect(result, 2, '--server: "localhost" has no port')


class Waiting(Commands):
    def test_without_workers_it_fails_at_once_and_with_a_timeout_it_waits(self):
        self.start()
        begin = time.monotonic()
        result = self.run_command("generate", "--raw", "--prompt", "x")
        self.expect(result, 69, self.address, "no worker group is there")
        self.assertLess(time.monotonic() - begin, 2)
        result = self.run_command("generate", "--raw", "--prompt", "x", "--timeout", "0.7")
        self.expect(result, 75, "not done within the 0.7 s of --timeout", "no worker group is there")
        patient = subprocess.Popen([LONGHAUL, "generate", "--server", self.address, "--raw", "--prompt", "x",
                                    "--timeout", "60", "--max-tokens", "5"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        time.sleep(0.5)
        self.workers(1)
        answer, error = patient.communicate(timeout=30)
        self.assertEqual((patient.returncode, error), (0, ""))
        self.assertEqual(len(answer), 6)

    def test_a_group_that_is_lost_before_the_request_runs_is_waited_for_again(self):
        self.start()
        loading = self.worker("--size=1", "--load-ms=60000", "--group=first")
        wait_until(lambda: self.cluster().groups, 10, "the worker joined")
        patient = subprocess.Popen([LONGHAUL, "generate", "--server", self.address, "--raw", "--prompt", "x",
                                    "--timeout", "60", "--max-tokens", "5"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        wait_until(lambda: self.cluster().requests, 10, "the request waits")
        loading.kill()
        wait_until(lambda: not self.cluster().requests, 10, "the request is refused")
        self.workers(1, group="second")
        answer, error = patient.communicate(timeout=30)
        self.assertEqual((patient.returncode, error, len(answer)), (0, "", 6))

    def test_a_score_waits_too(self):
        self.start()
        path = os.path.join(FOLDER, "text.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write("some text")
        self.expect(self.run_command("score", "--file", path), 69, "no worker group is there")
        self.expect(self.run_command("score", "--file", path, "--timeout", "0.5"), 75, "no worker group is there")

    def test_a_full_queue_is_asked_again(self):
        self.start("--queue-length=1")
        self.workers(1, "--token-ms=20")
        running = self.generate(max_tokens=100, timeout=60)
        next(running)
        waiting = self.generate(max_tokens=5)
        next(waiting)
        self.expect(self.run_command("generate", "--raw", "--prompt", "x"), 69, "the queue is full")
        self.assertEqual(self.answer("--timeout", "60", "--max-tokens", "5")["usage"]["completion_tokens"], 5)

    def test_a_terminal_shows_that_there_are_no_workers(self):
        self.start()
        terminal = self.terminal(40, "generate", "--raw", "--prompt", "x", "--timeout", "60", "--max-tokens", "5")
        terminal.wait_for("waiting for workers, 0 s")
        terminal.wait_for("waiting for workers, 1 s")
        self.worker("--size=1", "--load-ms=1500", "--group=g")
        terminal.wait_for(r"waiting for workers, [2345] s")
        self.assertEqual(terminal.end(), 0)

    def test_an_interrupt_ends_the_wait(self):
        self.start()
        terminal = self.terminal(80, "generate", "--raw", "--prompt", "x", "--timeout", "60")
        terminal.wait_for("waiting for workers")
        terminal.type("\x03")
        self.assertEqual(terminal.end(5), 130)


class Progress(Commands):
    def drawn(self, columns):
        """The lines that a command draws over each other while it reads the prompt."""
        terminal = self.terminal(columns, "generate", "--raw", "--prompt", "x" * 1500, "--max-tokens", "3",
                                 stdout=subprocess.DEVNULL)
        self.assertEqual(terminal.end(), 0)
        drawn = [line for line in re.findall(r"\r\x1b\[K([^\r\n]+)", terminal.seen) if "load " not in line]
        self.assertTrue(drawn, terminal.seen)
        for line in drawn:
            self.assertLess(len(line), columns, "a full line would wrap")
        return drawn

    def test_no_line_wraps_and_what_matters_most_stays(self):
        self.start()
        self.workers(1, "--prefill-ms=1200")
        wide, narrow, slim = self.drawn(100), self.drawn(40), self.drawn(20)
        self.assertTrue(any(re.search(r"reading \[#+ *\] \d+ %, \d+ of 1500 tokens, \d+/s, .* left", line)
                            for line in wide), wide)
        self.assertTrue(any(re.fullmatch(r"reading \d+ % of 1500 tokens, \d+ s left", line) for line in narrow), narrow)
        self.assertTrue(any(re.fullmatch(r"\d+ %, \d+ s left", line) for line in slim), slim)
        for columns in (1, 3, 10):
            self.drawn(columns + 1)


class Status(Commands):
    def test_without_workers_and_with_some(self):
        self.start()
        result = self.run_command("status")
        self.expect(result, 0)
        self.assertRegex(result.stdout, r"(?m)^state +waiting for workers$")
        self.assertRegex(result.stdout, r"(?m)^requests +0 running, 0 waiting$")
        self.worker("--rank=0", "--size=2", "--group=half")
        wait_until(lambda: self.cluster().groups, 5, "the first joined")
        self.assertRegex(self.run_command("status").stdout, r"(?m)^half +joining +1/2 ")
        self.worker("--rank=1", "--size=2", "--group=half")
        self.wait_ready("half")
        result = self.run_command("status")
        self.assertRegex(result.stdout, r"(?m)^state +serving$")
        self.assertRegex(result.stdout, r"(?m)^half +ready +2/2 ")
        self.assertEqual(len(re.findall(r"(?m)^ +[01]  testhost ", result.stdout)), 2)

    def test_no_name_of_a_model_or_a_group_steers_the_terminal(self):
        with open(MODEL, "rb") as file:
            model = file.read()
        path = os.path.join(FOLDER, "named.gguf")
        with open(path, "wb") as file:
            file.write(model.replace(b"tiny random model", b"tiny\x1b[2Jdom model"))
        self.start("--model", path)
        self.assertEqual(self.cluster().model, "tiny\x1b[2Jdom model")
        self.assertRegex(self.run_command("status").stdout, r"(?m)^model +tiny\.\[2Jdom model, context 2048 tokens$")
        self.assertEqual(json.loads(self.run_command("status", "--json").stdout)["model"], "tiny\x1b[2Jdom model")
        terminal = self.terminal(80, "chat")
        terminal.wait_for(r"tiny\.\[2Jdom model, 2048 tokens of context")
        self.worker("--rank=0", "--size=2", "--group=evil\x1b[2J", "--model", path)
        wait_until(lambda: self.cluster().groups, 5, "it joined")
        plain = self.run_command("status").stdout
        self.assertEqual(len(re.findall(r"(?m)^evil\.\[2J", plain)), 2)
        self.assertNotIn("\x1b", plain)

    def test_requests_by_name_in_both_forms(self):
        self.start()
        self.workers(1, "--token-ms=20")
        running = self.generate(request_id="the first", max_tokens=1000, timeout=60)
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        waiting = self.generate(request_id="evil\x1b[2J\u202ename", timeout=60)
        next(waiting)
        plain = self.run_command("status").stdout
        self.assertRegex(plain, r"(?m)^requests +1 running, 1 waiting$")
        self.assertRegex(plain, r"(?m)^g +running +1/1 .* 1/1$")
        self.assertRegex(plain, r"(?m)^the first +generate +running +\d\S* s +g +7/7 +[1-9]\d*$")
        self.assertRegex(plain, r"(?m)^evil\.\[2J\.\.\.name +generate +waiting ")
        self.assertNotRegex(plain, "[\x1b\u202e]")
        report = json.loads(self.run_command("status", "--json").stdout)
        self.assertEqual(report["schema_version"], 1)
        self.assertTrue(report["serving"])
        self.assertEqual([(r["request_id"], r["kind"], r["state"]) for r in report["requests"]],
                         [("the first", "generate", "running"), ("evil\x1b[2J\u202ename", "generate", "waiting")])
        self.assertEqual(report["groups"][0]["running_request_id"], "the first")
        self.assertEqual((report["groups"][0]["running_requests"], report["groups"][0]["places"]), (1, 1))
        self.assertEqual([(r["group_id"], r["prompt_tokens"], r["prompt_tokens_done"]) for r in report["requests"]],
                         [("g", 7, 7), ("", 7, 0)])
        self.assertEqual(report["groups"][0]["ranks"][0]["host"], "testhost")
        running.cancel()

    def test_nobody_at_the_address_is_69(self):
        result = subprocess.run([LONGHAUL, "status", "--server", "127.0.0.1:1"], capture_output=True, text=True, timeout=20)
        self.expect(result, 69, "127.0.0.1:1")


class Cancel(Commands):
    def test_whoever_knows_the_name_ends_the_request(self):
        self.start()
        self.workers(2, "--token-ms=20")
        asking = subprocess.Popen([LONGHAUL, "generate", "--server", self.address, "--raw", "--prompt", "x",
                                   "--max-tokens", "1900"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(asking.stdout.read(1))
        name = self.cluster().requests[0].request_id
        result = self.run_command("cancel", name)
        self.expect(result, 0)
        self.assertEqual(result.stdout, name + ": told to end\n")
        answer, error = asking.communicate(timeout=10)
        self.assertEqual(asking.returncode, 75)
        self.assertEqual(error, "longhaul generate: the request %s was cancelled in decode\n" % name)
        self.assertTrue(answer.endswith("\n"))
        self.wait_ready()
        self.expect(self.run_command("cancel", name), 66, 'no request named "%s"' % name)

    def test_wrong_command_lines(self):
        self.start()
        self.expect(self.run_command("cancel"), 2, "REQUEST is missing")
        self.expect(self.run_command("cancel", "a", "b"), 2, "too many arguments")
        self.expect(subprocess.run([LONGHAUL, "cancel", "a"], capture_output=True, text=True, timeout=20), 2,
                    "--server HOST:PORT is missing")


class Drain(Commands):
    def test_a_drained_coordinator_finishes_what_runs_and_ends(self):
        self.start()
        self.workers(1, "--token-ms=20", "--places=2")
        running = self.generate(max_tokens=100, timeout=30)
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        result = self.run_command("drain")
        self.expect(result, 0)
        self.assertEqual(result.stdout, "draining: 1 requests run on\n")
        wait_until(lambda: self.cluster().draining, 5, "it drains")
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate()))
        self.assertIn(b"DRAINING", self.details_of(error))
        self.assertEqual(list(running)[-1].WhichOneof("event"), "finished")
        self.assertEqual(self.coordinator.wait(10), 0)
        self.expect(self.run_command("drain"), 69)


class TextByServer(Commands):
    def test_the_server_says_what_the_model_file_says(self):
        self.start()
        path = os.path.join(FOLDER, "text.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("some text, naïve <|im_start|> " * 5)
        there = self.run_command("tokenize", "--file", path, "--json")
        here = subprocess.run([LONGHAUL, "tokenize", "--model", MODEL, "--file", path, "--json"], capture_output=True,
                              text=True, timeout=20)
        self.expect(there, 0)
        self.assertEqual(there.stdout, here.stdout)
        self.workers(1)
        result = self.run_command("score", "--file", path, "--json")
        self.expect(result, 0)
        score = json.loads(result.stdout)
        self.assertEqual(score["token_ids"], json.loads(here.stdout)["token_ids"])
        self.assertEqual(score["logprobs"], [-(t % 7 + 1.0) for t in range(len(score["token_ids"]) - 1)])
        for command in ("score", "tokenize"):
            result = subprocess.run([LONGHAUL, command, "--file", path], capture_output=True, text=True, timeout=20)
            self.expect(result, 2, "give --model FILE, or --server HOST:PORT")


class Chat(Commands):
    def setUp(self):
        super().setUp()
        self.start()

    def expected(self, *messages, max_tokens=12):
        """What the stand-in answers to a conversation: (role, content) pairs."""
        chat = pb.Chat(messages=[pb.ChatMessage(role="ROLE_" + role.upper(), content=content) for role, content in messages])
        request = pb.GenerateRequest(prompt=pb.Prompt(chat=chat), max_tokens=max_tokens)
        return text_of(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 20))

    def test_each_turn_knows_those_before_it(self):
        self.workers(1)
        result = self.run_command("chat", "--system", "Be brief.", "-n", "12", text="one\n\ntwo \\\nlines\nthree")
        self.expect(result, 0)
        self.assertEqual(result.stderr, "", "quiet when piped")
        history = [("system", "Be brief.")]
        for turn, said in zip(("one", "two \nlines", "three"), result.stdout.splitlines()):
            history.append(("user", turn))
            self.assertEqual(said, self.expected(*history))
            history.append(("assistant", said))
        self.assertEqual(len(history), 7)

    def test_the_document_goes_with_the_first_turn(self):
        self.workers(1)
        path = os.path.join(FOLDER, "document.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write("a document")
        result = self.run_command("chat", "-f", path, "-n", "12", "--json", text="what?\nwhy?\n")
        self.expect(result, 0)
        first, second = map(json.loads, result.stdout.splitlines())
        history = [("user", "a document\n\nwhat?")]
        self.assertEqual(first["text"], self.expected(*history))
        history += [("assistant", first["text"]), ("user", "why?")]
        self.assertEqual(second["text"], self.expected(*history))
        self.expect(self.run_command("chat", "-f", "-"), 2, "standard input is the conversation")

    def test_a_turn_is_answered_before_the_next_one_is_there(self):
        self.workers(1)
        for form in ([], ["--json"]):
            chat = subprocess.Popen([LONGHAUL, "chat", "--server", self.address, "-n", "12", *form], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for turn in ("one", "two"):
                chat.stdin.write(turn + "\n")
                chat.stdin.flush()
                self.assertTrue(select.select([chat.stdout], [], [], 20)[0], "no answer")
                self.assertGreater(len(chat.stdout.readline()), 12)
            chat.stdin.close()
            self.assertEqual(chat.wait(20), 0)
            chat.stdout.close()

    def test_the_first_failure_ends_a_script(self):
        self.expect(self.run_command("chat", text="hello\n"), 69, "no worker group is there")
        self.workers(1)
        result = self.run_command("chat", "-n", "12", text="one\n" + "long " * 1000 + "\nthree\n")
        self.expect(result, 65, "more than the context")
        self.assertEqual(len(result.stdout.splitlines()), 1)
        self.expect(self.run_command("chat", text="a\0b\n"), 65, "zero byte")
        bytes_ = subprocess.run([LONGHAUL, "chat", "--server", self.address], input=b"caf\xe9\n", capture_output=True,
                                timeout=20)
        self.assertEqual(bytes_.returncode, 65, bytes_.stderr)
        closed = subprocess.run(["bash", "-c", '"$0" chat --server "$1" <&-', LONGHAUL, self.address],
                                capture_output=True, text=True, timeout=20)
        self.expect(closed, 74, "read standard input: it is closed")

    def test_on_a_terminal_ctrl_c_ends_the_answer_and_ctrl_d_the_chat(self):
        self.workers(1, "--token-ms=30")
        terminal = self.terminal(80, "chat", "-n", "1000")
        terminal.wait_for("2048 tokens of context")
        terminal.wait_for(PROMPT)
        terminal.type("one\n")
        terminal.wait_for("one\r\n.*[a-z]{5}")
        terminal.type("\x03")
        terminal.wait_for(r"\(Ctrl-D ends the chat\)")
        terminal.wait_for(PROMPT)
        self.wait_ready()
        terminal.type("half a line\x03")
        terminal.wait_for(r"\(Ctrl-D ends the chat\)")
        terminal.wait_for(PROMPT)
        terminal.type("long " * 500 + "\n")
        terminal.wait_for("more than the context")
        terminal.wait_for(PROMPT)
        terminal.type("two\n")
        terminal.wait_for("two\r\n.*[a-z]{5}")
        terminal.type("\x03")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_ctrl_c_while_the_terminal_is_stopped_loses_no_output(self):
        self.workers(1, "--token-ms=30")
        terminal = self.terminal(80, "chat", "-n", "1000")
        terminal.wait_for(PROMPT)
        terminal.type("one\n")
        terminal.wait_for("one\r\n.*[a-z]{5}")
        terminal.type("\x13")  # Ctrl-S: the next write waits
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.wait_for(r"\(Ctrl-D ends the chat\)")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0, terminal.seen)

    def test_a_cut_answer_is_told_and_a_signal_ends_all(self):
        self.workers(1, "--token-ms=30")
        terminal = self.terminal(80, "chat", "-n", "4")
        terminal.wait_for(PROMPT)
        terminal.type("one\n")
        terminal.wait_for(r"\(cut after 4 tokens")
        terminal.wait_for(PROMPT)
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.end(), 143)

    def test_without_colours_no_escape_but_the_line_that_is_redrawn(self):
        self.workers(1)
        terminal = self.terminal(80, "chat", "-n", "4", environment={"NO_COLOR": "1"})
        terminal.wait_for("Ctrl-D the chat.\r\n> ")
        terminal.type("one\n\x04")
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn("\x1b", terminal.seen.replace("\r\x1b[K", ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
