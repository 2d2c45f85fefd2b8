//! What a runner is told, done while nothing is under way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Begun, Runner, resolve};
use crate::exporter::Command;
use crate::flight::Course;
use crate::replay::Replay;
use crate::{Cursor, Error};

impl Runner {
    pub(super) async fn execute(&mut self, command: Command, stop: &CancellationToken) {
        // Whoever asked may have gone.
        match command {
            Command::Pause(reply) => {
                self.kept.paused = true;
                drop(reply.send(self.save_set().await));
            }
            Command::Resume(reply) => {
                self.kept.paused = false;
                self.exporter.set_course(self.exporter.course().anew());
                drop(reply.send(self.save_set().await));
            }
            Command::Reset(start, reply) => {
                let resolved = tokio::select! {
                    () = stop.cancelled() => return,
                    resolved = resolve(self.exporter.source().as_ref(), start) => resolved,
                };
                let done = match resolved {
                    Ok(cursor) => self.reset(cursor).await,
                    Err(error) => Err(error.into()),
                };
                drop(reply.send(done));
            }
            Command::Replace(settings, destination, reply) => {
                let course = self.exporter.course();
                if settings.name != course.settings.name {
                    let problem = format!("is {}: a name is for ever, since the files bear it", settings.name);
                    drop(reply.send(Err(Error::Setting {
                        name: self.exporter.name().to_owned(),
                        field: "name",
                        problem,
                    })));
                    return;
                }
                self.end_replay().await;
                let shared = Arc::clone(&course.shared);
                self.exporter
                    .set_course(Course::new(*settings, destination, Arc::clone(&course.ambient), shared));
                drop(reply.send(Ok(())));
            }
            Command::Replay(from, to, reply) => {
                while self.replays.try_join_next().is_some() {}
                if !self.replays.is_empty() {
                    drop(reply.send(Err(Error::Replaying {
                        name: self.exporter.name().to_owned(),
                    })));
                    return;
                }
                self.replay_halt = CancellationToken::new();
                let replay = Replay::new(self.exporter.clone(), from, to, self.replay_halt.clone());
                self.replays.spawn(async move { drop(reply.send(replay.run().await)) });
            }
        }
    }

    /// Saves, if there is a cursor to save.
    async fn save_set(&mut self) -> Result<(), Error> {
        if self.begun == Begun::Set { self.save().await } else { Ok(()) }
    }

    async fn reset(&mut self, cursor: Cursor) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.kept.cursor, cursor.0);
        if let Err(error) = self.save().await {
            self.kept.cursor = before;
            return Err(error);
        }
        self.begun = Begun::Set;
        self.exporter.shared().lock().cursor = self.kept.place();
        Ok(())
    }

    pub(super) async fn end_replay(&mut self) {
        self.replay_halt.cancel();
        while self.replays.join_next().await.is_some() {}
    }
}
