//! The models that are compiled in: `tiny`, an encoder, and `tiny-cross`, a reranker.
//!
//! models/README.md says what they are and models/pack.py how they were packed: `tiny`'s graph with zstd, and
//! `tiny-cross`'s with its table of word embeddings as the difference from `tiny`'s.

use xxhash_rust::xxh3::xxh3_64;

use super::ModelError;
use super::loaded::ModelBytes;

/// The name of the built-in encoder.
pub const BUILTIN_ENCODER: &str = "tiny";
/// The name of the built-in reranker: the same word on the command line, `tiny`, is taken for it too.
pub const BUILTIN_RERANKER: &str = "tiny-cross";

static TINY: &[u8] = include_bytes!("../../models/tiny.onnx.zst");
static CROSS_DELTA: &[u8] = include_bytes!("../../models/tiny-cross.delta.zst");
static TOKENIZER: &[u8] = include_bytes!("../../models/tokenizer.json.zst");

const TINY_BYTES: usize = 5_928_835;
const CROSS_BYTES: usize = 6_014_328;
const TOKENIZER_BYTES: usize = 466_247;

/// Where the word embeddings begin in either graph, and their length.
const TINY_TABLE: usize = 1_899_718;
const CROSS_TABLE: usize = 1_985_230;
const TABLE_BYTES: usize = 3_906_816;

/// XXH3-64 of the files as they were before packing.
const TINY_HASH: u64 = 0xe93b_bc01_e0ef_b4b9;
const CROSS_HASH: u64 = 0xe50a_ebea_58ba_f329;
const TOKENIZER_HASH: u64 = 0x84a0_e7ee_e88c_83ee;

/// The built-in encoder of that name.
pub(crate) fn encoder(name: &str) -> Result<ModelBytes, ModelError> {
    if name != BUILTIN_ENCODER {
        return Err(ModelError::UnknownBuiltin {
            kind: "encoder",
            name: name.to_owned(),
            available: BUILTIN_ENCODER,
        });
    }
    Ok(ModelBytes {
        name: BUILTIN_ENCODER,
        graph: tiny()?,
        tokenizer: tokenizer()?,
        settings: include_str!("../../models/tiny.json"),
    })
}

/// The built-in reranker of that name.
pub(crate) fn reranker(name: &str) -> Result<ModelBytes, ModelError> {
    if name != BUILTIN_RERANKER && name != BUILTIN_ENCODER {
        return Err(ModelError::UnknownBuiltin {
            kind: "reranker",
            name: name.to_owned(),
            available: BUILTIN_RERANKER,
        });
    }
    Ok(ModelBytes {
        name: BUILTIN_RERANKER,
        graph: tiny_cross()?,
        tokenizer: tokenizer()?,
        settings: include_str!("../../models/tiny-cross.json"),
    })
}

fn tiny() -> Result<Vec<u8>, ModelError> {
    checked(
        BUILTIN_ENCODER,
        unpack(BUILTIN_ENCODER, TINY, TINY_BYTES)?,
        TINY_HASH,
    )
}

fn tiny_cross() -> Result<Vec<u8>, ModelError> {
    let tiny = tiny()?;
    let mut graph = unpack(BUILTIN_RERANKER, CROSS_DELTA, CROSS_BYTES)?;
    let base = tiny.get(TINY_TABLE..TINY_TABLE + TABLE_BYTES).unwrap_or_default();
    let table = graph
        .get_mut(CROSS_TABLE..CROSS_TABLE + TABLE_BYTES)
        .unwrap_or_default();
    for (byte, base) in table.iter_mut().zip(base) {
        *byte = byte.wrapping_add(*base);
    }
    checked(BUILTIN_RERANKER, graph, CROSS_HASH)
}

fn tokenizer() -> Result<Vec<u8>, ModelError> {
    checked(
        "tokenizer",
        unpack("tokenizer", TOKENIZER, TOKENIZER_BYTES)?,
        TOKENIZER_HASH,
    )
}

fn unpack(name: &'static str, packed: &[u8], bytes: usize) -> Result<Vec<u8>, ModelError> {
    let damaged = |problem: String| ModelError::BuiltinDamaged { name, problem };
    let data = zstd::bulk::decompress(packed, bytes).map_err(|e| damaged(e.to_string()))?;
    if data.len() == bytes {
        Ok(data)
    } else {
        Err(damaged(format!("{} bytes came, not {bytes}", data.len())))
    }
}

fn checked(name: &'static str, data: Vec<u8>, hash: u64) -> Result<Vec<u8>, ModelError> {
    let got = xxh3_64(&data);
    if got == hash {
        return Ok(data);
    }
    Err(ModelError::BuiltinDamaged {
        name,
        problem: format!("its XXH3-64 is {got:#018x}, not {hash:#018x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_models_unpack_to_what_was_packed() {
        assert_eq!(encoder("tiny").unwrap().graph.len(), TINY_BYTES);
        assert_eq!(reranker("tiny-cross").unwrap().graph.len(), CROSS_BYTES);
        assert_eq!(reranker("tiny").unwrap().name, "tiny-cross");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_gives_the_known_one() {
        let message = encoder("large").err().unwrap().to_string();
        assert!(
            message.contains("\"large\"") && message.contains("tiny"),
            "{message}"
        );
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut graph = tiny().unwrap();
        graph[TINY_TABLE] ^= 1;
        assert!(matches!(
            checked("tiny", graph, TINY_HASH),
            Err(ModelError::BuiltinDamaged { .. })
        ));
        assert!(matches!(
            unpack("tiny", TINY, TINY_BYTES + 1),
            Err(ModelError::BuiltinDamaged { .. })
        ));
    }
}
