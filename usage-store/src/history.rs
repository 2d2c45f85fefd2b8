//! Every version of every price list that was ever in force here, kept so that table `prices` can explain any row.

mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use tollgate_record::{Name, PriceList};

use crate::Error;
use crate::disk::{Disk, replace};
use tollgate_rating::lists::Lists;
use tollgate_rating::{PriceBook, stored};

/// First bytes of a file: the format's name and version. A list without terms is of version 1.
const MAGIC: [&[u8; 8]; 2] = [b"TOLLPRC1", b"TOLLPRC2"];

/// Price lists by version.
#[derive(Debug)]
pub(crate) struct History {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    lists: BTreeMap<Name, Arc<PriceList>>,
    /// Versions that are in force.
    current: Vec<Name>,
}

/// A version and its list as a file holds them.
fn encode(version: &Name, list: &PriceList) -> Vec<u8> {
    let [plain, with_terms] = MAGIC;
    let magic = if list.terms.is_empty() { plain } else { with_terms };
    let name = postcard::to_stdvec(version).expect("a name has a known length");
    [magic.as_slice(), &name, &stored::content(list)].concat()
}

/// Reads [`encode`].
fn decode(bytes: &[u8]) -> Option<(Name, PriceList)> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (version, content) = postcard::take_from_bytes(rest).ok()?;
    let [plain, with_terms] = MAGIC;
    let list = if magic == plain {
        stored::plain(content)
    } else if magic == with_terms {
        stored::with_terms(content)
    } else {
        None
    };
    Some((version, list?))
}

impl History {
    /// Reads what was kept.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] if a file is of another version.
    pub(crate) fn open(disk: Arc<dyn Disk>, data: &Path) -> Result<Self, Error> {
        let folder = data.join("prices");
        disk.create_folder(&folder).map_err(Error::io("create", &folder))?;
        Self::read(disk, folder)
    }

    /// Reads what was kept, if anything was; changes nothing.
    ///
    /// # Errors
    /// As [`History::open`].
    pub(crate) fn open_existing(disk: Arc<dyn Disk>, data: &Path) -> Result<Self, Error> {
        let folder = data.join("prices");
        if folder.exists() {
            Self::read(disk, folder)
        } else {
            Ok(Self {
                disk,
                folder,
                lists: BTreeMap::new(),
                current: Vec::new(),
            })
        }
    }

    fn read(disk: Arc<dyn Disk>, folder: PathBuf) -> Result<Self, Error> {
        let mut lists = BTreeMap::new();
        for name in disk.list(&folder).map_err(Error::io("list", &folder))? {
            let path = folder.join(name);
            if path.extension().is_none_or(|extension| extension != "prices") {
                continue;
            }
            let bytes = disk.read(&path).map_err(Error::io("read", &path))?;
            let Some((version, list)) = decode(&bytes) else {
                let found = String::from_utf8_lossy(bytes.get(..8).unwrap_or(&bytes)).into_owned();
                return Err(Error::Format {
                    path,
                    found,
                    expected: "TOLLPRC1 or TOLLPRC2",
                });
            };
            lists.insert(version, Arc::new(list));
        }
        Ok(Self {
            disk,
            folder,
            lists,
            current: Vec::new(),
        })
    }

    /// Keeps the lists of a book, and takes them for those in force.
    ///
    /// # Errors
    /// [`Error::Io`] if a new one cannot be written.
    pub(crate) fn add(&mut self, book: &PriceBook) -> Result<(), Error> {
        let mut current = Vec::new();
        for (list, version) in book.lists() {
            if !self.lists.contains_key(version) {
                // A version ends in the hash of its content, so that part alone names the file.
                let hash = version.as_str().rsplit('@').next().unwrap_or_default();
                let path = self.folder.join(format!("{hash}.prices"));
                replace(&*self.disk, &path, &encode(version, list)).map_err(Error::io("write", &path))?;
                self.lists.insert(version.clone(), Arc::new(list.clone()));
            }
            current.push(version.clone());
        }
        self.current = current;
        Ok(())
    }

    /// Every version, to rate with.
    pub(crate) fn lists(&self) -> Lists {
        Lists::new(self.lists.clone(), &self.current)
    }

    /// The rows of table `prices`.
    ///
    /// # Errors
    /// [`Error::Arrow`] if the columns do not fit, which would be a defect.
    pub(crate) fn batch(&self) -> Result<RecordBatch, Error> {
        rows::batch(&self.lists, &self.current)
    }
}
