"""Makes codecs/tests/golden: what fast-plaid, an independent implementation of the ColBERTv2 residual codec, makes of
fixed embeddings, so that the codec can be held to it byte for byte and score for score.

    python -m venv venv && venv/bin/pip install fast-plaid==1.7.0.2110 numpy
    venv/bin/python benches/python/golden_residual.py codecs/tests/golden

The embeddings and centroids once; for each number of bits the bucket cutoffs and weights, the codes, the residual bytes,
the scores of its search (which are of half precision), of every document for every query, and the same in double
precision, decompressed from its bytes.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from fast_plaid import fast_plaid_rust, search
from fast_plaid.search.fast_plaid import compute_kmeans

DIM, DOCUMENTS, QUERIES, QUERY_TOKENS, CENTROIDS = 128, 24, 4, 32, 64


def embeddings(generator: torch.Generator) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Unit vectors around 48 directions, as trained encoders give them; documents of 3 to 26 tokens."""
    directions = torch.nn.functional.normalize(torch.randn(48, DIM, generator=generator), dim=1)

    def tokens(count: int) -> torch.Tensor:
        near = directions[torch.randint(0, len(directions), (count,), generator=generator)]
        near = near + 0.06 * torch.randn(count, DIM, generator=generator)
        return torch.nn.functional.normalize(near, dim=1).half()

    documents = [tokens(3 + i) for i in range(DOCUMENTS)]
    return documents, torch.stack([tokens(QUERY_TOKENS) for _ in range(QUERIES)])


def array(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy")


def decompressed_scores(centroids, weights, codes, residuals, bits, doclens, queries) -> np.ndarray:
    """The reference's score in double precision, from the bytes that fast-plaid wrote."""
    fields = np.unpackbits(residuals, axis=1).reshape(len(codes), DIM, bits)
    buckets = (fields.astype(np.int64) << np.arange(bits)).sum(axis=2)
    tokens = centroids.astype(np.float64)[codes] + weights.astype(np.float64)[buckets]
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    products = queries.astype(np.float64) @ tokens.T
    ends = np.cumsum(doclens)
    return np.array([[products[q, :, end - n:end].max(axis=1).sum() for n, end in zip(doclens, ends)]
                     for q in range(len(queries))])


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    documents, queries = embeddings(torch.Generator().manual_seed(7))
    np.save(out / "documents.npy", torch.cat(documents).numpy())
    np.save(out / "queries.npy", queries.reshape(-1, DIM).numpy())
    tokens = sum(len(d) for d in documents)
    centroids = compute_kmeans(documents, DIM, "cpu", kmeans_niters=4, max_points_per_centroid=256, seed=42,
                               num_partitions=CENTROIDS)
    np.save(out / "centroids.npy", centroids.numpy())
    about = {"made_by": "fast-plaid 1.7.0.2110", "dim": DIM, "query_tokens": QUERY_TOKENS,
             "doclens": [len(d) for d in documents], "scores": {}, "decompressed_scores": {}}
    for bits in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            index = search.FastPlaid(index=folder, device="cpu")
            # As index.create does, but with fewer centroids than its formula gives: with a centroid for nearly every
            # token there would be no residual to speak of.
            fast_plaid_rust.create(index=folder, torch_path=index.torch_path, device="cpu", embedding_dim=DIM,
                                   nbits=bits, embeddings=documents, centroids=centroids, batch_size=25_000, seed=42,
                                   compress_only=False)
            index = search.FastPlaid(index=folder, device="cpu")
            found = index.search(queries_embeddings=queries.float(), top_k=DOCUMENTS, n_ivf_probe=CENTROIDS,
                                 n_full_scores=4 * DOCUMENTS, show_progress=False)
            scores = np.full((QUERIES, DOCUMENTS), np.nan)
            for query, hits in enumerate(found):
                for document, score in hits:
                    scores[query, document] = score
            about["scores"][str(bits)] = np.round(scores, 5).tolist()
            written = Path(folder)
            assert np.array_equal(array(written, "centroids"), centroids.numpy())
            np.save(out / f"cutoffs{bits}.npy", array(written, "bucket_cutoffs").astype(np.float32))
            np.save(out / f"weights{bits}.npy", array(written, "bucket_weights").astype(np.float32))
            np.save(out / f"codes{bits}.npy", array(written, "merged_codes")[:tokens].astype(np.uint32))
            np.save(out / f"residuals{bits}.npy", array(written, "merged_residuals")[:tokens].astype(np.uint8))
            exact = decompressed_scores(centroids.numpy(), array(written, "bucket_weights"),
                                        array(written, "merged_codes")[:tokens],
                                        array(written, "merged_residuals")[:tokens], bits, about["doclens"],
                                        queries.numpy())
            about["decompressed_scores"][str(bits)] = np.round(exact, 6).tolist()
            print(bits, "bits: fast-plaid's half precision is off by", np.abs(exact - scores).max())
            index.close()
    (out / "about.json").write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()
