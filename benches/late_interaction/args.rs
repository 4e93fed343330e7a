//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;

use clap::Parser;
use latewood::{OriginalCodec, TokenCodec};

/// Recall, latency and size of late interaction, beside other engines
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Folder with documents.npy, doclens.npy, queries.npy
    pub(crate) data: PathBuf,
    /// Codecs to measure, such as 2 or 1,2,4,2+buckets,2+f16: bits of residual, the token codec if it is not the default,
    /// the original tier if it is kept
    #[arg(long, default_value = "2", value_delimiter = ',')]
    pub(crate) bits: Vec<Codec>,
    /// Only the first so many documents
    #[arg(long, value_name = "DOCUMENTS")]
    pub(crate) limit: Option<usize>,
    /// Only the first so many queries
    #[arg(long, value_name = "N")]
    pub(crate) queries: Option<usize>,
    /// Recalls to reach, against the exhaustive answer over the same codes
    #[arg(long, default_value = "0.9,0.95,0.99,0.999", value_delimiter = ',')]
    pub(crate) targets: Vec<f64>,
    /// Folder of the databases, used again when they are there; without it they are temporary
    #[arg(long, value_name = "DIR")]
    pub(crate) db: Option<PathBuf>,
    /// Threads that build; default: all
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a plot of latency against recall
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Figures of other engines on the same data, as benches/README.md says
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) peers: Vec<PathBuf>,
    /// Leave out the exact ranking in float32 and all that is compared with it
    #[arg(long)]
    pub(crate) no_float32: bool,
}

impl Args {
    pub(crate) fn threads(&self) -> usize {
        let all = || available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}

/// How tokens are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Codec {
    pub(crate) bits: u8,
    pub(crate) token_codec: Option<TokenCodec>,
    pub(crate) original: Option<OriginalCodec>,
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('+');
        let bits = parts.next().unwrap_or_default();
        let mut codec = Self {
            bits: bits
                .parse()
                .map_err(|_| format!("expected bits such as 2, got {bits:?}"))?,
            token_codec: None,
            original: None,
        };
        for part in parts {
            match (part, TokenCodec::from_name(part)) {
                (_, Ok(token_codec)) => codec.token_codec = Some(token_codec),
                ("f16", _) => codec.original = Some(OriginalCodec::F16),
                ("int8", _) => codec.original = Some(OriginalCodec::Int8),
                (_, Err(e)) => return Err(format!("expected f16, int8 or a token codec after the +: {e}")),
            }
        }
        Ok(codec)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bits)?;
        if let Some(codec) = self.token_codec {
            write!(f, "+{}", codec.name())?;
        }
        self.original
            .map_or(Ok(()), |original| write!(f, "+{}", original.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_codecs_are_read_as_they_are_written() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        for text in ["1", "2+f16", "4+buckets", "4+trellis+int8"] {
            assert_eq!(text.parse::<Codec>().unwrap().to_string(), text);
        }
        assert!("2+f32".parse::<Codec>().is_err() && "two".parse::<Codec>().is_err());
        let args = Args::parse_from(["late_interaction", "DATA", "--bits", "2,4", "--peers", "a", "b"]);
        assert_eq!((args.bits.len(), args.peers.len(), args.targets.len()), (2, 2, 4));
    }
}
