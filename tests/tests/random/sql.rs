//! Statements as trees that know where they can be made smaller.

/// A piece of a statement.
#[derive(Debug, Clone)]
pub enum Sql {
    /// As it is.
    Text(String),
    /// A constant of a type; a parameter where the statement is prepared.
    Constant {
        /// Its text.
        text: &'static str,
        /// Name of its type.
        ty: &'static str,
    },
    /// One after the other.
    All(Vec<Sql>),
    /// Something that a smaller statement does without.
    Maybe(Box<Sql>),
    /// Something for which smaller things may stand.
    Or(Box<Sql>, Vec<Sql>),
}

/// Text as a piece.
pub fn text(text: impl Into<String>) -> Sql {
    Sql::Text(text.into())
}

/// A template with its `{}` filled in.
pub fn fill(template: &str, parts: Vec<Sql>) -> Sql {
    let mut parts = parts.into_iter();
    let mut all = Vec::new();
    for (at, words) in template.split("{}").enumerate() {
        if at > 0 {
            all.push(parts.next().unwrap_or_else(|| panic!("too few parts for {template}")));
        }
        all.push(text(words));
    }
    assert!(parts.next().is_none(), "too many parts for {template}");
    Sql::All(all)
}

/// Pieces with commas between them.
pub fn list(parts: Vec<Sql>) -> Sql {
    let mut all = Vec::new();
    for part in parts {
        if !all.is_empty() {
            all.push(text(", "));
        }
        all.push(part);
    }
    Sql::All(all)
}

/// A part of the statement that may go.
pub fn maybe(sql: Sql) -> Sql {
    Sql::Maybe(Box::new(sql))
}

/// Nothing.
pub fn nothing() -> Sql {
    Sql::All(Vec::new())
}

impl Sql {
    /// As text, with constants in place.
    pub fn simple(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &mut |text, ty, out| out.push_str(&format!("{}::{ty}", quoted(text))));
        out
    }

    /// As text with some constants as parameters; their texts.
    pub fn prepared(&self, mut choose: impl FnMut() -> bool) -> (String, Vec<&'static str>) {
        let (mut out, mut values) = (String::new(), Vec::new());
        self.write(&mut out, &mut |text, ty, out| {
            if choose() {
                values.push(text);
                out.push_str(&format!("(${}::{ty})", values.len()));
            } else {
                out.push_str(&format!("{}::{ty}", quoted(text)));
            }
        });
        (out, values)
    }

    fn write(&self, out: &mut String, constant: &mut impl FnMut(&'static str, &'static str, &mut String)) {
        match self {
            Sql::Text(text) => out.push_str(text),
            Sql::Constant { text, ty } => constant(text, ty, out),
            Sql::All(parts) => parts.iter().for_each(|part| part.write(out, constant)),
            Sql::Maybe(inner) | Sql::Or(inner, _) => inner.write(out, constant),
        }
    }

    /// How many ways there are to make it smaller by one step.
    pub fn steps(&self) -> usize {
        match self {
            Sql::Text(_) | Sql::Constant { .. } => 0,
            Sql::All(parts) => parts.iter().map(Sql::steps).sum(),
            Sql::Maybe(inner) => 1 + inner.steps(),
            Sql::Or(inner, others) => others.len() + inner.steps(),
        }
    }

    /// Smaller by one of the steps.
    pub fn smaller(&self, step: usize) -> Sql {
        match self {
            Sql::Text(_) | Sql::Constant { .. } => self.clone(),
            Sql::All(parts) => {
                let mut parts = parts.clone();
                let mut rest = step;
                for part in &mut parts {
                    let steps = part.steps();
                    if rest < steps {
                        *part = part.smaller(rest);
                        break;
                    }
                    rest -= steps;
                }
                Sql::All(parts)
            }
            Sql::Maybe(_) if step == 0 => nothing(),
            Sql::Maybe(inner) => Sql::Maybe(Box::new(inner.smaller(step - 1))),
            Sql::Or(_, others) if step < others.len() => others[step].clone(),
            Sql::Or(inner, others) => Sql::Or(Box::new(inner.smaller(step - others.len())), others.clone()),
        }
    }
}

/// A string literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
