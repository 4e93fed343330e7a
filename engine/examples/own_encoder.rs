//! An encoder of one's own: anything that turns text into vectors can stand behind a collection.

use std::error::Error;
use std::sync::Arc;

use latewood::models::{Encoding, ModelError, TextEncoder};
use latewood::{Database, Document, ModelIdentity, SchemaBuilder};

const DIM: usize = 64;

/// Counts three-letter runs, hashed into a vector: no model at all, and good enough for misspelled names.
struct Trigrams {
    identity: ModelIdentity,
}

impl Trigrams {
    fn new() -> Self {
        Self {
            identity: ModelIdentity {
                name: "trigrams".to_owned(),
                // Change it whenever the vectors change: a collection refuses another fingerprint than its own.
                fingerprint: "trigrams-v1".to_owned(),
                source: "own".to_owned(),
            },
        }
    }

    fn encode(text: &str) -> Encoding {
        let letters: Vec<char> = format!("  {} ", text.to_lowercase()).chars().collect();
        let mut vector = vec![0.0; DIM];
        for run in letters.windows(3) {
            let hash = run
                .iter()
                .fold(7_usize, |hash, c| hash.wrapping_mul(31).wrapping_add(*c as usize));
            vector[hash % DIM] += 1.0;
        }
        let mut encoding = Encoding::default();
        encoding.dense = Some(vector);
        encoding
    }
}

impl TextEncoder for Trigrams {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn dense_dim(&self) -> Option<usize> {
        Some(DIM)
    }

    fn token_dim(&self) -> Option<usize> {
        None
    }

    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError> {
        Ok(Self::encode(text))
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        _progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError> {
        Ok(texts.iter().map(|text| Self::encode(text)).collect())
    }

    fn max_document_tokens(&self) -> usize {
        usize::MAX
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("latewood-own-encoder-{}", std::process::id()));
    let db = Database::open(&folder)?;
    let cities = db.create_collection("cities", SchemaBuilder::new().encoder(Arc::new(Trigrams::new())))?;
    let names = [
        "Amsterdam",
        "Reykjavik",
        "Antananarivo",
        "Ouagadougou",
        "Thiruvananthapuram",
    ];
    cities.upsert_many(names.map(|name| Document::new(name).text(name)))?;
    for misspelled in ["reykjavic", "tiruvanantapuram", "wagadugu"] {
        let hits = cities.query().text(misspelled).limit(1).run()?;
        println!("{misspelled:<18} {} ({:.2})", hits[0].id, hits[0].score);
    }
    db.close()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
