//! Expressions of definitions as `pg_get_expr` and `pg_get_constraintdef` print them, in the form of PostgreSQL's ruleutils.c.

use stratos_types::{ColumnType, PgType};

use super::expression_node::{Kind, Node, Syntax};
use super::expression_tree::Builder;
use crate::binder::{BindContext, Binder};
use crate::catalog::{Snapshot, Table};
use crate::ddl::parse_expression;

/// Characters by which CASE indents its branches.
const INDENT: usize = 4;

/// What stands around an expression.
pub(super) struct Surroundings<'a> {
    /// The table whose columns it names.
    pub table: Option<&'a Table>,
    /// For names of relations in it.
    pub names: Option<(&'a Snapshot, &'a [String])>,
    /// Only the parentheses that are needed, by what PostgreSQL takes for needed.
    pub pretty: bool,
}

/// What an expression is.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// A condition, as it is stored.
    Condition,
    /// A value for a column of that type, as it is stored.
    Value(ColumnType),
    /// What was printed already.
    Printed,
}

/// An expression as it prints; as it is given where it has a form that is not known here.
pub(super) fn printed(sql: &str, used: Use, surroundings: &Surroundings<'_>) -> String {
    // Damage shows where the expression is used.
    let Ok(expression) = parse_expression(sql) else { return sql.to_owned() };
    // Names of relations are looked up when they are printed, and no others are in definitions.
    let context = BindContext::for_rules(&std::sync::Arc::default());
    let binder = Binder::new(&context);
    let mut builder = Builder { binder, table: surroundings.table, names: surroundings.names };
    let tree = match used {
        Use::Condition => builder.boolean(&expression),
        Use::Value(ty) => builder.assigned(&expression, ty),
        Use::Printed => builder.written(&expression),
    };
    let Ok(tree) = tree else { return sql.to_owned() };
    let mut printer = Printer { pretty: surroundings.pretty, out: String::new(), indent: 0 };
    printer.print(&tree, false);
    printer.out
}

/// What an expression is an operand of, as far as parentheses depend on it.
#[derive(Clone, Copy)]
enum Within<'e> {
    /// An operator with two operands, with the first of them or the second.
    Operator(&'e str, bool),
    /// AND or OR.
    Chain(&'e str),
    Not,
    /// Anything else.
    Other,
}

/// How tightly an operator of arithmetic binds, as far as PostgreSQL leaves parentheses out for it.
fn tightness(operator: &str) -> Option<u8> {
    match operator.bytes().next()? {
        b'+' | b'-' => Some(1),
        b'*' | b'/' | b'%' => Some(2),
        _ => None,
    }
}

/// Whether an expression needs no parentheses where it stands (`isSimpleNode`).
fn is_simple(of: &Node, within: Within<'_>) -> bool {
    match &of.kind {
        Kind::Column(_)
        | Kind::Undecided(_)
        | Kind::Constant(_)
        | Kind::Keyword(_)
        | Kind::Call(..)
        | Kind::Syntax(..)
        | Kind::Array(_)
        | Kind::Subscript(_)
        | Kind::List(..)
        | Kind::Case { .. } => true,
        // A cast by a function is a call. Others only say that the same value is of another type, or go through its text.
        Kind::Cast(inner, _) if inner.ty.ty.is_string() || of.ty.ty.is_string() => is_simple(inner, Within::Other),
        Kind::Cast(..) => true,
        Kind::Operator(symbol, operands) => match within {
            Within::Operator(outer, first) => match (tightness(symbol), tightness(outer)) {
                (Some(inner), Some(outer)) => operands.len() == 2 && (inner > outer || (inner == outer && first)),
                _ => false,
            },
            Within::Chain(_) | Within::Not => true,
            Within::Other => false,
        },
        Kind::Test(..) | Kind::Distinct(_) => matches!(within, Within::Chain(_) | Within::Not),
        Kind::Not(_) | Kind::Chain("AND", _) => matches!(within, Within::Chain(_)),
        Kind::Chain(..) => matches!(within, Within::Chain("OR")),
        Kind::Quantified(..) | Kind::Collate(..) => false,
    }
}

struct Printer {
    pretty: bool,
    out: String,
    indent: usize,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// In the parentheses that stand around operations wherever they are, unless it is to be pretty.
    fn enclosed(&mut self, inside: impl FnOnce(&mut Self)) {
        if self.pretty {
            return inside(self);
        }
        self.put("(");
        inside(self);
        self.put(")");
    }

    /// An operand, with parentheses where it needs some. `casts`: with those that the user did not write.
    fn operand(&mut self, of: &Node, within: Within<'_>, casts: bool) {
        let needs = self.pretty && !is_simple(of, within);
        if needs {
            self.put("(");
        }
        self.print(of, casts);
        if needs {
            self.put(")");
        }
    }

    fn separated(&mut self, nodes: &[Node]) {
        for (at, node) in nodes.iter().enumerate() {
            self.put(if at > 0 { ", " } else { "" });
            self.print(node, true);
        }
    }

    /// On a line of its own.
    fn line(&mut self, word: &str) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        self.put(word);
    }

    #[recursive::recursive]
    fn print(&mut self, of: &Node, casts: bool) {
        match &of.kind {
            Kind::Column(name) | Kind::Keyword(name) => self.put(name),
            Kind::Undecided(text) => self.put(&quoted(text)),
            Kind::Constant(_) => self.constant(of, true),
            Kind::Operator(symbol, operands) => self.enclosed(|p| match operands.as_slice() {
                [left, right] => {
                    p.operand(left, Within::Operator(symbol, true), true);
                    p.put(&format!(" {symbol} "));
                    p.operand(right, Within::Operator(symbol, false), true);
                }
                operands => {
                    p.put(&format!("{symbol} "));
                    operands.iter().for_each(|operand| p.operand(operand, Within::Other, true));
                }
            }),
            Kind::Call(name, arguments) => {
                self.put(&format!("{name}("));
                self.separated(arguments);
                self.put(")");
            }
            Kind::Syntax(syntax, arguments) => self.syntax(syntax, arguments),
            Kind::Cast(inner, explicit) if !explicit && !casts => self.operand(inner, Within::Other, false),
            Kind::Cast(inner, _) => self.cast(inner, of.ty),
            Kind::Chain(word, parts) => self.enclosed(|p| {
                for (at, part) in parts.iter().enumerate() {
                    if at > 0 {
                        p.put(&format!(" {word} "));
                    }
                    p.operand(part, Within::Chain(word), false);
                }
            }),
            Kind::Not(inner) => self.enclosed(|p| {
                p.put("NOT ");
                p.operand(inner, Within::Not, false);
            }),
            Kind::Test(inner, words) => self.enclosed(|p| {
                p.operand(inner, Within::Other, words.ends_with("NULL"));
                p.put(&format!(" {words}"));
            }),
            Kind::Distinct(operands) => self.enclosed(|p| {
                let [left, right] = operands.as_ref();
                p.operand(left, Within::Other, true);
                p.put(" IS DISTINCT FROM ");
                p.operand(right, Within::Other, true);
            }),
            Kind::Quantified(symbol, quantifier, operands) => self.enclosed(|p| {
                let [left, array] = operands.as_ref();
                p.operand(left, Within::Other, true);
                p.put(&format!(" {symbol} {quantifier} ("));
                p.operand(array, Within::Other, true);
                p.put(")");
            }),
            Kind::Array(items) => {
                self.put("ARRAY[");
                self.separated(items);
                self.put("]");
                if items.is_empty() {
                    self.put(&format!("::{}", type_name(of.ty)));
                }
            }
            Kind::Subscript(parts) => {
                let [array, index] = parts.as_ref();
                let bare = matches!(array.kind, Kind::Column(_));
                self.put(if bare { "" } else { "(" });
                self.print(array, casts);
                self.put(if bare { "[" } else { ")[" });
                self.print(index, false);
                self.put("]");
            }
            Kind::Case { operand, branches, otherwise } => self.case(operand.as_deref(), branches, otherwise),
            Kind::List(name, arguments) => {
                self.put(&format!("{name}("));
                self.separated(arguments);
                self.put(")");
            }
            Kind::Collate(inner, collation) => self.enclosed(|p| {
                p.operand(inner, Within::Other, true);
                p.put(&format!(" COLLATE {collation}"));
            }),
        }
    }

    /// A constant, with its type where the text alone does not tell it.
    fn constant(&mut self, of: &Node, typed: bool) {
        let Kind::Constant(text) = &of.kind else { return };
        let starts_with_digit = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
        let (text, labelled) = match text {
            None => ("NULL".to_owned(), of.ty.ty != PgType::Unknown),
            Some(text) => match of.ty.ty {
                PgType::Bool => ((if text.starts_with('t') { "true" } else { "false" }).to_owned(), false),
                PgType::Int4 if !text.starts_with('-') => (text.clone(), false),
                PgType::Numeric if starts_with_digit(text) && text.contains(['.', 'e', 'E']) => (text.clone(), false),
                _ => (quoted(text), true),
            },
        };
        self.put(&text);
        if typed && labelled {
            self.put(&format!("::{}", type_name(of.ty)));
        }
    }

    fn cast(&mut self, inner: &Node, to: ColumnType) {
        // Only the length is a cast here: the constant is of the type already.
        if matches!(inner.kind, Kind::Constant(_)) && inner.ty == ColumnType::from(to.ty) {
            self.constant(inner, false);
        } else {
            self.enclosed(|p| p.operand(inner, Within::Other, false));
        }
        self.put(&format!("::{}", type_name(to)));
    }

    fn case(&mut self, operand: Option<&Node>, branches: &[[Node; 2]], otherwise: &Node) {
        self.line("CASE");
        self.indent += INDENT;
        if let Some(operand) = operand {
            self.put(" ");
            self.print(operand, true);
        }
        for [when, then] in branches {
            self.line("WHEN ");
            self.print(when, false);
            self.put(" THEN ");
            self.print(then, true);
        }
        self.line("ELSE ");
        self.print(otherwise, true);
        self.indent -= INDENT;
        self.line("END");
    }

    fn syntax(&mut self, syntax: &Syntax, arguments: &[Node]) {
        match (syntax, arguments) {
            (Syntax::AtTimeZone, [zone, value]) => {
                self.put("(");
                self.operand(value, Within::Other, false);
                self.put(" AT TIME ZONE ");
                self.operand(zone, Within::Other, false);
                self.put(")");
            }
            (Syntax::Extract(field), [_, value]) => {
                self.put(&format!("EXTRACT({field} FROM "));
                self.print(value, false);
                self.put(")");
            }
            (Syntax::Position, [within, what]) => {
                self.put("POSITION((");
                self.print(what, false);
                self.put(") IN (");
                self.print(within, false);
                self.put("))");
            }
            (Syntax::Trim(place), [text, what @ ..]) => {
                self.put(&format!("TRIM({place}"));
                for what in what {
                    self.put(" ");
                    self.print(what, false);
                }
                self.put(" FROM ");
                self.print(text, false);
                self.put(")");
            }
            (Syntax::Overlaps, [from, to, other_from, other_to]) => {
                self.put("((");
                for (node, behind) in [(from, ", "), (to, ") OVERLAPS ("), (other_from, ", "), (other_to, "))")] {
                    self.print(node, false);
                    self.put(behind);
                }
            }
            (Syntax::Substring, arguments) => self.with_words("SUBSTRING", &["", " FROM ", " FOR "], arguments),
            (_, arguments) => self.with_words("OVERLAY", &["", " PLACING ", " FROM ", " FOR "], arguments),
        }
    }

    fn with_words(&mut self, name: &str, words: &[&str], arguments: &[Node]) {
        self.put(&format!("{name}("));
        for (word, argument) in words.iter().zip(arguments) {
            self.put(word);
            self.print(argument, false);
        }
        self.put(")");
    }
}

/// A string, never with an `E` before it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A type as it prints behind a cast.
fn type_name(ty: ColumnType) -> String {
    if ty.ty == PgType::Bpchar && ty.char_length().is_none() {
        return "bpchar".into();
    }
    ty.to_string()
}
