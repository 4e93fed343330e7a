#!/usr/bin/env python3
"""Dense search beside hnswlib, FAISS, usearch and zvec: the same rows, the same queries, one thread, in turn.

    python dense_peers.py ROWS.npy QUERIES.npy INDEXES --build fsq8,hnsw        # builds and saves
    python dense_peers.py ROWS.npy QUERIES.npy INDEXES --dense target/release/dense --db DIR [--rounds 3]

Rows and queries are float16 or float32, compared by cosine. In each round every engine answers all queries once for each of its
settings, so that what else the machine does falls on all of them; the quickest round counts. HNSW peers get all queries in
one call with one thread, so that no Python is counted; IVF peers get them one by one, as one call would let them share
lists between queries. zvec takes them one by one too. Prints a table, and for some recalls what each engine does at that recall, by
linear interpolation between settings; `--svg FILE` draws all of it. Needs numpy and, for what is asked, hnswlib, faiss-cpu, usearch and zvec;
build one index a call, as FAISS and hnswlib bring threads that do not go together.
"""
import argparse
import json
import os
import subprocess
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")
import numpy as np

from recall_plot import plot

PEERS = {
    "hnsw": "hnswlib M 16, ef_construction 200",
    "fsq8": "FAISS HNSW32,SQ8",
    "fhnsw": "FAISS HNSW32",
    "usi8": "usearch i8, 16",
    "usf32": "usearch f32, 16",
    "ffs": "FAISS IVF,PQx4fs,RFlat",
    "frq": "FAISS IVF,RaBitQ,RFlat",
    "zhnsw": "zvec HNSW m 16",
    "zi8": "zvec HNSW m 16, int8",
    "zrq": "zvec HNSW m 16, RaBitQ",
}
BREADTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
# An IVF index scores so many times the hits again from the vectors.
REFINED = 16
TARGETS = (0.9, 0.95, 0.98, 0.99)
PROBES = (2, 4, 8, 16, 32, 64, 128)


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def exact(rows, queries, k):
    found = np.empty((len(queries), k), dtype=np.int64)
    for first in range(0, len(queries), 64):
        scores = queries[first : first + 64] @ rows.T
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        found[first : first + 64] = best
    return found


def factory(name, rows, dim):
    cells = 4096 if rows > 200_000 else 1024
    return {
        "fhnsw": "HNSW32",
        "fsq8": "HNSW32_SQ8",
        "ffs": f"IVF{cells},PQ{dim // 2}x4fs,RFlat",
        "frq": f"IVF{cells},RaBitQ,RFlat",
    }[name]


def build(name, rows, path):
    dim = rows.shape[1]
    if name.startswith("z"):
        build_zvec(name, rows, path)
        return
    if name == "hnsw":
        import hnswlib

        index = hnswlib.Index("ip", dim)
        index.init_index(len(rows), M=16, ef_construction=200)
        index.set_num_threads(2)
        index.add_items(rows)
        index.save_index(path)
    elif name.startswith("us"):
        from usearch.index import Index

        index = usearch_index(Index, name, dim)
        index.add(np.arange(len(rows)), rows, threads=2)
        index.save(path)
    else:
        import faiss

        index = faiss.index_factory(dim, factory(name, len(rows), dim), faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:300_000])
        index.add(rows)
        faiss.write_index(index, path)


def build_zvec(name, rows, path):
    import zvec

    shape = {"m": 16, "ef_construction": 200}
    if name == "zrq":
        index = zvec.HnswRabitqIndexParam(metric_type=zvec.MetricType.COSINE, **shape)
    else:
        kind = zvec.QuantizeType.INT8 if name == "zi8" else zvec.QuantizeType.UNDEFINED
        index = zvec.HnswIndexParam(metric_type=zvec.MetricType.COSINE, quantize_type=kind, **shape)
    field = zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, rows.shape[1], index_param=index)
    collection = zvec.create_and_open(path=path, schema=zvec.CollectionSchema(name="rows", vectors=field))
    for first in range(0, len(rows), 1000):
        block = rows[first : first + 1000]
        docs = [zvec.Doc(id=str(first + at), vectors={"v": row.tolist()}) for at, row in enumerate(block)]
        bad = [status for status in collection.insert(docs) if not status.ok()]
        assert not bad, bad[:1]
    collection.optimize(zvec.OptimizeOption(concurrency=2))
    collection.flush()


def zvec_search(name, path):
    import zvec

    collection = zvec.open(path)
    kind = zvec.HnswRabitqQueryParam if name == "zrq" else zvec.HnswQueryParam

    def search(breadth, queries, k):
        param = kind(ef=breadth, is_using_refiner=name != "zhnsw")
        found = np.full((len(queries), k), -1)
        for at, query in enumerate(queries):
            hits = collection.query(zvec.Query("v", vector=query, param=param), topk=k)
            found[at, : len(hits)] = [int(hit.id) for hit in hits]
        return found

    return search, BREADTHS


def size_of(path):
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def usearch_index(kind, name, dim):
    metric = "ip" if name == "usf32" else "cos"
    return kind(ndim=dim, metric=metric, dtype=name[2:], connectivity=16, expansion_add=200)


def opened(name, path, dim):
    """A function from a setting and all queries to the ids found, and the settings."""
    if name == "hnsw":
        import hnswlib

        index = hnswlib.Index("ip", dim)
        index.load_index(path)
        index.set_num_threads(1)

        def search(breadth, queries, k):
            index.set_ef(breadth)
            return index.knn_query(queries, k, num_threads=1)[0]

        return search, BREADTHS
    if name.startswith("z"):
        return zvec_search(name, path)
    if name.startswith("us"):
        from usearch.index import Index

        index = usearch_index(Index, name, dim)
        index.load(path)

        def search(breadth, queries, k):
            index.expansion_search = breadth
            return index.search(queries, k, threads=1).keys

        return search, BREADTHS
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.read_index(path)
    if "hnsw" in name or name == "fsq8":

        def search(breadth, queries, k):
            index.hnsw.efSearch = breadth
            return index.search(queries, k)[1]

        return search, BREADTHS
    space = faiss.ParameterSpace()
    space.set_index_parameter(index, "k_factor_rf", REFINED)

    def search(probes, queries, k):
        space.set_index_parameter(index, "nprobe", probes)
        return np.concatenate([index.search(query[None], k)[1] for query in queries])

    return search, PROBES


def recall(found, truth):
    hits = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(np.asarray(found).astype(np.int64), truth))
    return hits / truth.size


def at_recall(points, target):
    """Queries a second at a recall: the best of the interpolations between neighbouring settings; None beyond them."""
    points = sorted(points)
    if points[0][0] >= target:
        return points[0][1]
    for (below, slow), (above, fast) in zip(points, points[1:]):
        if below < target <= above:
            share = (target - below) / (above - below)
            return 1 / ((1 - share) / slow + share / fast)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows")
    parser.add_argument("queries")
    parser.add_argument("indexes")
    parser.add_argument("--build")
    parser.add_argument("--dense")
    parser.add_argument("--db")
    parser.add_argument("--codec", default="f16", help="one or several, with commas")
    parser.add_argument("--svg", help="draws recall against queries a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--k", type=int, default=10)
    args = parser.parse_args()
    rows, queries = unit(np.load(args.rows)), unit(np.load(args.queries))[:1000]
    os.makedirs(args.indexes, exist_ok=True)
    path = lambda name: os.path.join(args.indexes, name)
    if args.build:
        for name in args.build.split(","):
            begun, before = time.time(), os.times()
            build(name, rows, path(name))
            after = os.times()
            cpu = after.user + after.system - before.user - before.system
            print(json.dumps({"index": name, "cpu_s": round(cpu), "wall_s": round(time.time() - begun)}), flush=True)
        return
    truth = exact(rows, queries, args.k)
    bytes_a_vector = {name: size_of(path(name)) / len(rows) for name in PEERS if os.path.exists(path(name))}
    peers = list(bytes_a_vector)
    best = {}
    size = rows.shape
    del rows
    for _ in range(args.rounds):
        for name in peers:
            search, settings = opened(name, path(name), size[1])
            search(settings[0], queries, args.k)
            for setting in settings:
                begun = time.perf_counter()
                found = search(setting, queries, args.k)
                qps = len(queries) / (time.perf_counter() - begun)
                key = (PEERS[name], setting)
                best[key] = (recall(found, truth), max(qps, best.get(key, (0, 0))[1]))
            del search
        if args.dense:
            command = [args.dense, args.rows, args.queries, "--codecs", args.codec, "--db", args.db, "--rounds", "1", "--json"]
            # The first once more: peers have answered all queries before they are timed, too.
            command += ["--ef", ",".join(map(str, (BREADTHS[0], *BREADTHS)))]
            for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
                point = json.loads(line)
                name = f"Latewood {point['codec']}"
                bytes_a_vector[name] = point["bytes_per_vector"]
                key = (name, point["ef"])
                best[key] = (point["recall"], max(point["qps"], best.get(key, (0, 0))[1]))
    print(f"{size[0]:,} rows of {size[1]}, {len(queries)} queries, top {args.k}, {args.rounds} rounds, load {os.getloadavg()[0]:.1f}\n")
    names = list(dict.fromkeys(name for name, _ in best))
    bytes_of = {PEERS.get(name, name): size for name, size in bytes_a_vector.items()}
    points = {name: [point for (other, _), point in best.items() if other == name] for name in names}
    print("| | bytes a vector | " + " | ".join(f"at {target}" for target in TARGETS) + " |")
    print("|---" * (2 + len(TARGETS)) + "|")
    for name in names:
        cells = [at_recall(points[name], target) for target in TARGETS]
        cells = " | ".join("" if cell is None else f"{cell:,.0f}" for cell in cells)
        print(f"| {name} | {bytes_of[name]:.0f} | {cells} |")
    others = [name for name in names if not name.startswith("Latewood")]
    for name in names:
        if name in others:
            continue
        cells = []
        for target in TARGETS:
            most = max((at_recall(points[other], target) or 0 for other in others), default=0)
            own = at_recall(points[name], target)
            cells.append(f"{own / most:.2f}" if own and most else "")
        print(f"| {name}, times the best of the others | | " + " | ".join(cells) + " |")
    if args.svg:
        plot(args.svg, f"Top {args.k} of {size[0]:,} vectors of {size[1]} numbers", points)
    print()
    for name in names:
        print(f"{name}: " + ", ".join(f"{a:.4f} {b:,.0f}" for a, b in sorted(points[name])))


if __name__ == "__main__":
    main()
