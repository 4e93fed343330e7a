//! Which words of a document a query's tokens matched, in the colours of a terminal, as plain text, or as a page.

use std::fmt::Write;

use super::svg::escaped;
use crate::HitExplanation;

/// Backgrounds of the 256 colours of a terminal, from little heat to much.
const HEATS: [u8; 5] = [230, 222, 215, 208, 202];

/// A document's token with what it gives to the score.
struct Warm {
    name: String,
    /// The sum of the matches that end here.
    score: f32,
    /// From 0 to 1: the score beside the greatest.
    heat: f32,
}

/// The matches of a query's tokens, and what of the score comes from each token of the document.
pub(super) struct HeatMap {
    /// Query token, document token, score.
    matches: Vec<(String, String, f32)>,
    document: Vec<Warm>,
    score: f32,
}

// Writing to a string does not fail, so the results of `write!` are not looked at.
impl HeatMap {
    /// `None` where no tokens were matched.
    pub(super) fn of(explanation: &HitExplanation) -> Option<Self> {
        let alignment = explanation.path.alignment.as_ref()?;
        let name = |names: &Option<Vec<String>>, at: usize| {
            let name = names.as_ref().and_then(|names| names.get(at)).cloned();
            name.unwrap_or_else(|| format!("#{at}"))
        };
        let mut scores = vec![0.0_f32; alignment.document_tokens];
        let mut matches = Vec::with_capacity(alignment.matches.len());
        for one in &alignment.matches {
            if let Some(score) = scores.get_mut(one.document_token) {
                *score += one.score;
            }
            let query = name(&explanation.query_tokens, one.query_token);
            let document = name(&explanation.document_tokens, one.document_token);
            matches.push((query, document, one.score));
        }
        let most = scores.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let warm = |(at, score): (usize, f32)| Warm {
            name: name(&explanation.document_tokens, at),
            score,
            heat: (score / most).clamp(0.0, 1.0),
        };
        Some(Self {
            matches,
            document: scores.into_iter().enumerate().map(warm).collect(),
            score: alignment.score,
        })
    }

    /// With colours, or with what each token gives to the score in brackets behind it.
    pub(super) fn text(&self, coloured: bool) -> String {
        let mut text = format!("MaxSim {:.4}: the sum of\n", self.score);
        for (query, document, score) in &self.matches {
            let (query, document) = (printable(query), printable(document));
            let _ = writeln!(text, "  {score:>8.4}  {query:<16} {document}");
        }
        text.push_str("what each token of the document gives\n ");
        for token in &self.document {
            let name = printable(&token.name);
            let _ = match (token.score > 0.0, coloured) {
                (true, true) => write!(text, " \x1b[30;48;5;{}m{name}\x1b[0m", colour(token.heat)),
                (true, false) => write!(text, " {name}[{:.2}]", token.score),
                (false, _) => write!(text, " {name}"),
            };
        }
        text.push('\n');
        text
    }

    fn html(&self) -> String {
        let mut html = String::from("<p>");
        for token in &self.document {
            let (name, score) = (escaped(&token.name), token.score);
            let heat = token.heat;
            let _ = writeln!(
                html,
                "<span title=\"{score:.4}\" style=\"background:rgba(234,88,12,{heat:.3})\">{name}</span>"
            );
        }
        let _ = writeln!(html, "</p>\n<table><caption>MaxSim {:.4}</caption>", self.score);
        html.push_str("<tr><th>query</th><th>document</th><th>score</th></tr>\n");
        for (query, document, score) in &self.matches {
            let (query, document) = (escaped(query), escaped(document));
            let _ = writeln!(
                html,
                "<tr><td>{query}</td><td>{document}</td><td>{score:.4}</td></tr>"
            );
        }
        html.push_str("</table>\n");
        html
    }
}

/// A page of its own, without scripts and without anything to load; also well-formed XML.
pub(super) fn page(query: &str, id: &str, stages: &str, map: Option<&HeatMap>) -> String {
    let (query, id, stages) = (escaped(query), escaped(id), escaped(stages));
    let map = map.map_or_else(|| "<p>No tokens were matched.</p>\n".to_owned(), HeatMap::html);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>{id}: {query}</title>\n\
         <style>body{{font:15px sans-serif;max-width:60em;margin:2em auto}}span{{padding:0 .15em}}\
         td,th{{text-align:left;padding-right:2em}}caption{{text-align:left;font-weight:bold}}</style></head>\n\
         <body><h1>{query}</h1>\n<pre>{stages}</pre>\n{map}</body></html>\n"
    )
}

fn colour(heat: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to the number of colours")]
    #[expect(clippy::cast_sign_loss, reason = "heat is not negative")]
    let at = (heat * HEATS.len() as f32) as usize;
    HEATS[at.min(HEATS.len() - 1)]
}

/// A token without what a terminal would obey.
fn printable(token: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    token.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_tokens_command_none() {
        let warm = |name: &str, score: f32| Warm {
            name: name.to_owned(),
            score,
            heat: score,
        };
        let map = HeatMap {
            matches: vec![("q\x1b[2J".to_owned(), "owl".to_owned(), 1.0)],
            document: vec![warm("owl", 1.0), warm("the", 0.0)],
            score: 1.0,
        };
        assert!(map.text(true).contains("\x1b[30;48;5;202mowl\x1b[0m the"));
        let plain = map.text(false);
        assert!(
            plain.contains("owl[1.00] the") && !plain.contains('\x1b'),
            "{plain}"
        );
    }
}
