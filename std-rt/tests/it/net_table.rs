//! The table in the docs of `net`, cell by cell: each operation of each type is made to wait and then closed, timed out,
//! left by its peer or dropped, with one worker and with four. Its result must be that of the docs, and the docs must
//! have no cell that is not played here.

mod byte_kinds;
mod bytes;
mod connects;
mod copies;
mod ends;
mod listeners;
mod message_kinds;
mod messages;
mod running;
mod scene;
mod table;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::Write;
use std::task::Poll;

use crate::common::{alone, each, parked};
use running::timers;
use scene::Operation;
use table::{COLUMNS, Column, cells, waiting_functions};

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

/// The scene that is played now, for the message of a panic.
struct Cell<'a>(&'a str, &'a str);

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The panic itself was printed there, and no other place reports an error.
            let _ = writeln!(std::io::stderr(), "it was in {}, {}", self.0, self.1);
        }
    }
}

/// Plays every cell of some rows, and compares each with the docs.
fn play(rows: fn() -> Vec<Operation>) {
    play_together(rows, None);
}

/// Plays the cells of one slow column, all at once.
fn play_together(rows: fn() -> Vec<Operation>, together: Option<Column>) {
    let cells = cells();
    each(async || {
        let rows = rows();
        let mut wrong = Vec::new();
        for (column, heading) in COLUMNS {
            let all: Vec<_> = rows.iter().map(|row| play_cell(row, column, heading)).collect();
            let all = if Some(column) == together { at_once(all).await } else { in_turn(all).await };
            for (row, played) in rows.iter().zip(all) {
                let said = cells.get(&(row.name.clone(), column));
                if said != Some(&played) {
                    wrong.push(format!("{}, {heading}: {played}, and the docs say {said:?}", row.name));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

async fn play_cell(row: &Operation, column: Column, heading: &str) -> String {
    let cell = Cell(&row.name, heading);
    let played = (row.run)(column).await;
    drop(cell);
    played
}

/// Plays one scene after the other, and asserts that each leaves nothing.
async fn in_turn(scenes: Vec<impl Future<Output = String>>) -> Vec<String> {
    let mut all = Vec::new();
    for scene in scenes {
        all.push(scene.await);
        parked(0).await;
        assert_eq!(timers(), 0, "after {} scenes", all.len());
    }
    all
}

async fn at_once(scenes: Vec<impl Future<Output = String>>) -> Vec<String> {
    let mut scenes: Vec<_> = scenes.into_iter().map(|scene| (Box::pin(scene), None)).collect();
    poll_fn(|cx| {
        for (scene, played) in scenes.iter_mut().filter(|(_, played)| played.is_none()) {
            if let Poll::Ready(word) = scene.as_mut().poll(cx) {
                *played = Some(word);
            }
        }
        if scenes.iter().all(|(_, played)| played.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    scenes.into_iter().filter_map(|(_, played)| played).collect()
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
    // There the kernel tries again after a second.
    play_together(connects::tcp, Some(Column::PeerResets));
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

/// `incoming().next` and `copy(&it, _)` are rows of `next` and `copy`.
#[test]
fn every_operation_that_waits_has_a_row() {
    // It opens files, and the others count descriptors.
    let _alone = alone();
    let rows: BTreeSet<_> = cells()
        .into_keys()
        .map(|(name, _)| {
            let method = name.rsplit("::").next().unwrap_or_default();
            let method = method.trim_start_matches("incoming().");
            method.split('(').next().unwrap_or_default().to_owned()
        })
        .collect();
    let without: Vec<_> = waiting_functions().into_iter().filter(|name| !rows.contains(name)).collect();
    assert!(without.is_empty(), "no row in the docs of `net`: {without:?}");
}
