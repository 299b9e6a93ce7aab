"""What `cmake --install` and cpack make: a tree that runs wherever it is moved, manual pages and completions that know
every option, a module file, units and packages. Arguments: the build's folder and the program that writes a small model."""
import functools
import glob
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]


def run(*arguments, **more):
    more.setdefault("timeout", 120)
    return subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")


@functools.cache
def rows(program, *words):
    """The program's own table of options: lists of cells."""
    told = run(program, *words, "--help=table")
    return [line.split("\t") for line in told.stdout.splitlines()]


def commands(program, *words):
    """This command and all below it, as lists of words."""
    below = [row[1] for row in rows(program, *words) if row[0] == "command"]
    return [list(words)] + [found for name in below for found in commands(program, *words, name)]


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        first = os.path.join(cls.folder, "first")
        result = run("cmake", "--install", BUILD, "--prefix", first)
        if result.returncode != 0:
            raise RuntimeError(result.stderr)
        cls.prefix = os.path.join(cls.folder, "moved to here")
        os.rename(first, cls.prefix)
        cls.bin = os.path.join(cls.prefix, "bin")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def at(self, *names):
        return os.path.join(self.prefix, *names)


class Tree(Installed):
    def test_a_moved_tree_answers(self):
        model = os.path.join(self.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, model], check=True, timeout=60)
        result = run(os.path.join(self.bin, "longhaul"), "run", "--model", model, "--workers", "2", "--threads", "1",
                     "--raw", "--prompt", "ab", "-n", "3", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('"completion_tokens": 3', result.stdout)

    def test_every_program_and_command_has_a_page_with_its_options(self):
        for name in ["longhaul", "longhaul-coordinator", "longhaul-worker"]:
            program = os.path.join(self.bin, name)
            for words in commands(program):
                path = self.at("share", "man", "man1", "-".join([name, *words]) + ".1")
                with open(path, encoding="utf-8") as file:
                    page = file.read().replace("\\-", "-")
                for row in rows(program, *words):
                    if row[0] == "option":
                        self.assertIn("--" + row[1], page, path)

    @needs("mandoc")
    def test_pages_are_right_roff(self):
        pages = glob.glob(self.at("share", "man", "man1", "*.1"))
        self.assertGreater(len(pages), 20)
        result = run("mandoc", "-T", "lint", "-W", "warning", *pages)
        said = [line for line in result.stdout.splitlines() if "missing date" not in line]
        self.assertEqual(said, [])

    def test_a_module_file_leads_to_the_tree(self):
        version = run(os.path.join(self.bin, "longhaul"), "--version").stdout.split()[1]
        path = self.at("share", "modulefiles", "longhaul", version)
        if not shutil.which("tclsh"):
            self.skipTest("tclsh is not installed")
        script = ("proc module-whatis args {}; proc conflict args {}; proc setenv args {puts $args}; "
                  "proc prepend-path args {puts $args}; set ModulesCurrentModulefile [lindex $argv 0]; "
                  "source [lindex $argv 0]")
        wrapper = os.path.join(self.folder, "module.tcl")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(script)
        told = run("tclsh", wrapper, path).stdout
        self.assertIn("PATH {" + self.bin + "}", told)
        self.assertIn("LONGHAUL_HOME {" + self.prefix + "}", told)

    @needs("systemd-analyze")
    def test_units_are_right(self):
        for unit in ["longhaul-coordinator.service", "longhaul-worker.service"]:
            with open(self.at("lib", "systemd", "system", unit), encoding="ascii") as file:
                text = file.read()
            # The verifier wants programs and pages in a system's folders; all else is as installed.
            text = re.sub(r"^ExecStart=(\S+)", lambda found: "ExecStart=" + shutil.which("true"), text, flags=re.M)
            text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
            copy = os.path.join(self.folder, unit)
            with open(copy, "w", encoding="ascii") as file:
                file.write(text)
            result = run("systemd-analyze", "verify", copy)
            self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_the_python_client_is_built_from_what_is_installed(self):
        result = run(sys.executable, self.at("share", "longhaul", "python", "setup.py"), "-q", "build",
                     "--build-base", os.path.join(self.folder, "python"),
                     cwd=self.at("share", "longhaul", "python"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(glob.glob(os.path.join(self.folder, "python", "lib*", "longhaul", "v1", "inference_pb2.py")))


class Completions(Installed):
    def bash(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; '
                  '_longhaul; printf "%s\\n" "${COMPREPLY[@]}"')
        path = self.at("share", "bash-completion", "completions", "longhaul")
        return run("bash", "-c", script, "bash", path, *words, cwd=self.folder).stdout.split()

    def test_bash_knows_every_option_of_every_command(self):
        for name in ["longhaul", "longhaul-coordinator", "longhaul-worker"]:
            program = os.path.join(self.bin, name)
            for words in commands(program):
                want = {"--" + row[1] for row in rows(program, *words) if row[0] == "option"}
                want |= {row[1] for row in rows(program, *words) if row[0] == "command"}
                got = set(self.bash(name, *words, "-" if any(w.startswith("-") for w in want) else ""))
                self.assertEqual(got, want, words)

    def test_bash_completes_values(self):
        open(os.path.join(self.folder, "some model.gguf"), "w", encoding="ascii").close()
        self.assertEqual(self.bash("longhaul", "ru"), ["run"])
        self.assertEqual(self.bash("longhaul", "batch", "s"), ["submit", "status"])
        self.assertEqual(self.bash("longhaul", "run", "--log-format", "j"), ["json"])
        self.assertEqual(self.bash("longhaul", "run", "--log-format", "=", "j"), ["json"])
        self.assertEqual(self.bash("longhaul", "run", "--model", "some"), ["some", "model.gguf"])
        self.assertEqual(self.bash("longhaul", "run", "--prompt", "so"), [])

    @needs("fish")
    def test_fish_completes(self):
        def fish(line):
            path = self.at("share", "fish", "vendor_completions.d", "longhaul.fish")
            told = run("fish", "--no-config", "-c", 'source "$argv[1]"; complete -C "$argv[2]"', path, line,
                       cwd=self.folder, env={**os.environ, "HOME": self.folder}).stdout
            return [line.split("\t")[0] for line in told.splitlines()]
        self.assertEqual(fish("longhaul tok"), ["token", "tokenize"])
        self.assertEqual(fish("longhaul batch s"), ["status", "submit"])
        self.assertEqual(fish("longhaul run --meth"), ["--method"])
        self.assertEqual(fish("longhaul run --log-format "), ["json", "logfmt"])
        self.assertEqual(fish("longhaul-worker --kern"), ["--kernels"])

    @needs("zsh")
    def test_zsh_completes(self):
        # A shell that a person would type into; what Tab lists is read from its terminal.
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "HOME": self.folder, "TERM": "dumb"})
        try:
            folder = self.at("share", "zsh", "site-functions")
            self.type(terminal, f"fpath=('{folder}' $fpath); autoload -U compinit; compinit -u -D; print REA''DY\n", "READY")
            self.type(terminal, "longhaul tok\t\t", "tokenize")
            self.type(terminal, "\x15longhaul batch est\t", "imate")
            self.type(terminal, "\x15longhaul run --meth\t", "od")
            self.type(terminal, "\x15longhaul run --log-format=\t\t", "logfmt")
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(terminal)

    def type(self, terminal, keys, want):
        """Types, and reads until the shell has shown what is wanted."""
        os.write(terminal, keys.encode())
        shown, end = "", time.monotonic() + 20
        while want not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
        self.assertIn(want, shown, keys)


class Packages(unittest.TestCase):
    @needs("dpkg-shlibdeps")
    def test_a_debian_package_and_a_tarball_hold_what_is_installed(self):
        with tempfile.TemporaryDirectory() as folder:
            result = run("cpack", "-G", "DEB;TGZ", "-B", folder, cwd=BUILD, timeout=200)
            self.assertEqual(result.returncode, 0, result.stderr)
            [package] = glob.glob(os.path.join(folder, "*.deb"))
            [tarball] = glob.glob(os.path.join(folder, "*.tar.gz"))
            self.assertRegex(run("dpkg-deb", "-f", package, "Depends").stdout, r"libgrpc\d+.*libopenmpi\d+")
            run("dpkg-deb", "-x", package, os.path.join(folder, "root"))
            os.mkdir(os.path.join(folder, "tar"))
            run("tar", "-xzf", tarball, "-C", os.path.join(folder, "tar"), "--strip-components=1")
            for prefix in ["root/usr", "tar"]:
                told = run(os.path.join(folder, prefix, "bin", "longhaul"), "doctor")
                self.assertIn("longhaul-worker", told.stdout + told.stderr)
                self.assertTrue(os.path.exists(os.path.join(folder, prefix, "share/man/man1/longhaul-run.1")) or
                                os.path.exists(os.path.join(folder, prefix, "share/man/man1/longhaul-run.1.gz")))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
