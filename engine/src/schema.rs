//! Declaring what a collection holds.

use latewood_codecs::{DenseCodec, Metric, OriginalCodec, TokenCodec};
use latewood_storage::{
    DenseSpec, FieldSpec, FieldType, LexicalSpec, Schema, TokensSpec, VectorKind, VectorSpec,
};

use crate::error::Error;
use crate::model_source::{EncoderSource, RerankerSource};
use crate::models::{ModelIdentity, TextEncoder};

/// Declares what a collection holds: vectors, filterable payload fields, models.
///
/// An encoder brings its vectors and dimensions with it; what is declared as well must agree.
///
/// ```
/// use latewood::{FieldType, Metric, SchemaBuilder};
/// let schema = SchemaBuilder::new()
///     .dense(384, Metric::Cosine)
///     .tokens(128, 2)
///     .field("year", FieldType::Int);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SchemaBuilder {
    dense_dim: Option<usize>,
    metric: Option<Metric>,
    dense_codec: Option<DenseCodec>,
    token_dim: Option<usize>,
    bits: Option<u8>,
    token_codec: Option<TokenCodec>,
    original: Option<OriginalCodec>,
    pool_factor: Option<usize>,
    without_dense: bool,
    without_tokens: bool,
    fields: Vec<FieldSpec>,
    vectors: Vec<VectorSpec>,
    lexical: Option<LexicalSpec>,
    without_lexical: bool,
    pub(crate) encoder: Option<EncoderSource>,
    pub(crate) reranker: Option<RerankerSource>,
}

impl SchemaBuilder {
    /// A schema of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a dense vector of `dim` numbers.
    #[must_use]
    pub fn dense(self, dim: usize, metric: Metric) -> Self {
        self.dense_dim(dim).metric(metric)
    }

    /// Declares the dimension of the dense vector.
    #[must_use]
    pub fn dense_dim(mut self, dim: usize) -> Self {
        self.dense_dim = Some(dim);
        self
    }

    /// How dense vectors are compared. Default: cosine.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = Some(metric);
        self
    }

    /// How dense vectors are stored. Default: f16.
    #[must_use]
    pub fn dense_codec(mut self, codec: DenseCodec) -> Self {
        self.dense_codec = Some(codec);
        self
    }

    /// Declares a token matrix: `dim` numbers a token, `bits` of residual a number (1, 2 or 4).
    #[must_use]
    pub fn tokens(self, dim: usize, bits: u8) -> Self {
        self.token_dim(dim).bits(bits)
    }

    /// Declares the dimension of a token's vector.
    #[must_use]
    pub fn token_dim(mut self, dim: usize) -> Self {
        self.token_dim = Some(dim);
        self
    }

    /// Bits of residual a number: 1, 2 or 4. Default: 2.
    #[must_use]
    pub fn bits(mut self, bits: u8) -> Self {
        self.bits = Some(bits);
        self
    }

    /// How residuals are coded. Default: [`TokenCodec::Trellis`].
    #[must_use]
    pub fn token_codec(mut self, codec: TokenCodec) -> Self {
        self.token_codec = Some(codec);
        self
    }

    /// Keeps the tokens beside their codes, for exact rescoring. Default: not kept.
    #[must_use]
    pub fn keep_original(mut self, codec: OriginalCodec) -> Self {
        self.original = Some(codec);
        self
    }

    /// Pools the tokens of each document when it is written: of n tokens, ceil(n / factor) vectors are stored, the means of
    /// those that say nearly the same. 1 to 32; queries are never pooled. Default: 1, every token is stored.
    #[must_use]
    pub fn pool_factor(mut self, factor: usize) -> Self {
        self.pool_factor = Some(factor);
        self
    }

    /// Does not store the dense vector that the encoder could give.
    #[must_use]
    pub fn without_dense(mut self) -> Self {
        self.without_dense = true;
        self
    }

    /// Does not store the token matrix that the encoder could give.
    #[must_use]
    pub fn without_tokens(mut self) -> Self {
        self.without_tokens = true;
        self
    }

    /// Declares a payload field that filters may name.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, kind: FieldType) -> Self {
        self.fields.push(FieldSpec {
            name: name.into(),
            kind,
        });
        self
    }

    /// Declares a named field of dense vectors, stored in f16. A document may have one or not.
    #[must_use]
    pub fn vector(self, name: impl Into<String>, dim: usize, metric: Metric) -> Self {
        self.vector_as(name, dim, metric, DenseCodec::F16)
    }

    /// The same, stored by this codec.
    #[must_use]
    pub fn vector_as(
        mut self,
        name: impl Into<String>,
        dim: usize,
        metric: Metric,
        codec: DenseCodec,
    ) -> Self {
        self.vectors.push(VectorSpec {
            name: name.into(),
            kind: VectorKind::Dense(DenseSpec { dim, metric, codec }),
        });
        self
    }

    /// Declares a named field of sparse vectors (learned sparse encoders as SPLADE), compared by their inner product. A
    /// document may have one or not.
    #[must_use]
    pub fn sparse(mut self, name: impl Into<String>) -> Self {
        self.vectors.push(VectorSpec {
            name: name.into(),
            kind: VectorKind::Sparse,
        });
        self
    }

    /// Indexes the words of the texts, for BM25, phrases and boolean queries. Default: they are indexed, unstemmed, where
    /// there is an encoder of texts.
    #[must_use]
    pub fn lexical(mut self, spec: LexicalSpec) -> Self {
        self.lexical = Some(spec);
        self
    }

    /// Does not index the words of the texts.
    #[must_use]
    pub fn without_lexical(mut self) -> Self {
        self.without_lexical = true;
        self
    }

    /// The encoder of documents and queries: `"tiny"`, a model folder, or an `Arc` of one's own [`TextEncoder`].
    #[must_use]
    pub fn encoder(mut self, encoder: impl Into<EncoderSource>) -> Self {
        self.encoder = Some(encoder.into());
        self
    }

    /// The cross-encoder that reranks: `"tiny"`, a model folder, or an `Arc` of one's own
    /// [`Reranker`](crate::Reranker).
    #[must_use]
    pub fn reranker(mut self, reranker: impl Into<RerankerSource>) -> Self {
        self.reranker = Some(reranker.into());
        self
    }

    /// The schema of a collection whose tokens come as residual codes of this shape.
    pub(crate) fn of_codes(self, dim: usize, bits: u8) -> Result<Self, Error> {
        if self.dense_dim.is_some() || self.metric.is_some() || self.dense_codec.is_some() {
            return Err(schema(
                "a dense vector was declared, but the index has none: leave it out",
            ));
        }
        if self.original.is_some() || self.without_tokens {
            return Err(schema(
                "the index has the codes of tokens and not the tokens themselves: keep the former, not the latter",
            ));
        }
        let other = |what: &str, declared: String, index: String| {
            Err(schema(format!(
                "{what} {declared} of a token was declared, but the index has {index}: leave it out"
            )))
        };
        match (self.token_dim, self.bits) {
            (Some(declared), _) if declared != dim => {
                other("a dimension", declared.to_string(), dim.to_string())
            }
            (_, Some(declared)) if declared != bits => {
                other("a number of bits", declared.to_string(), bits.to_string())
            }
            _ if self.token_codec == Some(TokenCodec::Trellis) => other(
                "the codec",
                TokenCodec::Trellis.name().to_owned(),
                TokenCodec::Buckets.name().to_owned(),
            ),
            _ => Ok(self
                .tokens(dim, bits)
                .token_codec(TokenCodec::Buckets)
                .without_dense()),
        }
    }

    /// The schema, once the models are loaded.
    pub(crate) fn build(
        &self,
        encoder: Option<&dyn TextEncoder>,
        reranker: Option<ModelIdentity>,
    ) -> Result<Schema, Error> {
        let dense = self.dense_spec(encoder)?;
        let tokens = self.tokens_spec(encoder)?;
        if dense.is_none() && tokens.is_none() && self.vectors.is_empty() {
            return Err(schema(
                "no vectors: declare a dense vector, a token matrix, a named vector field, or an encoder",
            ));
        }
        Ok(Schema {
            dense,
            tokens,
            fields: self.fields.clone(),
            lexical: self.lexical_spec(encoder.is_some())?,
            vectors: self.vectors.clone(),
            encoder: encoder.map(|e| e.identity().clone()),
            reranker,
        })
    }

    fn lexical_spec(&self, encodes: bool) -> Result<Option<LexicalSpec>, Error> {
        match (&self.lexical, self.without_lexical) {
            (Some(_), true) => Err(schema(
                "a lexical index was both declared and left out: do one of them",
            )),
            (Some(spec), false) => Ok(Some(spec.clone())),
            (None, without) => Ok((encodes && !without).then(LexicalSpec::default)),
        }
    }

    fn dense_spec(&self, encoder: Option<&dyn TextEncoder>) -> Result<Option<DenseSpec>, Error> {
        let offered = encoder
            .and_then(TextEncoder::dense_dim)
            .filter(|_| !self.without_dense);
        let dim = agree("dense vector", self.dense_dim, offered, encoder)?;
        if dim.is_none() && (self.metric.is_some() || self.dense_codec.is_some()) {
            return Err(schema(
                "a metric or codec of dense vectors, but no dimension of them: declare it as well",
            ));
        }
        Ok(dim.map(|dim| DenseSpec {
            dim,
            metric: self.metric.unwrap_or(Metric::Cosine),
            codec: self.dense_codec.unwrap_or(DenseCodec::F16),
        }))
    }

    fn tokens_spec(&self, encoder: Option<&dyn TextEncoder>) -> Result<Option<TokensSpec>, Error> {
        let offered = encoder
            .and_then(TextEncoder::token_dim)
            .filter(|_| !self.without_tokens);
        let dim = agree("token matrix", self.token_dim, offered, encoder)?;
        let said = self.bits.is_some()
            || self.token_codec.is_some()
            || self.original.is_some()
            || self.pool_factor.is_some();
        if dim.is_none() && said {
            return Err(schema(
                "bits, a codec, originals or pooling of token matrices, but no dimension of them: declare it as well",
            ));
        }
        const BITS: u8 = 2;
        Ok(dim.map(|dim| TokensSpec {
            dim,
            bits: self.bits.unwrap_or(BITS),
            codec: self.token_codec.unwrap_or_default(),
            original: self.original,
            pool_factor: self.pool_factor.unwrap_or(1),
        }))
    }
}

fn agree(
    field: &str,
    declared: Option<usize>,
    offered: Option<usize>,
    encoder: Option<&dyn TextEncoder>,
) -> Result<Option<usize>, Error> {
    match (declared, offered, encoder) {
        (Some(declared), Some(offered), Some(encoder)) if declared != offered => Err(schema(format!(
            "a {field} of {declared} dimensions was declared, but the encoder {} gives {offered}: leave the dimension \
             out, or choose another encoder",
            encoder.identity().name
        ))),
        // A vector that the encoder does not give comes with each document.
        _ => Ok(declared.or(offered)),
    }
}

fn schema(reason: impl Into<String>) -> Error {
    Error::Schema {
        reason: reason.into(),
    }
}
