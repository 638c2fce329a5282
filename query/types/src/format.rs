//! How values read and print: the session settings that Postgres's text formats depend on.

/// Order of day and month in dates that do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// First half of `DateStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DateStyle {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

/// `IntervalStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum IntervalStyle {
    #[default]
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// `bytea_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ByteaOutput {
    #[default]
    Hex,
    Escape,
}

/// `TimeZone`: a zone of the tz database, or a fixed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeZone {
    /// `Europe/Zurich`, `UTC`.
    Named(chrono_tz::Tz),
    /// Seconds EAST of Greenwich, and the name as it prints (`<+02>-02`).
    Fixed {
        /// Seconds east.
        seconds_east: i32,
        /// As `SHOW TimeZone` prints it.
        name: String,
    },
}

/// Settings that text input and output depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatOptions {
    /// `DateStyle`, output half.
    pub date_style: DateStyle,
    /// `DateStyle`, input half.
    pub date_order: DateOrder,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
    /// `TimeZone`.
    pub time_zone: TimeZone,
    /// `extra_float_digits`, -15 to 3; shortest exact output from 1 on.
    pub extra_float_digits: i32,
    /// `bytea_output`.
    pub bytea_output: ByteaOutput,
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions {
            date_style: DateStyle::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            time_zone: TimeZone::Named(chrono_tz::Tz::UTC),
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
        }
    }
}
