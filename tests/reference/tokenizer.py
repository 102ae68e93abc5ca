"""Writes tests/fixtures/tokenizer/: a small vocabulary, hard lines, pairs, and their ids by transformers.

python tests/reference/tokenizer.py                    writes the fixtures (needs transformers)
python tests/reference/tokenizer.py VOCAB FILE ...     compares build/distil with transformers on every
                                                       line of the files, with a vocabulary of your own

vocab.txt        nearly nine hundred pieces
lines.txt, .ids  one text a line, in bytes (some are not UTF-8), and the ids with [CLS] and [SEP]
lines.extents    the bytes from-to of the line that each piece stands for; ? for a line that is not UTF-8
pairs.tsv, .ids  max_length, text, text; and the length of the first segment, then the ids
lines-OPTIONS.ids  the same for a tokenizer with other decisions about characters, as VARIANTS has them
saved/           the tokenizer.json and the tokenizer_config.json that transformers saves for it
ab.txt           a vocabulary of "a", "b" and "ab" for code-points.tsv:
code-points.tsv  first and last code point (hexadecimal), and what becomes of it between a and b:
                 gone, space, word (by itself) or letter. Only characters assigned in Unicode 14 (Python's
                 tables) on which transformers' older tables agree with them.
"""
import random
import subprocess
import sys
import unicodedata

from transformers import BertTokenizer

FOLDER = "tests/fixtures/tokenizer/"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = """
The harbour lay still in the early light, and the fishermen were mending their nets beside the old wall. Nobody had
seen the grey boat come in. It was tied to the last of the iron rings, its sail folded, its oars laid crosswise, as if
whoever had rowed it meant to return within the hour. The children counted eleven barrels, three coils of rope and a
lantern that was still burning. By noon the whole town had an opinion. The baker said smugglers, the teacher said
explorers, and the lighthouse keeper, who had watched the water every night for thirty years, said nothing at all.
In the afternoon the wind turned. A thin woman in a blue coat walked down the steps, paid the boy who had guarded the
boat with a silver coin, and asked him the way to the observatory. He did not know the word. She drew a round roof and a
long tube in the sand, and he laughed and pointed up the hill, where the grass was high and the goats slept. She thanked
him kindly, looked once more at the barrels and began to climb. What she carried under her arm was neither a book nor a
box; it was wrapped in oilcloth and sealed with wax, and it ticked. Measurements, she wrote that evening, are promises:
one keeps them or one does not. Unhappily, the instruments were undependable, the readings irreproducible, and the
tokenization of observations into numbers untrustworthy. She measured again, recalculated, and went on measuring.
"""

VARIANTS = {
    "cased": dict(do_lower_case=False),
    "lower": dict(strip_accents=False),
    "stripped": dict(do_lower_case=False, strip_accents=True),
    "unsplit": dict(tokenize_chinese_chars=False),
}

random.seed(1910)


def vocabulary(extra):
    """SPECIAL, every character, and words of TEXT with many of their beginnings and endings."""
    words = sorted({w.strip(".,;:") for w in TEXT.lower().split()})
    pieces = set()
    for word in words:
        pieces.update([word] if random.random() < 0.6 else [])
        for cut in range(2, len(word)):
            pieces.update([word[:cut]] if random.random() < 0.25 else [])
            pieces.update(["##" + word[cut:]] if random.random() < 0.4 else [])
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789") | {c for c in extra if not c.isspace()}
    for c in sorted(letters):
        pieces.update([c] if random.random() < 0.9 else [])
        pieces.update(["##" + c] if random.random() < 0.8 else [])
    return SPECIAL + sorted(pieces - set(SPECIAL))


FRAGMENTS = {
    "words": ["harbour", "Measurements", "undependable", "TOKENIZATION", "irreproducible", "qzxj", "a", "the boat"],
    "accents": ["Éclair", "e\u0301clair", "naïve façade", "Ångström", "A\u030angstro\u0308m", "Việt Nam", "ǖ", "ệ",
                "e\u0323\u0302", "e\u0302\u0323", "Łódź", "straße", "STRASSE ẞ", "İstanbul", "ıI", "œuvre Œ", "ŉ",
                "ﬁsh ﬂat", "Ａｂｃ１２３", "ΑΣ ΣΑΣ", "ά ΐ ᾂ", "Ёлка йод", "ЙЁ", "Ǆ ǅ ǆ", "Ⅷ ⅷ", "Ⓐⓐ", "Ᏸᏸ", "Აა", "𐐀𐐨",
                "à̖̀́b", "\u0301alone", "x\u0334\u0301\u0323y", "Å\u200dB"],
    "scripts": ["戦場のヴァルキュリア3", "中文abc字", "北京 大学", "한국어 한글", "\u1112\u1161\u11ab", "がぎぐ", "か\u3099", "ภาษาไทย",
                "हिन्दी", "क्षि", "தமிழ்", "עִבְרִית", "العَرَبِيَّة", "فارسی\u200cها", "ქართული", "አማርኛ", "বাংলা", "\ufa0e\ufa10", "豈更",
                "\U00020000\U0002a6d6", "\U0002b740x", "\U0002b820x", "\U0002b920x", "\U0002ceb0x", "\U0002f800", "㐀䶵鿿",
                "\u3007\u3021", "\u302e가\u302f", "〇〡", "ㄅㄆ", "ﾊﾟ", "\u0e33", "\u0f71\u0f72\u0f74"],
    "marks": ["\U0001d165\U0001d16d", "a\u302f\u302eb", "a\U0001d16d\U0001d165\u302eb", "a\u0903\u0300b", "a\u20ddb",
              "\u0488x", "a\u034fb", "1\ufe0f\u20e3"],
    "spaces": ["a\u00a0b", "a\u2003b", "a\u3000b", "a\u2028b", "a\u2029b", "a\u1680b", "a\u202fb", "a\tb", "a\rb", " a  b ",
               "a\u205fb", "\u2000\u200a"],
    "invisible": ["a\u200bb", "a\u200db", "a\u200cb", "a\u00adb", "a\ufeffb", "\ufeffa", "a\u2060b", "a\u202eb\u202c", "a\x00b",
                  "a\x01b", "a\x0bb", "a\x0cb", "a\x1cb\x1f", "a\x7fb", "a\u0085b", "a\u0080b", "a\ufffdb", "a\ufffeb", "a\uffffb",
                  "a\ue000b", "a\U000f0000b", "a\U000e0041b", "a\u180eb", "a\u061cb", "a\u0378b", "\u200b", "\x01\x02"],
    "punctuation": ["don't", "\"quoted\"", "(a)[b]{c}", "a-b—c–d", "a_b", "$5.00 + 3% = ?", "a^b~c`d|e\\f", "<unk>", "@-@",
                    "¿qué?", "«a»", "„a“", "‘a’", "a…b", "a·b", "a†b‡", "£5 €6 ¥7", "a§b¶c", "a©b®", "№5", "a\u037eb", "a\u1fefb",
                    "a\u0387b", "、。「」", "！？", "a\u2212b×c÷d", "a°b", "##ing ## #", "...", "http://a.b/c?d=e&f", "x@y.z", "־", "،؛؟",
                    "।", "፡።", "᙮", "⁂", "〽", "゠", "・"],
    "emoji": ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "❤️", "☺", "a😀b", "🏳️‍🌈", "🧑🏿‍🚀", "™", "→", "½ ²", "𝐀𝔅", "♪♫"],
    "special": ["[MASK]", "a[MASK]b", "[mask]", "[ MASK ]", "[MASK][MASK]", "[CLS] a [SEP]", "[UNK]x", "[PAD]", "[[MASK]]", "[MAS",
                "[MASK", "MASK]", "[MA\u0301SK]", "[M\u200bASK]", "##[SEP]##", "[unused1]", "harbour[SEP]harbour"],
    "long": ["a" * 99, "a" * 100, "a" * 101, "ab" * 50, "ab" * 50 + "c", "é" * 100, "é" * 101, "e\u0301" * 100, "x\u200b" * 100,
             "한" * 33, "한" * 34, "a" * 200, "a" * 100 + "." + "a" * 101, "中" * 120, "." * 120, "a" * 50 + "\u00ad" + "a" * 50,
             "harbour" * 15, "\U0001d165" * 101, "İ" * 100],
}
BROKEN = [b"\xff", b"a\xffb", b"\xc3", b"a\xc3", b"\xc3(", b"\xe2\x82", b"a\xe2\x82b", b"\xf0\x9f\x98", b"\xf0\x9f\x98a", b"\xc0\xaf",
          b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80\x81",
          b"caf\xe9", b"na\xefve", b"[MA\xffSK]", b"\xe4[MASK]", b"a\xcc\x81\xccb", b"\xe4\xb8\xad\xe4\xb8", b"\xef\xbf\xbd", b"\xfe\xff"]


def hard_lines():
    lines = [f.encode() for kind in FRAGMENTS.values() for f in kind] + BROKEN + [b""]
    sentences = [s.strip() for s in TEXT.replace("\n", " ").split(".") if s.strip()]
    lines += [s.encode() for s in sentences] + [s.upper().encode() for s in sentences[:6]]
    pool = [f.encode() for kind in FRAGMENTS.values() for f in kind if len(f) < 30] + BROKEN
    for _ in range(140):
        between = random.choice([b"", b" ", b" ", b"\xc2\xa0", b"-"])
        lines.append(between.join(random.choices(pool, k=random.randint(2, 8))))
    return lines


def hard_pairs():
    words = TEXT.split() + [f for kind in FRAGMENTS.values() for f in kind if "\t" not in f and len(f) < 30]
    pairs = [(12, "", ""), (12, "the boat", ""), (3, "the boat", "a"), (4, "the boat", "the boat")]
    for i in range(120):
        length = random.choice([5, 6, 7, 8, 16, 17, 32, 33, 64])
        a, b = (" ".join(random.choices(words, k=random.randint(0, 24))) for _ in range(2))
        pairs.append((length, a, a if i % 10 == 0 else b))  # every tenth: texts of one length
    for room in range(7, 15):  # around the limit: one letter, one piece
        pairs += [(room, "a " * 5, "a " * 5), (room, "a " * 6, "a " * 4), (room, "a " * 4, "a " * 6)]
    return [(n, a.replace("\r", " ").replace("\0", " "), b.replace("\r", " ").replace("\0", " ")) for n, a, b in pairs]


def open_vocabulary(path, **options):
    # the tokenizer proper; transformers' class around it only adds [CLS], [SEP] and truncation
    return BertTokenizer(vocab=path, **options)


def encode(tokenizer, line):
    return tokenizer(line.decode("utf-8", errors="replace"))["input_ids"]


def extents(tokenizer, line):
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return ["?"]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    byte = [0]
    for c in text:
        byte.append(byte[-1] + len(c.encode()))
    return [f"{byte[first]}-{byte[last]}" for first, last in offsets]


def outcome(tokenizer, c):
    words = [w for w, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(
        tokenizer.backend_tokenizer.normalizer.normalize_str("a" + c + "b"))]
    return {1: "gone" if words[0] == "ab" else "letter", 2: "space", 3: "word"}[len(words)]


def expected_outcome(c):
    """The same by Unicode 14 and the rules of the chapter."""
    category = unicodedata.category(c)
    if c in "\t\n\r" or category[0] == "Z":
        return "space"
    if c == "\ufffd" or category in ("Cc", "Cf", "Co"):
        return "gone"
    ideographs = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
                  (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    parts = [p for p in unicodedata.normalize("NFD", c) if unicodedata.category(p) != "Mn"]
    if any(first <= ord(c) <= last for first, last in ideographs):
        return "word"
    if not parts:
        return "gone"
    own = [unicodedata.category(p)[0] == "P" or (p.isascii() and not p.isalnum()) for p in parts]
    return "word" if own == [True] else "letter"


def write_fixtures():
    lines, pairs = hard_lines(), hard_pairs()
    text = b" ".join(lines).decode("utf-8", errors="replace")
    characters = {c for c in unicodedata.normalize("NFD", text).lower() if unicodedata.category(c)[0] != "C"}
    with open(FOLDER + "vocab.txt", "w", newline="\n") as out:
        out.write("".join(piece + "\n" for piece in vocabulary(characters)))
    tokenizer = open_vocabulary(FOLDER + "vocab.txt")
    with open(FOLDER + "lines.txt", "wb") as out, open(FOLDER + "lines.ids", "w") as ids, \
            open(FOLDER + "lines.extents", "w") as places:
        for line in lines:
            out.write(line + b"\n")
            print(*encode(tokenizer, line), file=ids)
            print(*extents(tokenizer, line), file=places)
    for name, options in VARIANTS.items():
        variant = open_vocabulary(FOLDER + "vocab.txt", **options)
        with open(f"{FOLDER}lines-{name}.ids", "w") as ids:
            for line in lines:
                print(*encode(variant, line), file=ids)
    tokenizer.save_pretrained(FOLDER + "saved")
    with open(FOLDER + "pairs.tsv", "w", newline="\n") as out, open(FOLDER + "pairs.ids", "w") as ids:
        for length, a, b in pairs:
            # as a batch of one: transformers takes an empty second text for none only when called for a single pair
            coded = tokenizer([a], [b], truncation="longest_first", max_length=length)
            out.write(f"{length}\t{a}\t{b}\n")
            print(coded["token_type_ids"][0].count(0), *coded["input_ids"][0], file=ids)
    with open(FOLDER + "ab.txt", "w") as out:
        out.write("".join(piece + "\n" for piece in SPECIAL + ["a", "b", "ab"]))
    write_code_points(tokenizer)


def write_code_points(tokenizer):
    runs = []
    for code in range(0x110000):
        c = chr(code)
        if unicodedata.category(c) in ("Cs", "Cn") or outcome(tokenizer, c) != expected_outcome(c):
            continue
        if runs and runs[-1][1] == code - 1 and runs[-1][2] == expected_outcome(c):
            runs[-1][1] = code
        else:
            runs.append([code, code, expected_outcome(c)])
    with open(FOLDER + "code-points.tsv", "w") as out:
        for first, last, what in runs:
            print(f"{first:X}\t{last:X}\t{what}", file=out)


def compare(vocab, paths):
    tokenizer = open_vocabulary(vocab)
    for path in paths:
        with open(path, "rb") as stream:
            data = stream.read()
        lines = data.split(b"\n")[: None if not data.endswith(b"\n") else -1]
        ours = subprocess.run(["build/distil", "tokenize", "--vocab", vocab], input=data, capture_output=True, check=True)
        ours = [[int(i) for i in line.split()] for line in ours.stdout.splitlines()]
        different = [n for n, line in enumerate(lines) if encode(tokenizer, line) != ours[n]]
        print(f"{path}: {len(lines)} lines, {sum(map(len, ours))} ids, {len(different)} lines differ {different[:5]}")


if len(sys.argv) > 2:
    compare(sys.argv[1], sys.argv[2:])
else:
    write_fixtures()
