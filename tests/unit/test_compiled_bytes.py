"""The compiled shredder beside the reference at every byte: cut, changed, at the borders of vectors, growing tables."""

import pytest

from ingest import reference
from ingest.compiled import arrays, paths
from ingest.shred import ShredSettings, shred_ndjson
from tests.fuzz.fence import FencedNumpy
from tests.fuzz.targets import NOW, SETTINGS, ndjson_difference

SAMPLES = [
    b'{"timestamp":"2024-01-02T03:04:05Z","a":{"b":[1,null],"c":"\\n\\u00e9"},"d":-1.5e3,"f":[{"k":"\xc3\xa9"}]}',
    b' { "@timestamp" : 1700000000.5 , "a.b" : 18446744073709551615 , "\\u0061": [ "" , "\\ud83d\\ude00" ],"n":null } ',
    b'{"l":[1.5,-0.0,1e22],"m":[[],{}],"o":{},"p":123456789012345678901,"q":"\xf0\x9f\x98\x80","r":false,"s":{"t":0}}',
]
_ESCAPES = rb"""" \ \" \n \u00e9 \ud83d\ude00 \ud83d"""
SPECIAL = [
    *_ESCAPES.split(),
    b"",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xff",
    b"\x80",
    b"\0",
    b"\x1f",
]
UNTIMED = ShredSettings(timestamp="no such path")


@pytest.mark.parametrize("sample", SAMPLES)
def test_cut_at_every_byte(sample: bytes) -> None:
    for size in range(len(sample) + 1):
        assert ndjson_difference(sample[:size], SETTINGS[0]) is None
    cut = b"\n".join(sample[:size] for size in range(len(sample) + 1))
    rest = b"\n".join(sample[size:] for size in range(len(sample) + 1))
    for how in SETTINGS:
        assert ndjson_difference(cut + b"\n" + rest, how) is None


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_value_of_every_byte(sample: bytes) -> None:
    for at in range(len(sample)):
        changed = (sample[:at] + bytes([byte]) + sample[at + 1 :] for byte in range(256))
        assert ndjson_difference(b"\n".join(changed), SETTINGS[0]) is None


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_byte_left_out_or_doubled(sample: bytes) -> None:
    changed = [sample[:at] + sample[at + 1 :] for at in range(len(sample))]
    changed += [sample[:at] + sample[at : at + 1] + sample[at:] for at in range(len(sample))]
    assert ndjson_difference(b"\n".join(changed), SETTINGS[0]) is None


@pytest.mark.parametrize("special", SPECIAL, ids=repr)
def test_strings_and_keys_around_the_borders_of_vectors(special: bytes) -> None:
    """Each length, with something special at each place of a few lengths, in values, keys, lists and JSON text."""
    texts = [b"x" * length + special for length in range(131)]
    texts += [b"x" * at + special + b"y" * (length - at) for length in (31, 33, 65, 130) for at in range(length)]
    values = b"\n".join(b'{"a":"%s","b":1}' % text for text in texts)
    keys = b"\n".join(b'{"%s":1,"z":{"%s":2}}' % (text, text) for text in texts)
    again = b"\n".join(b'{"%s":1}' % texts[at % 7] for at in range(40))
    lists = b"\n".join(b'{"a":["%s","%s"],"b":[["%s"]]}' % (text, text, text) for text in texts)
    for data in (values, keys, again, lists):
        assert ndjson_difference(data, UNTIMED) is None


def test_inputs_that_end_around_the_borders_of_vectors() -> None:
    for size in range(1, 100):
        whole = b'{"k":"' + b"v" * size + b'"}'
        for data in (whole, whole[:-1], whole[:-2], b" " * size, b" " * size + b"{}", b"{}" + b" " * size):
            assert ndjson_difference(data, UNTIMED) is None
        assert ndjson_difference(b'{"n":' + b"1" * size, UNTIMED) is None
        assert ndjson_difference(b'{"n":' + b"1" * size + b"}", UNTIMED) is None


def test_every_pair_of_bytes_inside_a_string() -> None:
    for first in range(0x7E, 256):
        lines = (b'{"a":"%c%c"}' % (first, second) for second in range(256))
        assert ndjson_difference(b"\n".join(lines), UNTIMED) is None


def test_longer_sequences_of_utf8_at_their_limits() -> None:
    seconds = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    tails = (b"\x80\x80", b"\xbf\xbf", b"\x7f\x80", b"\x80\x7f", b"\xc0\x80", b"\x80", b"")
    lines = (
        b'{"a":"%c%c%s"}' % (first, second, tail) for first in range(0xE0, 256) for second in seconds for tail in tails
    )
    assert ndjson_difference(b"\n".join(lines), UNTIMED) is None


@pytest.mark.parametrize("byte_order_mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r", b"\n\n\r\n", b" \t\n \t", b"\x0b\n", b"\0\n"])
def test_lines_and_where_they_begin(byte_order_mark: bytes, line_end: bytes) -> None:
    lines = [b'{"a":1}', b"bad", b"", b" ", b'{"a":2} ', b"\t{}", b'{"a":3}{"a":4}', b'{"b"\n:1}', b"\xa0", b"7"]
    for first_byte in (0, 500):
        for last in (b"", line_end):
            data = byte_order_mark + line_end.join(lines) + last
            assert ndjson_difference(data, UNTIMED, first_byte) is None


@pytest.mark.parametrize("count", [127, 128, 129, 511, 512, 513, 2047, 2049, 9000])
def test_tables_grow_as_keys_come(count: int) -> None:
    """Keys of one event, of one event each, nested ones, and long ones; then the same again."""
    one = b"{" + b",".join(b'"k%d":%d' % (key, key) for key in range(count)) + b"}"
    nested = b'{"a":{' + b",".join(b'"%d":{"%s":1}' % (key, b"x" * (key % 90)) for key in range(count)) + b"}}"
    each = b"\n".join(b'{"%s%d":"v"}' % (b"k" * (key % 200), key) for key in range(count))
    how = ShredSettings(max_paths=3)
    assert ndjson_difference(b"\n".join((b'{"k1":1.5}', one, nested, one, b'{"k1":true}', nested)), how) is None
    assert ndjson_difference(each + b"\n" + each, how) is None


@pytest.mark.parametrize("size", [16_000, 16_384, 20_000, 70_000, 300_000])
def test_tables_grow_for_one_long_key(size: int) -> None:
    key = b"k" * size
    lines = [b'{"%s":1}' % key, b'{"a":{"b":{"%s":{"c":1}}}}' % key, b'{"a":{"b\\n%s":1}}' % key, b'{"%sx":[]}' % key]
    assert ndjson_difference(b"\n".join([*lines, *lines]), SETTINGS[2]) is None


def test_paths_that_would_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short keys inside objects with long ones are paths of many times the size of the input."""
    monkeypatch.setattr(paths, "_TEXT_BYTES_MAX", 1 << 20)
    inside = b",".join(b'"%d":1' % key for key in range(3000))
    with pytest.raises(reference.InvalidRequest, match="send fewer at a time"):
        shred_ndjson(b'{"%s":{%s}}' % (b"k" * 500, inside), UNTIMED, ingest_time_us=NOW)


def test_texts_of_hard_events_left_no_room_for_those_of_the_others() -> None:
    """The reference's text of an array can be four times its source; the scan went on to write behind the arena."""
    numbers = b",".join([b"1e15"] * 4000)
    hard = b'{"a":1,"a":[[%s]]}\n' % numbers
    escaped = b'{"s":"%s\\n"}\n' % (b"x" * 300)
    for share in (2, 2.5, 2.9, 3.1):
        assert ndjson_difference(hard + escaped * int(len(hard) * share / len(escaped)), UNTIMED) is None


def test_no_byte_of_a_batch_is_what_was_in_memory_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a row has no value: what stands there goes over the wire."""
    data = b"\n".join(
        [*SAMPLES, b"{}", b'{"a":"x","b":{"t":true}}', b'{"a":"y"}', *[b'{"s":"again","m":7}'] * 9, *SAMPLES]
    )
    found = set()
    for byte in (0x00, 0x5A, 0xFF):
        monkeypatch.setattr(arrays, "np", FencedNumpy(lambda byte=byte: byte))
        found.add(shred_ndjson(data, UNTIMED, ingest_time_us=NOW).batch.serialize().to_pybytes())
    assert len(found) == 1


def test_memory_of_a_tape_is_used_again_for_other_inputs() -> None:
    """Small and large, with a grown arena and without, one after the other on one thread."""
    hard = b'{"a":1,"a":[[%s]]}\n' % b",".join([b"1e15"] * 500)
    inputs = [hard * 3, b"{}\n" * 2000, b'{"a":[%s]}' % b",".join([b"1"] * 3000), SAMPLES[0], hard, b'{"a":1}\n' * 1500]
    for data in [*inputs, *inputs[::-1], *inputs[::2]]:
        assert ndjson_difference(data, UNTIMED) is None


@pytest.mark.parametrize("rows", [3, 4, 4095, 4096, 4097, 9000])
def test_texts_that_just_repeat_enough_for_a_dictionary(rows: int) -> None:
    """A quarter of the values may differ, of the first 4,096 and of all."""
    for different in {1, rows // 4, rows // 4 + 1, 1024, 1025}:
        early = b"\n".join(b'{"a":"%d","n":%d}' % (min(row, different - 1), row) for row in range(rows))
        late = b"\n".join(
            b'{"a":"%s","b":"%d"}' % (b"x" * (row % 3), max(0, row - rows + different)) for row in range(rows)
        )
        gaps = early.replace(b'7,"n"', b'","n"').replace(b'"a":"3', b'"c":"')
        for data in (early, late, gaps):
            assert ndjson_difference(data, UNTIMED) is None
