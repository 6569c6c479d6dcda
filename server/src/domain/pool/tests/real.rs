//! Random histories of real machines: commands handed out, lost, carried out, heard late, resolved, reset and redriven in
//! whatever order.

use super::street::Street;
use crate::domain::pool::Resolution;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Start,
    Choose(usize, bool),
    Claim(usize),
    Report(usize, u8),
    Reset(usize),
    Answer(usize, bool),
    CarryOut(usize, u8),
    Restart(usize),
    Sync(usize),
    Resolve(usize, bool),
    Redrive(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || any::<usize>();
    prop_oneof![
        4 => Just(Step::Start),
        6 => (at(), any::<bool>()).prop_map(|(at, pays)| Step::Choose(at, pays)),
        6 => at().prop_map(Step::Claim),
        7 => (at(), any::<u8>()).prop_map(|(at, kind)| Step::Report(at, kind)),
        2 => at().prop_map(Step::Reset),
        6 => (at(), any::<bool>()).prop_map(|(at, arrives)| Step::Answer(at, arrives)),
        5 => (at(), any::<u8>()).prop_map(|(at, kind)| Step::CarryOut(at, kind)),
        1 => at().prop_map(Step::Restart),
        5 => at().prop_map(Step::Sync),
        2 => (at(), any::<bool>()).prop_map(|(at, dispensed)| Step::Resolve(at, dispensed)),
        1 => at().prop_map(Step::Redrive),
        4 => (0..8_000_i64).prop_map(Step::Wait),
    ]
}

fn take(street: &mut Street, step: &Step) {
    match *step {
        Step::Start => street.start(),
        Step::Choose(at, pays) => street.choose(at, pays),
        Step::Claim(at) => street.claim(at),
        Step::Report(at, kind) => street.report(at, kind),
        Step::Reset(at) => street.reset(at),
        Step::Answer(at, arrives) => street.answer(at, arrives),
        Step::CarryOut(at, kind) => street.carry_out(at, kind),
        Step::Restart(at) => street.restart(at),
        Step::Sync(at) => street.sync(at),
        Step::Resolve(at, true) => street.resolve(at, Resolution::Dispensed),
        Step::Resolve(at, false) => street.resolve(at, Resolution::NotDispensed),
        Step::Redrive(at) => street.redrive(at),
        Step::Wait(ms) => street.world.view.clock_ms += ms,
    }
}

proptest! {
    #[test]
    fn what_comes_out_is_what_counts_whatever_happens(steps in prop::collection::vec(step(), 1..160)) {
        let mut street = Street::new(2);
        for step in &steps {
            take(&mut street, step);
            street.check();
        }
        street.settle();
    }
}
