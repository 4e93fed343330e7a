//! The command line.

use std::path::PathBuf;

use clap::Parser;
use latewood::TokenCodec;

/// A collection whose documents change, beside one that is built of what they have become
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Folder with documents.npy, doclens.npy, queries.npy
    pub(crate) data: PathBuf,
    /// Documents of the collection; half as many more are read for what is replaced. Default: two thirds of all
    #[arg(long, value_name = "DOCUMENTS")]
    pub(crate) limit: Option<usize>,
    /// Documents that change together
    #[arg(long, default_value_t = 200)]
    pub(crate) batch: usize,
    /// Only the first so many queries
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) queries: usize,
    /// Bits of residual
    #[arg(long, default_value_t = 2)]
    pub(crate) bits: u8,
    /// Token codec, if not the default
    #[arg(long, value_parser = codec)]
    pub(crate) codec: Option<TokenCodec>,
    /// Every other document, those that come, and every other query are of another kind than what was there
    #[arg(long)]
    pub(crate) drift: bool,
    /// Leave out how long single inserts and deletes take as the collection grows
    #[arg(long)]
    pub(crate) no_growth: bool,
}

fn codec(name: &str) -> Result<TokenCodec, String> {
    TokenCodec::from_name(name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["change", "DATA", "--codec", "buckets"]);
        assert_eq!((args.batch, args.codec), (200, Some(TokenCodec::Buckets)));
        assert!(Args::try_parse_from(["change", "DATA", "--codec", "zip"]).is_err());
    }
}
