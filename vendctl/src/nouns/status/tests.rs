#![allow(clippy::unwrap_used)]
use super::{Count, Fleet, Picture};
use crate::call::Found;
use vendfleet_proto::v1::{
    Alert, AlertSeverity, ConfigStatus, DeviceStatus, GetServerInfoResponse, Machine, PoolState, PoolStatus,
    UploadStanding,
};

fn real(device: DeviceStatus) -> Machine {
    let pool = PoolStatus { state: PoolState::Idle.into(), ..PoolStatus::default() };
    Machine { device: Some(device), pool: Some(pool), ..Machine::default() }
}

fn picture(alerts: Vec<Alert>, machines: &[Machine]) -> Picture {
    Picture {
        server: GetServerInfoResponse { time_ms: 120_000, start_time_ms: 60_000, ..Default::default() },
        fleet: Fleet::of(machines),
        more_machines: false,
        alerts: Found { items: alerts, more: false },
        open_branches: Count { rows: 0, more: false },
        open_dead_letters: Count { rows: 200, more: true },
    }
}

#[test]
fn a_fleet_is_counted_by_what_is_known_of_it() {
    let behind = ConfigStatus { desired_number: 3, applied_number: 2, ..ConfigStatus::default() };
    let machines = [
        real(DeviceStatus {
            connected: true,
            last_sync_time_ms: 5,
            last_seq: 9,
            accepted_through: 7,
            ..Default::default()
        }),
        real(DeviceStatus {
            standing: UploadStanding::Cloned.into(),
            config: Some(behind),
            ..Default::default()
        }),
        Machine::default(),
    ];
    let fleet = Fleet::of(&machines);
    assert_eq!((fleet.real, fleet.virtual_, fleet.connected), (2, 1, 1));
    assert_eq!((fleet.never_synced, fleet.cloned, fleet.unsent_records), (1, 1, 2));
    assert_eq!(fleet.config.get("pending"), Some(&1));
    assert_eq!(fleet.pool.get("idle"), Some(&2));
}

#[test]
fn the_worst_alert_comes_first() {
    let alert = |id: &str, severity: AlertSeverity, last_time_ms| Alert {
        alert_id: id.into(),
        severity: severity.into(),
        last_time_ms,
        ..Alert::default()
    };
    let alerts = vec![
        alert("newest", AlertSeverity::Info, 100_000),
        alert("older", AlertSeverity::Critical, 1_000),
        alert("newer", AlertSeverity::Critical, 60_000),
    ];
    let text = picture(alerts, &[]).render();
    let place = |id: &str| text.find(id).unwrap();
    assert!(place("newer") < place("older") && place("older") < place("newest"), "{text}");
    assert!(text.contains("1 min ago"), "{text}");
}

#[test]
fn what_was_counted_in_part_is_said_to_be_so() {
    let picture = picture(Vec::new(), &[]);
    assert!(picture.render().contains("more than 200 dead letters"));
    assert_eq!(picture.to_json()["open_dead_letters"]["more"], true);
}
