//! `latewood create`

use serde_json::json;

use super::args::{CreateArgs, Global};
use super::output::{Failure, print, print_json};
use crate::{LexicalSpec, Schema, SchemaBuilder};

pub(super) fn run(global: &Global, args: &CreateArgs) -> Result<(), Failure> {
    let db = super::options(global, None).create(true).open(&args.target.db)?;
    let collection = db.create_collection(&args.target.collection, builder(args))?;
    let schema = collection.schema();
    if global.json {
        print_json(&json!({ "collection": collection.name(), "schema": &*schema }))?;
    } else {
        print(format!("created {}: {}\n", collection.name(), describe(&schema)))?;
    }
    Ok(db.close()?)
}

fn builder(args: &CreateArgs) -> SchemaBuilder {
    let mut schema = SchemaBuilder::new();
    if let Some(dim) = args.dense {
        schema = schema.dense_dim(dim);
    }
    if let Some(metric) = args.metric {
        schema = schema.metric(metric.into());
    }
    if let Some(codec) = args.dense_codec {
        schema = schema.dense_codec(codec.into());
    }
    if let Some(dim) = args.multi {
        schema = schema.token_dim(dim);
    }
    if let Some(bits) = args.bits {
        schema = schema.bits(bits);
    }
    if let Some(codec) = args.token_codec {
        schema = schema.token_codec(codec.into());
    }
    if let Some(codec) = args.keep_original {
        schema = schema.keep_original(codec.into());
    }
    if let Some(factor) = args.pool_factor {
        schema = schema.pool_factor(factor);
    }
    if args.no_dense {
        schema = schema.without_dense();
    }
    if args.no_multi {
        schema = schema.without_tokens();
    }
    if args.no_lexical {
        schema = schema.without_lexical();
    }
    if args.lexical || args.fold || args.tokenizer.is_some() || args.stemmer.is_some() {
        schema = schema.lexical(LexicalSpec {
            tokenizer: args.tokenizer.map(Into::into).unwrap_or_default(),
            fold: args.fold,
            stemmer: args.stemmer,
        });
    }
    for (name, dim, metric, codec) in &args.vector {
        schema = schema.vector_as(name, *dim, *metric, *codec);
    }
    for name in &args.sparse {
        schema = schema.sparse(name);
    }
    if let Some(encoder) = &args.encoder {
        schema = schema.encoder(encoder.as_str());
    }
    if let Some(reranker) = &args.reranker {
        schema = schema.reranker(reranker.as_str());
    }
    args.field
        .iter()
        .fold(schema, |schema, (name, kind)| schema.field(name, *kind))
}

/// A schema in a line.
pub(super) fn describe(schema: &Schema) -> String {
    let mut parts = Vec::new();
    if let Some(dense) = &schema.dense {
        parts.push(format!(
            "dense {} {} {}",
            dense.dim,
            dense.metric.name(),
            dense.codec.name()
        ));
    }
    if let Some(tokens) = &schema.tokens {
        let original = tokens
            .original
            .map_or_else(String::new, |codec| format!(", originals {}", codec.name()));
        let pooled = match tokens.pool_factor {
            1 => String::new(),
            factor => format!(", pooled by {factor}"),
        };
        parts.push(format!(
            "tokens {} at {} bits ({}){original}{pooled}",
            tokens.dim,
            tokens.bits,
            tokens.codec.name()
        ));
    }
    parts.extend(
        schema
            .vectors
            .iter()
            .map(|field| format!("{} {}", field.name, field.kind.describe())),
    );
    if let Some(lexical) = &schema.lexical {
        let stemmed = lexical
            .stemmer
            .map_or_else(String::new, |language| format!(", {} stems", language.name()));
        let folded = if lexical.fold { ", folded" } else { "" };
        parts.push(format!("words ({}{folded}{stemmed})", lexical.tokenizer.name()));
    }
    if let Some(encoder) = &schema.encoder {
        parts.push(format!("encoder {}", encoder.name));
    }
    if let Some(reranker) = &schema.reranker {
        parts.push(format!("reranker {}", reranker.name));
    }
    if !schema.fields.is_empty() {
        let fields: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        parts.push(format!("fields {}", fields.join(", ")));
    }
    parts.join("; ")
}
