//! Every version of every price list that was ever in force here, kept so that table `prices` can explain any row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use tollgate_record::{Name, Price, PriceList, Timestamp};

use crate::Error;
use crate::disk::{Disk, replace};
use crate::rating::PriceBook;
use crate::schema::DECIMAL;

/// First bytes of a file: the format's name and version.
const MAGIC: &[u8; 8] = b"TOLLPRC1";

/// Price lists by version.
#[derive(Debug)]
pub(crate) struct History {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    lists: BTreeMap<Name, PriceList>,
    /// Versions that are in force.
    current: Vec<Name>,
}

/// A price with its version and list.
type Row<'a> = (&'a Name, &'a PriceList, &'a Price);

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
            let list = bytes
                .strip_prefix(MAGIC)
                .and_then(|content| postcard::from_bytes::<(Name, PriceList)>(content).ok());
            let Some((version, list)) = list else {
                let found = String::from_utf8_lossy(bytes.get(..MAGIC.len()).unwrap_or(&bytes)).into_owned();
                return Err(Error::Format {
                    path,
                    found,
                    expected: "TOLLPRC1",
                });
            };
            lists.insert(version, list);
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
                let content = postcard::to_stdvec(&(version, list)).expect("a price list has a known length");
                // A version ends in the hash of its content, so that part alone names the file.
                let hash = version.as_str().rsplit('@').next().unwrap_or_default();
                let path = self.folder.join(format!("{hash}.prices"));
                let bytes: Vec<u8> = MAGIC.iter().copied().chain(content).collect();
                replace(&*self.disk, &path, &bytes).map_err(Error::io("write", &path))?;
                self.lists.insert(version.clone(), list.clone());
            }
            current.push(version.clone());
        }
        self.current = current;
        Ok(())
    }

    /// The rows of table `prices`.
    ///
    /// # Errors
    /// [`Error::Arrow`] if the columns do not fit, which would be a defect.
    pub(crate) fn batch(&self) -> Result<RecordBatch, Error> {
        let rows: Vec<Row<'_>> = self
            .lists
            .iter()
            .flat_map(|(version, list)| list.prices.iter().map(move |price| (version, list, price)))
            .collect();
        let text =
            |get: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(get).collect::<StringArray>()) };
        let decimal = |get: &dyn Fn(&Price) -> i128| -> Result<ArrayRef, Error> {
            let array = Decimal128Array::from_iter_values(rows.iter().map(|(_, _, price)| get(price))).with_data_type(DECIMAL);
            Ok(Arc::new(array))
        };
        let time = |get: &dyn Fn(&Price) -> Option<Timestamp>| -> ArrayRef {
            let values = rows.iter().map(|(_, _, price)| get(price).map(Timestamp::unix_us));
            Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let int = |get: &dyn Fn(&Price) -> Option<u64>| -> ArrayRef {
            let values = rows
                .iter()
                .map(|(_, _, price)| get(price).map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
            Arc::new(values.collect::<Int64Array>())
        };
        let name = |name: &Option<Name>| name.as_ref().map(Name::to_string);
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("price_version", text(&|(version, _, _)| Some(version.to_string())), false),
            ("price_list", text(&|(_, list, _)| Some(list.name.to_string())), false),
            (
                "in_force",
                Arc::new(
                    rows.iter()
                        .map(|(version, _, _)| Some(self.current.contains(version)))
                        .collect::<BooleanArray>(),
                ),
                false,
            ),
            (
                "shipped",
                Arc::new(rows.iter().map(|(_, list, _)| Some(list.shipped)).collect::<BooleanArray>()),
                false,
            ),
            ("provider", text(&|(_, list, _)| Some(list.provider.to_string())), false),
            ("model", text(&|(_, _, price)| Some(price.model.to_string())), false),
            ("region", text(&|(_, _, price)| name(&price.region)), true),
            ("service_tier", text(&|(_, _, price)| name(&price.service_tier)), true),
            ("context_above", int(&|price| price.context_above), true),
            ("meter", text(&|(_, _, price)| Some(price.meter.as_str().to_owned())), false),
            ("unit", text(&|(_, _, price)| Some(price.meter.unit().to_owned())), false),
            ("per", int(&|price| Some(price.per)), false),
            ("price", decimal(&|price| price.price.units())?, false),
            ("discount", decimal(&|price| price.discount.units())?, false),
            ("currency", text(&|(_, list, _)| Some(list.currency.to_string())), false),
            ("effective_from", time(&|price| Some(price.effective_from)), false),
            ("effective_to", time(&|price| price.effective_to), true),
            (
                "source",
                text(&|(_, _, price)| price.source.as_deref().map(str::to_owned)),
                true,
            ),
        ];
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable))
            .collect();
        let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}
