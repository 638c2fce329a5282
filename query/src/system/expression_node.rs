//! What expressions of definitions consist of.

use stratos_types::{ColumnType, Datum, FormatOptions, PgType};

/// An expression with its type.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub kind: Kind,
    pub ty: ColumnType,
}

/// What a node is; each prints in a way of its own.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A column, by its name as it is written.
    Column(String),
    /// A string whose type nothing has decided.
    Undecided(String),
    /// A constant in its text form; none is NULL.
    Constant(Option<String>),
    /// An operator with one or two operands.
    Operator(String, Vec<Node>),
    /// A function by its name as it is written.
    Call(String, Vec<Node>),
    /// A function that SQL has a syntax of its own for.
    Syntax(Syntax, Vec<Node>),
    /// `CURRENT_DATE` and its kin.
    Keyword(String),
    /// A cast to the node's type, and whether the user wrote it.
    Cast(Box<Node>, bool),
    /// AND or OR.
    Chain(&'static str, Vec<Node>),
    Not(Box<Node>),
    /// `IS NULL`, `IS TRUE` and the like.
    Test(Box<Node>, &'static str),
    /// `IS DISTINCT FROM`.
    Distinct(Box<[Node; 2]>),
    /// An operator over all elements of an array.
    Quantified(String, &'static str, Box<[Node; 2]>),
    Array(Vec<Node>),
    Subscript(Box<[Node; 2]>),
    Case {
        operand: Option<Box<Node>>,
        branches: Vec<[Node; 2]>,
        otherwise: Box<Node>,
    },
    /// What has the form of a call and is none: COALESCE, GREATEST, LEAST, NULLIF.
    List(&'static str, Vec<Node>),
    /// COLLATE, with the collation as it is written.
    Collate(Box<Node>, String),
}

/// See [`Kind::Syntax`].
#[derive(Debug, Clone)]
pub(super) enum Syntax {
    AtTimeZone,
    /// With its field.
    Extract(String),
    Position,
    Substring,
    /// With where.
    Trim(&'static str),
    Overlay,
    Overlaps,
}

/// A node of a type.
pub(super) fn node(kind: Kind, ty: impl Into<ColumnType>) -> Node {
    Node { kind, ty: ty.into() }
}

/// A node that is true or false.
pub(super) fn condition(kind: Kind) -> Node {
    node(kind, PgType::Bool)
}

/// A number, which is of the first type that holds it.
pub(super) fn number(text: &str) -> Node {
    let text: String = text.chars().filter(|c| *c != '_').collect();
    if let Ok(value) = text.parse::<i64>() {
        let ty = if i32::try_from(value).is_ok() { PgType::Int4 } else { PgType::Int8 };
        return node(Kind::Constant(Some(value.to_string())), ty);
    }
    let format = FormatOptions::default();
    let value = Datum::from_text(PgType::Numeric.into(), &text, &format);
    let text = value.map_or(text, |value| value.to_text(PgType::Numeric, &format));
    node(Kind::Constant(Some(text)), PgType::Numeric)
}

/// Whether a column is mentioned in it.
pub(super) fn names_column(of: &Node) -> bool {
    let any = |nodes: &[Node]| nodes.iter().any(names_column);
    match &of.kind {
        Kind::Column(_) => true,
        Kind::Undecided(_) | Kind::Constant(_) | Kind::Keyword(_) => false,
        Kind::Operator(_, nodes)
        | Kind::Call(_, nodes)
        | Kind::Syntax(_, nodes)
        | Kind::Chain(_, nodes)
        | Kind::Array(nodes)
        | Kind::List(_, nodes) => any(nodes),
        Kind::Cast(inner, _) | Kind::Not(inner) | Kind::Test(inner, _) | Kind::Collate(inner, _) => names_column(inner),
        Kind::Distinct(pair) | Kind::Quantified(_, _, pair) | Kind::Subscript(pair) => any(pair.as_slice()),
        Kind::Case { operand, branches, otherwise } => {
            operand.as_deref().is_some_and(names_column)
                || branches.iter().any(|branch| any(branch))
                || names_column(otherwise)
        }
    }
}
