//! The line of callers that wait for a machine: who stands in it, in which order, and how many.

use super::committer::Granted;
use super::refusal::NoIdle;
use crate::domain::pool::Start;
use crate::error::ApiError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::oneshot;

/// `Known::fitting` of who was not looked for yet.
const UNKNOWN: u64 = u64::MAX;

#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiter>,
    standing: Count,
    /// Those that are being asked for just now, and not in `waiting`.
    asked: Count,
    next_number: u64,
    is_served: bool,
    is_closed: bool,
}

/// How many, by whether they wait or are looked for once.
#[derive(Clone, Copy, Default)]
struct Count {
    patient: usize,
    passing: usize,
}

impl Count {
    fn of(&mut self, waiter: &Waiter) -> &mut usize {
        if waiter.once.is_none() { &mut self.patient } else { &mut self.passing }
    }
}

pub(super) struct Waiter {
    /// Rises with every comer.
    number: u64,
    pub(super) start: Start,
    /// Is told this when the first look finds nothing; `None`: goes on waiting.
    pub(super) once: Option<NoIdle>,
    pub(super) known: Arc<Known>,
    pub(super) reply: oneshot::Sender<Result<Granted, ApiError>>,
}

/// What a caller and whoever serves it tell each other.
pub(super) struct Known {
    is_over: AtomicBool,
    fitting: AtomicU64,
}

impl Known {
    pub(super) fn new(fitting: Option<u64>) -> Self {
        Self { is_over: AtomicBool::new(false), fitting: AtomicU64::new(fitting.unwrap_or(UNKNOWN)) }
    }

    /// Its time is over.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// It was looked for, and so many machines match its filter, none of them idle.
    pub(super) fn looked(&self, fitting: u64) {
        self.fitting.store(fitting, Ordering::SeqCst);
    }

    /// `None`: it was never looked for.
    pub(super) fn fitting(&self) -> Option<u64> {
        Some(self.fitting.load(Ordering::SeqCst)).filter(|fitting| *fitting != UNKNOWN)
    }
}

impl Line {
    /// All that stand here, those included that are being asked for just now.
    pub(super) fn count(&self) -> usize {
        self.patient() + self.passing()
    }

    /// Those that wait.
    pub(super) fn patient(&self) -> usize {
        self.standing.patient + self.asked.patient
    }

    /// Those that are looked for once.
    pub(super) fn passing(&self) -> usize {
        self.standing.passing + self.asked.passing
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Gives its number, and whether somebody must begin to serve the line.
    pub(super) fn enter(
        &mut self,
        start: Start,
        once: Option<NoIdle>,
        known: Arc<Known>,
        reply: oneshot::Sender<Result<Granted, ApiError>>,
    ) -> (u64, bool) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let waiter = Waiter { number, start, once, known, reply };
        *self.standing.of(&waiter) += 1;
        self.waiting.push_back(waiter);
        (number, !std::mem::replace(&mut self.is_served, true))
    }

    /// Tells whether it was still standing here.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        let Some(at) = self.waiting.iter().position(|waiter| waiter.number == number) else { return false };
        if let Some(waiter) = self.waiting.remove(at) {
            *self.standing.of(&waiter) -= 1;
        }
        true
    }

    /// All are asked for now.
    pub(super) fn ask_for_all(&mut self) -> VecDeque<Waiter> {
        self.asked = std::mem::take(&mut self.standing);
        std::mem::take(&mut self.waiting)
    }

    /// Those that were asked for are gone.
    pub(super) fn forget_asked(&mut self) {
        self.asked = Count::default();
    }

    /// Those that were asked for and go on waiting stand in front again; gives them back when the line is closed.
    pub(super) fn put_back(&mut self, mut left: Vec<Waiter>) -> Vec<Waiter> {
        self.forget_asked();
        if self.is_closed {
            return left;
        }
        left.sort_unstable_by_key(|waiter| waiter.number);
        for waiter in left.into_iter().rev() {
            *self.standing.of(&waiter) += 1;
            self.waiting.push_front(waiter);
        }
        Vec::new()
    }

    /// Takes those out that were looked for and whose time was over meanwhile.
    pub(super) fn those_over(&mut self) -> Vec<Waiter> {
        let over = |waiter: &Waiter| waiter.known.is_over() && waiter.known.fitting().is_some();
        if !self.waiting.iter().any(over) {
            return Vec::new();
        }
        let (gone, stay): (VecDeque<Waiter>, VecDeque<Waiter>) =
            std::mem::take(&mut self.waiting).into_iter().partition(over);
        self.waiting = stay;
        gone.into_iter().inspect(|waiter| *self.standing.of(waiter) -= 1).collect()
    }

    /// Nobody stands here any more, so nobody serves the line any more.
    pub(super) fn is_left(&mut self) -> bool {
        self.is_served = !self.waiting.is_empty();
        !self.is_served
    }

    /// Nobody is being asked for just now, and everybody was.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        let looked = |waiter: &Waiter| waiter.known.fitting().is_some();
        self.asked.patient + self.asked.passing == 0 && self.waiting.iter().all(looked)
    }

    /// Nobody stands here from now on; gives those who did.
    pub(super) fn close(&mut self) -> VecDeque<Waiter> {
        self.is_closed = true;
        self.standing = Count::default();
        std::mem::take(&mut self.waiting)
    }
}
