//! The play.

use super::DemoArgs;
use super::api::{Operator, PricedSlot};
use super::cast::{Actor, Fate, sell};
use super::child::Server;
use super::remote;
use super::report::{self, Report};
use super::stage::Stage;
use anyhow::{Context as _, Result};
use fleet_client::agent::plan::Limits;
use fleet_client::credentials::Endpoint;
use fleet_client::hardware::sim::Behaviour;
use fleet_client::simulate::{Blueprint, Bought, SimMachine};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use vend_core::machine::Input;

const GROUP: &str = "demo";
const PRODUCTS: [&str; 6] = ["Cola", "Water", "Crisps", "Nuts", "Chocolate", "Apple juice"];
/// How long customers come, per act.
const ACT: Duration = Duration::from_secs(7);
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(45);
/// From committed sales on, the server is killed this far into the rush of everybody coming back.
const INTO_THE_RUSH: Duration = Duration::from_millis(250);
/// Customers in a row who may walk away; one in eight does.
const MAX_UNDECIDED: u32 = 20;
/// How long it stays dead.
const DOWN: Duration = Duration::from_millis(800);

/// Where everything lies; a temporary directory goes with the demo unless it is kept.
struct Home {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Home {
    fn open(args: &DemoArgs) -> Result<Self> {
        if let Some(dir) = &args.dir {
            std::fs::create_dir_all(dir)?;
            return Ok(Self { path: dir.canonicalize()?, _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("vendfleet-demo-").tempdir()?;
        if args.keep {
            return Ok(Self { path: temporary.keep(), _temporary: None });
        }
        Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

pub(super) async fn play(args: DemoArgs) -> Result<ExitCode> {
    let stage = Stage::open();
    let home = Home::open(&args)?;
    stage.act("A server starts");
    let mut server = Server::start(&home.path, args.database_url.as_deref()).await?;
    let engine = if args.database_url.is_some() { "PostgreSQL" } else { "embedded SQLite" };
    stage.tell(&format!("{engine}, TLS with a development CA, gRPC on {}", server.ready().grpc_addr));
    let mut operator =
        Operator::connect(&server.ready().grpc_addr, &server.ca_pem()?, &server.operator_token().await?)?;

    let products = operator.products(&PRODUCTS).await?;
    let first = operator.publish("first prices", &priced(&products, 0), GROUP).await?;
    let mut cast = enrol(&args, &home, &server, &mut operator).await?;
    stage.tell(&format!("{} machines enrolled, each with a secret and a journal of its own", cast.len()));

    stage.act("They take their prices and sell, online");
    for actor in &mut cast {
        actor.machine.power_on().await?;
    }
    for actor in &mut cast {
        let has_config = |o: &fleet_client::simulate::Observation| o.assignment_number > 0;
        actor.machine.wait_for(PATIENCE, has_config).await.context("waiting for the first config")?;
        actor.machine.restock().await?;
    }
    let sold = Arc::new(AtomicU64::new(0));
    cast = watched(&stage, "selling online", cast, &sold).await?;
    reflash(&stage, &mut cast).await?;

    stage.act("The network goes; they sell on");
    for actor in &cast {
        actor.machine.go_offline();
    }
    clone(&stage, &home, &mut cast, args.seed).await?;
    for actor in &cast {
        if let Fate::PowerCut(point) = actor.fate {
            actor.machine.cut_power_at(point);
        }
    }
    cast = watched(&stage, "selling offline", cast, &sold).await?;
    let cuts: u64 = cast.iter().map(|a| a.cuts).sum();
    stage.tell(&format!(
        "power was cut in the middle of a vend {cuts} times; each machine booted and sold on"
    ));

    stage.act("The prices change while nobody listens");
    let second = operator.publish("second prices", &priced(&products, 20), GROUP).await?;
    stage.tell("every price up by 0.20; every machine still charges what it shows");

    stage.act("Everybody comes back at once, and the server is killed (SIGKILL) in the rush");
    for actor in &cast {
        actor.machine.go_online();
    }
    tokio::time::sleep(INTO_THE_RUSH).await;
    server.kill().await?;
    tokio::time::sleep(DOWN).await;
    server.start_again().await?;
    stage.tell("the server is back on its data");
    let ordinary: Vec<&Actor> = cast.iter().filter(|a| !is_twin(a)).collect();
    for (n, actor) in ordinary.iter().enumerate() {
        stage.now(format!("handing over what was sold offline: {n} of {}", ordinary.len()));
        actor.machine.sync_now();
        actor.machine.settled(PATIENCE, true).await.context("waiting for records to be handed over")?;
        let takes = |o: &fleet_client::simulate::Observation| {
            o.config_id.is_some_and(|id| uuid::Uuid::from_bytes(id.0).to_string() == second)
        };
        actor.machine.wait_for(PATIENCE, takes).await.context("waiting for the new prices")?;
    }
    stage.tell(&format!("{} machines handed everything over and took the new prices", ordinary.len()));

    stage.act("Two devices say they are the same machine");
    let mut pair: Vec<&mut Actor> = cast.iter_mut().filter(|a| is_twin(a)).collect();
    let separated = separate(&stage, &mut pair, &mut operator, &second).await?;

    stage.act("They sell at the new prices");
    cast = watched(&stage, "selling at the new prices", cast, &sold).await?;
    for actor in &cast {
        actor.machine.sync_now();
        actor.machine.settled(PATIENCE, true).await.context("waiting for the last records")?;
    }
    stage.tell(&format!("{} units sold in all", sold.load(Ordering::Relaxed)));

    stage.act("Somebody buys who does not stand there");
    let first_product = products.first().map(|product| product.product_id.clone()).unwrap_or_default();
    let remote = remote::buy(&stage, &mut cast, &mut operator, &first_product).await?;
    for actor in &cast {
        actor.machine.sync_now();
        actor.machine.settled(PATIENCE, true).await.context("waiting for what was bought from afar")?;
    }

    stage.act("The report: what the devices hold, held against what the server says");
    let mut report = Report::read(&cast, &mut operator, &[first, second]).await?;
    report.separated = separated;
    report.remote = Some(remote);
    stage.close();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    for actor in &mut cast {
        actor.machine.power_off().await;
    }
    let clean = report.is_clean();
    if args.keep {
        eprint!("{}", report::what_next(&server, &home.path));
        server.wait().await?;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Customers come until one of them does not change their mind.
async fn sell_one(actor: &mut Actor) -> Result<()> {
    for _ in 0..MAX_UNDECIDED {
        if actor.machine.buy().await? == Bought::Yes {
            actor.sold += 1;
            break;
        }
    }
    Ok(())
}

/// An operator counts what is in a machine: from here on the server's own sum starts anew, and agrees.
async fn count_slots(actor: &mut Actor) -> Result<()> {
    let slots = actor.machine.units()?;
    actor.machine.handle(Input::Audit { slots, tubes: None, box_minor: None }).await?;
    actor.machine.sync_now();
    Ok(actor.machine.settled(PATIENCE, true).await?)
}

fn is_twin(actor: &Actor) -> bool {
    matches!(actor.fate, Fate::Cloned | Fate::Clone)
}

fn priced(products: &[vendfleet_proto::v1::Product], more_minor: i64) -> Vec<PricedSlot> {
    products
        .iter()
        .zip(1..)
        .map(|(product, slot)| PricedSlot {
            slot,
            product: product.clone(),
            price_minor: 100 + i64::from(slot) * 20 + more_minor,
        })
        .collect()
}

async fn enrol(args: &DemoArgs, home: &Home, server: &Server, operator: &mut Operator) -> Result<Vec<Actor>> {
    let blueprint = Arc::new(Blueprint {
        endpoint: Some(Endpoint {
            url: format!("https://{}", server.ready().grpc_addr),
            ca_pem: server.ca_pem()?,
            server_name: Some("localhost".to_owned()),
        }),
        behaviour: Behaviour::default(),
        limits: Limits {
            settle_ms: 200,
            shortest_wait_ms: 200,
            backoff: fleet_client::agent::backoff::Bounds { base_ms: 200, cap_ms: 2_000 },
            ..Limits::default()
        },
        ..Blueprint::default()
    });
    let mut cast = Vec::new();
    for index in 0..args.machines {
        let name = format!("machine-{index:02}");
        let dir = home.path.join(&name);
        let machine =
            SimMachine::new(&name, &dir, args.seed.wrapping_add(u64::from(index)), Arc::clone(&blueprint));
        machine.enrol(&operator.claim_token(&name, GROUP).await?).await?;
        cast.push(Actor { machine, fate: Fate::of(index), sold: 0, cuts: 0 });
    }
    Ok(cast)
}

/// Customers come; the audience sees how many were served.
async fn watched(stage: &Stage, what: &str, cast: Vec<Actor>, sold: &Arc<AtomicU64>) -> Result<Vec<Actor>> {
    let selling = sell(cast, ACT, sold);
    tokio::pin!(selling);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            cast = &mut selling => return cast,
            _ = tick.tick() => stage.now(format!("{what}: {} units sold", sold.load(Ordering::Relaxed))),
        }
    }
}

async fn reflash(stage: &Stage, cast: &mut [Actor]) -> Result<()> {
    for actor in cast.iter_mut().filter(|a| a.fate == Fate::Reflashed) {
        actor.machine.sync_now();
        actor.machine.settled(PATIENCE, true).await?;
        let before = actor.machine.observe()?;
        actor.machine.reflash().await?;
        let has_config = |o: &fleet_client::simulate::Observation| o.assignment_number > 0;
        actor.machine.sync_now();
        actor
            .machine
            .wait_for(PATIENCE, has_config)
            .await
            .context("waiting for the re-flashed machine's config")?;
        actor.machine.restock().await?;
        count_slots(actor).await?;
        stage.tell(&format!(
            "{} is re-flashed: its journal of {} records is gone, the server has them all",
            actor.machine.name(),
            before.last_seq
        ));
    }
    Ok(())
}

async fn clone(stage: &Stage, home: &Home, cast: &mut Vec<Actor>, seed: u64) -> Result<()> {
    let Some(original) = cast.iter_mut().find(|a| a.fate == Fate::Cloned) else { return Ok(()) };
    let name = format!("{}-clone", original.machine.name());
    let mut machine =
        original.machine.clone_into(&name, &home.path.join(&name), seed.wrapping_add(1_000)).await?;
    machine.go_offline();
    machine.power_on().await?;
    stage.tell(&format!(
        "{} has a twin: somebody copied its disk into a second board",
        original.machine.name()
    ));
    cast.push(Actor { machine, fate: Fate::Clone, sold: 0, cuts: 0 });
    Ok(())
}

/// The clones are noticed, nothing of either is lost, and an operator gives one of them a name of its own.
async fn separate(
    stage: &Stage,
    pair: &mut [&mut Actor],
    operator: &mut Operator,
    config: &str,
) -> Result<Option<String>> {
    let noticed = |o: &fleet_client::simulate::Observation| {
        o.sync.all_accepted && o.sync.standing == fleet_client::transport::Standing::Cloned
    };
    // What gives twins away is news from an epoch that the other one has replaced, so each sells after the other has spoken.
    for _ in 0..2 {
        for actor in &mut *pair {
            actor.machine.settled(PATIENCE, false).await?;
            sell_one(actor).await?;
            actor.machine.sync_now();
            actor.machine.settled(PATIENCE, false).await?;
        }
    }
    for actor in &mut *pair {
        actor.machine.sync_now();
        actor.machine.wait_for(PATIENCE, noticed).await.context("waiting for the clone to be noticed")?;
    }
    stage.tell("noticed: both upload into quarantine, neither is told anything any more");
    let [original, clone] = pair else { return Ok(None) };
    let report = clone.machine.report().await?;
    let epoch = hex::encode(clone.machine.observe()?.epoch.0);
    let split = operator.split(&report.machine_id, &epoch, clone.machine.name()).await?;
    stage.tell(&format!("an operator splits them: the second board becomes machine {split}"));
    for actor in [&*original, &*clone] {
        actor.machine.sync_now();
        actor.machine.settled(PATIENCE, true).await.context("waiting for the separated machines")?;
    }
    let takes = |o: &fleet_client::simulate::Observation| {
        o.config_id.is_some_and(|id| uuid::Uuid::from_bytes(id.0).to_string() == config)
    };
    original.machine.wait_for(PATIENCE, takes).await.context("waiting for the original's new prices")?;
    for actor in [&mut *original, &mut *clone] {
        count_slots(actor).await?;
    }
    let adopted = operator.adopt_branches(&report.machine_id).await?;
    stage.tell(&format!(
        "the {adopted} records that stood apart since the fork are adopted: they count now, once"
    ));
    stage.tell("both are machines again");
    Ok(Some(split))
}
