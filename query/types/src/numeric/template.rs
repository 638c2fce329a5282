//! Template patterns of numbers (`NUMDesc_prepare` of `formatting.c`).

use crate::template;
use crate::{Error, ErrorKind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Comma,
    /// `.` and D
    Point,
    Zero,
    Nine,
    /// B
    Blank,
    Scientific,
    Fill,
    /// G
    Group,
    /// L
    Currency,
    Minus,
    Plus,
    /// PR
    Bracket,
    Roman {
        upper: bool,
    },
    /// SG
    PlusMinus,
    /// S
    Sign,
    Ordinal {
        upper: bool,
    },
    /// V
    Multiply,
    /// C and SP, which print nothing.
    Nothing,
}

/// In capitals, the longer before its prefix; lower case means the same but for RN and TH.
const PATTERNS: [(&str, Key); 20] = [
    (",", Key::Comma),
    (".", Key::Point),
    ("0", Key::Zero),
    ("9", Key::Nine),
    ("B", Key::Blank),
    ("C", Key::Nothing),
    ("D", Key::Point),
    ("EEEE", Key::Scientific),
    ("FM", Key::Fill),
    ("G", Key::Group),
    ("L", Key::Currency),
    ("MI", Key::Minus),
    ("PL", Key::Plus),
    ("PR", Key::Bracket),
    ("RN", Key::Roman { upper: true }),
    ("SG", Key::PlusMinus),
    ("SP", Key::Nothing),
    ("S", Key::Sign),
    ("TH", Key::Ordinal { upper: true }),
    ("V", Key::Multiply),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Key(Key),
    Char(char),
}

/// Where S stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignSide {
    Before,
    After,
}

/// What the patterns together say.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// Digits before the point.
    pub pre: i64,
    /// Digits after the point.
    pub post: i64,
    /// Digits after V.
    pub multi: i64,
    /// Where zeros start and end, counted from 1.
    pub zero_start: i64,
    pub zero_end: i64,
    pub sign_side: Option<SignSide>,
    /// Digits before the S.
    pub pre_sign: i64,
    pub point: bool,
    pub zero: bool,
    pub blank: bool,
    pub fill: bool,
    pub sign: bool,
    pub bracket: bool,
    pub minus: bool,
    pub plus: bool,
    pub roman: bool,
    pub multiply: bool,
    pub scientific: bool,
}

fn syntax(message: &str) -> Error {
    Error::new(ErrorKind::SyntaxError, message)
}

impl Shape {
    fn check(fault: bool, message: &str) -> Result<()> {
        if fault { Err(syntax(message)) } else { Ok(()) }
    }

    fn add(&mut self, key: Key) -> Result<()> {
        Shape::check(self.scientific && key != Key::Scientific, "\"EEEE\" must be the last pattern used")?;
        match key {
            Key::Nine => {
                Shape::check(self.bracket, "\"9\" must be ahead of \"PR\"")?;
                if self.multiply {
                    self.multi += 1;
                } else if self.point {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
            }
            Key::Zero => {
                Shape::check(self.bracket, "\"0\" must be ahead of \"PR\"")?;
                if !self.zero && !self.point {
                    self.zero = true;
                    self.zero_start = self.pre + 1;
                }
                if self.point {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
                self.zero_end = self.pre + self.post;
            }
            Key::Blank => self.blank |= self.pre == 0 && self.post == 0 && !self.zero,
            Key::Point => {
                Shape::check(self.point, "multiple decimal points")?;
                Shape::check(self.multiply, "cannot use \"V\" and decimal point together")?;
                self.point = true;
            }
            Key::Fill => self.fill = true,
            Key::Sign => {
                Shape::check(self.sign, "cannot use \"S\" twice")?;
                Shape::check(
                    self.plus || self.minus || self.bracket,
                    "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together",
                )?;
                self.sign = true;
                self.sign_side = Some(if self.point {
                    SignSide::After
                } else {
                    self.pre_sign = self.pre;
                    SignSide::Before
                });
            }
            Key::Minus => {
                Shape::check(self.sign, "cannot use \"S\" and \"MI\" together")?;
                self.minus = true;
            }
            Key::Plus => {
                Shape::check(self.sign, "cannot use \"S\" and \"PL\" together")?;
                self.plus = true;
            }
            Key::PlusMinus => {
                Shape::check(self.sign, "cannot use \"S\" and \"SG\" together")?;
                self.minus = true;
                self.plus = true;
            }
            Key::Bracket => {
                Shape::check(
                    self.sign || self.plus || self.minus,
                    "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together",
                )?;
                self.bracket = true;
            }
            Key::Roman { .. } => self.roman = true,
            Key::Multiply => {
                Shape::check(self.point, "cannot use \"V\" and decimal point together")?;
                self.multiply = true;
            }
            Key::Scientific => {
                Shape::check(self.scientific, "cannot use \"EEEE\" twice")?;
                let other = self.blank
                    || self.fill
                    || self.sign
                    || self.bracket
                    || self.minus
                    || self.plus
                    || self.roman
                    || self.multiply;
                if other {
                    return Err(syntax("\"EEEE\" is incompatible with other formats")
                        .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.scientific = true;
            }
            Key::Comma | Key::Group | Key::Currency | Key::Ordinal { .. } | Key::Nothing => {}
        }
        Ok(())
    }
}

fn pattern(text: &str) -> Option<(Key, usize)> {
    let (key, written, upper) = template::pattern(&PATTERNS, text)?;
    let key = match key {
        Key::Roman { .. } => Key::Roman { upper },
        Key::Ordinal { .. } => Key::Ordinal { upper },
        other => other,
    };
    Some((key, written.len()))
}

/// Takes a template apart.
///
/// # Errors
/// 42601 for patterns that do not go together.
pub(super) fn parse(text: &str) -> Result<(Shape, Vec<Node>)> {
    let mut shape = Shape::default();
    let mut nodes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((key, length)) = pattern(rest) {
            shape.add(key)?;
            nodes.push(Node::Key(key));
            rest = &rest[length..];
            continue;
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') => template::quoted(&mut chars, |c| nodes.push(Node::Char(c))),
            Some('\\') if chars.as_str().starts_with('"') => {
                chars.next();
                nodes.push(Node::Char('"'));
            }
            Some(c) => nodes.push(Node::Char(c)),
            None => {}
        }
        rest = chars.as_str();
    }
    Ok((shape, nodes))
}
