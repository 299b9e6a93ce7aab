"""batch.py HOST:PORT FILE QUESTION...: uploads a text file once, asks every question about it in one durable batch, and prints
the results as they come."""
import sys

import longhaul


def main():
    target, path, *questions = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with longhaul.Client(target) as client:
        document = client.upload_document(text, title=path)
        lines = [{"custom_id": "question-%d" % number, "method": "POST", "url": "/longhaul/v1/generate",
                  "body": {"document": document.name, "question": question, "max_tokens": 64}}
                 for number, question in enumerate(questions, 1)]
        estimate = client.estimate(lines)
        print("%d prompt tokens, of which %d are computed" % (estimate.prompt_tokens, estimate.unique_tokens))
        batch = client.create_batch(lines, metadata={"file": path})
        for result in client.results(batch.name):
            print(result["custom_id"], result["error"] or result["response"]["body"])
        usage = client.wait_batch(batch.name).usage
        print("%d tokens cached, %d computed" % (usage.cached_tokens, usage.prefilled_tokens))


if __name__ == "__main__":
    main()
