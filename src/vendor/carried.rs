//! Variables that a phase hands to later ones through `$AIRLOCK_ENV`.

use std::collections::BTreeMap;

use crate::domain::{EnvName, limits, verdict::bytes};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The last line of a name wins.
    pub variables: BTreeMap<EnvName, String>,
    /// Lines that were left out, by number and reason, never by what they hold.
    pub warnings: Vec<String>,
}

/// More was written to `$AIRLOCK_ENV` than is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} were written to $AIRLOCK_ENV; write large things to files of the workspace", bytes(limits::CARRIED_BYTES as u64))]
pub struct TooMuchCarried;

/// Warnings about single lines; what is beyond is counted.
const WARNINGS: usize = 10;

/// Reads the content of `$AIRLOCK_ENV`: `NAME=value` lines, everything behind the first `=` being the
/// value as it stands. Empty lines mean nothing; a line that is wrong is left out with a warning.
pub fn carried(content: &[u8]) -> Result<Carried, TooMuchCarried> {
    if content.len() > limits::CARRIED_BYTES {
        return Err(TooMuchCarried);
    }
    let mut carried = Carried::default();
    let mut wrong = 0;
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        match assignment(line) {
            Ok((name, value)) => {
                carried.variables.insert(name, value);
            }
            Err(why) => {
                wrong += 1;
                if wrong <= WARNINGS {
                    carried.warnings.push(format!("line {number} of $AIRLOCK_ENV is left out: {why}"));
                }
            }
        }
    }
    if wrong > WARNINGS {
        carried.warnings.push(format!("{} more lines of $AIRLOCK_ENV are left out", wrong - WARNINGS));
    }
    Ok(carried)
}

fn assignment(line: &[u8]) -> Result<(EnvName, String), String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let (name, value) = line.split_once('=').ok_or("it is not NAME=value")?;
    let name = EnvName::new(name).map_err(|_| "what stands before the = is not the name of a variable")?;
    if name.as_str() == "AIRLOCK" || name.as_str().starts_with("AIRLOCK_") {
        return Err("names that begin with AIRLOCK are Airlock's own".to_owned());
    }
    if value.contains('\0') {
        return Err("its value holds a NUL character".to_owned());
    }
    if value.len() > limits::VARIABLE_BYTES {
        return Err(format!("its value is longer than {}", bytes(limits::VARIABLE_BYTES as u64)));
    }
    Ok((name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_variables_and_the_last_one_wins() {
        let read = carried(b"A=1\n\nB=x=y z \nA=2\nEMPTY=\n_l=\xc3\xa4").unwrap();
        let expected = [("A", "2"), ("B", "x=y z "), ("EMPTY", ""), ("_l", "ä")];
        assert_eq!(
            read.variables,
            expected.map(|(name, value)| (EnvName::new(name).unwrap(), value.to_owned())).into()
        );
        assert!(read.warnings.is_empty());
    }

    #[test]
    fn a_wrong_line_is_left_out_and_named_by_number_without_its_content() {
        let read = carried(b"hunter2\nexport A=hunter2\nA=1\nB=\xff\nC=hunt\0er2\nAIRLOCK_PHASE=hunter2\n").unwrap();
        assert_eq!(read.variables.len(), 1);
        assert_eq!(read.warnings.len(), 5);
        assert_eq!(read.warnings[0], "line 1 of $AIRLOCK_ENV is left out: it is not NAME=value");
        assert!(read.warnings.iter().all(|warning| !warning.contains("hunter2")), "{:?}", read.warnings);
        assert!(read.warnings[4].starts_with("line 6"));
    }

    #[test]
    fn warnings_and_bytes_are_bounded() {
        assert_eq!(carried(&b"x\n".repeat(500)).unwrap().warnings.len(), WARNINGS + 1);
        assert!(carried(&vec![b'\n'; limits::CARRIED_BYTES]).is_ok());
        let error = carried(&vec![b'\n'; limits::CARRIED_BYTES + 1]).unwrap_err();
        assert!(error.to_string().starts_with("more than 256 KiB"), "{error}");
    }
}
