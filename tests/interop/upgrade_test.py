"""Row F22 of the contract: every released version's store opens, whole, with this program; one of a later version is refused by name and
not touched; a client that is newer than its coordinator is answered. Prints `F22.versions figure gate PASS|FAIL seed`."""
import glob
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import unittest

from batch_client import BATCHES, DOCUMENTS, BatchTest, bp, completion
from cluster_under_test import BIN, INFERENCE, MODEL, SOURCE, grpc, pb

DATA = os.path.join(SOURCE, "tests", "interop", "data")
DOCUMENT = b"A DOCUMENT OF THE FIRST VERSION"


def digests(folder):
    """Of every file, by its name."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                found[os.path.join(root, name)] = hashlib.sha256(file.read()).hexdigest()
    return found


class UpgradeTest(BatchTest):
    def store_of(self, version):
        """A folder with the store as that version left it."""
        folder = self.store("of-%d" % version).split("=")[1]
        for name in ("", "documents", "segments"):
            os.mkdir(os.path.join(folder, name), 0o700)
        with sqlite3.connect(os.path.join(folder, "store.db")) as database:
            with open(os.path.join(DATA, "store-version-%d.sql" % version), encoding="utf-8") as file:
                database.executescript(file.read())
            opened = database.execute("SELECT value FROM meta WHERE name = 'opened'").fetchone()[0]
            file_name, = database.execute("SELECT file FROM documents").fetchone()
        database.close()
        with open(os.path.join(folder, "documents", file_name), "wb") as file:
            file.write(DOCUMENT)
        with open(os.path.join(folder, "state"), "w", encoding="ascii") as file:
            file.write("longhaul-store closed schema %d opened %d\n" % (version, opened))
        return folder

    def check_whole(self, folder):
        """What the released version knew is there, and work goes on."""
        self.start("--store=" + folder)
        self.echo("--group=g", "--places=4", "--again")
        self.wait_ready()
        ended = self.get("batches/ended")
        self.assertEqual((ended.state, ended.counts.completed, ended.counts.failed), (bp.BATCH_STATE_SUCCEEDED, 1, 1))
        self.assertEqual([(label.key, label.value) for label in ended.metadata], [("k", "v")])
        results = {result.custom_id: result for result in self.results("batches/ended")}
        self.check_answer(results["one"], "FIRST", 8)
        self.assertIn('"status_code": 400', results["two"].json)
        documents = self.call("ListDocuments", bp.ListDocumentsRequest(), bp.ListDocumentsResponse, DOCUMENTS).documents
        self.assertEqual([document.title for document in documents], ["old"])
        waited = self.wait_ended("batches/waiting")
        self.assertEqual((waited.state, waited.counts.completed), (bp.BATCH_STATE_SUCCEEDED, 1))
        self.check_answer(self.results("batches/waiting")[0], "SECOND", 8)
        self.assertEqual(self.get("batches/uploading").state, bp.BATCH_STATE_UPLOADING)
        # Numbers go on: nothing that is new takes the place of what was there.
        made = self.create([completion("new", "NEW")])
        self.assertEqual(self.wait_ended(made.name).counts.completed, 1)
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(30), 0)
        verified = subprocess.run([os.path.join(BIN, "longhaul"), "store", "verify", folder], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=60, check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

    def test_every_released_version_opens(self):
        versions = sorted(int(re.search(r"version-(\d+)", name)[1]) for name in glob.glob(os.path.join(DATA, "store-version-*.sql")))
        with open(os.path.join(SOURCE, "coordinator", "batch", "store_schema.h"), encoding="utf-8") as file:
            newest = int(re.search(r"STORE_SCHEMA_VERSION = (\d+)", file.read())[1])
        self.assertEqual(versions, list(range(1, newest + 1)), "each version has its data")
        for version in versions:
            self.check_whole(self.store_of(version))
        print("F22.versions opened %d of %d gate %d PASS seed 0" % (len(versions), newest, newest))

    def test_a_later_version_is_refused_by_name_and_not_touched(self):
        folder = self.store_of(1)
        with sqlite3.connect(os.path.join(folder, "store.db")) as database:
            database.execute("PRAGMA user_version=4711")
        database.close()
        before = digests(folder)
        started = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen", "127.0.0.1:0", "--store", folder],
                                 capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("4711", started.stderr)
        after = digests(folder)
        self.assertEqual({name: after[name] for name in before if not name.endswith("lock")},
                         {name: before[name] for name in before if not name.endswith("lock")})

    def raw(self, path, request, response):
        return self.channel.unary_unary(path, request_serializer=bytes, response_deserializer=response.FromString)(request, timeout=20)

    def test_a_newer_client_is_answered(self):
        """Fields that the coordinator does not know (here 900 and 901) say nothing to it; values that it does not know are refused."""
        unknown = b"\xa2\x38\x03abc" + b"\xa8\x38\x07"
        self.start(self.store())
        told = self.raw(INFERENCE + "GetCluster", unknown, pb.GetClusterResponse)
        self.assertTrue(told.version)
        request = bp.CreateBatchRequest(lines=(completion("a", "A") + "\n").encode(), batch=bp.Batch(priority=3))
        made = self.raw(BATCHES + "CreateBatch", request.SerializeToString() + unknown, bp.Batch)
        self.assertEqual((made.counts.total, made.priority), (1, 3))
        # The client's later version of Batch: field 2 of the request or so, with something more in it.
        inner = bp.Batch(priority=4).SerializeToString() + unknown
        field = [f for f in bp.CreateBatchRequest.DESCRIPTOR.fields if f.name == "batch"][0].number
        nested = bytes([field << 3 | 2, len(inner)]) + inner
        self.assertEqual(self.raw(BATCHES + "CreateBatch", nested, bp.Batch).priority, 4)
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.create(batch=bp.Batch(order=77)))
        self.assertIn("batch.order is 77", error.details())


if __name__ == "__main__":

    unittest.main(argv=sys.argv[:1])
