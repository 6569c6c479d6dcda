//! Watches the room under the embedded database, and shows it as a part of health.

use std::{path::Path, time::Duration};

use tokio::sync::watch;

use super::Toolbox;
use crate::{
    health::{Part, PartStatus},
    operations::{
        Deps,
        space::{Found, SpaceSettings, Standing, keep_watch},
    },
};

/// Starts looking at the medium of `file`.
pub(super) fn start(
    tools: &Toolbox,
    deps: &Deps,
    file: &Path,
) -> Option<(&'static str, watch::Receiver<Part>)> {
    let folder = file.parent()?.to_path_buf();
    let (found, mut seen) = watch::channel(Found::default());
    let settings = SpaceSettings {
        low_bytes: tools.config.health.low_space_bytes,
        reserve_bytes: tools.config.health.reserve_space_bytes,
    };
    let every = Duration::from_millis(tools.config.health.probe_interval_ms);
    tools.workers.spawn(keep_watch(deps.clone(), folder, settings, every, found, tools.drain.clone()));
    let (shown, part) = watch::channel(Part::ok());
    tools.workers.spawn(async move {
        while seen.changed().await.is_ok() {
            shown.send_replace(self::part(&seen.borrow_and_update()));
        }
    });
    Some(("disk", part))
}

fn part(found: &Found) -> Part {
    match found.standing {
        Standing::Ample => Part::ok(),
        Standing::Low => Part::new(PartStatus::Degraded, found.detail.clone()),
        Standing::Reserve => {
            Part { status: PartStatus::Degraded, detail: found.detail.clone(), is_serving: false }
        }
    }
}
