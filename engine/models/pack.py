#!/usr/bin/env python3
"""Packs the built-in models: two ONNX graphs and their tokenizer, into the three .zst files beside this script.

    pip install onnx xxhash zstandard
    python pack.py FOLDER_OF_TINY FOLDER_OF_TINY_CROSS [FOLDER_FOR_THE_OUTPUT]

Each of the two folders holds model.onnx and tokenizer.json (the same one in both) and onnx_config.json.

The word embeddings, an int8 table of 30,522 x 128, are most of either graph, and those of tiny-cross were trained on from
those of tiny: most bytes differ by little. So tiny-cross is stored with that table as its difference from tiny's, byte by
byte, wrapping. Everything is checked by unpacking it again. The printed constants belong in src/models/builtin.rs.
"""
import pathlib
import sys

import onnx
import xxhash
import zstandard

TABLE_SHAPE = [30522, 128]


def table(graph: bytes) -> range:
    """Where the bytes of the int8 word embeddings lie in the file."""
    model = onnx.load_from_string(graph)
    [raw] = [t.raw_data for t in model.graph.initializer if list(t.dims) == TABLE_SHAPE and t.data_type == onnx.TensorProto.INT8]
    start = graph.index(raw)
    assert graph.find(raw, start + 1) < 0, "the table is in the file twice"
    return range(start, start + len(raw))


def difference(a: bytes, b: bytes) -> bytes:
    return bytes((x - y) & 0xFF for x, y in zip(a, b, strict=True))


def total(a: bytes, b: bytes) -> bytes:
    return bytes((x + y) & 0xFF for x, y in zip(a, b, strict=True))


def pack(name: str, data: bytes, out: pathlib.Path) -> None:
    params = zstandard.ZstdCompressionParameters.from_level(22, window_log=23, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=params).compress(data)
    assert zstandard.ZstdDecompressor().decompress(packed) == data
    (out / name).write_bytes(packed)
    print(f"{name}: {len(data):,} bytes, packed {len(packed):,}")


def main() -> None:
    tiny, cross = (pathlib.Path(p) for p in sys.argv[1:3])
    out = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else pathlib.Path(__file__).parent
    tokenizer = (tiny / "tokenizer.json").read_bytes()
    assert tokenizer == (cross / "tokenizer.json").read_bytes(), "the two tokenizers differ"
    a, b = (tiny / "model.onnx").read_bytes(), (cross / "model.onnx").read_bytes()
    ra, rb = table(a), table(b)
    delta = b[: rb.start] + difference(b[rb.start : rb.stop], a[ra.start : ra.stop]) + b[rb.stop :]
    assert delta[: rb.start] + total(delta[rb.start : rb.stop], a[ra.start : ra.stop]) + delta[rb.stop :] == b
    pack("tiny.onnx.zst", a, out)
    pack("tiny-cross.delta.zst", delta, out)
    pack("tokenizer.json.zst", tokenizer, out)
    for name, data in [("TINY", a), ("CROSS", b), ("TOKENIZER", tokenizer)]:
        print(f"{name}_BYTES: {len(data)}, {name}_HASH: {xxhash.xxh3_64_intdigest(data):#018x}")
    for folder, name in [(tiny, "tiny.json"), (cross, "tiny-cross.json")]:
        (out / name).write_bytes((folder / "onnx_config.json").read_bytes())
    print(f"TINY_TABLE: {ra.start}, CROSS_TABLE: {rb.start}, TABLE_BYTES: {len(ra)}")


if __name__ == "__main__":
    main()
