//! The words of a filter's text.

use crate::error::QueryError;

/// One word of a filter, without its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare word: a field or a keyword.
    Word(String),
    /// A field in backticks.
    Field(String),
    /// A string in quotes.
    Str(String),
    Int(i64),
    Float(f64),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Operator(Operator),
    Open,
    Close,
    Comma,
    End,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Operator {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Lte => "<=",
            Self::Gt => ">",
            Self::Gte => ">=",
        }
    }
}

impl Token {
    /// How messages name the token.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(w) => format!("`{w}`"),
            Self::Field(name) => format!("the field `{name}`"),
            Self::Str(s) => format!("the string {s:?}"),
            Self::Int(n) => format!("the number {n}"),
            Self::Float(x) => format!("the number {x:?}"),
            Self::Operator(op) => format!("`{}`", op.name()),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::End => "the end of the filter".to_owned(),
        }
    }
}

/// Words with a meaning of their own, in any case; as a field's name they need backticks.
pub(super) fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "in", "exists", "all", "any", "true", "false"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// Whether the text is one bare word.
pub(super) fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(starts_word) && chars.all(continues_word)
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Cuts a filter's text into tokens, each with its column (in characters, from 1); the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, QueryError> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut out = Vec::new();
    loop {
        lexer.skip_space();
        let column = lexer.at + 1;
        let token = lexer.token()?;
        let end = token == Token::End;
        out.push((column, token));
        if end {
            return Ok(out);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn error(&self, column: usize, expected: &str) -> QueryError {
        let found = self
            .chars
            .get(column - 1)
            .map_or("the end of the filter".to_owned(), |c| format!("`{c}`"));
        QueryError::FilterSyntax {
            column,
            expected: expected.to_owned(),
            found,
        }
    }

    fn token(&mut self) -> Result<Token, QueryError> {
        let start = self.at;
        let Some(c) = self.peek() else {
            return Ok(Token::End);
        };
        match c {
            '(' => self.single(Token::Open),
            ')' => self.single(Token::Close),
            ',' => self.single(Token::Comma),
            '"' => self.double_quoted(),
            '\'' => Ok(Token::Str(
                self.doubled('\'', "the closing quote `'` of a string")?,
            )),
            '`' => Ok(Token::Field(
                self.doubled('`', "the closing backtick of a field's name")?,
            )),
            '=' | '!' | '<' | '>' => self.operator(),
            c if c.is_ascii_digit() || c == '-' || c == '+' || c == '.' => self.number(),
            c if starts_word(c) => {
                while self.peek().is_some_and(continues_word) {
                    self.at += 1;
                }
                Ok(Token::Word(self.chars[start..self.at].iter().collect()))
            }
            _ => Err(self.error(start + 1, "a field, a value, a comparison or a parenthesis")),
        }
    }

    fn single(&mut self, token: Token) -> Result<Token, QueryError> {
        self.at += 1;
        Ok(token)
    }

    fn operator(&mut self) -> Result<Token, QueryError> {
        let column = self.at + 1;
        let operator = match self.next() {
            Some('=') => {
                self.eat('=');
                Operator::Eq
            }
            Some('!') if self.eat('=') => Operator::Ne,
            Some('<') if self.eat('=') => Operator::Lte,
            Some('<') if self.eat('>') => Operator::Ne,
            Some('<') => Operator::Lt,
            Some('>') if self.eat('=') => Operator::Gte,
            Some('>') => Operator::Gt,
            _ => return Err(self.error(column, "a comparison (=, !=, <, <=, >, >=) or the word `not`")),
        };
        Ok(Token::Operator(operator))
    }

    fn number(&mut self) -> Result<Token, QueryError> {
        let start = self.at;
        let mut exponent = false;
        while let Some(c) = self.peek() {
            let sign = matches!(c, '-' | '+') && (self.at == start || exponent);
            if !(c.is_ascii_alphanumeric() || c == '.' || sign) {
                break;
            }
            exponent = matches!(c, 'e' | 'E');
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        if let Ok(n) = text.parse::<i64>() {
            return Ok(Token::Int(n));
        }
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() && !text.chars().all(|c| c.is_ascii_digit() || c == '-' || c == '+') => {
                Ok(Token::Float(x))
            }
            _ => Err(QueryError::FilterSyntax {
                column: start + 1,
                expected: "a 64-bit integer or a finite number".to_owned(),
                found: format!("`{text}`"),
            }),
        }
    }

    /// A string in double quotes, with the escapes \" \\ \/ \n \t \r.
    fn double_quoted(&mut self) -> Result<Token, QueryError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let column = self.at + 1;
            match self.next() {
                Some('"') => return Ok(Token::Str(out)),
                Some('\\') => out.push(match self.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c @ ('"' | '\\' | '/')) => c,
                    _ => return Err(self.error(column + 1, "an escape: \\\" \\\\ \\/ \\n \\t or \\r")),
                }),
                Some(c) => out.push(c),
                None => return Err(self.error(column, "the closing quote `\"` of a string")),
            }
        }
    }

    /// Text up to a closing mark, in which the mark is written twice.
    fn doubled(&mut self, mark: char, expected: &str) -> Result<String, QueryError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let column = self.at + 1;
            match self.next() {
                Some(c) if c == mark && !self.eat(mark) => return Ok(out),
                Some(c) => out.push(c),
                None => return Err(self.error(column, expected)),
            }
        }
    }
}
