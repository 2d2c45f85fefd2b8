//! What a data directory knows of its table while that cannot be asked: up to which place the table had its rows when it was last seen.
//!
//! File `committed` of the data directory. With it a gateway starts although its table cannot be reached: it knows which places are taken
//! and which rows of the log the table may lack.
//!
//! # Invariants
//! 1. `seq` is never more than the table has: it is written after the commit, and before the log forgets the rows of that commit.
//! 2. So every place that was ever given is at most `seq`, or in the log.
//! 3. `unseen_since` is there from a start without the table until the table is seen. Rows behind it are in no version of the table; if
//!    the table has more than it says, this data directory is an old copy, or another gateway has the same name: nothing is
//!    flushed and nothing starts then, since places would mean two rows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tollgate_record::{Name, Seq};

use crate::Error;
use crate::disk::{Disk, replace};
use crate::location::Location;

/// What is known of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    /// Whose places these are.
    instance: String,
    /// The table's URL.
    table: String,
    /// The last place that the table had.
    seq: u64,
    /// The last place that was given before rows were recorded without the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unseen_since: Option<u64>,
}

impl Anchor {
    const FILE: &str = "committed";

    /// What is known of a table that was seen just now.
    pub(crate) fn seen(instance: &Name, table: &Location, committed: Seq) -> Self {
        Self {
            instance: instance.to_string(),
            table: table.url().to_string(),
            seq: committed.get(),
            unseen_since: None,
        }
    }

    /// The same, when rows are to be recorded behind `last` without the table.
    pub(crate) fn unseen(self, last: Seq) -> Self {
        Self {
            unseen_since: Some(self.unseen_since.map_or(last.get(), |earlier| earlier.min(last.get()))),
            ..self
        }
    }

    /// Reads what is known of an instance's rows in a table; nothing, if it is of another instance or another table.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is there and cannot be read.
    pub(crate) fn read(disk: &dyn Disk, data: &Path, instance: &Name, table: &Location) -> Result<Option<Self>, Error> {
        let path = data.join(Self::FILE);
        let text = match disk.read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        // One that is none says nothing; the table itself does.
        let anchor = serde_json::from_slice::<Self>(&text).ok();
        Ok(anchor.filter(|anchor| anchor.instance == instance.as_str() && anchor.table == table.url().as_str()))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`Error::Io`]; the old one is still there then.
    pub(crate) fn write(&self, disk: &dyn Disk, data: &Path) -> Result<(), Error> {
        let path = data.join(Self::FILE);
        let text = serde_json::to_string(self).expect("strings and numbers can be written") + "\n";
        replace(disk, &path, text.as_bytes()).map_err(Error::io("write", path))
    }

    /// The last place that the table had.
    pub(crate) fn seq(&self) -> Seq {
        Seq::new(self.seq)
    }

    /// Holds what is known against what the table says.
    ///
    /// # Errors
    /// [`Error::Diverged`] if rows were recorded without the table at places that it has meanwhile (invariant 3).
    pub(crate) fn check(&self, committed: Seq) -> Result<(), Error> {
        match self.unseen_since {
            Some(last) if committed.get() > last => Err(Error::Diverged {
                instance: self.instance.clone(),
                url: self.table.clone(),
                committed: committed.get(),
                last,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::disk::Os;
    use crate::testing::name;

    #[test]
    fn it_speaks_of_its_instance_and_its_table_only() {
        let folder = TempDir::new().unwrap();
        let (here, there) = (Location::parse("file:/a").unwrap(), Location::parse("file:/b").unwrap());
        let read = |instance: &str, table| Anchor::read(&Os, folder.path(), &name(instance), table).unwrap();
        assert_eq!(read("gw", &here), None);
        let anchor = Anchor::seen(&name("gw"), &here, Seq::new(7));
        anchor.write(&Os, folder.path()).unwrap();
        assert_eq!(read("gw", &here), Some(anchor));
        assert_eq!((read("gw", &there), read("other", &here)), (None, None));
        std::fs::write(folder.path().join("committed"), "{").unwrap();
        assert_eq!(read("gw", &here), None);
    }

    #[test]
    fn places_that_the_table_has_meanwhile_are_noticed() {
        let anchor = Anchor::seen(&name("gw"), &Location::parse("file:/a").unwrap(), Seq::new(7));
        assert!(anchor.check(Seq::new(100)).is_ok(), "the log tells then what the table lacks");
        // A second start without the table knows no better than the first one.
        let unseen = anchor.unseen(Seq::new(9)).unseen(Seq::new(20));
        assert!(unseen.check(Seq::new(9)).is_ok());
        assert!(matches!(
            unseen.check(Seq::new(10)),
            Err(Error::Diverged {
                committed: 10,
                last: 9,
                ..
            })
        ));
    }
}
