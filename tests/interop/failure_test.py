"""Workers that die, stop, lie or come too late; coordinators that drain, launch and cannot."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from cluster_under_test import (BIN, FOLDER, MODEL, TESTS, ClusterTest, grpc, ids_of, pb, text_of,
                                wait_until)

SERVING = 1  # of grpc.health.v1
QUICK = ("--heartbeat=0.2", "--heartbeat-timeout=1.5")


class Workers(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start(*QUICK)

    def lose_a_worker(self, number):
        workers = self.workers(2, "--token-ms=20", group="first")
        call = self.generate(max_tokens=2000, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        os.kill(workers[1].pid, number)
        begin = time.monotonic()
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(call))
        self.assertLess(time.monotonic() - begin, 4)
        self.assertIn("rank 1", error.details())
        self.assertIn(b"WORKERS_LOST", self.details_of(error))
        self.assertEqual(workers[0].wait(5), 75, "the others are told to end")
        self.workers(2, group="second")
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_a_killed_worker_ends_its_request_and_a_new_group_serves(self):
        self.lose_a_worker(signal.SIGKILL)

    def test_a_stopped_worker_ends_its_request_and_a_new_group_serves(self):
        self.lose_a_worker(signal.SIGSTOP)

    def test_a_coordinator_that_was_stopped_reads_what_came_meanwhile(self):
        workers = self.workers(2, "--token-ms=5", group="first")
        call = self.generate(max_tokens=600, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        for _ in range(3):
            self.coordinator.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            self.coordinator.send_signal(signal.SIGCONT)
            time.sleep(0.5)
        self.assertEqual(list(call)[-1].WhichOneof("event"), "finished")
        self.assertEqual([rank.pid for rank in self.cluster().groups[0].ranks], [worker.pid for worker in workers])
        self.assertNotIn("was silent", self.log_of(self.coordinator))

    def test_a_second_group_serves_while_the_first_is_lost(self):
        first = self.workers(1, group="a")
        self.workers(1, group="b")
        first[0].kill()
        wait_until(lambda: len(self.cluster().groups) == 1, 3, "the loss is seen")
        self.assertEqual(len(ids_of(self.generate())), 12)

    def expect_refusal(self, sentence, *flags):
        worker = self.worker(*flags)
        self.assertEqual(worker.wait(10), 75)
        self.assertIn(sentence, self.log_of(worker))
        wait_until(lambda: sentence in self.log_of(self.coordinator), 5, "the coordinator logs it")

    def test_another_version_is_refused(self):
        self.expect_refusal("has version 0.0.9", "--version-said=0.0.9")

    def test_another_model_is_refused(self):
        self.expect_refusal("model file with digest beef", "--digest=beef")

    def test_a_rank_that_is_there_already_is_refused(self):
        self.worker("--size=2", "--rank=1", "--group=g")
        wait_until(lambda: self.cluster().groups, 5, "the first joined")
        self.expect_refusal("has a rank 1 already", "--size=2", "--rank=1", "--group=g")
        self.expect_refusal("has 2 ranks", "--size=3", "--rank=0", "--group=g")
        self.expect_refusal("rank 5 of 2", "--size=2", "--rank=5", "--group=h")

    def test_an_incomplete_group_serves_nothing(self):
        self.worker("--size=2", "--rank=1", "--group=g")
        wait_until(lambda: self.cluster().groups, 5, "the first joined")
        self.assertEqual(self.cluster().groups[0].state, pb.GROUP_STATE_JOINING)
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.generate(timeout=0.5)))


class Draining(ClusterTest):
    def test_sigterm_lets_running_requests_finish(self):
        self.start()
        workers = self.workers(1, "--token-ms=20")
        call = self.generate(max_tokens=60)
        next(call)
        self.coordinator.terminate()
        wait_until(lambda: "draining" in self.log_of(self.coordinator), 5, "it drains")
        self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate()))
        self.assertEqual(list(call)[-1].finished.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(self.coordinator.wait(10), 0)
        self.assertEqual(workers[0].wait(10), 75)

    def test_a_second_sigterm_cuts_them_short(self):
        self.start()
        self.workers(1, "--token-ms=20")
        call = self.generate(max_tokens=1900, timeout=60)
        next(call)
        self.coordinator.terminate()
        time.sleep(0.3)
        self.coordinator.terminate()
        self.assertEqual(list(call)[-1].finished.finish_reason, pb.FINISH_REASON_CANCELLED)
        self.assertEqual(self.coordinator.wait(15), 75)


class Starting(ClusterTest):
    def run_coordinator(self, *flags, environment=None, program="longhaul-coordinator"):
        return subprocess.run([os.path.join(BIN, program), *flags], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, env=environment)

    def test_a_port_in_use_is_said_so(self):
        self.start()
        result = self.run_coordinator("--model", MODEL, "--listen", self.address)
        self.assertEqual(result.returncode, 69, result.stderr)
        self.assertIn("Address already in use", result.stderr)

    def test_an_address_of_another_host_is_no_matter_of_trying_again(self):
        result = self.run_coordinator("--model", MODEL, "--listen", "192.0.2.1:0", "--insecure-bind")
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("choose another address", result.stderr)

    def test_other_hosts_are_let_in_only_when_asked_for(self):
        result = self.run_coordinator("--model", MODEL, "--listen", "0.0.0.0:0")
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("--insecure-bind", result.stderr)

    def test_a_missing_model_is_said_so(self):
        self.assertEqual(self.run_coordinator("--model", FOLDER + "/none").returncode, 66)
        result = self.run_coordinator()
        self.assertEqual(result.returncode, 65)
        self.assertIn("--model FILE", result.stderr)

    def test_no_mpirun_is_said_so(self):
        environment = dict(os.environ, PATH="/nowhere:")
        result = self.run_coordinator("--model", MODEL, "--listen", "127.0.0.1:0", "--launch",
                                      "--workers", "2", "--transport", "mpi",
                                      environment=environment)
        self.assertEqual(result.returncode, 66, result.stderr)
        self.assertIn("no mpirun on PATH", result.stderr)


    def test_it_ends_with_its_parent_where_asked_to(self):
        ready = os.path.join(FOLDER, "ready-orphan")
        parent = self.spawn("parent", "/bin/sh", "-c", "%s --model %s --listen 127.0.0.1:0 --ready-file"
                            " %s --exit-with-parent & echo $! > %s.pid; wait" %
                            (os.path.join(BIN, "longhaul-coordinator"), MODEL, ready, ready))
        wait_until(lambda: os.path.exists(ready), 20, "the coordinator listens")
        with open(ready + ".pid", encoding="utf-8") as file:
            pid = int(file.read())
        parent.kill()
        parent.wait(5)

        def ended():
            try:
                with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
                    return file.read().split(")")[1].split()[0] == "Z"
            except FileNotFoundError:
                return True
        wait_until(ended, 10, "the coordinator has ended")


class Launching(ClusterTest):
    """The coordinator starts the program longhaul-worker that lies beside it: here the stand-in."""

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(FOLDER, "launch-%d" % time.monotonic_ns())
        os.mkdir(self.folder)
        self.program = os.path.join(self.folder, "longhaul-coordinator")
        shutil.copy(os.path.join(BIN, "longhaul-coordinator"), self.program)

    def stand_in(self, script=None):
        path = os.path.join(self.folder, "longhaul-worker")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script or "#!/bin/sh\nexec %s \"$@\"\n" % os.path.join(TESTS, "fake-worker"))
        os.chmod(path, 0o755)

    def launch(self, *flags):
        self.start("--launch", *QUICK, *flags, program=self.program)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), 15,
                   "the launched group is ready")

    def test_a_launched_group_serves_and_ends_with_the_coordinator(self):
        self.stand_in()
        self.launch("--transport=loopback", "--workers=3")
        group = self.cluster().groups[0]
        self.assertEqual(group.size, 3)
        self.assertEqual(len(ids_of(self.generate())), 12)
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(15), 0)
        wait_until(lambda: not os.path.exists("/proc/%d" % group.ranks[0].pid), 5,
                   "the worker has ended")

    def test_a_group_that_dies_is_started_again_and_waiting_requests_run(self):
        self.stand_in()
        self.launch("--transport=loopback", "--workers=2")
        before = self.cluster().groups[0].ranks[0].pid
        answer = text_of(self.generate())
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: not self.cluster().groups, 5, "the loss is seen")
        self.assertEqual(text_of(self.generate()), answer)
        self.assertNotEqual(self.cluster().groups[0].ranks[0].pid, before)

    def test_workers_end_when_the_coordinator_is_killed(self):
        self.stand_in()
        self.launch("--transport=loopback", "--workers=1")
        worker = self.cluster().groups[0].ranks[0].pid
        self.coordinator.kill()
        wait_until(lambda: not os.path.exists("/proc/%d" % worker), 10, "the worker has ended")

    def test_a_worker_that_cannot_start_ends_the_coordinator_with_its_code(self):
        self.stand_in("#!/bin/sh\necho no such luck >&2\nexit 65\n")
        process = self.spawn("coordinator", self.program, "--model", MODEL, "--listen",
                             "127.0.0.1:0", "--launch", "--transport=loopback")
        self.assertEqual(process.wait(20), 65)
        self.assertIn("the workers ended before they were ready (exit code 65)",
                      self.log_of(process))

    def test_a_refusal_is_the_reason_that_is_told(self):
        self.stand_in("#!/bin/sh\nexec %s --digest=beef \"$@\"\n" % os.path.join(TESTS, "fake-worker"))
        process = self.spawn("coordinator", self.program, "--model", MODEL, "--listen",
                             "127.0.0.1:0", "--launch", "--transport=loopback")
        self.assertEqual(process.wait(20), 69)
        self.assertIn("longhaul-coordinator: the workers ended before they were ready (exit code "
                      "75): worker rank 0 on testhost has a model file with digest beef",
                      self.log_of(process))

    def endings(self):
        return [line for line in self.log_of(self.coordinator).splitlines() if 'event="workers ended"' in line]

    def test_the_cause_that_is_told_is_the_present_one(self):
        marker = os.path.join(self.folder, "marker")
        self.stand_in("#!/bin/sh\nif [ -e %s ]; then echo no luck the second time >&2; exit 70; fi\ntouch %s\n"
                      "exec %s \"$@\"\n" % (marker, marker, os.path.join(TESTS, "fake-worker")))
        self.launch("--transport=loopback")
        time.sleep(0.5)  # it has to be seen to serve before it may start again
        os.kill(self.cluster().groups[0].ranks[0].pid, signal.SIGKILL)
        wait_until(lambda: len(self.endings()) == 2, 20, "they end twice")
        first, second = self.endings()
        self.assertRegex(first, r'warn event="workers ended" signal=9 cause="rank 0 on testhost .*"')
        self.assertRegex(second, r'exit_code=70 cause="no luck the second time"$')

    def test_what_workers_write_is_passed_on_and_named_when_they_die(self):
        self.stand_in("#!/bin/sh\nprintf 'one\\033[2J\\ntwo' >&2\nsleep 0.2\nprintf ' halves\\nlonghaul-worker: no "
                      "luck\\n--------\\nmpirun had seen it\\n----' >&2\nexit 65\n")
        process = self.spawn("coordinator", self.program, "--model", MODEL, "--listen",
                             "127.0.0.1:0", "--launch", "--transport=loopback")
        self.assertEqual(process.wait(20), 65)
        # The coordinator's own lines, which begin with the time, may fall between them.
        written = [line for line in self.log_of(process).splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
        self.assertEqual(written, [
            "one.[2J", "two halves", "longhaul-worker: no luck", "--------", "mpirun had seen it", "----",
            "longhaul-coordinator: the workers ended before they were ready (exit code 65): no luck"])

    def test_workers_that_write_much_do_not_wait_for_a_reader(self):
        self.stand_in("#!/bin/sh\nhead -c 2000000 /dev/zero | tr '\\0' x >&2\nexec %s \"$@\"\n" %
                      os.path.join(TESTS, "fake-worker"))
        ready = os.path.join(self.folder, "ready")
        # Nobody reads this pipe.
        coordinator = subprocess.Popen(
            [self.program, "--model", MODEL, "--listen", "127.0.0.1:0", "--launch", "--transport=loopback",
             "--ready-file", ready, *QUICK], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(coordinator.stderr.close)
        self.processes.append(coordinator)
        self.logs[coordinator] = os.devnull
        wait_until(lambda: os.path.exists(ready), 20, "it listens")
        with open(ready, encoding="utf-8") as file:
            self.channel = grpc.insecure_channel(file.readline().strip(), options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(self.channel.close)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), 15, "the group is ready")
        self.assertEqual(len(ids_of(self.generate())), 12)
        coordinator.terminate()
        self.assertEqual(coordinator.wait(15), 0)

    def test_only_a_group_that_never_served_is_waited_for_longer_each_time(self):
        count = os.path.join(self.folder, "count")
        self.stand_in("#!/bin/sh\necho >>%s\ncase $(wc -l <%s) in 2|3) exit 75 ;; esac\nexec %s \"$@\"\n" %
                      (count, count, os.path.join(TESTS, "fake-worker")))
        self.launch("--transport=loopback")
        for _ in range(2):
            self.kill_launched()
            wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), 15,
                       "the next group is ready")
        self.kill_launched()
        wait_until(lambda: len(self.waits()) == 5, 10, "all ends are told")
        waits = self.waits()
        self.assertEqual(waits[1:3], [1, 2], "two that never served")
        for wait in waits[:1] + waits[3:]:
            self.assertLessEqual(wait, 1, "one that served is started again at once")

    def kill_launched(self):
        """Kills the launched worker once the coordinator has seen it serve."""
        wait_until(lambda: self.health() == SERVING, 10, "the group serves")
        time.sleep(0.2)
        os.kill(self.cluster().groups[0].ranks[0].pid, signal.SIGKILL)
        wait_until(lambda: self.health() != SERVING, 10, "the loss is seen")

    def waits(self):
        return [float(seconds) for seconds in
                re.findall(r'"workers start again" in_s=([0-9.]+)', self.log_of(self.coordinator))]

    def test_what_a_launched_worker_leaves_is_ended_with_it(self):
        """A process that it started lives on when it dies, in a group of its own."""
        left = os.path.join(self.folder, "left")
        self.stand_in("#!/bin/sh\nsetsid sh -c 'echo $$ >>%s; exec sleep 600' &\nexec %s \"$@\"\n" %
                      (left, os.path.join(TESTS, "fake-worker")))
        self.launch("--transport=loopback")

        def pids():
            with open(left, encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        wait_until(lambda: os.path.exists(left) and len(pids()) == 1, 10, "it is there")
        self.kill_launched()
        wait_until(lambda: len(pids()) == 2, 10, "another group is started")
        self.assertFalse(os.path.exists("/proc/%d" % pids()[0]))
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(15), 0)
        self.assertFalse(os.path.exists("/proc/%d" % pids()[1]))

    def test_workers_that_never_join_are_given_up(self):
        self.stand_in("#!/bin/sh\nexec sleep 60\n")
        process = self.spawn("coordinator", self.program, "--model", MODEL, "--listen",
                             "127.0.0.1:0", "--launch", "--transport=loopback",
                             "--join-deadline=1")
        self.assertEqual(process.wait(20), 69)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
