//! One look at a collection, and whether what it shows is a moment of the history.

use latewood::{Collection, DocumentId, Filter};

use super::history::{CLOCK, EACH, GROUPS, History, document};
use crate::random::Random;

/// Looks, and goes on with the history to what was seen.
///
/// # Errors
/// What never was, or was no longer.
pub(super) fn look(
    collection: &Collection,
    history: &mut History,
    random: &mut Random,
) -> Result<(), String> {
    let told = |error: latewood::Error| error.to_string();
    match random.below(8) {
        0 => {
            let clock = collection.get(CLOCK).map_err(told)?;
            let clock = clock.ok_or("the document that is always there is not")?;
            later(history, number(&clock.payload)?)
        }
        1 => {
            let group = random.below(GROUPS);
            let filter = Filter::eq("group", i64::try_from(group).unwrap_or(0));
            match collection.count(&filter).map_err(told)? {
                0 | EACH => Ok(()),
                other => Err(format!("{other} documents of group {group}")),
            }
        }
        2 => same(history, documents(collection)?),
        _ => same(history, found(collection, random)?),
    }
}

fn number(payload: &serde_json::Value) -> Result<u64, String> {
    payload["change"]
        .as_u64()
        .ok_or_else(|| format!("the payload {payload}"))
}

fn later(history: &mut History, seen: u64) -> Result<(), String> {
    if seen < history.number {
        return Err(format!("change {seen} after change {} was seen", history.number));
    }
    history.advance(seen);
    Ok(())
}

/// Everything, listed.
fn documents(collection: &Collection) -> Result<Vec<(u64, u64)>, String> {
    let listed = collection.documents().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for read in listed {
        let read = read.map_err(|error| error.to_string())?;
        let DocumentId::U64(id) = read.id else {
            return Err(format!("id {}", read.id));
        };
        let change = number(&read.payload)?;
        let expected = document(id, change);
        if (&read.text, &read.dense) != (&expected.text, &expected.dense) {
            return Err(format!("document {id} is not of one piece: {read:?}"));
        }
        found.push((id, change));
    }
    Ok(found)
}

/// Everything, as a search finds it: by dense vectors or by tokens, in order of the scores.
fn found(collection: &Collection, random: &mut Random) -> Result<Vec<(u64, u64)>, String> {
    let most = usize::try_from(2 * (1 + GROUPS * EACH)).unwrap_or(0);
    let at = random.below(8) as f32;
    let query = collection.query().limit(most);
    let query = match random.below(2) {
        0 => query.dense(vec![at, 500.0, 0.0, 1.0]).plan("dense"),
        _ => {
            let token: Vec<f32> = (0..8).map(|i| if i as f32 == at { 1.0 } else { 0.1 }).collect();
            query.tokens(vec![token]).plan("maxsim")
        }
    };
    let hits = query.exact(true).run().map_err(|error| error.to_string())?;
    if let Some(pair) = hits.windows(2).find(|pair| pair[0].score < pair[1].score) {
        return Err(format!("{:?} before {:?}", pair[0], pair[1]));
    }
    hits.iter()
        .map(|hit| {
            let DocumentId::U64(id) = hit.id else {
                return Err(format!("id {}", hit.id));
            };
            let payload = hit.payload.clone().unwrap_or_default();
            Ok((id, number(&payload.into())?))
        })
        .collect()
}

/// What was found is what the history had at the change that it says.
fn same(history: &mut History, mut found: Vec<(u64, u64)>) -> Result<(), String> {
    found.sort_unstable();
    let Some((CLOCK, seen)) = found.first().copied() else {
        return Err(format!(
            "the document that is always there is not among {found:?}"
        ));
    };
    later(history, seen)?;
    let expected = history.documents();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "at change {seen} there was {expected:?}, and found was {found:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_change_and_an_earlier_one_are_told() {
        let mut history = History::new(3);
        history.advance(40);
        let whole = history.documents();
        same(&mut history.clone(), whole.clone()).unwrap();
        for missing in 1..whole.len() {
            let mut part = whole.clone();
            part.remove(missing);
            assert!(same(&mut history.clone(), part).is_err());
            let mut old = whole.clone();
            old[missing].1 -= 1;
            assert!(same(&mut history.clone(), old).is_err());
        }
        let mut later = history.clone();
        later.advance(41);
        assert!(same(&mut later, whole).is_err(), "it goes back");
    }
}
