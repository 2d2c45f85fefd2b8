//! A file system that crashes: it tears writes, loses and reorders what was not synced, and refuses when it is told to.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::{Disk, File};
use crate::wal::lock;

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed: what the system took is there.
    Kill,
    /// The power is cut: of what was not synced, anything may be lost.
    Power,
}

/// A small deterministic generator (SplitMix64), so that a run depends on its seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.roll() % end as u64) as usize }
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }
}

/// The disk.
#[derive(Clone, Debug)]
pub(crate) struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    dice: Dice,
    next: u64,
    files: HashMap<u64, Content>,
    /// Names as a running process sees them.
    names: BTreeMap<PathBuf, u64>,
    /// Names that survive a power cut.
    durable: BTreeMap<PathBuf, u64>,
    /// Changes of names since their folder was synced, in order.
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    /// Steps that still work before the process dies.
    steps_left: Option<u64>,
    dead: bool,
    /// Tells the files of one life of the process from those of the next.
    life: u64,
    /// Appends that find the disk full.
    full: u32,
    /// Syncs that fail.
    failing_syncs: u32,
    read_only: bool,
}

/// A file's bytes: all that was written, and how much of the start is on the disk for certain.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, u64),
    Gone(PathBuf),
    /// From, to: both or neither.
    Moved(PathBuf, PathBuf, u64),
}

#[derive(Debug)]
struct Handle {
    disk: Weak<Mutex<State>>,
    file: u64,
    life: u64,
}

struct Lock {
    disk: Weak<Mutex<State>>,
    path: PathBuf,
    life: u64,
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::Set(path, _) | Self::Gone(path) | Self::Moved(_, path, _) => path,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Set(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Gone(path) => {
                names.remove(path);
            }
            Self::Moved(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

// === impl Simulated ===

impl Simulated {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed),
            next: 0,
            files: HashMap::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            locks: BTreeSet::new(),
            steps_left: None,
            dead: false,
            life: 0,
            full: 0,
            failing_syncs: 0,
            read_only: false,
        })))
    }

    /// Lets the process die after that many further steps; the last one happens in part.
    pub(crate) fn die_after(&self, steps: u64) {
        lock(&self.0).steps_left = Some(steps);
    }

    /// Whether the process is dead.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.0).dead
    }

    /// Counts a step of something else that dies with the process.
    pub(crate) fn step(&self) -> Step {
        lock(&self.0).step()
    }

    /// Which life of the process this is.
    pub(crate) fn life(&self) -> u64 {
        lock(&self.0).life
    }

    /// The next appends find the disk full.
    pub(crate) fn fill_up(&self, appends: u32) {
        lock(&self.0).full = appends;
    }

    /// The next syncs fail, and lose what they should have kept.
    pub(crate) fn fail_syncs(&self, syncs: u32) {
        lock(&self.0).failing_syncs = syncs;
    }

    /// Refuses every change from now on.
    pub(crate) fn make_read_only(&self) {
        lock(&self.0).read_only = true;
    }

    /// What the next process finds.
    pub(crate) fn crash(&self, crash: Crash) {
        let mut state = lock(&self.0);
        let state = &mut *state;
        if crash == Crash::Power {
            let mut dice = state.dice.clone();
            // Changes of names reach the disk in any order and number, but those of one name in theirs.
            let mut kept: BTreeMap<PathBuf, bool> = BTreeMap::new();
            for change in &state.changes {
                let keep = kept.entry(change.path().to_owned()).or_insert(true);
                *keep = *keep && dice.chance(50);
                if *keep {
                    change.apply(&mut state.durable);
                }
            }
            let mut contents: Vec<_> = state.files.iter_mut().collect();
            contents.sort_by_key(|(file, _)| **file);
            for (_, content) in contents {
                content.tear(&mut dice);
            }
            state.names = state.durable.clone();
            state.dice = dice;
            state.changes.clear();
        }
        state.locks.clear();
        state.steps_left = None;
        state.dead = false;
        state.full = 0;
        state.failing_syncs = 0;
        state.read_only = false;
        state.life += 1;
    }
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It happens.
    Whole,
    /// The process dies in the middle.
    Part,
    /// It does not happen: the process is dead.
    Dead,
}

impl State {
    fn step(&mut self) -> Step {
        if self.dead {
            return Step::Dead;
        }
        match &mut self.steps_left {
            Some(0) => {
                self.dead = true;
                Step::Part
            }
            Some(left) => {
                *left -= 1;
                Step::Whole
            }
            None => Step::Whole,
        }
    }

    /// A step that changes something and happens whole or not at all.
    fn change(&mut self) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        match self.step() {
            Step::Whole => Ok(()),
            Step::Part if self.dice.chance(50) => Ok(()),
            Step::Part | Step::Dead => Err(dead()),
        }
    }

    fn look(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    fn name(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn sync_folder(&mut self, folder: &Path) {
        let (here, elsewhere): (Vec<_>, Vec<_>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.path().parent() == Some(folder));
        for change in here {
            change.apply(&mut self.durable);
        }
        self.changes = elsewhere;
    }
}

impl Content {
    /// What a power cut leaves: the synced start, and of the rest a part, in which stretches may be blank.
    fn tear(&mut self, dice: &mut Dice) {
        if self.bytes.len() < self.synced.len() || !self.bytes.starts_with(&self.synced) {
            // Cut and not synced: either length.
            if dice.chance(50) {
                self.bytes = self.synced.clone();
            }
        } else {
            let fresh = self.bytes.len() - self.synced.len();
            let kept = self.synced.len() + dice.below(fresh + 1);
            self.bytes.truncate(kept);
            if fresh > 0 && dice.chance(30) {
                let start = self.synced.len() + dice.below(kept - self.synced.len() + 1);
                let end = start + dice.below(kept - start + 1);
                self.bytes[start..end].fill(0);
            }
        }
        self.synced = self.bytes.clone();
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for Simulated {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        lock(&self.0).look()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = lock(&self.0);
        state.look()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = lock(&self.0);
        state.look()?;
        let file = state.names.get(path).ok_or_else(missing)?;
        Ok(state.files[file].bytes.clone())
    }

    fn read_start(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        bytes.truncate(bytes_max as usize);
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.0);
        state.change()?;
        if state.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.next += 1;
        let file = state.next;
        state.files.insert(file, Content::default());
        state.name(Change::Set(path.to_owned(), file));
        Ok(self.handle(file, state.life))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let state = lock(&self.0);
        state.look()?;
        let file = *state.names.get(path).ok_or_else(missing)?;
        Ok(self.handle(file, state.life))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.change()?;
        let file = *state.names.get(from).ok_or_else(missing)?;
        state.name(Change::Moved(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.change()?;
        if !state.names.contains_key(path) {
            return Err(missing());
        }
        state.name(Change::Gone(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.change()?;
        state.sync_folder(folder);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let mut state = lock(&self.0);
        state.look()?;
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock {
            disk: Arc::downgrade(&self.0),
            path: path.to_owned(),
            life: state.life,
        })))
    }
}

impl Simulated {
    fn handle(&self, file: u64, life: u64) -> Arc<dyn File> {
        Arc::new(Handle {
            disk: Arc::downgrade(&self.0),
            file,
            life,
        })
    }
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let disk = self.disk.upgrade().ok_or_else(dead)?;
        let mut state = lock(&disk);
        // A handle of a process that died must not write into the next one's life.
        if state.life != self.life {
            return Err(dead());
        }
        act(&mut state, self.file)
    }
}

impl File for Handle {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, file| {
            if state.read_only {
                return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
            }
            let full = state.full > 0;
            let (part, result) = match state.step() {
                Step::Dead => return Err(dead()),
                Step::Part => (state.dice.below(bytes.len() + 1), Err(dead())),
                Step::Whole if full => {
                    state.full -= 1;
                    (
                        state.dice.below(bytes.len()),
                        Err(io::Error::from(io::ErrorKind::StorageFull)),
                    )
                }
                Step::Whole => (bytes.len(), Ok(())),
            };
            state.files.get_mut(&file).unwrap().bytes.extend_from_slice(&bytes[..part]);
            result
        })
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.change()?;
            state.files.get_mut(&file).unwrap().bytes.truncate(length as usize);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            state.change()?;
            if state.failing_syncs > 0 {
                state.failing_syncs -= 1;
                // As Linux does: the pages are dropped, and a further sync succeeds without them.
                let content = state.files.get_mut(&file).unwrap();
                content.synced = content.bytes[..content.synced.len().min(content.bytes.len())].to_vec();
                return Err(io::Error::other("input/output error"));
            }
            let content = state.files.get_mut(&file).unwrap();
            content.synced = content.bytes.clone();
            Ok(())
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.upgrade() {
            let mut state = lock(&disk);
            if state.life == self.life {
                state.locks.remove(&self.path);
            }
        }
    }
}
