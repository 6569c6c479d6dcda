//! The plug, for whoever simulates power cuts: where exactly the controller dies.

use super::DeviceError;
use std::sync::{Arc, Mutex, PoisonError};
use vend_core::machine::Effect;

/// Where in a vend the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CutPoint {
    /// Before the next commit: nothing of it is durable.
    BeforeCommit,
    /// The intent is durable, the motor has not turned.
    BeforeMotor,
    /// The motor has turned, its outcome is not durable.
    AfterMotor,
    /// The outcome and the payout's intent are durable, no coin has left.
    BeforePayout,
    /// Coins have left, the result is not durable.
    AfterPayout,
}

/// A device's power. Clones are the same plug.
#[derive(Clone, Default)]
pub struct Power(Arc<Mutex<Option<Cut>>>);

#[derive(Clone, Copy)]
enum Cut {
    At(CutPoint),
    AfterEffects(u32),
}

impl Power {
    /// Power that stays.
    #[must_use]
    pub fn steady() -> Self {
        Self::default()
    }

    /// Cuts the power when a vend next comes to this point.
    pub fn cut_at(&self, point: CutPoint) {
        self.set(Some(Cut::At(point)));
    }

    /// Cuts the power before the effect after the next `effects`.
    pub fn cut_after_effects(&self, effects: u32) {
        self.set(Some(Cut::AfterEffects(effects)));
    }

    /// Takes back a cut that has not come yet.
    pub fn keep(&self) {
        self.set(None);
    }

    pub(super) fn before(&self, effect: &Effect) -> Result<(), DeviceError> {
        let mut cut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = match effect {
            Effect::Commit(_) => Some(CutPoint::BeforeCommit),
            Effect::Dispense { .. } => Some(CutPoint::BeforeMotor),
            Effect::PayOut { .. } => Some(CutPoint::BeforePayout),
            Effect::Show(_) | Effect::Authorise { .. } | Effect::Settle { .. } | Effect::Void { .. } => None,
        };
        let now = match *cut {
            None => false,
            Some(Cut::At(point)) => here == Some(point),
            Some(Cut::AfterEffects(0)) => true,
            Some(Cut::AfterEffects(left)) => {
                *cut = Some(Cut::AfterEffects(left - 1));
                false
            }
        };
        if now {
            *cut = None;
            return Err(DeviceError::PowerCut);
        }
        Ok(())
    }

    pub(super) fn after(&self, point: CutPoint) -> Result<(), DeviceError> {
        let mut cut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*cut, Some(Cut::At(at)) if at == point) {
            *cut = None;
            return Err(DeviceError::PowerCut);
        }
        Ok(())
    }

    fn set(&self, cut: Option<Cut>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }
}
