//! Reading a lexical query.
//!
//! ```text
//! query  = clause { [ "OR" ] clause }
//! clause = [ "+" | "-" ] all
//! all    = unit { "AND" unit }
//! unit   = [ "NOT" ] ( "(" query ")" | '"' phrase '"' | word )
//! ```

use super::MAX_LEXICAL_DEPTH;
use super::syntax::{Clauses, Node};
use crate::error::QueryError;

/// Reads a whole query.
pub(super) fn parse(text: &str) -> Result<Node, QueryError> {
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        depth: 0,
    };
    let node = parser.query()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.expected("a word, a phrase or the end")),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

#[derive(PartialEq)]
enum Keyword {
    And,
    Or,
    Not,
}

impl Parser {
    fn query(&mut self) -> Result<Node, QueryError> {
        let start = self.at;
        let mut clauses = Clauses::default();
        loop {
            match self.peek() {
                None | Some(')') => break,
                _ => self.clause(&mut clauses)?,
            }
            if self.keyword(&Keyword::Or) && matches!(self.peek(), None | Some(')')) {
                return Err(self.expected("a word or a phrase after OR"));
            }
        }
        if clauses.must.is_empty() && clauses.should.is_empty() {
            let expected = if clauses.not.is_empty() {
                "a word or a phrase"
            } else {
                "a word or a phrase that is not excluded, as what only excludes finds nothing to rank"
            };
            self.at = if clauses.not.is_empty() { self.at } else { start };
            return Err(self.expected(expected));
        }
        if let ([], [_], []) = (&*clauses.must, &*clauses.should, &*clauses.not)
            && let Some(only) = clauses.should.pop()
        {
            return Ok(only);
        }
        Ok(Node::Boolean(clauses))
    }

    fn clause(&mut self, clauses: &mut Clauses) -> Result<(), QueryError> {
        let mark = self.peek().filter(|c| matches!(c, '+' | '-'));
        if mark.is_some() {
            self.at += 1;
            if self.chars.get(self.at).is_none_or(|c| c.is_whitespace()) {
                return Err(self.expected("a word, a phrase or a parenthesis right after + or -"));
            }
        }
        let start = self.at;
        let mut all = Clauses::default();
        loop {
            let not = self.keyword(&Keyword::Not);
            let node = self.unit()?;
            if not { &mut all.not } else { &mut all.must }.push(node);
            if !self.keyword(&Keyword::And) {
                break;
            }
        }
        let excluded = mark == Some('-');
        let node = match (all.must.len(), all.not.len()) {
            (1, 0) => all.must.pop(),
            (0, 1) if !excluded => {
                clauses.not.extend(all.not);
                return Ok(());
            }
            (0, _) => {
                self.at = start;
                return Err(self.expected("a word or a phrase beside what NOT excludes"));
            }
            _ => Some(Node::Boolean(all)),
        };
        let to = match mark {
            Some('+') => &mut clauses.must,
            Some(_) => &mut clauses.not,
            None => &mut clauses.should,
        };
        to.extend(node);
        Ok(())
    }

    fn unit(&mut self) -> Result<Node, QueryError> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_LEXICAL_DEPTH {
                    return Err(self.expected(&format!("at most {MAX_LEXICAL_DEPTH} levels of parentheses")));
                }
                let node = self.query()?;
                if self.peek() != Some(')') {
                    return Err(self.expected("`)`"));
                }
                self.at += 1;
                self.depth -= 1;
                Ok(node)
            }
            Some('"') => {
                self.at += 1;
                let start = self.at;
                while self.chars.get(self.at).is_some_and(|c| *c != '"') {
                    self.at += 1;
                }
                if self.at == self.chars.len() {
                    return Err(self.expected("`\"` at the end of the phrase"));
                }
                let phrase: String = self.chars[start..self.at].iter().collect();
                self.at += 1;
                Ok(Node::Phrase(phrase))
            }
            None | Some(')') => Err(self.expected("a word or a phrase")),
            Some(_) => {
                let start = self.at;
                let word = self.word();
                if matches!(word.as_str(), "AND" | "OR") {
                    self.at = start;
                    return Err(self.expected("a word or a phrase"));
                }
                Ok(Node::Phrase(word))
            }
        }
    }

    /// The characters up to white space, a parenthesis or a quotation mark.
    fn word(&mut self) -> String {
        let start = self.at;
        let inside = |c: &char| !c.is_whitespace() && !matches!(c, '(' | ')' | '"');
        while self.chars.get(self.at).is_some_and(inside) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// Takes a keyword, if it stands here.
    fn keyword(&mut self, keyword: &Keyword) -> bool {
        self.peek();
        let start = self.at;
        let found = match self.word().as_str() {
            "AND" => Some(Keyword::And),
            "OR" => Some(Keyword::Or),
            "NOT" => Some(Keyword::Not),
            _ => None,
        };
        if found.as_ref() == Some(keyword) {
            return true;
        }
        self.at = start;
        false
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn expected(&mut self, expected: &str) -> QueryError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(_) => {
                let rest: String = self.chars[self.at..].iter().take(12).collect();
                format!("`{rest}`")
            }
        };
        QueryError::LexicalSyntax {
            column: self.at + 1,
            expected: expected.to_owned(),
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LexicalQuery;
    use crate::error::QueryError;

    fn shown(text: &str) -> String {
        LexicalQuery::parse(text).unwrap().to_string()
    }

    #[test]
    fn words_phrases_and_operators_are_read() {
        for (text, expected) in [
            ("owl", "\"owl\""),
            ("owl bird", "\"owl\" \"bird\""),
            ("owl OR bird", "\"owl\" \"bird\""),
            ("\"night owl\" -day", "\"night owl\" -\"day\""),
            ("+owl bird", "+\"owl\" \"bird\""),
            ("owl AND bird", "(+\"owl\" +\"bird\")"),
            ("owl AND NOT day", "(+\"owl\" -\"day\")"),
            ("NOT day owl", "\"owl\" -\"day\""),
            ("+(owl hawk) -\"by day\"", "+(\"owl\" \"hawk\") -\"by day\""),
            ("(owl OR hawk) AND night", "(+(\"owl\" \"hawk\") +\"night\")"),
            ("node.js c++ and", "\"node.js\" \"c++\" \"and\""),
        ] {
            let shown = shown(text);
            assert!(
                shown == expected || shown == expected.trim_matches(['(', ')']),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        for text in [
            "owl bird",
            "+a b -c",
            "(a AND b) OR \"c d\" AND NOT e",
            "+(a (b -c))",
        ] {
            let query = LexicalQuery::parse(text).unwrap();
            assert_eq!(LexicalQuery::parse(&query.to_string()).unwrap(), query, "{text}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, at, what) in [
            ("", 1, "a word"),
            ("  ", 3, "a word"),
            ("owl \"night", 11, "end of the phrase"),
            ("(owl", 5, "`)`"),
            ("owl)", 4, "the end"),
            ("owl AND", 8, "a word"),
            ("OR owl", 1, "a word"),
            ("owl OR", 7, "after OR"),
            ("-day", 1, "not excluded"),
            ("owl + bird", 7, "right after"),
            ("()", 2, "a word"),
            ("-NOT day owl", 2, "beside what NOT excludes"),
        ] {
            let error = LexicalQuery::parse(text).unwrap_err();
            let QueryError::LexicalSyntax { column, expected, .. } = &error else {
                panic!("{error}")
            };
            assert!(*column == at && expected.contains(what), "{text}: {error}");
        }
        let deep = "(".repeat(100_000) + "a";
        assert!(LexicalQuery::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c\"()+\\- ANDORT]{0,60}") {
            if let Ok(query) = LexicalQuery::parse(&text) {
                prop_assert_eq!(LexicalQuery::parse(&query.to_string()).unwrap(), query);
            }
        }
    }
}
