//! Where a recursive query may refer to itself: once, in the second term of its UNION, and not where rows of the last round
//! could be lost (Postgres's `checkWellFormedRecursion`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Ident, JoinOperator, ObjectNamePart, Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor,
    TableWithJoins, Visit,
};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, Result};

use super::Binder;
use super::scope::fold_ident;

/// What a reference is found within.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// The recursive term itself.
    Recursive,
    NonRecursive,
    Subquery,
    OuterJoin,
    Intersect,
    Except,
}

/// Looks through a term for references to a name.
struct Search<'n> {
    name: &'n str,
    found: usize,
}

/// Said with the place of the reference.
struct Misplaced(String, Span);

/// Looks at all references to the name, apart from those that mean another query of that name.
struct References<'s, 'n> {
    search: &'s mut Search<'n>,
    within: Within,
    /// Queries around that define one.
    hidden: usize,
}

impl ast::Visitor for References<'_, '_> {
    type Break = Misplaced;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Misplaced> {
        self.hidden += usize::from(self.search.hides(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Misplaced> {
        self.hidden -= usize::from(self.search.hides(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<Misplaced> {
        if self.hidden > 0 {
            return ControlFlow::Continue(());
        }
        match self.search.reference(relation, self.within) {
            Ok(()) => ControlFlow::Continue(()),
            Err(misplaced) => ControlFlow::Break(misplaced),
        }
    }
}

/// The names that a query refers to, apart from those that it defines itself.
#[derive(Default)]
struct NamesIn {
    /// What queries around define.
    hidden: Vec<String>,
    found: HashSet<String>,
}

impl ast::Visitor for NamesIn {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.hidden.extend(defined(query).map(|cte| fold_ident(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.hidden.truncate(self.hidden.len().saturating_sub(defined(query).count()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(ident)] = relation.0.as_slice() {
            let name = fold_ident(ident);
            if !self.hidden.contains(&name) {
                self.found.insert(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The queries that a query defines for itself.
fn defined(query: &Query) -> impl Iterator<Item = &ast::Cte> {
    query.with.iter().flat_map(|with| &with.cte_tables)
}

/// Whether a query refers to that name.
pub(super) fn mentions(body: &SetExpr, name: &str) -> bool {
    Search { name, found: 0 }.operands(body, Within::Subquery).is_err()
}

impl Search<'_> {
    fn reference(&mut self, name: &ast::ObjectName, within: Within) -> Result<(), Misplaced> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return Ok(()) };
        if fold_ident(ident) != self.name {
            return Ok(());
        }
        let place = match within {
            Within::Recursive => {
                self.found += 1;
                if self.found < 2 {
                    return Ok(());
                }
                "more than once"
            }
            Within::NonRecursive => "within its non-recursive term",
            Within::Subquery => "within a subquery",
            Within::OuterJoin => "within an outer join",
            Within::Intersect => "within INTERSECT",
            Within::Except => "within EXCEPT",
        };
        let message = format!("recursive reference to query \"{}\" must not appear {place}", self.name);
        Err(Misplaced(message, ident.span))
    }

    /// What is no FROM list: a query in it is an operand.
    fn operands<N: ast::Visit>(&mut self, node: &N, within: Within) -> Result<(), Misplaced> {
        let within = if matches!(within, Within::Recursive) { Within::Subquery } else { within };
        match node.visit(&mut References { search: self, within, hidden: 0 }) {
            ControlFlow::Break(misplaced) => Err(misplaced),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn hides(&self, query: &Query) -> bool {
        defined(query).any(|cte| fold_ident(&cte.alias.name) == self.name)
    }

    fn query(&mut self, query: &Query, within: Within) -> Result<(), Misplaced> {
        if self.hides(query) {
            return Ok(());
        }
        for cte in defined(query) {
            self.query(&cte.query, within)?;
        }
        self.body(&query.body, within)?;
        self.operands(&query.order_by, within)?;
        self.operands(&query.limit_clause, within)
    }

    fn body(&mut self, body: &SetExpr, within: Within) -> Result<(), Misplaced> {
        match body {
            SetExpr::Select(select) => self.select(select, within),
            SetExpr::Query(query) => self.query(query, within),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All);
                let (first, second) = match op {
                    SetOperator::Intersect if all => (Within::Intersect, Within::Intersect),
                    SetOperator::Except | SetOperator::Minus => {
                        (if all { Within::Except } else { within }, Within::Except)
                    }
                    _ => (within, within),
                };
                self.body(left, first)?;
                self.body(right, second)
            }
            other => self.operands(other, within),
        }
    }

    fn select(&mut self, select: &Select, within: Within) -> Result<(), Misplaced> {
        for tables in &select.from {
            self.joined(tables, within)?;
        }
        self.operands(&select.distinct, within)?;
        self.operands(&select.projection, within)?;
        self.operands(&select.selection, within)?;
        self.operands(&select.group_by, within)?;
        self.operands(&select.having, within)?;
        self.operands(&select.named_window, within)
    }

    fn joined(&mut self, tables: &TableWithJoins, within: Within) -> Result<(), Misplaced> {
        // Joins are a list to the parser: whether the left side is one that may get no match is known from what follows.
        let loses_left = |join: &ast::Join| {
            matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            )
        };
        let left = |behind: &[ast::Join]| if behind.iter().any(loses_left) { Within::OuterJoin } else { within };
        self.factor(&tables.relation, left(&tables.joins))?;
        for (at, join) in tables.joins.iter().enumerate() {
            let within = match join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_) => Within::OuterJoin,
                _ => left(&tables.joins[at + 1..]),
            };
            self.factor(&join.relation, within)?;
            self.operands(&join.join_operator, within)?;
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor, within: Within) -> Result<(), Misplaced> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.reference(name, within),
            TableFactor::Derived { subquery, .. } => self.query(subquery, within),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins, within),
            other => self.operands(other, within),
        }
    }
}

impl Binder<'_> {
    fn misplaced(&self, Misplaced(message, span): Misplaced) -> Error {
        self.at(Error::new(ErrorKind::InvalidRecursion, message), span)
    }

    /// 42P19 unless every query that refers to itself does so where it may.
    pub(crate) fn check_recursion(&self, with: &ast::With) -> Result<()> {
        if !with.recursive {
            return Ok(());
        }
        for cte in &with.cte_tables {
            let name = fold_ident(&cte.alias.name);
            let mut search = Search { name: &name, found: 0 };
            // Any reference at all makes it recursive.
            if search.operands(&*cte.query, Within::Subquery).is_ok() {
                continue;
            }
            let SetExpr::SetOperation { left, op: SetOperator::Union, right, .. } = &*cte.query.body else {
                let message = format!(
                    "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
                );
                return Err(self.misplaced(Misplaced(message, cte.alias.name.span)));
            };
            search.body(left, Within::NonRecursive).map_err(|misplaced| self.misplaced(misplaced))?;
            search.body(right, Within::Recursive).map_err(|misplaced| self.misplaced(misplaced))?;
        }
        Ok(())
    }

    /// The order in which the queries of a WITH are bound, each behind those that it refers to: as they are written, or with
    /// RECURSIVE, by which a query may refer to later ones.
    ///
    /// # Errors
    /// 0A000 where they refer to each other in a circle.
    pub(crate) fn binding_order(&self, with: &ast::With) -> Result<Vec<usize>> {
        let count = with.cte_tables.len();
        if !with.recursive {
            return Ok((0..count).collect());
        }
        let names: HashMap<String, usize> =
            with.cte_tables.iter().enumerate().map(|(at, cte)| (fold_ident(&cte.alias.name), at)).collect();
        // For each query, how many others it waits for, and which wait for it.
        let mut waits = vec![0usize; count];
        let mut awaited: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, cte) in with.cte_tables.iter().enumerate() {
            let mut names_in = NamesIn::default();
            let _ = cte.query.visit(&mut names_in);
            for other in names_in.found.iter().filter_map(|name| names.get(name)).filter(|other| **other != at) {
                waits[at] += 1;
                awaited[*other].push(at);
            }
        }
        let mut ready: BTreeSet<usize> = (0..count).filter(|at| waits[*at] == 0).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(at) = ready.pop_first() {
            order.push(at);
            for behind in &awaited[at] {
                waits[*behind] -= 1;
                if waits[*behind] == 0 {
                    ready.insert(*behind);
                }
            }
        }
        match (0..count).find(|at| waits[*at] > 0) {
            None => Ok(order),
            Some(first) => {
                let name: &Ident = &with.cte_tables[first].alias.name;
                let message = "mutual recursion between WITH items is not implemented";
                Err(self.at(Error::new(ErrorKind::FeatureNotSupported, message), name.span))
            }
        }
    }
}
