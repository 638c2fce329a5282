//! The error that a statement answers with.
//!
//! Kinds follow Postgres's condition names (appendix A of its manual), because that is what frameworks switch on; the
//! five-character SQLSTATE of a kind is given in one place, in the server.

use std::fmt;

/// Result of everything on the SQL side.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The condition, by Postgres's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ErrorKind {
    // class 01
    Warning,
    // class 08, 0A
    ConnectionFailure,
    ProtocolViolation,
    FeatureNotSupported,
    // class 22: data
    StringDataRightTruncation,
    NumericValueOutOfRange,
    NullValueNotAllowed,
    InvalidDatetimeFormat,
    DatetimeFieldOverflow,
    InvalidTimeZoneDisplacement,
    DivisionByZero,
    IntervalFieldOverflow,
    CharacterNotInRepertoire,
    InvalidParameterValue,
    InvalidPrecedingOrFollowingSize,
    InvalidArgumentForNtile,
    InvalidArgumentForNthValue,
    InvalidArgumentForLogarithm,
    InvalidArgumentForPowerFunction,
    InvalidArgumentForWidthBucket,
    InvalidRowCountInLimit,
    InvalidRowCountInOffset,
    InvalidRegularExpression,
    InvalidEscapeSequence,
    SubstringError,
    ArraySubscriptError,
    InvalidTextRepresentation,
    InvalidBinaryRepresentation,
    BadCopyFileFormat,
    UntranslatableCharacter,
    SequenceGeneratorLimitExceeded,
    // class 21, 23: constraints
    CardinalityViolation,
    RestrictViolation,
    NotNullViolation,
    ForeignKeyViolation,
    UniqueViolation,
    CheckViolation,
    // class 24, 25, 26, 28, 2B, 34, 3B, 3D, 3F
    InvalidCursorState,
    ActiveSqlTransaction,
    NoActiveSqlTransaction,
    ReadOnlySqlTransaction,
    InFailedSqlTransaction,
    IdleInTransactionSessionTimeout,
    IdleSessionTimeout,
    InvalidSqlStatementName,
    InvalidAuthorizationSpecification,
    InvalidPassword,
    DependentObjectsStillExist,
    InvalidCursorName,
    InvalidSavepointSpecification,
    InvalidCatalogName,
    InvalidSchemaName,
    InvalidSchemaDefinition,
    // class 40
    SerializationFailure,
    DeadlockDetected,
    // class 42
    SyntaxError,
    InsufficientPrivilege,
    CannotCoerce,
    GroupingError,
    WindowingError,
    InvalidRecursion,
    InvalidCursorDefinition,
    InvalidForeignKey,
    InvalidName,
    NameTooLong,
    ReservedName,
    DatatypeMismatch,
    IndeterminateDatatype,
    AmbiguousParameter,
    WrongObjectType,
    GeneratedAlways,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
    UndefinedParameter,
    UndefinedObject,
    DuplicateColumn,
    DuplicateCursor,
    DuplicateDatabase,
    DuplicatePreparedStatement,
    DuplicateSchema,
    DuplicateTable,
    DuplicateAlias,
    DuplicateObject,
    AmbiguousColumn,
    AmbiguousFunction,
    InvalidColumnReference,
    InvalidColumnDefinition,
    InvalidDatabaseDefinition,
    InvalidTableDefinition,
    InvalidObjectDefinition,
    // class 53, 54, 55, 57, 58, XX
    InsufficientResources,
    DiskFull,
    OutOfMemory,
    TooManyConnections,
    ConfigurationLimitExceeded,
    ProgramLimitExceeded,
    StatementTooComplex,
    TooManyColumns,
    TooManyArguments,
    ObjectNotInPrerequisiteState,
    ObjectInUse,
    CantChangeRuntimeParam,
    LockNotAvailable,
    QueryCanceled,
    AdminShutdown,
    CannotConnectNow,
    IoError,
    SnapshotTooOld,
    DataCorrupted,
    InternalError,
}

/// What a statement answers with when it fails: the fields of Postgres's ErrorResponse.
///
/// Boxed inside, so that `Result<T, Error>` stays one word wide on the hot paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Fields>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    kind: ErrorKind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    context: Option<String>,
    schema: Option<String>,
    table: Option<String>,
    column: Option<String>,
    data_type: Option<String>,
    constraint: Option<String>,
}

macro_rules! field {
    ($(#[$doc:meta])* $get:ident, $with:ident) => {
        $(#[$doc])*
        pub fn $get(&self) -> Option<&str> {
            self.0.$get.as_deref()
        }
        $(#[$doc])*
        #[must_use]
        pub fn $with(mut self, value: impl Into<String>) -> Self {
            self.0.$get = Some(value.into());
            self
        }
    };
}

impl Error {
    /// An error of `kind`; `message` starts in lower case and ends without a full stop, as Postgres's do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Fields {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
        }))
    }

    /// A statement or clause that this server does not have; `feature` names it (`"MERGE"`, `"TABLESAMPLE"`).
    pub fn unsupported(feature: impl fmt::Display) -> Self {
        Error::new(ErrorKind::FeatureNotSupported, format!("{feature} is not supported"))
    }

    /// A broken invariant of ours: never caused by input.
    pub fn internal(message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::InternalError, format!("internal error: {message}"))
    }

    /// `invalid input syntax for type …: "…"` (22P02).
    pub fn invalid_text(type_name: &str, input: &str) -> Self {
        let shown: String = input.chars().take(MAX_SHOWN_CHARS).collect();
        let dots = if shown.len() < input.len() { "..." } else { "" };
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            format!("invalid input syntax for type {type_name}: \"{shown}{dots}\""),
        )
    }

    /// `integer out of range` and its kin (22003).
    pub fn out_of_range(type_name: &str) -> Self {
        Error::new(ErrorKind::NumericValueOutOfRange, format!("{type_name} out of range"))
    }

    /// `division by zero` (22012).
    pub fn division_by_zero() -> Self {
        Error::new(ErrorKind::DivisionByZero, "division by zero")
    }

    /// The condition.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where in the statement's text, counted in characters from 1.
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    /// Sets the position (characters, from 1) unless a more precise one is known already.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    /// The error of a part of a text, before which there are so many characters.
    #[must_use]
    pub fn behind(mut self, characters: usize) -> Self {
        self.0.position = self.0.position.map(|position| position + characters);
        self
    }

    field!(/// A second line that says more.
        detail, with_detail);
    field!(/// What the user could do.
        hint, with_hint);
    field!(/// Where it happened (`COPY t, line 3`).
        context, with_context);
    field!(/// The schema of the object concerned.
        schema, with_schema);
    field!(/// The table concerned.
        table, with_table);
    field!(/// The column concerned.
        column, with_column);
    field!(/// The data type concerned.
        data_type, with_data_type);
    field!(/// The violated constraint.
        constraint, with_constraint);
}

/// How many characters of an offending input a message repeats.
const MAX_SHOWN_CHARS: usize = 200;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
