//! What checking a person's token costs a call: with its signature, and once it is remembered.

use crate::common::Report;
use server::auth::{Person, Role, Tokens};
use server::config::AuthConfig;
use server::context::Context;
use server::data_dir::DataDir;
use std::time::Instant;

const CHECKS: u32 = 2_000;

pub fn measure() {
    let folder = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let tokens = Tokens::open(&AuthConfig::default(), Context::system(), &dir).unwrap();
    let person =
        |n: u32| Person { subject: format!("customer-{n}"), role: Role::Customer, scopes: Vec::new() };
    let all: Vec<String> = (0..CHECKS).map(|n| tokens.issue(&person(n), 3_600).unwrap()).collect();
    let time = || {
        let began = Instant::now();
        for token in &all {
            std::hint::black_box(tokens.verify(token).unwrap());
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS)
    };
    let (first, again) = (time(), time());
    println!(
        "a token of {} bytes: {first:.1} µs the first time, {again:.2} µs once remembered",
        all[0].len()
    );
    Report::of("create_order")
        .with("what", "token")
        .number("first_us", first)
        .number("remembered_us", again)
        .print();
}
