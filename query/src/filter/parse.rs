//! The grammar of filters, by recursive descent with a bounded depth:
//!
//! ```text
//! filter     = conjunction { "or" conjunction }
//! conjunction = unary { "and" unary }
//! unary      = "not" unary | primary
//! primary    = "(" filter ")" | ("all" | "any") "(" [ filter { "," filter } ] ")" | "exists" "(" field ")"
//!            | field compare value | field [ "not" ] "in" "(" [ value { "," value } ] ")"
//!            | field [ "not" ] "prefix" string
//!            | field [ "not" ] "contains" ( value | ( "any" | "all" ) "(" [ value { "," value } ] ")" )
//!            | "geo_radius" "(" field "," lat "," lon "," metres ")"
//!            | "geo_box" "(" field "," south "," west "," north "," east ")"
//!            | value order field [ order value ]
//! ```

use super::lexer::{Operator, Token, is_keyword, tokens};
use super::{Bounds, Filter, Limit, MAX_FILTER_DEPTH, Value};
use crate::error::QueryError;

const VALUE: &str = "a value (a string in quotes, a number, true or false)";
const CONDITION: &str = "a condition, such as field = \"value\"";

pub(super) fn parse(text: &str) -> Result<Filter, QueryError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
    };
    let filter = parser.disjunction()?;
    match parser.peek() {
        Token::End => Ok(filter),
        _ => Err(parser.error("`and`, `or` or the end of the filter")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn error(&self, expected: &str) -> QueryError {
        let column = self
            .tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |(column, _)| *column);
        QueryError::FilterSyntax {
            column,
            expected: expected.to_owned(),
            found: self.peek().describe(),
        }
    }

    fn at_word(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn eat_word(&mut self, keyword: &str) -> bool {
        let found = self.at_word(keyword);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token, expected: &str) -> Result<(), QueryError> {
        if self.peek() != token {
            return Err(self.error(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Runs `inner` one level deeper; the bound keeps every input off the end of the stack.
    fn deeper(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Filter, QueryError>,
    ) -> Result<Filter, QueryError> {
        if self.depth == MAX_FILTER_DEPTH {
            return Err(QueryError::FilterTooDeep {
                limit: MAX_FILTER_DEPTH,
            });
        }
        self.depth += 1;
        let filter = inner(self)?;
        self.depth -= 1;
        Ok(filter)
    }

    fn disjunction(&mut self) -> Result<Filter, QueryError> {
        let first = self.conjunction()?;
        if !self.at_word("or") {
            return Ok(first);
        }
        let mut filters = vec![first];
        while self.eat_word("or") {
            filters.push(self.conjunction()?);
        }
        Ok(Filter::Or(filters))
    }

    fn conjunction(&mut self) -> Result<Filter, QueryError> {
        let first = self.unary()?;
        if !self.at_word("and") {
            return Ok(first);
        }
        let mut filters = vec![first];
        while self.eat_word("and") {
            filters.push(self.unary()?);
        }
        Ok(Filter::And(filters))
    }

    fn unary(&mut self) -> Result<Filter, QueryError> {
        if self.eat_word("not") {
            return Ok(!self.deeper(Self::unary)?);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Filter, QueryError> {
        match self.peek().clone() {
            Token::Open => {
                self.at += 1;
                let filter = self.deeper(Self::disjunction)?;
                self.expect(&Token::Close, "`and`, `or` or the closing `)`")?;
                Ok(filter)
            }
            Token::Word(word) if word.eq_ignore_ascii_case("all") => self.function(Filter::And),
            Token::Word(word) if word.eq_ignore_ascii_case("any") => self.function(Filter::Or),
            Token::Word(word) if word.eq_ignore_ascii_case("exists") => {
                self.at += 1;
                self.expect(&Token::Open, "`(` and the field's name")?;
                let field = self.field()?;
                self.expect(&Token::Close, "the closing `)`")?;
                Ok(Filter::Exists { field })
            }
            Token::Word(word) if self.at_call() && word.eq_ignore_ascii_case("geo_radius") => {
                let (field, [lat, lon, metres]) = self.region()?;
                Ok(Filter::geo_radius(field, (lat, lon), metres))
            }
            Token::Word(word) if self.at_call() && word.eq_ignore_ascii_case("geo_box") => {
                let (field, [south, west, north, east]) = self.region()?;
                Ok(Filter::geo_box(field, (south, west), (north, east)))
            }
            Token::Word(word) if is_keyword(&word) && !is_bool(&word) => Err(self.error(CONDITION)),
            Token::Word(word) if !is_bool(&word) => self.comparison(),
            Token::Field(_) => self.comparison(),
            Token::Word(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) => self.flipped(),
            _ => Err(self.error(CONDITION)),
        }
    }

    /// `all(a, b)` or `any(a, b)`.
    fn function(&mut self, group: fn(Vec<Filter>) -> Filter) -> Result<Filter, QueryError> {
        self.at += 1;
        self.expect(&Token::Open, "`(` and conditions with commas between them")?;
        let mut filters = Vec::new();
        while *self.peek() != Token::Close {
            if !filters.is_empty() {
                self.expect(&Token::Comma, "`,` or the closing `)`")?;
            }
            filters.push(self.deeper(Self::disjunction)?);
        }
        self.at += 1;
        Ok(group(filters))
    }

    /// Whether a parenthesis follows the word, which is then no field.
    fn at_call(&self) -> bool {
        matches!(self.tokens.get(self.at + 1), Some((_, Token::Open)))
    }

    /// `geo_box(field, 1, 2, 3, 4)`.
    fn region<const N: usize>(&mut self) -> Result<(String, [f64; N]), QueryError> {
        self.at += 2;
        let field = self.field()?;
        let mut numbers = [0.0; N];
        for number in &mut numbers {
            self.expect(&Token::Comma, "`,` and a number")?;
            *number = match *self.peek() {
                #[expect(clippy::cast_precision_loss, reason = "degrees and metres are small")]
                Token::Int(n) => n as f64,
                Token::Float(x) => x,
                _ => return Err(self.error("a number, of degrees or metres")),
            };
            self.at += 1;
        }
        self.expect(&Token::Close, "the closing `)`")?;
        Ok((field, numbers))
    }

    fn field(&mut self) -> Result<String, QueryError> {
        match self.peek() {
            Token::Field(_) => {}
            Token::Word(word) if !is_keyword(word) => {}
            _ => return Err(self.error("a field's name (in backticks if it is a word of the language)")),
        }
        match self.next() {
            Token::Field(name) | Token::Word(name) => Ok(name),
            _ => Err(self.error("a field's name")),
        }
    }

    fn value(&mut self) -> Result<Value, QueryError> {
        let value = match self.peek() {
            Token::Str(s) => Value::Str(s.clone()),
            Token::Int(n) => Value::Int(*n),
            Token::Float(x) => Value::Float(*x),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            _ => return Err(self.error(VALUE)),
        };
        self.at += 1;
        Ok(value)
    }

    /// `field = value`, `field < value`, `field in (...)`, `field not in (...)`, `field prefix "a"`, `field contains 1`.
    fn comparison(&mut self) -> Result<Filter, QueryError> {
        let field = self.field()?;
        if self.eat_word("not") {
            let filter = self.membership(field)?;
            return match filter {
                Ok(filter) => Ok(!filter),
                Err(_) => Err(self.error("`in`, `contains` or `prefix` after `not`")),
            };
        }
        let field = match self.membership(field)? {
            Ok(filter) => return Ok(filter),
            Err(field) => field,
        };
        let Token::Operator(operator) = *self.peek() else {
            return Err(
                self.error("a comparison (=, !=, <, <=, >, >=, in, contains, prefix) after the field")
            );
        };
        self.at += 1;
        let value = self.value()?;
        Ok(match operator {
            Operator::Eq => Filter::Eq { field, value },
            Operator::Ne => !Filter::Eq { field, value },
            Operator::Lt => Filter::lt(field, value),
            Operator::Lte => Filter::lte(field, value),
            Operator::Gt => Filter::gt(field, value),
            Operator::Gte => Filter::gte(field, value),
        })
    }

    /// What `in`, `contains` or `prefix` says of a field; the field itself where none of them follows.
    fn membership(&mut self, field: String) -> Result<Result<Filter, String>, QueryError> {
        if self.eat_word("in") {
            return Ok(Ok(Filter::In {
                field,
                values: self.values()?,
            }));
        }
        if self.eat_word("prefix") {
            let Token::Str(prefix) = self.peek().clone() else {
                return Err(self.error("a string in quotes, with which the field begins"));
            };
            self.at += 1;
            return Ok(Ok(Filter::Prefix { field, prefix }));
        }
        if self.eat_word("contains") {
            if self.eat_word("any") {
                return Ok(Ok(Filter::contains_any(field, self.values()?)));
            }
            if self.eat_word("all") {
                return Ok(Ok(Filter::contains_all(field, self.values()?)));
            }
            return Ok(Ok(Filter::contains(field, self.value()?)));
        }
        Ok(Err(field))
    }

    fn values(&mut self) -> Result<Vec<Value>, QueryError> {
        self.expect(&Token::Open, "`(` and values with commas between them")?;
        let mut values = Vec::new();
        while *self.peek() != Token::Close {
            if !values.is_empty() {
                self.expect(&Token::Comma, "`,` or the closing `)`")?;
            }
            values.push(self.value()?);
        }
        self.at += 1;
        Ok(values)
    }

    /// `2000 <= year`, and with both bounds `2000 <= year < 2010`.
    fn flipped(&mut self) -> Result<Filter, QueryError> {
        let value = self.value()?;
        let first = self.order()?;
        let field = self.field()?;
        let limit = Limit {
            value,
            inclusive: matches!(first, Operator::Lte | Operator::Gte),
        };
        let rising = matches!(first, Operator::Lt | Operator::Lte);
        if !matches!(self.peek(), Token::Operator(_)) {
            let bounds = if rising {
                Bounds::Lower(limit)
            } else {
                Bounds::Upper(limit)
            };
            return Ok(Filter::Range { field, bounds });
        }
        let second_at = self.at;
        let second = self.order()?;
        if matches!(second, Operator::Lt | Operator::Lte) != rising {
            self.at = second_at;
            return Err(self.error("a comparison that points the same way as the first"));
        }
        let other = Limit {
            value: self.value()?,
            inclusive: matches!(second, Operator::Lte | Operator::Gte),
        };
        let bounds = if rising {
            Bounds::Both(limit, other)
        } else {
            Bounds::Both(other, limit)
        };
        Ok(Filter::Range { field, bounds })
    }

    fn order(&mut self) -> Result<Operator, QueryError> {
        match *self.peek() {
            Token::Operator(op) if !matches!(op, Operator::Eq | Operator::Ne) => {
                self.at += 1;
                Ok(op)
            }
            _ => Err(self.error("<, <=, > or >= between a value and a field")),
        }
    }
}

fn is_bool(word: &str) -> bool {
    word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(text: &str) -> (usize, String, String) {
        match Filter::parse(text) {
            Err(QueryError::FilterSyntax {
                column,
                expected,
                found,
            }) => (column, expected, found),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn the_example_of_the_docs() {
        let text = r#"section = "python" and installed_kib >= 100 and (tags in ("a", "b") or not priority = "extra")"#;
        let built = Filter::all([
            Filter::eq("section", "python"),
            Filter::range("installed_kib", 100..),
            Filter::any([
                Filter::is_in("tags", ["a", "b"]),
                !Filter::eq("priority", "extra"),
            ]),
        ]);
        assert_eq!(Filter::parse(text).unwrap(), built);
        assert_eq!(built.to_string(), text);
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_tightest() {
        let filter = Filter::parse("a = 1 or b = 2 AND Not c = 3").unwrap();
        let expected = Filter::any([
            Filter::eq("a", 1),
            Filter::all([Filter::eq("b", 2), !Filter::eq("c", 3)]),
        ]);
        assert_eq!(filter, expected);
    }

    #[test]
    fn other_spellings() {
        assert_eq!(Filter::parse("a != 1").unwrap(), !Filter::eq("a", 1));
        assert_eq!(Filter::parse("a <> 1").unwrap(), !Filter::eq("a", 1));
        assert_eq!(Filter::parse("a not in (1)").unwrap(), !Filter::is_in("a", [1]));
        assert_eq!(Filter::parse("a == 'it''s'").unwrap(), Filter::eq("a", "it's"));
        assert_eq!(
            Filter::parse("1 < a <= 5").unwrap(),
            Filter::parse("5 >= a > 1").unwrap()
        );
        assert_eq!(Filter::parse("2.5 <= a").unwrap(), Filter::gte("a", 2.5));
        assert_eq!(Filter::parse("`in` = true").unwrap(), Filter::eq("in", true));
        assert_eq!(Filter::parse("a = -1e3").unwrap(), Filter::eq("a", -1000.0));
        assert_eq!(Filter::parse("a contains 1").unwrap(), Filter::eq("a", 1));
        assert_eq!(
            Filter::parse("a contains any (1, 2)").unwrap(),
            Filter::is_in("a", [1, 2])
        );
        assert_eq!(
            Filter::parse("a not contains ALL (1, 2)").unwrap(),
            !Filter::all([Filter::eq("a", 1), Filter::eq("a", 2)])
        );
        assert_eq!(
            Filter::parse("a not prefix 'x'").unwrap(),
            !Filter::prefix("a", "x")
        );
        assert_eq!(
            Filter::parse("Geo_Radius(a, 1, -2.5, 3e3)").unwrap(),
            Filter::geo_radius("a", (1.0, -2.5), 3000.0)
        );
        // Words that only mean something behind a field or before a parenthesis are fields elsewhere.
        assert_eq!(
            Filter::parse("contains = 1 and prefix = 2 and geo_box = 3").unwrap(),
            Filter::all([
                Filter::eq("contains", 1),
                Filter::eq("prefix", 2),
                Filter::eq("geo_box", 3),
            ])
        );
    }

    #[test]
    fn errors_give_the_column_and_what_was_expected() {
        let (column, expected, found) = failure("section = ");
        assert_eq!((column, found.as_str()), (11, "the end of the filter"));
        assert!(expected.contains("a value"), "{expected}");
        let (column, expected, _) = failure("a = 1 b = 2");
        assert_eq!(column, 7);
        assert!(expected.contains("`and`"), "{expected}");
        assert_eq!(failure("a = \"open").0, 10);
        assert_eq!(failure("é = 1 and").0, 10);
        assert_eq!(failure("a ! 1").0, 3);
        assert_eq!(failure("a in (1 2)").0, 9);
        assert_eq!(failure("a = 99999999999999999999").0, 5);
        assert_eq!(failure("a = 1x").0, 5);
        assert_eq!(failure("1 < a > 0").0, 7);
        assert_eq!(failure("").0, 1);
        assert_eq!(failure("and").0, 1);
        assert_eq!(failure("a = 1)").0, 6);
        assert_eq!(failure("a = ;").0, 5);
        assert_eq!(failure("a prefix 1").0, 10);
        assert_eq!(failure("a contains").0, 11);
        assert_eq!(failure("a not = 1").0, 7);
        assert_eq!(failure("geo_radius(a, 1, 2)").0, 19);
        assert_eq!(failure("geo_box(a, 1, \"x\", 2, 3)").0, 15);
    }

    #[test]
    fn no_nesting_overflows_the_stack() {
        for text in [
            "(".repeat(100_000),
            "not ".repeat(100_000),
            "all(".repeat(100_000),
        ] {
            assert!(matches!(
                Filter::parse(&text),
                Err(QueryError::FilterTooDeep { .. })
            ));
        }
        let deep = format!(
            "{}a = 1{}",
            "(".repeat(MAX_FILTER_DEPTH),
            ")".repeat(MAX_FILTER_DEPTH)
        );
        assert_eq!(Filter::parse(&deep).unwrap(), Filter::eq("a", 1));
        let long = vec!["a = 1"; 100_000].join(" and ");
        assert!(matches!(Filter::parse(&long), Ok(Filter::And(all)) if all.len() == 100_000));
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>()
                .prop_filter("finite", |x| x.is_finite())
                .prop_map(Value::Float),
            any::<String>().prop_map(Value::Str),
        ]
    }

    fn limit() -> impl Strategy<Value = Limit> {
        (value(), any::<bool>()).prop_map(|(value, inclusive)| Limit { value, inclusive })
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let field = prop_oneof![
            "[a-z_]{1,8}",
            "(and|or|not|in|all|any|true|exists)",
            any::<String>()
        ];
        let bounds = prop_oneof![
            limit().prop_map(Bounds::Lower),
            limit().prop_map(Bounds::Upper),
            (limit(), limit()).prop_map(|(a, b)| Bounds::Both(a, b)),
        ];
        let leaf = prop_oneof![
            (field.clone(), value()).prop_map(|(field, value)| Filter::Eq { field, value }),
            (field.clone(), prop::collection::vec(value(), 0..4))
                .prop_map(|(field, values)| Filter::In { field, values }),
            (field.clone(), bounds).prop_map(|(field, bounds)| Filter::Range { field, bounds }),
            (field.clone(), any::<String>()).prop_map(|(field, prefix)| Filter::prefix(field, prefix)),
            (field.clone(), -90.0..=90.0, -180.0..=180.0, 0.0..1e7)
                .prop_map(|(field, lat, lon, metres)| Filter::geo_radius(field, (lat, lon), metres)),
            (
                field.clone(),
                -90.0..=90.0,
                -180.0..=180.0,
                -90.0..=90.0,
                -180.0..=180.0
            )
                .prop_map(|(field, south, west, north, east)| Filter::geo_box(
                    field,
                    (south, west),
                    (north, east)
                )),
            field.prop_map(|field| Filter::Exists { field }),
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
                inner.prop_map(|f| !f),
            ]
        })
    }

    proptest! {
        #[test]
        fn display_is_read_back_as_the_same_filter(filter in filter()) {
            let text = filter.to_string();
            prop_assert_eq!(Filter::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?, filter);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            drop(Filter::parse(&text));
        }

        #[test]
        fn no_soup_of_words_panics(words in prop::collection::vec("(a|and|or|not|in|\\(|\\)|,|<|=|1|\"x\"|true|all|any|exists|contains|prefix|geo_box|geo_radius|`b`)", 0..20)) {
            drop(Filter::parse(&words.join(" ")));
        }
    }
}
