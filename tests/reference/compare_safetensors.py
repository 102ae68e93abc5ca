"""Holds the program's safetensors reader and writer against Python's package:

    make build/tests/safetensors && python tests/reference/compare_safetensors.py

Many files, right and wrong, go to both. What Python refuses, the program must refuse; what it reads,
it must write again so that Python reads the same. Files that only the program refuses are listed."""

import random
import re
import struct
import subprocess
import tempfile

import torch
from safetensors import deserialize
from safetensors.torch import load_file, save

PROGRAM = "build/tests/safetensors"


def whole_files(chance):
    types = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8,
             torch.bool]
    for _ in range(60):
        tensors = {}
        for i in range(chance.randrange(6)):
            shape = [chance.randrange(4) for _ in range(chance.randrange(5))]
            tensors[chance.choice(["a.", "é.", '"', "\\ "]) + str(i)] = (torch.randn(shape) * 50).to(chance.choice(types))
        yield save(tensors, metadata=chance.choice([None, {"format": "pt", "note": "é\n"}]))


def broken(chance, data):
    length = struct.unpack("<Q", data[:8])[0]
    header, body = data[8:8 + length].decode(), data[8 + length:]
    way = chance.randrange(7)
    if way == 0:                                        # one digit of the header
        digits = [m.start() for m in re.finditer(r"\d", header)]
        if digits:
            at = chance.choice(digits)
            header = header[:at] + str(chance.randrange(10)) + header[at + 1:]
    elif way == 1:                                      # a number by a large or strange one
        numbers = list(re.finditer(r"\d+", header))
        if numbers:
            m = chance.choice(numbers)
            strange = ["4294967296", "9223372036854775807", "18446744073709551615", "-1", "1.5", "1e3", "null", "0"]
            header = header[:m.start()] + chance.choice(strange) + header[m.end():]
    elif way == 2:                                      # one byte of the header
        raw = bytearray(header.encode())
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        return struct.pack("<Q", len(raw)) + bytes(raw) + body
    elif way == 3:                                      # bytes missing or too many
        body = body + b"x" * chance.randrange(4) if chance.random() < 0.5 else body[:-1 - chance.randrange(4)]
    elif way == 4:                                      # another length of the header
        return struct.pack("<Q", max(0, length + chance.randrange(-9, 9))) + header.encode() + body
    elif way == 5:                                      # cut anywhere
        return data[:chance.randrange(len(data))]
    else:                                               # padding
        header = " " * chance.randrange(9) + header + " \n"[chance.randrange(2)] * chance.randrange(9)
    raw = header.encode()
    return struct.pack("<Q", len(raw)) + raw + body


def tensors_of(data):
    return sorted((name, t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in deserialize(data))


def main():
    chance = random.Random(5)
    torch.manual_seed(5)
    files = list(whole_files(chance))
    files += [broken(chance, chance.choice(files[:60])) for _ in range(3000)]
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, data in enumerate(files):
            names.append(f"{folder}/{i}")
            with open(names[-1], "wb") as out:
                out.write(data)
        verdicts = subprocess.run([PROGRAM] + names, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(verdicts) == len(files)
        read = refused = 0
        only_here = {}
        for number, (name, data, verdict) in enumerate(zip(names, files, verdicts)):
            try:
                expected = tensors_of(data)
            except Exception as error:
                assert verdict.startswith("refused"), f"{name}: Python says {error}, the program reads it"
                refused += 1
                continue
            if verdict != "read":
                fault = re.sub(r'"[^"]*"|\d+', "_", verdict.split(": ", 2)[2])
                only_here[fault] = only_here.get(fault, 0) + 1
                continue
            with open(name + ".copy", "rb") as copy:
                assert tensors_of(copy.read()) == expected, name
            if number < 60:
                load_file(name + ".copy")
            read += 1
    print(f"{len(files)} files: {read} read alike and written again, {refused} refused by both")
    for fault, count in sorted(only_here.items()):
        print(f"refused here only, {count} times: {fault}")


if __name__ == "__main__":
    main()
