//! Finds the objects of a JSON file, whether it is an array, or one object after the other as in JSON lines. Memory is bounded by the largest
//! object. What is inside an object is not looked at, so that one that is wrong does not hide those after it.

use std::io::{self, BufRead};

/// Largest object, in bytes: spend logs may carry whole prompts.
pub(crate) const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Objects of a file, each with the line on which it begins.
pub(crate) struct Split<R> {
    input: R,
    line: u64,
    /// Whether the file is an array; known at its first byte.
    array: Option<bool>,
    ended: bool,
}

/// What comes next.
pub(crate) enum Next {
    Object { line: u64, bytes: Vec<u8> },
    End,
    Broken { line: u64, reason: String },
}

impl<R: BufRead> Split<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self {
            input,
            line: 1,
            array: None,
            ended: false,
        }
    }

    pub(crate) fn next(&mut self) -> Next {
        if self.ended {
            return Next::End;
        }
        let next = self.look().unwrap_or_else(|error| Next::Broken {
            line: self.line,
            reason: error.to_string(),
        });
        self.ended = !matches!(next, Next::Object { .. });
        next
    }

    fn look(&mut self) -> io::Result<Next> {
        loop {
            let Some(byte) = self.byte()? else {
                return Ok(match self.array {
                    Some(true) => self.broken("the file ends inside its array, so a part of it is missing"),
                    _ => Next::End,
                });
            };
            match (byte, self.array) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => {}
                // A byte order mark.
                (0xEF | 0xBB | 0xBF, None) => {}
                (b'[', None) => self.array = Some(true),
                (b',', Some(_)) => {}
                (b']', Some(true)) => return Ok(Next::End),
                (b'{', _) => {
                    self.array.get_or_insert(false);
                    return self.object();
                }
                (other, _) => {
                    let reason = format!("expected an object, found {:?}", char::from(other));
                    return Ok(self.broken(&reason));
                }
            }
        }
    }

    /// Reads on to the brace that closes the one just read.
    fn object(&mut self) -> io::Result<Next> {
        let line = self.line;
        let mut bytes = vec![b'{'];
        let (mut depth, mut text, mut escaped) = (1_u32, false, false);
        while depth > 0 {
            let Some(byte) = self.byte()? else {
                self.line = line;
                return Ok(self.broken("the file ends inside this object"));
            };
            if bytes.len() >= OBJECT_BYTES_MAX {
                self.line = line;
                return Ok(self.broken("this object is larger than 64 MiB"));
            }
            bytes.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if text => escaped = true,
                b'"' => text = !text,
                b'{' | b'[' if !text => depth += 1,
                b'}' | b']' if !text => depth -= 1,
                _ => {}
            }
        }
        Ok(Next::Object { line, bytes })
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = loop {
            match self.input.fill_buf() {
                Ok(buffer) => break buffer.first().copied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if byte.is_some() {
            self.input.consume(1);
        }
        if byte == Some(b'\n') {
            self.line += 1;
        }
        Ok(byte)
    }

    fn broken(&self, reason: &str) -> Next {
        Next::Broken {
            line: self.line,
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut split = Split::new(text.as_bytes());
        let mut found = Vec::new();
        loop {
            match split.next() {
                Next::Object { line, bytes } => found.push(format!("{line} {}", String::from_utf8_lossy(&bytes))),
                Next::End => return found,
                Next::Broken { line, reason } => {
                    found.push(format!("{line} broken: {reason}"));
                    return found;
                }
            }
        }
    }

    #[test]
    fn lines_and_arrays_give_the_same_objects() {
        let expected = ["{\"a\":\"}\\\"]\"}", "{\"b\":[{}]}"];
        let lines = format!("{}\n\n{}\n", expected[0], expected[1]);
        assert_eq!(split(&lines), [format!("1 {}", expected[0]), format!("3 {}", expected[1])]);
        let array = format!(" [\n{},\n{}\n]\n", expected[0], expected[1]);
        assert_eq!(split(&array), [format!("2 {}", expected[0]), format!("3 {}", expected[1])]);
        assert!(split("").is_empty());
        assert!(split("[]").is_empty());
    }

    #[test]
    fn a_file_that_was_cut_off_is_told_from_one_that_ends() {
        assert_eq!(
            split("[{},{}")[2],
            "1 broken: the file ends inside its array, so a part of it is missing"
        );
        assert_eq!(split("{}\n{\"a\": 1")[1], "2 broken: the file ends inside this object");
        assert_eq!(split("request_id,spend")[0], "1 broken: expected an object, found 'r'");
    }
}
