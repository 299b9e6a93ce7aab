"""Every message, field, enum, value and method that a client sees is documented where it is declared; a field whose type
is a message or an enum by the type's comment too."""
import os
import subprocess
import sys
import tempfile
import unittest

from google.protobuf import descriptor_pb2

SOURCE = sys.argv[3]
PROTOS = ["longhaul/v1/inference.proto", "longhaul/v1/batches.proto", "longhaul/v1/sessions.proto"]


def read_file(proto):
    with tempfile.TemporaryDirectory(prefix="longhaul-documented-") as folder:
        path = os.path.join(folder, "set")
        subprocess.run(["protoc", "-I", os.path.join(SOURCE, "proto"), "--include_source_info",
                        "--descriptor_set_out", path, proto], check=True, timeout=60)
        with open(path, "rb") as file:
            return descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[0]


def declared(file):
    """Pairs of a name and the paths (descriptor.proto's) of which one must have a comment."""
    types = {(4, m): ".%s.%s" % (file.package, message.name) for m, message in enumerate(file.message_type)}
    types.update({(5, e): ".%s.%s" % (file.package, enum.name) for e, enum in enumerate(file.enum_type)})
    for m, message in enumerate(file.message_type):
        yield message.name, [(4, m)]
        for f, field in enumerate(message.field):
            paths = [(4, m, 2, f)]
            if field.HasField("oneof_index") and len([other for other in message.field if other.HasField("oneof_index") and
                                                      other.oneof_index == field.oneof_index]) == 1:
                paths.append((4, m, 8, field.oneof_index))  # the oneof stands for its only member
            paths += [path for path, name in types.items() if field.type_name == name]
            yield "%s.%s" % (message.name, field.name), paths
    for e, enum in enumerate(file.enum_type):
        yield enum.name, [(5, e)]
        for v, value in enumerate(enum.value):
            if value.number:
                yield "%s.%s" % (enum.name, value.name), [(5, e, 2, v)]
    for s, service in enumerate(file.service):
        for r, method in enumerate(service.method):
            yield "%s.%s" % (service.name, method.name), [(6, s, 2, r)]


class Documented(unittest.TestCase):
    def test_everything_that_is_declared_has_a_comment(self):
        for proto in PROTOS:
            file = read_file(proto)
            commented = {tuple(place.path) for place in file.source_code_info.location
                         if place.leading_comments.strip() or place.trailing_comments.strip()}
            everything = list(declared(file))
            self.assertGreater(len(everything), 40)
            missing = [name for name, paths in everything if not commented.intersection(paths)]
            self.assertEqual("\n".join(missing), "", proto)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
