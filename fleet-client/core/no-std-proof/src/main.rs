//! A machine that sells once, with no std anywhere: exits 0 when the vend is on record.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicUsize, Ordering};
use vend_core::config::{Assignment, CashConfig, Config, OfflineBudget, Product, Slot};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::machine::{Effect, Input, Machine, Motor, PowerUp, SlotUnits};
use vend_core::money::{Currency, Purse};
use vend_core::record::{Body, UnknownPolicy};
use vend_core::time::Now;

const HEAP_BYTES: usize = 1 << 20;

/// Hands out memory once and never takes it back: enough for one sale.
struct Bump {
    heap: UnsafeCell<[u8; HEAP_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: `used` hands every byte to one caller only.
unsafe impl Sync for Bump {}

// SAFETY: blocks are inside `heap`, aligned, and never handed out twice.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = self.heap.get().cast::<u8>();
        let mut start = 0;
        let claimed = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let address = heap as usize + used;
            start = used + (address.next_multiple_of(layout.align()) - address);
            start.checked_add(layout.size()).filter(|&end| end <= HEAP_BYTES)
        });
        match claimed {
            // SAFETY: `start` is below HEAP_BYTES.
            Ok(_) => unsafe { heap.add(start) },
            Err(_) => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump { heap: UnsafeCell::new([0; HEAP_BYTES]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the C library's exit, which does not return.
    unsafe { exit(101) }
}

unsafe extern "C" {
    fn exit(code: c_int) -> !;
}

/// The host's ready-made `alloc` was compiled to unwind and names these two; nothing here ever unwinds.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: the C library's exit, which does not return.
    unsafe { exit(102) }
}

/// What a C start-up calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const u8) -> c_int {
    match sell_once() {
        Some(true) => 0,
        Some(false) => 1,
        None => 2,
    }
}

fn sell_once() -> Option<bool> {
    let mut next = 0u8;
    let mut ids = || {
        next += 1;
        TransactionId([next; 16])
    };
    let power_up = PowerUp {
        boot: BootId([1; 16]),
        epoch: Epoch([2; 16]),
        firmware: "proof".into(),
        parent: None,
        slots: vec![1],
    };
    let now = Now::default();
    let (mut machine, _) = Machine::new(power_up, now, &mut ids);
    let offered = Assignment { number: 1, sha256: [0; 32], config: config()? };
    machine.handle(now, Input::ConfigOffered(offered), &mut ids).ok()?;
    let slots = vec![SlotUnits { slot: 1, units: 1 }];
    machine.handle(now, Input::Refill { slots, tubes: Purse::new() }, &mut ids).ok()?;
    machine.handle(now, Input::Select { slot: 1 }, &mut ids).ok()?;
    let transaction = machine.durable().intent.as_ref()?.transaction;
    let done = Input::DispenseResult { transaction, motor: Motor::Success };
    let effects = machine.handle(now, done, &mut ids).ok()?;
    Some(sold(&effects))
}

fn sold(effects: &[Effect]) -> bool {
    effects.iter().any(|e| match e {
        Effect::Commit(commit) => commit.records.iter().any(|r| matches!(r.body, Body::Vend(_))),
        _ => false,
    })
}

fn config() -> Option<Config> {
    let product = ProductId([3; 16]);
    Some(Config {
        id: ConfigId([4; 16]),
        currency: Currency::parse("EUR")?,
        products: vec![Product { id: product, name: "water".into() }],
        slots: vec![Slot { slot: 1, product, price_minor: 0, capacity: 5, par: 5 }],
        cash: CashConfig { accepted: Vec::new(), tubes: Vec::new(), max_credit_minor: 0 },
        offline_cashless: OfflineBudget::default(),
        unknown_policy: UnknownPolicy::Refund,
        selection_timeout_ms: 30_000,
    })
}
