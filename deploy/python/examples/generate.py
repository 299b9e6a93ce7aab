"""generate.py HOST:PORT FILE QUESTION: asks a question about a text file and prints the answer as it comes."""
import sys

import longhaul


def main():
    target, path, question = sys.argv[1:4]
    with open(path, encoding="utf-8") as file:
        document = file.read()
    with longhaul.Client(target) as client:
        for piece in client.stream(question, document=document, max_tokens=64):
            print(piece, end="", flush=True)
        print()


if __name__ == "__main__":
    main()
