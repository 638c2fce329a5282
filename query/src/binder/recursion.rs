//! Where a recursive query may refer to itself: once, in the second term of its UNION, and not where rows of the last round
//! could be lost (Postgres's `checkWellFormedRecursion`).

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Ident, JoinOperator, ObjectNamePart, Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor,
    TableWithJoins,
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
        let flow = ast::visit_relations(node, |relation| match self.reference(relation, within) {
            Ok(()) => ControlFlow::Continue(()),
            Err(misplaced) => ControlFlow::Break(misplaced),
        });
        match flow {
            ControlFlow::Break(misplaced) => Err(misplaced),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn hides(&self, query: &Query) -> bool {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        tables.into_iter().any(|cte| fold_ident(&cte.alias.name) == self.name)
    }

    fn query(&mut self, query: &Query, within: Within) -> Result<(), Misplaced> {
        if self.hides(query) {
            return Ok(());
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
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
        self.refuse_circles(with)?;
        for cte in &with.cte_tables {
            let name = fold_ident(&cte.alias.name);
            let mut search = Search { name: &name, found: 0 };
            // Any reference at all makes it recursive.
            if search.operands(&cte.query, Within::Subquery).is_ok() || search.hides(&cte.query) {
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

    /// 0A000 where queries refer to each other in a circle.
    fn refuse_circles(&self, with: &ast::With) -> Result<()> {
        let names: Vec<String> = with.cte_tables.iter().map(|cte| fold_ident(&cte.alias.name)).collect();
        let refers = |from: usize, to: usize| {
            from != to
                && Search { name: &names[to], found: 0 }
                    .operands(&with.cte_tables[from].query, Within::Subquery)
                    .is_err()
        };
        let mut left: Vec<usize> = (0..names.len()).collect();
        // What refers to nothing that is left is bound; then what refers to that, and so on.
        while let Some(at) = left.iter().position(|from| !left.iter().any(|to| refers(*from, *to))) {
            left.remove(at);
        }
        match left.first() {
            None => Ok(()),
            Some(first) => {
                let name: &Ident = &with.cte_tables[*first].alias.name;
                let message = "mutual recursion between WITH items is not implemented";
                Err(self.at(Error::new(ErrorKind::FeatureNotSupported, message), name.span))
            }
        }
    }
}
