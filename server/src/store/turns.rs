//! Whose turn it is to write, among those of this process that would otherwise be in each other's way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// One turn at a time; the next one goes to whoever has waited longest. Cheap to clone; clones share the turn.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    is_taken: bool,
    count: u64,
    /// By since when they wait, then as they came. Bounded by who can ask: each lane of a group commit once.
    waiting: BTreeMap<(Duration, u64), oneshot::Sender<Turn>>,
}

/// The turn. Dropped, it goes to the next.
#[derive(Debug)]
pub struct Turn(Turns);

impl Turns {
    /// Waits for the turn. `since`: when what is to be written was asked for, by the process's own clock.
    pub async fn take(&self, since: Duration) -> Turn {
        let coming = {
            let mut line = self.line();
            if !line.is_taken {
                line.is_taken = true;
                return Turn(self.clone());
            }
            line.enter(since)
        };
        coming.await.expect("a line that somebody waits in is not dropped")
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn enter(&mut self, since: Duration) -> oneshot::Receiver<Turn> {
        let (sender, coming) = oneshot::channel();
        self.count += 1;
        self.waiting.insert((since, self.count), sender);
        coming
    }
}

impl Turn {
    /// Lets those go first who have waited for longer than `since`; keeps the turn when there is nobody.
    pub async fn give_way(self, since: Duration) -> Self {
        let coming = {
            let mut line = self.0.line();
            match line.waiting.first_key_value() {
                Some(((other, _), _)) if *other < since => line.enter(since),
                _ => {
                    drop(line);
                    return self;
                }
            }
        };
        let turns = self.0.clone();
        drop(self);
        let turn = coming.await.expect("a line that somebody waits in is not dropped");
        drop(turns);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut line = self.0.line();
            let next = line.waiting.pop_first();
            line.is_taken = next.is_some();
            next
        };
        // To one that went away meanwhile it is sent in vain, dropped, and goes on from there.
        if let Some((_, sender)) = next {
            let _ = sender.send(Self(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
