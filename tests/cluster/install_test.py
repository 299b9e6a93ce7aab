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
import socket
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
        for name in ["longhaul", "longhaul-coordinator", "longhaul-trainer", "longhaul-worker"]:
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
                  "proc prepend-path args {puts $args}; proc append-path args {puts $args}; set ModulesCurrentModulefile [lindex $argv 0]; "
                  "source [lindex $argv 0]")
        wrapper = os.path.join(self.folder, "module.tcl")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(script)
        told = run("tclsh", wrapper, path).stdout
        self.assertIn("PATH {" + self.bin + "}", told)
        self.assertIn("MANPATH {" + self.at("share", "man") + "}\nMANPATH {}\n", told, "and the system's own pages after it")

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

    @needs("systemd-sysusers")
    @unittest.skipUnless(os.geteuid() == 0, "becoming the units' user needs root")
    def test_units_start_as_the_user_that_is_installed_with_them(self):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, "etc"))
            made = run("systemd-sysusers", "--root=" + root, self.at("lib", "sysusers.d", "longhaul.conf"))
            self.assertEqual(made.returncode, 0, made.stderr)
            with open(os.path.join(root, "etc", "passwd"), encoding="ascii") as file:
                users = {line.split(":")[0]: line.split(":")[2:4] for line in file}
        os.chmod(self.folder, 0o755)
        model = os.path.join(self.folder, "served.gguf")
        subprocess.run([TINY_MODEL_FILE, model], check=True, timeout=60)
        os.chmod(model, 0o644)
        for name in ["", "named.secret"]:  # the one that the coordinator makes, and an administrator's
            with self.subTest(secret=name):
                self.serve_by_units(users, model, name and os.path.join(self.folder, name))

    def serve_by_units(self, users, model, secret):
        with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
            clients, workers = ("127.0.0.1:%d" % each.getsockname()[1] for each in (first, second))
        config = os.path.join(self.folder, "cluster.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"model:\n  path: {model}\nengine:\n  threads: 1\ncoordinator:\n  listen: {clients}\n"
                       f"  worker_listen: {workers}\nworker:\n  coordinator: {workers}\n")
            file.write(f"control:\n  join_secret: {secret}\n" if secret else "")
        if secret:
            with open(secret, "w", encoding="ascii") as file:
                file.write("0123456789abcdef" * 4)
            os.chmod(secret, 0o600)
        started = []
        try:
            for name in ["longhaul-coordinator", "longhaul-worker"]:
                started.append(self.start_unit(name + ".service", users, config, secret))
            self.wait_serving(clients, started)
        finally:
            for process in started:
                process.kill()
                process.wait()

    def start_unit(self, unit, users, config, secret):
        """Starts what the unit names as its user, with its environment, and its folders in this test's."""
        with open(self.at("lib", "systemd", "system", unit), encoding="ascii") as file:
            settings = re.findall(r"^(\w+)=(.*)$", file.read(), re.M)
        uid, gid = users[dict(settings)["User"]]
        folders = {"%t": os.path.join(self.folder, "run"), "%S": os.path.join(self.folder, "state")}
        for each in [*folders.values(), folders["%t"] + "/longhaul"]:
            os.makedirs(each, exist_ok=True)
        for each in [folders["%t"] + "/longhaul", secret]:
            if each:
                os.chown(each, int(uid), int(gid))
        environment = [value for key, value in settings if key == "Environment"]
        environment = [re.sub("%[tS]", lambda found: folders[found[0]], each) for each in environment]
        program, *words = dict(settings)["ExecStart"].replace("/etc/longhaul/cluster.yaml", config).split()
        with open(os.path.join(self.folder, unit + ".log"), "ab") as log:
            return subprocess.Popen(["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "env", "-i", *environment,
                                     os.path.join(self.bin, program), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def wait_serving(self, address, started):
        end = time.monotonic() + 60
        while '"serving": true' not in run(os.path.join(self.bin, "longhaul"), "status", "--server", address, "--json").stdout:
            logs = run("tail", *glob.glob(os.path.join(self.folder, "*.service.log"))).stdout
            self.assertEqual([process.poll() for process in started], [None, None], logs)
            self.assertLess(time.monotonic(), end, logs)
            time.sleep(0.1)

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
        for name in ["longhaul", "longhaul-coordinator", "longhaul-trainer", "longhaul-worker"]:
            program = os.path.join(self.bin, name)
            for words in commands(program):
                want = {"--" + row[1] for row in rows(program, *words) if row[0] == "option"}
                want |= {row[1] for row in rows(program, *words) if row[0] == "command"}
                got = set(self.bash(name, *words, "-" if all(w.startswith("-") for w in want) else ""))
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
            run("dpkg-deb", "-R", package, os.path.join(folder, "root"))
            self.assertIn("sysusers", run("cat", os.path.join(folder, "root", "DEBIAN", "postinst")).stdout, "makes the units' user")
            os.mkdir(os.path.join(folder, "tar"))
            run("tar", "-xzf", tarball, "-C", os.path.join(folder, "tar"), "--strip-components=1")
            for prefix in ["root/usr", "tar"]:
                self.assertTrue(os.path.exists(os.path.join(folder, prefix, "lib", "sysusers.d", "longhaul.conf")))
                told = run(os.path.join(folder, prefix, "bin", "longhaul"), "doctor")
                self.assertIn("longhaul-worker", told.stdout + told.stderr)
                self.assertTrue(os.path.exists(os.path.join(folder, prefix, "share/man/man1/longhaul-run.1")) or
                                os.path.exists(os.path.join(folder, prefix, "share/man/man1/longhaul-run.1.gz")))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
