//! The table in the docs of `net`, cell by cell: each operation of each type is made to wait and then closed, timed out,
//! left by its peer or dropped, with one worker and with four. What it gives must be what the docs say, and the docs must
//! have no cell that is not played here.

mod common;
mod unix_kit;

#[path = "net_table/byte_kinds.rs"]
mod byte_kinds;
#[path = "net_table/bytes.rs"]
mod bytes;
#[path = "net_table/connects.rs"]
mod connects;
#[path = "net_table/copies.rs"]
mod copies;
#[path = "net_table/ends.rs"]
mod ends;
#[path = "net_table/listeners.rs"]
mod listeners;
#[path = "net_table/message_kinds.rs"]
mod message_kinds;
#[path = "net_table/messages.rs"]
mod messages;
#[path = "net_table/scene.rs"]
mod scene;
#[path = "net_table/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::io::Write;

use common::{each, parked};
use scene::{Operation, timers};
use table::{COLUMNS, cells};

/// The rows, in groups that are tests of their own.
const GROUPS: [fn() -> Vec<Operation>; 11] = [
    bytes::tcp,
    bytes::unix,
    bytes::pipes,
    bytes::async_fd,
    messages::udp,
    messages::datagrams,
    messages::packets,
    listeners::all,
    connects::tcp,
    connects::unix,
    copies::all,
];

/// What is played now; a panic in it tells.
struct Cell<'a>(&'a str, &'a str);

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Where the panic itself is told; there is nobody else to tell of an error.
            let _ = writeln!(std::io::stderr(), "it was in {}, {}", self.0, self.1);
        }
    }
}

/// Plays every cell of some rows, and compares each with the docs.
fn play(rows: fn() -> Vec<Operation>) {
    let cells = cells();
    each(async || {
        let rows = rows();
        let mut wrong = Vec::new();
        for (column, heading) in COLUMNS {
            for row in &rows {
                let said = cells.get(&(row.name.clone(), column));
                let cell = Cell(&row.name, heading);
                let played = (row.run)(column).await;
                drop(cell);
                if said != Some(&played) {
                    wrong.push(format!("{}, {heading}: {played}, and the docs say {said:?}", row.name));
                }
                // Nothing is left of a scene.
                parked(0).await;
                assert_eq!(timers(), 0, "{}, {heading}", row.name);
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn tcp_streams() {
    play(bytes::tcp);
}

#[test]
fn unix_streams() {
    play(bytes::unix);
}

#[test]
fn pipes() {
    play(bytes::pipes);
}

#[test]
fn descriptors_of_others() {
    play(bytes::async_fd);
}

#[test]
fn udp_sockets() {
    play(messages::udp);
}

#[test]
fn unix_datagrams() {
    play(messages::datagrams);
}

#[test]
fn unix_seqpackets() {
    play(messages::packets);
}

#[test]
fn listeners() {
    play(listeners::all);
}

#[test]
fn tcp_connects() {
    play(connects::tcp);
}

#[test]
fn unix_connects() {
    play(connects::unix);
}

#[test]
fn copies() {
    play(copies::all);
}

#[test]
fn every_row_of_the_docs_is_played() {
    let played: BTreeSet<_> = GROUPS.iter().flat_map(|group| group()).map(|row| row.name).collect();
    let told: BTreeSet<_> = cells().into_keys().map(|(name, _)| name).collect();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!((only(&told, &played), only(&played, &told)), (Vec::new(), Vec::new()));
    assert_eq!(cells().len(), played.len() * COLUMNS.len());
}
