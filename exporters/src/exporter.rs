//! The handle of an exporter: what is asked of it, and what it is told.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};
use tollgate_record::Timestamp;

use crate::ambient::Ambient;
use crate::cursor::{CursorFile, Found, Kept};
use crate::dead::{DeadFile, DeadLetter};
use crate::flight::Course;
use crate::runner::{Begun, Runner};
use crate::schema::as_usage;
use crate::settings::{Settings, Start};
use crate::status::{Shared, State, Status};
use crate::{Destination, Error, Source, SourceError};

/// Commands that may wait for the runner.
const COMMANDS_MAX: usize = 16;

/// Rows that a preview shows.
const PREVIEW_ROWS: usize = 3;

/// The configuration in force; replaced whole.
pub(crate) type Slot = Arc<Mutex<Arc<Course>>>;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a runner is told.
pub(crate) enum Command {
    Pause(Reply<()>),
    Resume(Reply<()>),
    Reset(Start, Reply<()>),
    Replace(Box<Settings>, Arc<dyn Destination>, Reply<()>),
    Replay(Timestamp, Timestamp, Reply<u64>),
}

/// The handle of an exporter; cheap to clone. What it is told is done by its [`Runner`], which has to run.
#[derive(Clone)]
pub struct Exporter {
    name: Arc<str>,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    slot: Slot,
    source: Arc<dyn Source>,
    dead: Arc<DeadFile>,
    wake: Arc<Notify>,
}

/// Opens an exporter, whose files lie in `folder` (`DATA/exporters`). Blocks for reading them. Nothing is delivered before [`Runner::run`].
///
/// A damaged cursor is no error here: the exporter then waits, with what is wrong in its status, to be reset.
///
/// # Errors
/// [`Error::Name`], [`Error::Locked`], [`Error::File`].
pub fn open(
    folder: &Path,
    settings: Settings,
    destination: Arc<dyn Destination>,
    source: Arc<dyn Source>,
    ambient: Arc<dyn Ambient>,
) -> Result<(Exporter, Runner), Error> {
    let name: Arc<str> = settings.name.as_str().into();
    let (file, found) = CursorFile::open(folder, &name)?;
    let dead = Arc::new(DeadFile::open(folder, &name)?);
    let shared = Arc::new(Shared::new(settings.name.clone()));
    let (kept, begun) = match found {
        Found::Nothing => (Kept::default(), Begun::New),
        Found::Kept(kept) => (kept, Begun::Set),
        Found::Older(kept, reason) => {
            let error = format!(
                "cursor {name}.cursor could not be used: {reason}; went on with the one before it, so some rows are sent again"
            );
            shared.went_wrong(State::Stopped, error, ambient.now());
            (kept, Begun::Set)
        }
        Found::Damaged(error) => {
            shared.went_wrong(State::Failed, error.to_string(), ambient.now());
            (Kept::default(), Begun::Damaged)
        }
    };
    {
        let mut status = shared.lock();
        status.cursor = kept.place();
        (status.delivered, status.retried, status.dead) = (kept.delivered, kept.retried, kept.dead);
    }
    let course = Course::new(settings, destination, ambient, Arc::clone(&shared));
    let slot: Slot = Arc::new(Mutex::new(Arc::new(course)));
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let wake = Arc::new(Notify::new());
    let exporter = Exporter {
        name,
        commands: sender,
        shared: Arc::clone(&shared),
        slot: Arc::clone(&slot),
        source: Arc::clone(&source),
        dead: Arc::clone(&dead),
        wake: Arc::clone(&wake),
    };
    let runner = Runner::new(exporter.clone(), receiver, file, kept, begun);
    Ok((exporter, runner))
}

// === impl Exporter ===

impl Exporter {
    /// Ends delivery after the answers to what is under way, until [`Exporter::resume`], also over a restart.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::File`].
    pub async fn pause(&self) -> Result<(), Error> {
        self.tell(Command::Pause).await
    }

    /// Goes on, at once: waits that are under way end.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::File`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.tell(Command::Resume).await
    }

    /// Goes on from elsewhere: rows that were delivered are delivered again, rows that are passed over are not delivered.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Source`], [`Error::File`].
    pub async fn reset(&self, to: Start) -> Result<(), Error> {
        self.tell(|reply| Command::Reset(to, reply)).await
    }

    /// Goes on with another configuration. A replay that is under way ends early.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Setting`] if the name is another.
    pub async fn replace(&self, settings: Settings, destination: Arc<dyn Destination>) -> Result<(), Error> {
        self.tell(|reply| Command::Replace(Box::new(settings), destination, reply))
            .await
    }

    /// Delivers the calls that started at `from` or later and before `to` once more, beside what is being delivered; the cursor stays. Returns their
    /// number when all of them are accepted or dead. It does not survive a restart.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Replaying`], [`Error::ReplayCut`], [`Error::Source`].
    pub async fn replay(&self, from: Timestamp, to: Timestamp) -> Result<u64, Error> {
        self.tell(|reply| Command::Replay(from, to, reply)).await
    }

    /// What would be sent next, of the first few rows behind the cursor; `None` if there is none. Nothing is sent, and no runner needs to run.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::NoPreview`].
    pub async fn preview(&self) -> Result<Option<String>, Error> {
        let course = self.course();
        let from = self.shared.lock().cursor.clone();
        let page = self
            .source
            .read(&from, course.settings.filter.as_deref(), PREVIEW_ROWS)
            .await?;
        let shaped = as_usage(&page.rows).and_then(|rows| course.settings.shape.apply(&rows));
        let rows = shaped.map_err(|error| SourceError {
            reason: error.to_string(),
        })?;
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let shown = course.destination.preview(&rows);
        shown.map(Some).ok_or_else(|| Error::NoPreview {
            name: self.name.to_string(),
        })
    }

    /// How it is, with its lag as of now.
    pub async fn status(&self) -> Status {
        let mut status = self.shared.lock().clone();
        status.breaker_open = self.course().breaker_is_open();
        if let Ok((rows, us)) = self.source.lag(&status.cursor).await {
            (status.lag_rows, status.lag_us) = (Some(rows), us);
        }
        status
    }

    /// Its dead letters, each row once.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let dead = Arc::clone(&self.dead);
        self.blocking(move || dead.read()).await
    }

    /// Forgets its dead letters; they stay in `NAME.dead.old` until they are cleared again. An exporter that waited for it goes on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn clear_dead_letters(&self) -> Result<(), Error> {
        let dead = Arc::clone(&self.dead);
        self.blocking(move || dead.clear()).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Says that there are new rows, so that it need not wait for its next look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    async fn tell<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let not_running = || Error::NotRunning {
            name: self.name.to_string(),
        };
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| not_running())?;
        answer.await.map_err(|_| not_running())?
    }

    // === for the runner ===

    /// Runs what blocks on a file on a thread where that is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| {
            Err(Error::NotRunning {
                name: self.name.to_string(),
            })
        })
    }

    pub(crate) fn course(&self) -> Arc<Course> {
        Arc::clone(&self.slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_course(&self, course: Course) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(course);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(crate) fn dead(&self) -> &Arc<DeadFile> {
        &self.dead
    }

    pub(crate) fn woken(&self) -> &Arc<Notify> {
        &self.wake
    }
}
