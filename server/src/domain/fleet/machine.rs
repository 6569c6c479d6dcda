//! A machine as operators see it.

use super::CredentialState;
use crate::domain::ids::MachineId;
use crate::domain::pool::{Pooled, Standing};
use crate::domain::sync::MachineStanding;
use crate::domain::text::{Label, Text, Within};
use std::collections::BTreeSet;
use vend_core::id::{ConfigId, Epoch};
use vend_core::time::ClockQuality;

/// Hardware serial.
pub type Serial = Text<1, 64>;

/// What stands behind a machine. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MachineKind {
    /// A job on the server, served from central stock.
    Virtual = 1,
    /// A device with slots of its own.
    Real = 2,
}

impl MachineKind {
    /// The kind of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Virtual, Self::Real].into_iter().find(|kind| *kind as i64 == number)
    }

    /// Its name on the wire, without prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virtual => "VIRTUAL",
            Self::Real => "REAL",
        }
    }
}

/// At most 16 labels, each once, in alphabetical order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tags(BTreeSet<Label>);

impl Tags {
    /// Most tags of one machine.
    pub const MAX: usize = 16;

    /// The tags, or the rule they break.
    pub fn new(labels: Vec<Label>) -> Result<Self, String> {
        let count = labels.len();
        if count > Self::MAX {
            return Err(format!("must be at most {} tags", Self::MAX));
        }
        let tags: BTreeSet<Label> = labels.into_iter().collect();
        if tags.len() == count { Ok(Self(tags)) } else { Err("must name each tag once".to_owned()) }
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Label::as_str)
    }
}

/// A machine to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMachine {
    /// Never changes.
    pub kind: MachineKind,
    /// Shown.
    pub name: Text<1, 64>,
    /// Where it stands.
    pub location: Text<0, 256>,
    /// Gives a real machine its config.
    pub group: Option<Label>,
    /// For filters.
    pub tags: Tags,
    /// Only for a real machine.
    pub serial: Option<Serial>,
    /// How long its job takes; only for a virtual machine.
    pub virtual_delay_ms: Within<0, 600_000>,
}

/// What an update changes; `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineChange {
    /// Shown.
    pub name: Option<Text<1, 64>>,
    /// Where it stands.
    pub location: Option<Text<0, 256>>,
    /// `Some(None)`: into no group.
    pub group: Option<Option<Label>>,
    /// The new set.
    pub tags: Option<Tags>,
    /// `Some(None)`: not known any more. Only for a real machine.
    pub serial: Option<Option<Serial>>,
    /// Only for a virtual machine.
    pub virtual_delay_ms: Option<Within<0, 600_000>>,
}

/// Which fields do not fit a kind of machine, and the rule.
pub fn check_kind(kind: MachineKind, has_serial: bool, has_delay: bool) -> Vec<(&'static str, &'static str)> {
    let mut broken = Vec::new();
    if kind == MachineKind::Virtual && has_serial {
        broken.push(("serial", "only for a real machine"));
    }
    if kind == MachineKind::Real && has_delay {
        broken.push(("virtual_delay_ms", "only for a virtual machine"));
    }
    broken
}

/// A machine as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Its name.
    pub id: MachineId,
    /// Never changes.
    pub kind: MachineKind,
    /// Shown.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Empty: none.
    pub group: String,
    /// In alphabetical order.
    pub tags: Vec<String>,
    /// Empty when not known.
    pub serial: String,
    /// Hardware model it enrolled with.
    pub model: String,
    /// How long a virtual machine's job takes.
    pub virtual_delay_ms: i64,
    /// Rises with every change an operator makes; the etag.
    pub version: i64,
    /// When it was made, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// When `version` last rose.
    pub updated_at_ms: i64,
    /// When it was archived; 0 while it is not.
    pub archived_at_ms: i64,
}

impl Machine {
    /// A new machine with this id.
    pub fn create(id: MachineId, new: NewMachine, now_ms: i64) -> Self {
        Self {
            id,
            kind: new.kind,
            name: new.name.into_string(),
            location: new.location.into_string(),
            group: new.group.map(|g| g.as_str().to_owned()).unwrap_or_default(),
            tags: new.tags.iter().map(str::to_owned).collect(),
            serial: new.serial.map(Text::into_string).unwrap_or_default(),
            model: String::new(),
            virtual_delay_ms: new.virtual_delay_ms.get(),
            version: 1,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            archived_at_ms: 0,
        }
    }

    /// The machine after a change that fits its kind.
    #[must_use]
    pub fn changed(mut self, change: MachineChange, now_ms: i64) -> Self {
        if let Some(name) = change.name {
            self.name = name.into_string();
        }
        if let Some(location) = change.location {
            self.location = location.into_string();
        }
        if let Some(group) = change.group {
            self.group = group.map(|g| g.as_str().to_owned()).unwrap_or_default();
        }
        if let Some(tags) = change.tags {
            self.tags = tags.iter().map(str::to_owned).collect();
        }
        if let Some(serial) = change.serial {
            self.serial = serial.map(Text::into_string).unwrap_or_default();
        }
        if let Some(delay) = change.virtual_delay_ms {
            self.virtual_delay_ms = delay.get();
        }
        self.version = self.version.saturating_add(1);
        self.updated_at_ms = now_ms;
        self
    }

    /// Out of use for good.
    pub fn is_archived(&self) -> bool {
        self.archived_at_ms != 0
    }
}

/// How a device's uploads are regarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uploads {
    /// Applied and counted.
    Active,
    /// Two devices speak as this machine.
    Cloned,
    /// Only into quarantine, until the drain ends.
    Draining,
    /// Refused.
    Revoked,
}

impl DeviceStatus {
    /// How its uploads are regarded at this time; `None` before the first Sync. That it is cloned is what an operator must
    /// act on first.
    pub fn uploads(&self, now_ms: i64) -> Option<Uploads> {
        Some(match (self.standing?, self.credential) {
            (MachineStanding::Cloned, _) => Uploads::Cloned,
            (MachineStanding::Active, None | Some(CredentialState::Active)) => Uploads::Active,
            (MachineStanding::Active, Some(_)) if now_ms < self.drain_until_ms => Uploads::Draining,
            (MachineStanding::Active, Some(_)) => Uploads::Revoked,
        })
    }
}

/// Which machines a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineFilter {
    /// Archived ones too.
    pub include_archived: bool,
    /// Only this kind.
    pub kind: Option<MachineKind>,
    /// Only this group.
    pub group: Option<String>,
    /// Only those with every one of these.
    pub tags: Vec<String>,
    /// Only the one with this serial.
    pub serial: Option<String>,
    /// Only those that stand there in the pool, at this moment, ms since the Unix epoch.
    pub pool: Option<(Standing, i64)>,
}

/// What is known of the device behind a real machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceStatus {
    /// Until when a stream of hints of it is believed to be open on some replica, ms since the Unix epoch; 0: none is.
    pub connected_until_ms: i64,
    /// Server time of its last Sync, ms since the Unix epoch; 0: never.
    pub last_sync_ms: i64,
    /// As it last reported.
    pub firmware: String,
    /// Whether it is cloned; `None` before the first Sync.
    pub standing: Option<MachineStanding>,
    /// What the best of its credentials was made to be; `None`: it never had one.
    pub credential: Option<CredentialState>,
    /// When the last drain of its upload-only credentials ends, ms since the Unix epoch; 0: none has one.
    pub drain_until_ms: i64,
    /// The epoch that counts now.
    pub epoch: Option<Epoch>,
    /// Last seq it said it had allotted in it.
    pub last_seq: u64,
    /// Received durably through.
    pub accepted_through: u64,
    /// Applied through.
    pub durable_through: u64,
    /// Desired assignment; 0: none.
    pub desired_number: u64,
    /// Desired config.
    pub desired_config: Option<ConfigId>,
    /// Assignment in force.
    pub applied_number: u64,
    /// Config in force.
    pub applied_config: Option<ConfigId>,
    /// Highest assignment refused.
    pub rejected_number: u64,
    /// What was wrong with it, `field: REASON` per line.
    pub refusals: String,
    /// Why the desired one is desired: the assignment's cause number; 0: none.
    pub desired_cause: i64,
    /// Since when, ms since the Unix epoch.
    pub desired_at_ms: i64,
    /// It does not sell, as it last said.
    pub out_of_service: bool,
    /// How far its clock was ahead of ours at its last Sync, ms, to a second.
    pub clock_offset_ms: i64,
    /// How far its clock can be believed.
    pub clock: ClockQuality,
}

/// A machine with what is known of its device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineDetail {
    /// As operators made it.
    pub machine: Machine,
    /// `None` for a virtual machine.
    pub device: Option<DeviceStatus>,
    /// Its part in remote purchases.
    pub pool: Pooled,
}

/// Which machines a list of config states holds: real ones in use, and of those
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatusFilter {
    /// only those that are to have this config,
    pub desired: Option<ConfigId>,
    /// only this group,
    pub group: Option<String>,
    /// only those this far.
    pub progress: Option<crate::domain::fleet::Progress>,
}

/// A group in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Machines in it that are not archived.
    pub machines: u64,
    /// What machines get that move into it.
    pub config: Option<ConfigId>,
}

/// A machine cut in two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// The one made for the device that leaves.
    pub new_machine: MachineDetail,
    /// The one that keeps its id.
    pub kept_machine: MachineDetail,
    /// The claim token the leaving device will use.
    pub claim_token: uuid::Uuid,
    /// Branches of both that an operator has still to judge.
    pub open_branches: u32,
}
