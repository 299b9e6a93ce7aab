"""Client of longhaul: long prompts, durable batches and documents over gRPC.

    import longhaul
    with longhaul.Client("127.0.0.1:7711") as client:
        print(client.generate("What is a halo exchange?").text)

Messages are those of proto/longhaul/v1 (longhaul.v1.inference_pb2, longhaul.v1.batches_pb2)."""
from longhaul.client import Answer, Client
from longhaul.errors import Error

__all__ = ["Answer", "Client", "Error"]
