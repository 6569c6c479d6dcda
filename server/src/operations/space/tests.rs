#![allow(clippy::unwrap_used)]

use super::{Room, SpaceSettings, Standing, room};

const MIB: u64 = 1 << 20;
const SETTINGS: SpaceSettings = SpaceSettings { low_bytes: 1_024 * MIB, reserve_bytes: 128 * MIB };

fn of(size_mib: u64, free_mib: u64) -> Room {
    Room { free_bytes: free_mib * MIB, size_bytes: size_mib * MIB }
}

#[test]
fn each_bound_is_crossed_once_on_the_way_down_and_once_on_the_way_up() {
    let mut standing = Standing::Ample;
    let way =
        [(2_000, Standing::Ample), (1_023, Standing::Low), (1_025, Standing::Low), (127, Standing::Reserve)];
    let back =
        [(129, Standing::Reserve), (161, Standing::Low), (1_025, Standing::Low), (1_281, Standing::Ample)];
    for (free_mib, expected) in way.into_iter().chain(back) {
        standing = standing.next(of(100_000, free_mib), &SETTINGS);
        assert_eq!(standing, expected, "{free_mib} MiB left");
    }
}

#[test]
fn a_small_medium_can_be_used() {
    assert_eq!(Standing::Ample.next(of(24, 20), &SETTINGS), Standing::Ample);
    assert_eq!(Standing::Ample.next(of(24, 2), &SETTINGS), Standing::Low);
    assert_eq!(Standing::Low.next(of(24, 1), &SETTINGS), Standing::Reserve);
    assert_eq!(Standing::Reserve.next(of(24, 10), &SETTINGS), Standing::Ample);
}

#[test]
fn a_real_folder_tells_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let room = room(folder.path()).unwrap();
    assert!(room.size_bytes > 0 && room.free_bytes <= room.size_bytes, "{room:?}");
}
