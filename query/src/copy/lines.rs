//! How the lines of the text and the CSV format end: the first one decides, and the others must end the same.

use stratos_types::{Error, ErrorKind};

/// End of the data, which old clients still send.
pub const END_MARKER: &[u8] = b"\\.";

/// A line at the front of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Where its text ends.
    pub end: usize,
    /// Where the next one begins.
    pub next: usize,
    /// The data ends with it; its own text may be empty.
    pub is_last: bool,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Newline,
    Both,
    Return,
}

/// How the lines end that were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineEnds(Option<End>);

/// What a newline or a carriage return is where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What comes next has to be known.
    Open,
    /// The end of the line, behind which the next one begins.
    Line(usize),
    /// Not how the lines before end.
    Otherwise,
}

impl LineEnds {
    /// What the byte at a place is; `whole` when nothing comes behind the data.
    pub fn at(&mut self, data: &[u8], at: usize, whole: bool) -> Ended {
        let (end, length) = match (data[at], self.0) {
            (b'\n', None | Some(End::Newline)) => (End::Newline, 1),
            (b'\n', _) | (_, Some(End::Newline)) => return Ended::Otherwise,
            (_, Some(End::Return)) => (End::Return, 1),
            (_, seen) => match data.get(at + 1) {
                Some(b'\n') => (End::Both, 2),
                None if !whole => return Ended::Open,
                _ if seen.is_none() => (End::Return, 1),
                _ => return Ended::Otherwise,
            },
        };
        self.0 = Some(end);
        Ended::Line(at + length)
    }

    /// Whether it is a newline behind a carriage return.
    pub fn are_both(self) -> bool {
        self.0 == Some(End::Both)
    }

    /// The byte that is counted as a further line where it stands within quotes.
    pub fn counted(self) -> u8 {
        if self.0 == Some(End::Newline) { b'\n' } else { b'\r' }
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadCopyFileFormat, message)
}

/// A byte of a line's end that is none here.
pub fn no_end(byte: u8, quotes: bool) -> Error {
    let (name, letter) = if byte == b'\n' { ("newline", 'n') } else { ("carriage return", 'r') };
    let (how, hint) = match quotes {
        true => ("unquoted", format!("Use quoted CSV field to represent {name}.")),
        false => ("literal", format!("Use \"\\{letter}\" to represent {name}.")),
    };
    refused(format!("{how} {name} found in data")).with_hint(hint)
}

/// The end marker is followed by something else.
pub fn corrupt_marker() -> Error {
    refused("end-of-copy marker corrupt")
}

/// The line of the end marker ends otherwise than those before.
pub fn other_marker() -> Error {
    refused("end-of-copy marker does not match previous newline style")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_decides() {
        for (data, whole, first, then) in [
            (&b"a\nb\n"[..], false, Ended::Line(2), Ended::Line(4)),
            (b"a\nb\r\n", false, Ended::Line(2), Ended::Otherwise),
            (b"a\r\nb\r\n", false, Ended::Line(3), Ended::Line(6)),
            (b"a\r\nb\n", false, Ended::Line(3), Ended::Otherwise),
            (b"a\r\nb\rc", false, Ended::Line(3), Ended::Otherwise),
            (b"a\rb\r", false, Ended::Line(2), Ended::Line(4)),
            (b"a\rb\n", false, Ended::Line(2), Ended::Otherwise),
            (b"a\r\nb\r", false, Ended::Line(3), Ended::Open),
            (b"a\r\nb\r", true, Ended::Line(3), Ended::Otherwise),
        ] {
            let mut ends = LineEnds::default();
            let place =
                |from: usize| from + data[from..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap();
            assert_eq!(ends.at(data, place(0), whole), first, "{data:?}");
            let Ended::Line(next) = first else { continue };
            assert_eq!(ends.at(data, place(next), whole), then, "{data:?}");
        }
        assert_eq!(LineEnds::default().at(b"\r", 0, false), Ended::Open);
    }
}
