//! Tries power losses: `power_loss [--images 1000] [--seed 1] [--kind NAME]`.

use std::process::ExitCode;
use std::time::Instant;

use latewood_tests::command::Arguments;
use latewood_tests::power_loss::{CATALOG, KINDS, run};

fn main() -> ExitCode {
    let arguments = Arguments::from_env(&["images", "seed", "kind"]);
    let (images, seed) = (arguments.number("images", 1000), arguments.number("seed", 1));
    let kinds: Vec<&'static str> = KINDS
        .into_iter()
        .chain([CATALOG])
        .filter(|kind| arguments.text("kind").is_none_or(|wanted| wanted == *kind))
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    match run(&kinds, images, seed, threads) {
        Ok(report) => {
            println!("{:<10} {:>7} {:>8} {:>8}", "kind", "rounds", "moments", "images");
            for kind in kinds {
                let of = |counts: &std::collections::BTreeMap<&'static str, u64>| counts[kind];
                println!(
                    "{kind:<10} {:>7} {:>8} {:>8}",
                    of(&report.rounds),
                    of(&report.moments),
                    of(&report.images)
                );
            }
            println!(
                "every image opened, nothing was missing: {:.0} s",
                begun.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
