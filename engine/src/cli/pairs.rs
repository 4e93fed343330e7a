//! `latewood pairs`

use super::args::{Global, PairsArgs};
use super::output::{Failure, print, print_json};

pub(super) fn run(global: &Global, args: &PairsArgs) -> Result<(), Failure> {
    let db = super::options(global, None)
        .read_only(true)
        .open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let mut pairs = collection.pairs(args.limit).exact(args.exact);
    if let Some(filter) = &args.filter {
        pairs = pairs.filter(filter.as_str());
    }
    let pairs = pairs.run()?;
    if global.json {
        return print_json(&pairs);
    }
    let line = |pair: &crate::Pair| format!("{:>9.4}  {}  {}\n", pair.score, pair.first, pair.second);
    print(pairs.iter().map(line).collect::<String>())
}
