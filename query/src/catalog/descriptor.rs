//! Descriptors: the stored form (JSON, so that a field can be added) of everything that has an OID.

use serde::{Deserialize, Serialize};
use stratos_types::ColumnType;

/// A database. Databases share roles and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// `pg_database.oid`; also the number in its keys.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: u32,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// `pg_roles.oid`.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// SCRAM-SHA-256 verifier in Postgres's text form (`SCRAM-SHA-256$4096:salt$stored:server`); none cannot log in by password.
    pub verifier: Option<String>,
    /// Attributes of `CREATE ROLE`.
    pub login: bool,
    /// See `login`.
    pub superuser: bool,
    /// See `login`.
    pub create_db: bool,
    /// See `login`.
    pub create_role: bool,
    /// Sessions that it may have at once; none is no limit. Superusers have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// `pg_namespace.oid`.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: u32,
}

/// A base table with its columns, indexes and constraints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: u32,
    /// Schema's name, for messages; filled in when the snapshot is built.
    #[serde(skip)]
    pub schema_name: String,
    /// Database; the number in its keys.
    pub database: u32,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: u32,
    /// The number in its keys; TRUNCATE and rewrites give a new one (Postgres's relfilenode).
    pub storage: u32,
    /// Live columns in order of attribute number. Dropped ones are gone from here, their numbers are never used again.
    pub columns: Vec<Column>,
    /// The next attribute number.
    pub next_attnum: i16,
    /// Indexes; the first is the primary one, which holds the rows, also when there is no primary key (then its key is a
    /// hidden row id).
    pub indexes: Vec<Index>,
    /// Constraints other than NOT NULL.
    pub constraints: Vec<Constraint>,
    /// `COMMENT ON`.
    pub comment: Option<String>,
    /// What the end of a transaction does to a temporary table, where it does something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_commit: Option<OnCommit>,
    /// Version of this descriptor, + 1 at each change.
    pub version: u64,
}

/// `ON COMMIT` of a temporary table, other than `PRESERVE ROWS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    /// `DELETE ROWS`
    DeleteRows,
    /// `DROP`
    Drop,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum`, from 1; stable, also the number in stored rows.
    pub attnum: i16,
    /// Name.
    pub name: String,
    /// Type.
    #[serde(with = "column_type")]
    pub ty: ColumnType,
    /// `COLLATE`: `pg_collation.oid`, none for the type's own. All order by bytes; the name is what is kept.
    #[serde(default)]
    pub collation: Option<u32>,
    /// `NOT NULL`.
    pub not_null: bool,
    /// `DEFAULT`.
    pub default: Option<ColumnDefault>,
    /// `GENERATED … AS IDENTITY`.
    pub identity: Option<Identity>,
    /// Value of rows that were stored before the column was added, in the stored form of a row's field; none is NULL.
    pub missing: Option<Vec<u8>>,
    /// `COMMENT ON`.
    pub comment: Option<String>,
}

/// The collations by name and `pg_collation.oid`: text is always ordered by bytes, which is what these three are called.
pub const COLLATIONS: [(&str, u32); 3] = [("default", DEFAULT_COLLATION), ("C", 950), ("POSIX", 951)];
/// The collation that types have of themselves.
pub const DEFAULT_COLLATION: u32 = 100;

/// A column's default: its text, as `pg_get_expr` prints it, bound anew at use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDefault {
    /// `pg_attrdef.oid`.
    pub oid: u32,
    /// SQL text.
    pub sql: String,
    /// OID of the sequence that a `serial` column owns.
    pub owned_sequence: Option<u32>,
}

/// `GENERATED ALWAYS | BY DEFAULT AS IDENTITY`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// ALWAYS.
    pub always: bool,
    /// OID of its sequence.
    pub sequence: u32,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// `pg_class.oid` of the index. The hidden-row-id primary index has OID 0 and is not shown.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// The number in its keys, unique in the table's storage; the primary index has 1.
    pub id: u32,
    /// Key columns.
    pub columns: Vec<IndexColumn>,
    /// `UNIQUE`.
    pub unique: bool,
    /// `PRIMARY KEY`.
    pub primary: bool,
    /// Of a key that is DEFERRABLE, which is not `unique`: for a while it may hold duplicates, so that its entries are those of
    /// any index. Whether it is INITIALLY DEFERRED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferrable: Option<bool>,
    /// Whether it can be read, or is being built.
    pub state: IndexState,
    /// `COMMENT ON`.
    pub comment: Option<String>,
}

impl Index {
    /// An index that no constraint owns.
    pub fn plain(oid: u32, name: String, columns: Vec<IndexColumn>, unique: bool, state: IndexState) -> Index {
        let (deferrable, primary, comment) = (None, false, None);
        Index { oid, name, id: oid, columns, unique, deferrable, primary, state, comment }
    }

    /// Whether a constraint holds its rows to be unique, at once or in the end.
    pub fn is_key(&self) -> bool {
        self.unique || self.deferrable.is_some()
    }
}

/// What stands behind the definition of a constraint that may wait: ` DEFERRABLE INITIALLY DEFERRED`.
pub fn deferral_clause(deferrable: bool, initially_deferred: bool) -> &'static str {
    match (deferrable, initially_deferred) {
        (false, _) => "",
        (true, false) => " DEFERRABLE",
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
    }
}

/// A key column of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// [`Column::attnum`].
    pub attnum: i16,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`.
    pub nulls_first: bool,
    /// `pg_opclass.oid` of the operator class; none is the type's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
}

/// Steps of an online schema change; writers and readers at neighbouring steps work together safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Deletes remove entries, nothing adds any.
    DeleteOnly,
    /// Writes maintain it; the backfill runs; nobody reads it.
    WriteOnly,
    /// Complete.
    Public,
}

/// A table constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// `pg_constraint.oid`.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Which.
    pub kind: ConstraintKind,
}

/// See [`Constraint`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ConstraintKind {
    /// PRIMARY KEY or UNIQUE, enforced by an index.
    Unique {
        /// OID of the index.
        index: u32,
        /// PRIMARY KEY.
        primary: bool,
    },
    /// CHECK.
    Check(CheckConstraint),
    /// REFERENCES.
    ForeignKey(ForeignKey),
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckConstraint {
    /// SQL text of the condition.
    pub sql: String,
    /// Attribute numbers that it mentions.
    pub columns: Vec<i16>,
}

/// A foreign key, kept at the referencing table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Referencing columns.
    pub columns: Vec<i16>,
    /// OID of the referenced table.
    pub table: u32,
    /// Referenced columns.
    pub referenced: Vec<i16>,
    /// OID of the referenced table's unique index.
    pub index: u32,
    /// `ON UPDATE`.
    pub on_update: ReferentialAction,
    /// `ON DELETE`.
    pub on_delete: ReferentialAction,
    /// `MATCH FULL`: either all columns are NULL or none is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub match_full: bool,
    /// `DEFERRABLE`: checks may wait until the transaction ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferrable: bool,
    /// `INITIALLY DEFERRED`: they do, unless the transaction says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initially_deferred: bool,
}

impl ForeignKey {
    /// Of one whose checks may wait, whether they do unless the transaction says otherwise.
    pub fn deferral(&self) -> Option<bool> {
        self.deferrable.then_some(self.initially_deferred)
    }

    /// What stands behind its definition: ` DEFERRABLE INITIALLY DEFERRED`.
    pub fn deferral_clause(&self) -> &'static str {
        deferral_clause(self.deferrable, self.initially_deferred)
    }
}

/// What happens to referencing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ReferentialAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// A sequence. Its current value is kept apart from the descriptor, because `nextval` is not transactional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: u32,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: u32,
    /// int2, int4 or int8.
    #[serde(with = "column_type")]
    pub ty: ColumnType,
    /// `INCREMENT BY`.
    pub increment: i64,
    /// `MINVALUE`.
    pub min_value: i64,
    /// `MAXVALUE`.
    pub max_value: i64,
    /// `START WITH`.
    pub start: i64,
    /// `CACHE`.
    pub cache: i64,
    /// `CYCLE`.
    pub cycle: bool,
    /// Table and attribute number that own it (`OWNED BY`, serial, identity).
    pub owned_by: Option<(u32, i16)>,
    /// The number under which its value is stored; `RESTART` and rollback of DDL give a new one.
    pub storage: u32,
    /// The first value that is given under this storage; none is the start. Here, because nothing but [`crate::sequences`]
    /// writes values: it does so in transactions of its own, which must not meet the one that restarts the sequence.
    #[serde(default)]
    pub begin: Option<i64>,
}

impl Sequence {
    /// What the sequence gives first, as long as no value is stored.
    pub fn first_value(&self) -> i64 {
        self.begin.unwrap_or(self.start)
    }
}

impl Table {
    /// The index that holds the rows.
    pub fn primary_index(&self) -> &Index {
        &self.indexes[0]
    }

    /// Whether rows are found by a declared primary key, or by a hidden row id: as they are, too, where the declared one is
    /// deferrable.
    pub fn has_primary_key(&self) -> bool {
        self.indexes[0].primary
    }

    /// The index of the declared primary key, which holds the rows unless it is deferrable.
    pub fn declared_primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary)
    }

    /// Position of a column in [`Table::columns`] by attribute number.
    pub fn column_index(&self, attnum: i16) -> Option<usize> {
        self.columns.binary_search_by_key(&attnum, |c| c.attnum).ok()
    }

    /// Position of a column in [`Table::columns`] by name.
    pub fn column_named(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// `schema.table`, for messages and EXPLAIN.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema_name, self.name)
    }

    /// Constraints that are foreign keys.
    pub fn foreign_keys(&self) -> impl Iterator<Item = (&Constraint, &ForeignKey)> {
        self.constraints.iter().filter_map(|c| match &c.kind {
            ConstraintKind::ForeignKey(key) => Some((c, key)),
            _ => None,
        })
    }

    /// The deferrable index of a UNIQUE constraint, by the constraint's OID, and whether it is INITIALLY DEFERRED.
    pub fn deferrable_key(&self, constraint: u32) -> Option<(&Index, bool)> {
        let kind = &self.constraints.iter().find(|c| c.oid == constraint)?.kind;
        let ConstraintKind::Unique { index, .. } = kind else { return None };
        let index = self.indexes.iter().find(|i| i.oid == *index)?;
        Some((index, index.deferrable?))
    }

    /// Constraints that are checks.
    pub fn checks(&self) -> impl Iterator<Item = (&Constraint, &CheckConstraint)> {
        self.constraints.iter().filter_map(|c| match &c.kind {
            ConstraintKind::Check(check) => Some((c, check)),
            _ => None,
        })
    }
}

/// A column's type is stored as its OID and modifier.
mod column_type {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use stratos_types::{ColumnType, PgType};

    pub fn serialize<S: Serializer>(value: &ColumnType, to: S) -> Result<S::Ok, S::Error> {
        (value.ty.oid(), value.typmod).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ColumnType, D::Error> {
        let (oid, typmod) = <(u32, i32)>::deserialize(from)?;
        let ty = PgType::from_oid(oid).ok_or_else(|| serde::de::Error::custom(format!("unknown type oid {oid}")))?;
        Ok(ColumnType { ty, typmod })
    }
}
