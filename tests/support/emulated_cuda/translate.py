#!/usr/bin/python3
"""translate.py IN.cu OUT.cc: what g++ cannot read of a CUDA file, spelt as it can: launches and dynamic shared memory.
Everything else stays as it is, so that what runs on the host is the kernel itself."""
import re
import sys

LAUNCH = re.compile(r"(\w+(?:<[\w, ]+>)?)\s*<<<(.*?)>>>\s*\((.*?)\);", re.S)
SHARED = re.compile(r"extern __shared__ __align__\(\d+\) char (\w+)\[\];")


def translate(text):
    text, launches = LAUNCH.subn(r"emulated_run(\2, [&] { \1(\3); });", text)
    if launches == 0 or "<<<" in text:
        sys.exit("translate.py: a launch was not understood")
    return SHARED.sub(r"char *\1 = emulated_shared;", text)


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        text = translate(file.read())
    with open(target, "w", encoding="utf-8") as file:
        file.write(f'#line 1 "{source}"\n{text}')


if __name__ == "__main__":
    main()
