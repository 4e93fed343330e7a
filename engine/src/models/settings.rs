//! What a folder's configuration files say about its model: the kind, and how text is framed for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::colbert::ColbertSettings;
use super::cross::CrossSettings;
use super::folder::ModelFolder;
use super::sentence::{Pooling, SentenceSettings};
use super::{ModelError, tokenize::TextTokenizer};

/// The kind of a model with the settings that decide its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    Sentence(SentenceSettings),
    Colbert(ColbertSettings),
    Cross(CrossSettings),
}

/// onnx_config.json and config_sentence_transformers.json: every field may be missing from either.
#[derive(Debug, Default, Deserialize)]
struct Declared {
    model_type: Option<String>,
    model_file: Option<String>,
    query_prefix: Option<String>,
    document_prefix: Option<String>,
    query_length: Option<usize>,
    document_length: Option<usize>,
    do_query_expansion: Option<bool>,
    attend_to_expansion_tokens: Option<bool>,
    skiplist_words: Option<Vec<String>>,
    mask_token_id: Option<i64>,
    num_labels: Option<usize>,
    max_length: Option<usize>,
    max_query_tokens: Option<usize>,
    prompts: Option<BTreeMap<String, Option<String>>>,
}

/// config.json of the transformer.
#[derive(Debug, Default, Deserialize)]
struct Transformer {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    id2label: Option<BTreeMap<String, serde_json::Value>>,
    num_labels: Option<usize>,
    max_position_embeddings: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type", default)]
    class: String,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceBert {
    max_seq_length: Option<usize>,
}

/// Everything that is read of a folder's settings, before the kind is known.
#[derive(Debug)]
pub(crate) struct FolderSettings {
    onnx: Declared,
    hub: Declared,
    transformer: Transformer,
    modules: Option<Vec<Module>>,
    sentence_bert: SentenceBert,
}

impl FolderSettings {
    pub(crate) fn read(folder: &ModelFolder) -> Result<Self, ModelError> {
        Ok(Self {
            onnx: folder.json("onnx_config.json")?.unwrap_or_default(),
            hub: folder
                .json("config_sentence_transformers.json")?
                .unwrap_or_default(),
            transformer: folder.json("config.json")?.unwrap_or_default(),
            modules: folder.json("modules.json")?,
            sentence_bert: folder.json("sentence_bert_config.json")?.unwrap_or_default(),
        })
    }

    /// The settings of a model that is one JSON file, as the built-in ones are.
    #[cfg(feature = "builtin-models")]
    pub(crate) fn from_onnx_config(json: &str) -> Result<Self, serde_json::Error> {
        Ok(Self {
            onnx: serde_json::from_str(json)?,
            hub: Declared::default(),
            transformer: Transformer::default(),
            modules: None,
            sentence_bert: SentenceBert::default(),
        })
    }

    pub(crate) fn model_file(&self) -> Option<&str> {
        self.onnx.model_file.as_deref()
    }

    /// Tells the kind: by onnx_config.json, by config_sentence_transformers.json, by the architecture in config.json, by
    /// the modules, in this order. `folder` gives the pooling module's file.
    pub(crate) fn kind(
        &self,
        name: &str,
        folder: Option<&ModelFolder>,
        tokenizer: &TextTokenizer,
    ) -> Result<Kind, ModelError> {
        let declared = self.onnx.model_type.as_deref().or(self.hub.model_type.as_deref());
        match declared {
            Some("ColBERT" | "encoder") => return self.colbert(name, tokenizer).map(Kind::Colbert),
            Some("cross-encoder" | "CrossEncoder") => return self.cross(name, tokenizer).map(Kind::Cross),
            _ => {}
        }
        let architectures = self.transformer.architectures.as_deref().unwrap_or_default();
        if architectures
            .iter()
            .any(|a| a.ends_with("ForSequenceClassification"))
        {
            return self.cross(name, tokenizer).map(Kind::Cross);
        }
        match (folder, &self.modules) {
            (Some(folder), Some(modules)) => self
                .sentence(name, folder, modules, tokenizer)
                .map(Kind::Sentence),
            _ => Err(ModelError::Unsupported {
                model: name.to_owned(),
                problem: "its files do not say what kind of model it is".into(),
                advice: "the folder needs modules.json (sentence-transformers), a config_sentence_transformers.json or \
                         onnx_config.json with a model_type (ColBERT), or a config.json whose architecture ends with \
                         ForSequenceClassification (cross-encoder)",
            }),
        }
    }

    fn colbert(&self, name: &str, tokenizer: &TextTokenizer) -> Result<ColbertSettings, ModelError> {
        let prefix = |of: fn(&Declared) -> &Option<String>, fallback: &str| {
            self.declared(of).cloned().unwrap_or_else(|| fallback.to_owned())
        };
        let query_length = self.declared(|d| &d.query_length).copied().unwrap_or(32);
        let document_length = self.declared(|d| &d.document_length).copied().unwrap_or(180);
        let expansion = self.declared(|d| &d.do_query_expansion).copied().unwrap_or(true);
        let mask = self
            .declared(|d| &d.mask_token_id)
            .copied()
            .or_else(|| tokenizer.special(&["[MASK]", "<mask>"]));
        Ok(ColbertSettings {
            query_prefix: tokenizer.marker(&prefix(|d| &d.query_prefix, "[Q] "))?,
            document_prefix: tokenizer.marker(&prefix(|d| &d.document_prefix, "[D] "))?,
            query_length: self.capped(name, query_length)?,
            document_length: self.capped(name, document_length)?,
            expansion: match (expansion, mask) {
                (false, _) => None,
                (true, Some(mask)) => Some(mask),
                (true, None) => return Err(no_mask(name)),
            },
            attend_to_expansion: self
                .declared(|d| &d.attend_to_expansion_tokens)
                .copied()
                .unwrap_or(false),
            skiplist: tokenizer.ids(self.declared(|d| &d.skiplist_words).map_or(&[], Vec::as_slice)),
        })
    }

    fn cross(&self, name: &str, tokenizer: &TextTokenizer) -> Result<CrossSettings, ModelError> {
        let labels = self.onnx.num_labels.or(self.transformer.num_labels);
        let labels = labels
            .or(self.transformer.id2label.as_ref().map(BTreeMap::len))
            .unwrap_or(1);
        if !matches!(labels, 1 | 2) {
            return Err(ModelError::Unsupported {
                model: name.to_owned(),
                problem: format!("it classifies into {labels} labels"),
                advice: "give a cross-encoder with one logit, or with two (irrelevant, relevant)",
            });
        }
        let declared = self.onnx.max_length.or(self.sentence_bert.max_seq_length);
        let pinned = tokenizer.pinned_length();
        let max_length = declared.into_iter().chain(pinned).min().unwrap_or(512);
        Ok(CrossSettings {
            max_length: self.capped(name, max_length)?,
            max_query_tokens: self.onnx.max_query_tokens,
            two_labels: labels == 2,
        })
    }

    fn sentence(
        &self,
        name: &str,
        folder: &ModelFolder,
        modules: &[Module],
        tokenizer: &TextTokenizer,
    ) -> Result<SentenceSettings, ModelError> {
        let of = |class: &str| modules.iter().find(|m| m.class.ends_with(class));
        if let Some(module) = of(".Dense") {
            return Err(ModelError::Unsupported {
                model: name.to_owned(),
                problem: format!(
                    "its module {} multiplies by weights that are not in the graph",
                    module.path
                ),
                advice: "export the model with its Dense module inside the graph",
            });
        }
        let pooling_file = of(".Pooling").map_or("1_Pooling", |m| m.path.as_str());
        let pooling_file = format!("{pooling_file}/config.json");
        let path = folder.required(&pooling_file, "pooling mode")?;
        let modes: BTreeMap<String, serde_json::Value> = folder.json(&pooling_file)?.unwrap_or_default();
        let pooling = Pooling::from_modes(&modes).map_err(|problem| ModelError::BadFile {
            path,
            expected: "one of the pooling modes cls, mean, max, mean_sqrt_len",
            problem,
        })?;
        let declared = self.sentence_bert.max_seq_length;
        let max_length = declared
            .into_iter()
            .chain(tokenizer.pinned_length())
            .min()
            .unwrap_or(512);
        Ok(SentenceSettings {
            pooling,
            normalize: of(".Normalize").is_some(),
            max_length: self.capped(name, max_length)?,
            query_prompt: self.prompt(&["query", "search_query"]),
            document_prompt: self.prompt(&["document", "passage", "search_document"]),
        })
    }

    fn prompt(&self, names: &[&str]) -> String {
        let prompts = self.hub.prompts.as_ref();
        names
            .iter()
            .find_map(|name| prompts?.get(*name)?.clone())
            .unwrap_or_default()
    }

    fn declared<T>(&self, of: impl Fn(&Declared) -> &Option<T>) -> Option<&T> {
        of(&self.onnx).as_ref().or(of(&self.hub).as_ref())
    }

    /// No longer than the model has positions, and long enough for the markers and a word.
    fn capped(&self, name: &str, length: usize) -> Result<usize, ModelError> {
        let length = length.min(self.transformer.max_position_embeddings.unwrap_or(usize::MAX));
        if length >= 8 {
            return Ok(length);
        }
        Err(ModelError::Unsupported {
            model: name.to_owned(),
            problem: format!("its settings allow {length} tokens of input"),
            advice: "a maximum length of at least 8 is needed",
        })
    }
}

fn no_mask(name: &str) -> ModelError {
    ModelError::Unsupported {
        model: name.to_owned(),
        problem: "it fills queries up with a mask token, and its tokenizer has none".into(),
        advice: "set mask_token_id or do_query_expansion: false in onnx_config.json",
    }
}
