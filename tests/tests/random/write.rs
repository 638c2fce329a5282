//! Random statements that write.

use rand::seq::IndexedRandom;

use crate::expr::{Column, Generator, table_columns};
use crate::schema::{Role, Table, TableColumn, field, row, value};
use crate::sql::{Sql, fill, list, maybe, nothing, text};
use crate::types::Ty;

/// Above so many rows nothing more is inserted.
const ROWS_MAX: usize = 120;

impl Generator {
    /// A statement that writes; `next_id` is an id that no row had yet.
    pub fn write(&mut self, next_id: &mut usize) -> Sql {
        self.names = 0;
        self.subqueries = 0;
        self.ctes.clear();
        let table = self.tables.choose(&mut self.random).unwrap().clone();
        match self.below(10) {
            0..=4 if *next_id < ROWS_MAX => self.insert(&table, next_id),
            5 | 6 => self.delete(&table),
            _ => self.update(&table),
        }
    }

    /// A table to join with by `id`. `unique`: one whose ids differ, if there is one.
    fn other_table(&mut self, unique: bool) -> Option<Table> {
        let tables: Vec<&Table> = self.tables.iter().filter(|table| table.unique_id || !unique).collect();
        tables.choose(&mut self.random).map(|table| (*table).clone())
    }

    /// A CTE in sight of a statement that writes, and its name with the columns; its ids as in [`Self::other_table`].
    fn beside(&mut self, unique: bool) -> Option<(Sql, String, Vec<Column>)> {
        if !self.chance(0.15) {
            return None;
        }
        let table = self.other_table(unique)?;
        let name = self.name("w");
        let columns = table_columns(&table, "z");
        let condition = self.condition(&columns, 1).sql;
        let query = fill(&format!("with {name} as (select * from {} z where {{}}) ", table.name), vec![condition]);
        Some((query, name, table_columns(&table, "b")))
    }

    fn returning(&mut self, columns: &[Column]) -> Sql {
        if self.chance(0.5) {
            return nothing();
        }
        let mut items = Vec::new();
        for _ in 0..self.below(3) + 1 {
            let column = columns.choose(&mut self.random).unwrap().clone();
            let item = if self.chance(0.6) { text(column.sql) } else { self.expr(column.ty, columns, 1).sql };
            items.push(item);
        }
        maybe(fill(" returning {}", vec![list(items)]))
    }

    /// Some columns of a new row, the others as the table has it.
    fn partial(&mut self, table: &Table, next_id: &mut usize) -> Sql {
        let mut columns: Vec<&TableColumn> = Vec::new();
        for column in &table.columns {
            let needed = column.name == "id" || !column.nullable && !column.default;
            if needed || self.chance(0.6) {
                columns.push(column);
            }
        }
        let mut rows = Vec::new();
        for _ in 0..self.below(3) + 1 {
            let mut values = Vec::new();
            for column in &columns {
                let default = column.default && self.chance(0.2);
                values.push(if default { "default".into() } else { field(&mut self.random, column, *next_id) });
            }
            *next_id += 1;
            rows.push(text(format!("({})", values.join(", "))));
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let returning = self.returning(&table_columns(table, "a"));
        let head = format!("insert into {} as a ({}) values {{}}{{}}", table.name, names.join(", "));
        fill(&head, vec![list(rows), returning])
    }

    fn insert(&mut self, table: &Table, next_id: &mut usize) -> Sql {
        if self.chance(0.2) {
            return self.partial(table, next_id);
        }
        let source = if self.chance(0.7) {
            let mut rows = Vec::new();
            for _ in 0..self.below(3) + 1 {
                // Now and then an id that is taken, perhaps by a row of this very statement; where nothing keeps it out, ids would
                // no longer be different.
                let taken = self.chance(0.3) && table.unique_id;
                let id = if taken { self.below(*next_id) + 1 } else { *next_id };
                *next_id += usize::from(id == *next_id);
                rows.push(text(row(&mut self.random, table, id)));
            }
            fill("values {}", vec![list(rows)])
        } else {
            let limit = self.below(4) + 1;
            let from = table_columns(table, "x");
            let mut items = vec![text(format!("id + {next_id}"))];
            *next_id += *next_id;
            for column in &table.columns[1..] {
                let own = column.role == Role::Unique && self.chance(0.5);
                let moved = || text(format!("x.{} + {}", column.name, 1000 * *next_id));
                items.push(if own { moved() } else { self.assigned(column, &from) });
            }
            let condition = self.condition(&from, 1).sql;
            let condition = maybe(fill(" where {}", vec![condition]));
            let end = format!(" order by id limit {limit}");
            fill(&format!("select {{}} from {} x{{}}{end}", table.name), vec![list(items), condition])
        };
        let unique = table.columns.iter().find(|column| column.role == Role::Unique);
        let by_unique = unique.filter(|_| self.chance(0.3)).map(|column| format!("({})", column.name));
        let target = match (table.unique_id, table.by_pair) {
            _ if by_unique.is_some() => by_unique.as_deref().unwrap_or_default(),
            (true, _) => "(id)",
            (_, true) => "(k, id)",
            _ => "",
        };
        let alias = table_columns(table, "a");
        let conflict = match self.below(4) {
            0 => text(format!(" on conflict {target} do nothing")),
            1 | 2 if !target.is_empty() => {
                // Subqueries are not supported in this place.
                self.subqueries = usize::MAX;
                let mut columns = alias.clone();
                columns.extend(table_columns(table, "excluded"));
                let sets = self.sets(table, &columns);
                let condition = if self.chance(0.4) {
                    let condition = self.condition(&columns, 1).sql;
                    maybe(fill(" where {}", vec![condition]))
                } else {
                    nothing()
                };
                fill(&format!(" on conflict {target} do update set {{}}{{}}"), vec![sets, condition])
            }
            _ => nothing(),
        };
        let returning = self.returning(&alias);
        fill(&format!("insert into {} as a {{}}{{}}{{}}", table.name), vec![source, maybe(conflict), returning])
    }

    /// A value for a column that is within its type and keeps to what `types.rs` promises of values.
    fn assigned(&mut self, column: &TableColumn, columns: &[Column]) -> Sql {
        if column.borders || column.role != Role::Plain || self.chance(0.2) {
            return text(format!("{}::{}", value(&mut self.random, column), column.ty.name()));
        }
        let made = match column.ty {
            Ty::Int2 | Ty::Int4 | Ty::Int8 => {
                let made = self.expr(column.ty, columns, 2).sql;
                fill("({} % 100)", vec![made])
            }
            Ty::Text => {
                let made = self.expr(Ty::Text, columns, 2).sql;
                fill("left({}, 12)", vec![made])
            }
            Ty::Bool | Ty::Uuid => self.expr(column.ty, columns, 2).sql,
            ty => self.leaf(ty, columns).sql,
        };
        if column.nullable || self.chance(0.1) {
            return made;
        }
        let sure = self.one(column.ty.values());
        fill("coalesce({}, {})", vec![made, Sql::Constant { text: sure, ty: column.ty.name() }])
    }

    fn sets(&mut self, table: &Table, columns: &[Column]) -> Sql {
        let mut sets = Vec::new();
        let mut taken: Vec<String> = Vec::new();
        for _ in 0..self.below(2) + 1 {
            let column = table.columns[1..].choose(&mut self.random).unwrap().clone();
            if taken.contains(&column.name) {
                continue;
            }
            let made = self.assigned(&column, columns);
            sets.push(fill(&format!("{} = {{}}", column.name), vec![made]));
            taken.push(column.name);
        }
        list(sets)
    }

    fn update(&mut self, table: &Table) -> Sql {
        let own = table_columns(table, "a");
        if self.chance(0.1) {
            let condition = self.condition(&own, 1).sql;
            return fill(&format!("update {} a set id = -id where {{}}", table.name), vec![condition]);
        }
        let mut columns = own.clone();
        let (mut from, mut on) = (nothing(), nothing());
        // At most one row of the other table for each: which one would be taken is not said.
        let with = self.beside(true);
        let beside = with.as_ref().map_or_else(nothing, |(query, ..)| query.clone());
        if let Some((_, name, other)) = with {
            from = text(format!(" from {name} b"));
            on = text("(a.id = b.id) and ");
            columns.extend(other);
        } else if self.chance(0.35)
            && let Some(other) = self.other_table(true)
        {
            from = text(format!(" from {} b", other.name));
            on = text("(a.id = b.id) and ");
            columns.extend(table_columns(&other, "b"));
        }
        let sets = self.sets(table, &columns);
        let condition = self.condition(&columns, 2).sql;
        let returning = self.returning(&columns);
        let parts = vec![beside, sets, from, on, condition, returning];
        fill(&format!("{{}}update {} a set {{}}{{}} where {{}}{{}}{{}}", table.name), parts)
    }

    fn delete(&mut self, table: &Table) -> Sql {
        let mut columns = table_columns(table, "a");
        let own = columns.clone();
        let mut using = nothing();
        let mut on = nothing();
        let with = self.beside(false);
        let beside = with.as_ref().map_or_else(nothing, |(query, ..)| query.clone());
        if let Some((_, name, other)) = with {
            using = text(format!(" using {name} b"));
            on = text("(a.id = b.id) and ");
            columns.extend(other);
        } else if self.chance(0.35) {
            let other = self.tables.choose(&mut self.random).unwrap().clone();
            using = text(format!(" using {} b", other.name));
            let key = self.one(&["id", "k"]);
            on = text(format!("(a.{key} = b.{key}) and "));
            columns.extend(table_columns(&other, "b"));
        }
        let condition = self.condition(&columns, 2).sql;
        // Few rows at a time, lest nothing should be left.
        let rest = self.below(5);
        let returning = self.returning(&own);
        let parts = vec![beside, using, on, condition, returning];
        fill(&format!("{{}}delete from {} a{{}} where {{}}{{}} and ((a.id % 5) = {rest}){{}}", table.name), parts)
    }
}
