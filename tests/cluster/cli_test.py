"""The command line as a person meets it: help, wrong input, exit codes, JSON. Arguments: the folder of the programs, and the
programs that write a small model file and a small file of saved keys."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN = sys.argv[1]
TINY_MODEL_FILE, CACHE_EXAMPLE_FILE = sys.argv[2:4]
PROGRAMS = ["longhaul", "longhaul-coordinator", "longhaul-trainer", "longhaul-worker"]
COMMANDS = ["run", "score", "generate", "session", "chat", "status", "cancel", "tokenize", "plan", "inspect", "convert",
            "drain", "token", "config", "doctor", "train", "recipe"]


def run_program(program, *arguments, text=None, environment=None):
    standard_input = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True, text=True,
                          timeout=60, env={**os.environ, **(environment or {})}, **standard_input)


def longhaul(*arguments, text=None, environment=None):
    return run_program("longhaul", *arguments, text=text, environment=environment)


def in_shell(command, *arguments):
    """A bash command line with its redirections; "$0", "$1" and so on are the arguments."""
    return subprocess.run(["bash", "-c", command, *arguments], capture_output=True, text=True, timeout=60)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name, content=None):
        path = os.path.join(self.folder.name, name)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        return path

    def model(self):
        path = self.path("tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, path], check=True, timeout=60)
        return path

    def expect(self, result, code, *words):
        self.assertEqual(result.returncode, code, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertNotIn("\033", result.stderr, "no escape sequences where no terminal looks on")


class Help(Folder):
    def test_help_has_forms_for_manuals_and_completions(self):
        page = longhaul("run", "--help=man")
        self.assertEqual((page.returncode, page.stderr), (0, ""))
        self.assertRegex(page.stdout, r"^\.TH LONGHAUL\\-RUN 1")
        self.assertIn("option\tprompt-file\tf\tFILE\t\t", longhaul("run", "--help=table").stdout)
        self.assertIn("command\tsubmit\t", longhaul("batch", "--help=table").stdout)
        self.assertIn("command\tcompare\t", longhaul("eval", "--help=table").stdout)
        self.assertRegex(longhaul("eval", "compare", "--help=man").stdout, r"^\.TH LONGHAUL\\-EVAL\\-COMPARE 1")
        self.expect(longhaul("run", "--help=html"), 2, '"html" is no form', "man and table")

    def test_every_help_text_starts_with_an_example(self):
        for command in [[], *[[name] for name in COMMANDS], ["config", "check"], ["config", "show"]]:
            result = longhaul(*command, "--help")
            self.assertEqual(result.returncode, 0, command)
            self.assertEqual(result.stderr, "")
            lines = result.stdout.splitlines()
            self.assertEqual(lines[0], "Example:")
            self.assertTrue(lines[1].startswith("  longhaul " + " ".join(command)), lines[1])

    def test_help_and_dash_help_say_the_same(self):
        for name in COMMANDS:
            self.assertEqual(longhaul("help", name).stdout, longhaul(name, "--help").stdout)

    def test_every_option_of_the_help_is_known(self):
        for name in COMMANDS:
            for word in longhaul(name, "--help").stdout.split():
                word = word.rstrip(":;,.")
                if word.startswith("--") and word not in ("--help", "--version", "--origin"):
                    self.assertNotIn("unknown option", longhaul(name, word).stderr, (name, word))

    def test_every_program_tells_its_version_in_three_spellings(self):
        for program in PROGRAMS:
            for spelling in ("--version", "-V", "version"):
                result = run_program(program, spelling)
                self.assertEqual((result.returncode, result.stderr), (0, ""), (program, spelling))
                self.assertRegex(result.stdout, "^" + program + r" \d+\.\d+\.\d+\n$")
        self.assertEqual(longhaul("run", "-V").stdout, longhaul("version").stdout)
        self.expect(longhaul("run", "version"), 2, "an argument too many")

    def test_nothing_asked_is_a_usage_error_with_help(self):
        self.expect(longhaul(), 2, "Usage: longhaul COMMAND")


class WrongCommandLines(Folder):
    def test_an_unknown_command_suggests_the_right_one(self):
        self.expect(longhaul("tokenise"), 2, 'unknown command "tokenise"', "did you mean tokenize?")

    def test_an_unknown_option_suggests_the_right_one(self):
        self.expect(longhaul("run", "--wrokers", "2"), 2, "--wrokers", "did you mean --workers?")
        self.expect(longhaul("generate", "--max-tokens=2", "--prmpt"), 2, "did you mean --prompt?")

    def test_what_is_not_near_is_not_suggested(self):
        for result in (longhaul("rag"), longhaul("run", "--zork", "2"), longhaul("help", "me")):
            self.expect(result, 2, "unknown")
            self.assertNotIn("did you mean", result.stderr)
        result = longhaul("run", "--method", "telepathy")
        self.expect(result, 2, 'unknown method "telepathy". There are rope')

    def test_a_beginning_is_completed_or_both_are_named(self):
        self.expect(longhaul("gen"), 2, "did you mean generate?")
        self.expect(longhaul("run", "--prom", "x"), 2, "--prom could be --prompt-file or --prompt")

    def test_an_address_has_a_host_and_a_port(self):
        for address, sentence in (
                ("localhost", "has no port"), ("localhost:", "has no port"), ("[::1]", "has no port"),
                (":7711", "has no host"), ("127.0.0.1:99999", "the port is outside 0 to 65535"),
                ("127.0.0.1:99999999999999999999", "the port is outside"), ("127.0.0.1:-1", "is not a number"),
                ("127.0.0.1:0x10", "is not a number"), ("::1:7711", "in brackets"), ("a b:1", "is not HOST:PORT")):
            self.expect(run_program("longhaul-coordinator", "--model", "x", "--listen", address), 2,
                        "--listen: ", address, sentence)
        self.expect(run_program("longhaul-worker", "--model", "x", "--coordinator", "localhost"), 2,
                    "--coordinator: ", "has no port")
        self.expect(run_program("longhaul-worker", "--model", "x", "--coordinator", "localhost:0"), 2,
                    "the port is outside 1 to 65535")
        self.expect(longhaul("config", "check", self.path("c.yaml", b"coordinator: {listen: localhost}\n")), 78,
                    "c.yaml:1:23: coordinator.listen: ", "has no port")

    def test_a_heartbeat_that_is_no_shorter_than_its_timeout_is_refused(self):
        path = self.path("c.yaml", b"control:\n  heartbeat_seconds: 30\n")
        self.expect(run_program("longhaul-coordinator", "--model", "x", "--heartbeat", "5"), 78,
                    "control.heartbeat_seconds is 5 (--heartbeat)", "control.heartbeat_timeout_seconds is 5 (default)")
        self.expect(longhaul("config", "check", path), 78, "is 30 (" + path + ":2)")
        self.expect(run_program("longhaul-worker", "--model", "x", "--coordinator", "h:1", "--config", path,
                                "--heartbeat-timeout", "40", "--heartbeat", "50"), 78, "is 50 (--heartbeat)",
                    "is 40 (--heartbeat-timeout)")
        self.expect(longhaul("config", "show", "--config", path, "--heartbeat-timeout", "31"), 0)

    def test_weights_that_are_none_end_a_coordinator_before_it_serves(self):
        here = ["--model", self.model(), "--listen", "127.0.0.1:0", "--worker-listen", "127.0.0.1:0"]
        self.expect(run_program("longhaul-coordinator", *here, "--weights", "2,x"), 65, "--weights 2,x: give auto, even, or")
        self.expect(run_program("longhaul-coordinator", *here, "--launch", "--workers", "4", "--weights", "2,1"), 65,
                    "--weights 2,1: these are 2, and there are 4 workers")

    def test_a_value_out_of_range_is_told_with_the_range(self):
        self.expect(longhaul("run", "--workers", "0"), 2, "--workers: 0 is outside 1 to 1024")
        self.expect(longhaul("run", "--max-tokens", "many"), 2, '--max-tokens: "many"')
        self.expect(longhaul("run", "--transport", "pigeon"), 2, "none of auto|mpi|loopback")

    def test_a_wrong_method_is_told_before_anything_starts(self):
        self.expect(longhaul("run", "--method", "strng"), 2, "--method", 'did you mean "string"?')

    def test_missing_and_superfluous_values(self):
        self.expect(longhaul("run", "--workers"), 2, "--workers needs a value")
        self.expect(longhaul("run", "--json=1"), 2, "--json takes no value")
        self.expect(longhaul("run", "report.txt"), 2, '"report.txt" is an argument too many')
        self.expect(longhaul("run"), 2, "--prompt")
        self.expect(longhaul("run", "--prompt", "x"), 2, "--model FILE is missing")
        self.expect(longhaul("tokenize", "--model", "x"), 2, "--file FILE is missing")
        self.expect(longhaul("generate", "--prompt", "x"), 2, "--server HOST:PORT is missing")


class Configuration(Folder):
    def test_all_errors_come_with_line_and_column(self):
        path = self.path("c.yaml", b"engine:\n  wrokers: 2\n  threads: many\nlog:\n  level: info\n"
                                   b"  level: warn\n")
        result = longhaul("config", "check", path)
        self.expect(result, 78, path + ":2:3:", 'did you mean "engine.workers"?', path + ":3:12:",
                    path + ":6:3:", "twice")
        self.assertEqual(result.stdout, "")
        self.expect(longhaul("run", "--config", path, "--prompt", "x"), 78, path + ":2:3:")

    def test_a_right_file_and_a_missing_one(self):
        self.expect(longhaul("config", "check", self.path("c.yaml", b"engine: {workers: 2}\n")), 0)
        self.expect(longhaul("config", "check", self.path("none.yaml")), 66, "No such file")

    def test_show_tells_where_values_come_from(self):
        path = self.path("c.yaml", b"engine: {workers: 2, threads: 3}\n")
        result = longhaul("config", "show", "--origin", "--config", path, "--threads", "1")
        self.assertIn("  workers: 2  # " + path + ":1\n", result.stdout)
        self.assertIn("  threads: 1  # --threads\n", result.stdout)
        self.assertIn("  transport: auto  # default\n", result.stdout)

    def test_what_show_prints_is_a_right_file(self):
        shown = longhaul("config", "show", "--method", "string:shift=4096,local=128").stdout
        path = self.path("shown.yaml", shown.encode())
        self.expect(longhaul("config", "check", path), 0)
        self.assertIn("string:shift=4096,local=128", shown)

    def test_show_as_json(self):
        settings = json.loads(longhaul("config", "show", "--json", "--workers", "3").stdout)
        self.assertEqual(settings["schema_version"], 1)
        self.assertEqual(settings["settings"]["engine.workers"]["value"], 3)
        self.assertEqual(settings["settings"]["engine.workers"]["origin"], "--workers")


class Files(Folder):
    def ask(self, model, text_path):
        return longhaul("tokenize", "--model", model, "--file", text_path)

    def test_a_missing_model_is_66(self):
        text = self.path("t.txt", b"hello")
        for command in (["tokenize", "--file", text], ["score", "--file", text],
                        ["run", "--prompt", "x"]):
            self.expect(longhaul(*command, "--model", self.path("none.gguf")), 66, "none.gguf",
                        "No such file")
            part = "tokenizer.json" if command[0] == "tokenize" else "config.json"
            self.expect(longhaul(*command, "--model", self.folder.name), 66, part)

    def test_a_truncated_or_foreign_model_is_65(self):
        with open(self.model(), "rb") as file:
            content = file.read()
        text = self.path("t.txt", b"hello")
        for name, bytes_ in (("cut.gguf", content[:len(content) // 2]), ("short.gguf", content[:3]),
                             ("empty.gguf", b""), ("text.gguf", b"this is no model file at all\n")):
            path = self.path(name, bytes_)
            self.expect(self.ask(path, text), 65, path)
            self.expect(longhaul("run", "--model", path, "--prompt", "x"), 65, path)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_an_unreadable_model_is_66(self):
        path = self.path("secret.gguf", b"x")
        os.chmod(path, 0)
        self.expect(self.ask(path, self.path("t.txt", b"hello")), 66, "Permission denied")

    def test_text_that_is_no_utf8_is_told_with_its_offset(self):
        path = self.path("t.txt", b"caf\xe9 au lait")
        self.expect(self.ask(self.model(), path), 65, path, "3")
        self.expect(self.ask(self.model(), self.path("nul.txt", b"ab\0cd")), 65, "offset 2")

    def test_ids_of_a_text_and_of_standard_input(self):
        model, path = self.model(), self.path("t.txt", b"ab")
        plain = self.ask(model, path)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        ids = [int(line) for line in plain.stdout.split()]
        self.assertEqual(ids, [3 + ord("a"), 3 + ord("b")])
        piped = longhaul("tokenize", "--model", model, "--file", "-", "--json", text="ab")
        self.assertEqual(json.loads(piped.stdout),
                         {"schema_version": 1, "token_ids": ids, "count": 2})

    def changed_model(self, old, new):
        """The small model with one text replaced by another of the same length."""
        with open(self.model(), "rb") as file:
            content = file.read()
        self.assertEqual((content.count(old), len(old)), (1, len(new)))
        return self.path("changed.gguf", content.replace(old, new))

    def test_no_text_of_a_file_steers_the_terminal(self):
        text = self.path("t.txt", b"hello")
        merge = self.changed_model(b"\x03\0\0\0\0\0\0\0h e", b"\x03\0\0\0\0\0\0\0\x1b e")
        for command in (["tokenize", "--file", text], ["score", "--file", text],
                        ["run", "--prompt", "x"]):
            self.expect(longhaul(*command, "--model", merge), 65, 'merge 1', '".", "e"')
        template = self.changed_model(b"{% for message in", b"{% \xc2\x9b31mowned_ in")
        self.expect(longhaul("run", "--prompt", "x", "--model", template), 65,
                    'begins so: "..31mowned_"')
        for command in (["inspect", merge], ["inspect", template], ["inspect", "--json", template],
                        ["doctor", "--model", merge]):
            shown = longhaul(*command)
            self.assertNotRegex(shown.stdout + shown.stderr, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")

    def test_inspect_says_supported_of_what_runs(self):
        for old, new, words in ((b"gpt2", b"bert", 'tokenizer model "bert"'),
                                (b"smollm", b"smillm", 'pre-tokenizer "smillm"')):
            model = self.changed_model(old, new)
            text, facts = longhaul("inspect", model), longhaul("inspect", "--json", model)
            self.assertIn("supported      no: " + words, text.stdout)
            self.assertFalse(json.loads(facts.stdout)["supported"])
            self.expect(longhaul("run", "--prompt", "x", "--model", model), 65, words)
        facts = json.loads(longhaul("inspect", "--json", self.model()).stdout)
        self.assertEqual((facts["supported"], facts["tokenizer"]["chat_form"]), (True, "the model's own"))

    def test_tokenize_needs_no_weights(self):
        model, text = self.path("directory"), self.path("t.txt", b"the other")
        subprocess.run([TINY_MODEL_FILE, model, "directory"], check=True, timeout=60)
        ids = self.ask(model, text).stdout
        self.assertGreater(len(ids.split()), 2)
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98362432\n"
        with open(os.path.join(model, "model.safetensors"), "wb") as file:
            file.write(pointer)
        self.assertEqual(self.ask(model, text).stdout, ids)
        self.expect(longhaul("score", "--model", model, "--file", text), 66,
                    "model.safetensors is a Git LFS pointer", "was not downloaded")
        for name in ("model.safetensors", "config.json"):
            os.remove(os.path.join(model, name))
            self.assertEqual(self.ask(model, text).stdout, ids)

    def test_a_wrong_total_of_an_index_is_a_warning(self):
        model = self.path("shards")
        subprocess.run([TINY_MODEL_FILE, model, "shards"], check=True, timeout=60)
        index = os.path.join(model, "model.safetensors.index.json")
        with open(index, encoding="utf-8") as file:
            content = json.load(file)
        self.assertEqual(longhaul("inspect", model).stderr, "")
        content["metadata"]["total_size"] = 1
        with open(index, "w", encoding="utf-8") as file:
            json.dump(content, file)
        self.expect(longhaul("inspect", model), 0, " warn ", index, "stated_bytes=1 ")

    def test_inspect_describes_a_file_in_both_forms(self):
        model = self.model()
        self.assertIn("llama", longhaul("inspect", model).stdout)
        facts = json.loads(longhaul("inspect", "--json", model).stdout)
        self.assertEqual(facts["schema_version"], 1)
        self.assertTrue(facts["supported"])
        self.expect(longhaul("inspect", self.path("x.gguf", b"nothing")), 65, "x.gguf", "offset")
        self.expect(longhaul("inspect", self.path("none.gguf")), 66, "none.gguf")
        self.expect(longhaul("inspect"), 2, "FILE is missing")


    def test_session_inspect_verifies_a_file_and_says_where_it_is_damaged(self):
        path = self.path("report.keys")
        subprocess.run([CACHE_EXAMPLE_FILE, path], check=True, timeout=60)
        self.expect(longhaul("session", "inspect", path), 0)
        for line in ("string:shift=60,local=2", "130, planned for 170", "0 to 2, of 64 tokens, 2 records each", "6 blocks"):
            self.assertIn(line, longhaul("session", "inspect", path).stdout)
        facts = json.loads(longhaul("session", "inspect", "--json", path).stdout)
        self.assertEqual((facts["schema_version"], facts["tokens"], facts["blocks"]), (1, 130, 6))
        self.assertEqual(facts["stores"], [{"store": "panels", "first_panel": 0, "end_panel": 3, "records": 2}])
        with open(path, "rb") as file:
            content = bytearray(file.read())
        self.expect(longhaul("session", "inspect", self.path("cut.keys", content[:-1])), 65, "cut.keys", "offset", "truncated")
        content[len(content) // 2] ^= 1
        self.expect(longhaul("session", "inspect", self.path("bad.keys", content)), 65, "bad.keys", "offset", "[digest]")
        self.expect(longhaul("session", "inspect", self.path("x.keys", b"nothing but text")), 65, "offset 0", "[magic]")
        self.expect(longhaul("session", "inspect", self.path("none.keys")), 66, "none.keys")


class Conversions(Folder):
    def convert(self, *arguments):
        result = longhaul("convert", *arguments)
        self.expect(result, 0)
        return result.stdout

    def ids(self, model):
        result = longhaul("tokenize", "--model", model, "--file", self.path("t.txt", b"the other"))
        self.expect(result, 0)
        return result.stdout

    def test_a_model_goes_there_and_back_with_its_ids_and_its_answer(self):
        model, there, back = self.model(), self.path("there"), self.path("back.gguf")
        float32 = self.path("float32.gguf")
        self.convert(model, float32, "--type", "f32")
        self.convert(float32, there)
        self.convert(there, back)
        self.assertEqual({self.ids(path) for path in (there, back)}, {self.ids(model)})
        types = [json.loads(longhaul("inspect", "--json", path).stdout)["types"] for path in (float32, back)]
        self.assertEqual(types[0], types[1])
        answers = {longhaul("run", "--model", path, "--workers", "1", "--kernels", "reference", "--raw", "--prompt", "the other",
                            "--max-tokens", "8").stdout for path in (float32, there, back)}
        self.assertEqual(len(answers), 1)

    def test_files_are_told_with_digests_and_one_object(self):
        model, out = self.model(), self.path("out.gguf")
        told = json.loads(self.convert(model, out, "--shard-bytes", "100000", "--json"))
        self.assertEqual((told["format"], told["type"]), ("gguf", "own"))
        self.assertGreater(len(told["files"]), 1)
        for file in told["files"]:
            self.assertEqual(os.path.getsize(file["path"]), file["bytes"])
            self.assertRegex(file["xxh128"], r"^[0-9a-f]{32}$")
        self.assertEqual(sum(file["bytes"] for file in told["files"]), told["bytes"])
        lines = self.convert(told["files"][0]["path"], self.path("folder"), "--type", "BF16").splitlines()
        self.assertIn(self.path("folder/model.safetensors"), [line.split("  ")[1] for line in lines])

    def test_what_cannot_be_is_refused_and_nothing_is_left(self):
        model = self.model()
        before = sorted(os.listdir(self.folder.name))
        for arguments, code, words in (
                ((model, self.path("x.gguf"), "--type", "Q9"), 65, "--type Q9 is no weight type that is written"),
                ((model, self.path("x.gguf"), "--type", "Q6_K"), 65, "weights of type Q6_K are read but not written"),
                ((model, self.path("x")), 65, "which safetensors files do not have"),
                ((model, self.path("x.safetensors")), 65, "name a folder"),
                ((model, model), 69, "is there already; name another place, or give --overwrite to replace it"),
                ((model, self.path("x") + "\udcff.gguf", "--json"), 65, "the path OUT"),
                ((model, model, "--overwrite"), 65, "is the model that the new one is made of"),
                ((self.path("none.gguf"), self.path("x")), 66, "none.gguf"),
                ((model,), 2, "FILE OUT is missing")):
            with self.subTest(words):
                self.expect(longhaul("convert", *arguments), code, words)
        self.assertEqual(sorted(os.listdir(self.folder.name)), before)

    def test_a_full_disk_is_74_and_leaves_nothing(self):
        model = self.model()
        result = in_shell('ulimit -f 64; exec "$0" convert "$1" "$2" --type F32', os.path.join(BIN, "longhaul"), model,
                          self.path("x.gguf"))
        self.expect(result, 74, "x.gguf.part", "File too large")
        self.assertEqual(os.listdir(self.folder.name), ["tiny.gguf"])


class StandardStreams(Folder):
    """Whatever a program prints, lost output is no success, and is told once."""

    def printing(self):
        model, text = self.model(), self.path("t.txt", b"hello " * 4000)
        yield from ((program, option) for program in PROGRAMS for option in ("--help", "--version", "version"))
        yield from (("longhaul", "help", name) for name in COMMANDS)
        yield from (("longhaul-worker", "--describe"), ("longhaul", "config", "show"), ("longhaul", "inspect", model),
                    ("longhaul", "tokenize", "--model", model, "--file", text),
                    ("longhaul", "tokenize", "--model", model, "--file", text, "--json"),
                    ("longhaul", "plan", "--model", model, "--prompt-tokens", "100"))

    def expect_one_message(self, redirected, code, sentence):
        for program, *arguments in self.printing():
            result = in_shell(redirected, os.path.join(BIN, program), *arguments)
            self.assertEqual(result.returncode, code, (program, arguments, result.stderr))
            self.assertEqual(len(result.stderr.splitlines()), 1, (program, arguments, result.stderr))
            self.assertIn(sentence, result.stderr, (program, arguments))

    def test_a_full_device_is_74(self):
        self.expect_one_message('"$0" "$@" >/dev/full', 74, "write standard output: No space left on device")

    def test_a_closed_output_is_74(self):
        self.expect_one_message('"$0" "$@" >&-', 74, "closed")
        self.expect_one_message('"$0" "$@" >&- <&-', 74, "closed")

    def test_a_reader_that_has_gone_is_141(self):
        for program, *arguments in self.printing():
            reader, writer = os.pipe()
            os.close(reader)
            with os.fdopen(writer, "wb") as output:
                result = subprocess.run([os.path.join(BIN, program), *arguments], stdout=output, stderr=subprocess.PIPE,
                                        text=True, timeout=60, stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 141, (program, arguments, result.stderr))
            self.assertRegex(result.stderr, r"\A[a-z -]+: write standard output: Broken pipe\n\Z", (program, arguments))

    def test_a_closed_input_is_74_where_it_is_read(self):
        model, longhaul_path = self.model(), os.path.join(BIN, "longhaul")
        result = in_shell('"$0" "$@" <&-', longhaul_path, "tokenize", "--model", model, "--file", "-")
        self.expect(result, 74, "read standard input: it is closed")
        result = in_shell('"$0" "$@" <&-', longhaul_path, "run", "--model", model, "--prompt-file", "-")
        self.expect(result, 74, "read standard input: it is closed")
        result = in_shell('"$0" "$@" <&-', longhaul_path, "plan", "--model", model, "--prompt-tokens", "9")
        self.expect(result, 0)

    def test_a_closed_error_stream_takes_nothing_elses_place(self):
        result = in_shell('"$0" "$@" 2>&- <&-', os.path.join(BIN, "longhaul"), "tokenize", "--model", self.model(), "--file",
                          self.path("t.txt", b"ab"))
        self.assertEqual((result.returncode, result.stdout), (0, "100\n101\n"))
        result = in_shell('"$0" "$@" 2>&-', os.path.join(BIN, "longhaul"), "tokenize", "--model", "none")
        self.assertEqual((result.returncode, result.stdout), (2, ""))


class Plans(Folder):
    def test_a_dry_run_tells_workers_and_memory(self):
        result = longhaul("plan", "--model", self.model(), "--prompt-tokens", "5000", "--workers",
                          "3", "--method", "lm_infinite:window=1024,sinks=4")
        self.expect(result, 0)
        self.assertIn("5000 tokens by lm_infinite:window=1024,sinks=4", result.stdout)
        self.assertIn("weights", result.stdout)

    def test_a_table_of_ones_own_is_read_checked_and_drawn(self):
        text = (b"keys:\n  - {rule: plain, below: 64}\n  - {rule: shift, by: -32, below: 256}\n  - {rule: hidden}\n"
                b"sinks: 4\nsink_keys: [{rule: plain, below: 64}, {rule: fixed, at: 64}]\n")
        table = self.path("table.yaml", text)
        method = "table:sinks=4,keys=plain..64/shift:-32..256/hidden,sink_keys=plain..64/fixed:64"
        plan = ("plan", "--model", self.model(), "--prompt-tokens", "999", "--max-tokens", "1")
        result = longhaul(*plan, "--method", f"table:file={table}")
        self.expect(result, 0)
        self.assertIn(method, result.stdout)
        self.assertIn("what the last of 1000 tokens sees", result.stdout)
        self.assertIn("drops what lies 256 tokens back", result.stdout)
        result = longhaul(*plan, "--method", f"table:file={table}", "--json")
        self.expect(result, 0)
        told = json.loads(result.stdout)
        self.assertEqual(told["plan"]["method"], method)
        self.assertEqual([(seen["first_key"], seen["end_key"]) for seen in told["sight"]],
                         [(936, 1000), (0, 4), (744, 936)])
        self.path("table.yaml", text + b"sinks: 5\n")
        self.expect(longhaul(*plan, "--method", f"table:file={table}"), 2, f"{table}:7:1: sinks is there twice")
        self.expect(longhaul(*plan, "--method", f"table:file={table}.none"), 2, "No such file")

    def test_json_adds_up(self):
        result = longhaul("plan", "--model", self.model(), "--prompt", "hello", "--workers", "2",
                          "--json")
        self.expect(result, 0)
        plan = json.loads(result.stdout)
        self.assertEqual(plan["schema_version"], 1)
        self.assertEqual(len(plan["ranks"]), 2)
        self.assertEqual(sum(rank["prompt_tokens"] for rank in plan["ranks"]),
                         plan["plan"]["prompt_tokens"])
        for rank in plan["ranks"]:
            self.assertEqual(sum(rank["memory"].values()), rank["memory_bytes"])

    def test_keys_and_values_are_counted_for_each_worker(self):
        """In bf16, K and V of 2 layers with 2 KV heads of 32: 512 bytes a token."""
        for tokens in (1024, 2048):
            told = {}
            for workers in (1, 2):
                result = longhaul("plan", "--model", self.model(), "--prompt-tokens", str(tokens), "--max-tokens", "0",
                                  "--workers", str(workers), "--json")
                self.expect(result, 0)
                told[workers] = [rank["cache_bytes"] for rank in json.loads(result.stdout)["ranks"]]
            self.assertEqual(told[1], [tokens * 512])
            self.assertEqual(len(told[2]), 2)
            for half in told[2]:  # and up to five panels of 64 more, for lengths that share out unevenly
                self.assertIn((half - tokens * 256) // (64 * 512), range(6))

    def test_weights_are_counted_as_each_variant_lays_them(self):
        """K-quants take more room in some layouts than in the file."""
        self.counted("mixed", {"F32", "Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1"})

    def test_small_types_are_named_and_counted(self):
        for name in ("Q3_K", "IQ4_NL", "IQ4_XS", "Q2_K"):
            with self.subTest(name):
                self.counted(name, {"F32", name})

    def counted(self, form, names):
        path = self.path(form + ".gguf")
        subprocess.run([TINY_MODEL_FILE, path, form], check=True, timeout=60)
        types = json.loads(longhaul("inspect", "--json", path).stdout)["types"]
        self.assertEqual({kind["type"] for kind in types}, names)
        described = subprocess.run([os.path.join(BIN, "longhaul-worker"), "--describe"], check=True, capture_output=True,
                                   timeout=60)
        worker = json.loads(described.stdout)
        for kernels in worker["kernels"]:
            packed = worker["packed_bytes"][kernels]
            expected = sum(kind["parameters"] * packed[kind["type"]] / worker["packed_side"] ** 2 for kind in types)
            result = longhaul("plan", "--model", path, "--prompt-tokens", "100", "--workers", "1", "--kernels", kernels, "--json")
            self.expect(result, 0)
            weights = json.loads(result.stdout)["ranks"][0]["memory"]["weights"]
            self.assertAlmostEqual(weights, expected, delta=0.01 * expected)

    def test_what_does_not_fit_is_refused_with_the_numbers(self):
        result = longhaul("plan", "--model", self.model(), "--prompt-tokens", "1000000000")
        self.expect(result, 65, "MB on this host", "MB are free")

    def test_a_prompt_or_a_length_is_needed(self):
        self.expect(longhaul("plan", "--model", "x"), 2, "--prompt-tokens")
        self.expect(longhaul("plan", "--prompt", "x"), 2, "--model FILE")
        self.expect(longhaul("plan", "--prompt", "x", "--server", "127.0.0.1:1"), 69, "127.0.0.1:1")


class Services(Folder):
    def test_no_coordinator_at_the_address_is_69(self):
        self.expect(longhaul("generate", "--server", "127.0.0.1:1", "--prompt", "x"), 69,
                    "127.0.0.1:1")

    def test_doctor_reports_in_both_forms(self):
        plain = longhaul("doctor")
        for line in plain.stdout.splitlines():
            self.assertIn(line.split()[0], ("ok", "warn", "fail"))
        report = json.loads(longhaul("doctor", "--json").stdout)
        self.assertEqual(report["schema_version"], 1)
        self.assertIn("mpirun", [finding["what"] for finding in report["findings"]])
        self.assertEqual(plain.returncode, 69 if report["worst"] == "fail" else 0)

    def test_doctor_finds_mpirun_missing(self):
        result = longhaul("doctor", environment={"PATH": self.folder.name})
        self.assertEqual(result.returncode, 69)
        self.assertIn("apt install openmpi-bin", result.stdout)

    def test_doctor_names_what_is_wrong_with_a_model(self):
        result = longhaul("doctor", "--model", self.path("x.gguf", b"nothing"))
        self.assertEqual(result.returncode, 69)
        self.assertRegex(result.stdout, "(?m)^fail  model .*x.gguf")

    def test_doctor_says_what_a_model_is_read_with(self):
        result = longhaul("doctor", "--model", self.model())
        self.assertRegex(result.stdout, "(?m)^ok    tokenizer +smollm, 265 tokens$")
        self.assertRegex(result.stdout, "(?m)^ok    chat form +the model's own$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
