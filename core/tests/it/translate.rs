//! The meaning of each kernel's bits, on any host: one row for each combination that the kernels document.

use netpoll_core::poll::translate::kqueue::{half, whole};
use netpoll_core::poll::translate::{epoll, kqueue, poll};
use netpoll_core::{Event, EventFlags, Modes, PollKey};

const KEY: PollKey = PollKey { slot: 7, fdseq: 41 };

const T: bool = true;
const F: bool = false;

/// Columns: read side, write side, event_err, read_hup, hup, err, urgent.
type Meaning = [bool; 7];

fn event(key: PollKey, meaning: Meaning) -> Event {
    let [read, write, event_err, read_hup, hup, err, urgent] = meaning;
    Event { key, modes: Modes { read, write }, flags: EventFlags { event_err, read_hup, hup, err, urgent } }
}

/// epoll_ctl(2) of the Linux man-pages, "EPOLLIN" to "EPOLLHUP"; the combinations are those that `tcp_poll` (net/ipv4/
/// tcp.c), `unix_poll` (net/unix/af_unix.c), `pipe_poll` (fs/pipe.c) and `datagram_poll` (net/core/datagram.c) return.
#[test]
fn epoll_has_a_row_for_each_combination() {
    use epoll::{ERR, HUP, IN, OUT, PRI, RDHUP};
    let rows: [(u32, Meaning, &str); 21] = [
        (0, [F, F, F, F, F, F, F], "nothing"),
        (PRI, [T, F, F, F, F, F, T], "nothing else was asked for; or tcp_poll: only an urgent mark"),
        (IN, [T, F, F, F, F, F, F], "bytes, and no room to write"),
        (OUT, [F, T, F, F, F, F, F], "room"),
        (IN | OUT, [T, T, F, F, F, F, F], "both"),
        (IN | PRI, [T, F, F, F, F, F, T], "bytes and an urgent mark"),
        (IN | OUT | PRI, [T, T, F, F, F, F, T], "the same, with room"),
        (RDHUP, [T, F, F, T, F, F, F], "the end of the peer alone"),
        (IN | RDHUP, [T, F, F, T, F, F, F], "tcp_poll: half closed by the peer"),
        (OUT | RDHUP, [T, T, F, T, F, F, F], "asked without IN"),
        (IN | OUT | RDHUP, [T, T, F, T, F, F, F], "half closed by the peer, with room"),
        (HUP, [T, T, F, F, T, F, F], "pipe_poll: no writer, and nothing left"),
        (IN | HUP, [T, T, F, F, T, F, F], "pipe_poll: no writer, and bytes left"),
        (OUT | HUP, [T, T, F, F, T, F, F], "tcp_poll: never connected"),
        (IN | RDHUP | HUP, [T, T, F, T, T, F, F], "tcp_poll: both halves down"),
        (IN | OUT | RDHUP | HUP, [T, T, F, T, T, F, F], "unix_poll: the peer is closed"),
        (ERR, [T, T, T, F, F, T, F], "pipe_poll: no reader, and no room"),
        (IN | ERR, [T, T, F, F, F, T, F], "datagram_poll: a message behind an error"),
        (OUT | ERR, [T, T, F, F, F, T, F], "pipe_poll: no reader, with room"),
        (ERR | HUP, [T, T, F, F, T, T, F], "a connection that was refused"),
        (IN | OUT | RDHUP | HUP | ERR, [T, T, F, T, T, T, F], "tcp_poll: reset"),
    ];
    for (bits, meaning, why) in rows {
        assert_eq!(epoll::translate(KEY, bits), event(KEY, meaning), "{bits:#x}: {why}");
    }
}

/// poll(2) of POSIX.1-2024 ("POLLIN" to "POLLNVAL"), of the Linux man-pages (`POLLRDHUP`) and of FreeBSD and macOS, which
/// report `POLLHUP` with `POLLIN` at the end of the stream.
#[test]
fn poll_has_a_row_for_each_combination() {
    use poll::{ERR, HUP, IN, NVAL, OUT, PRI, RDHUP};
    const BOTH: u16 = IN | OUT | RDHUP;
    let rows: [(u16, u16, Meaning, &str); 25] = [
        (BOTH, 0, [F, F, F, F, F, F, F], "nothing"),
        (IN | RDHUP, IN, [T, F, F, F, F, F, F], "bytes, or a connection to accept"),
        (OUT, OUT, [F, T, F, F, F, F, F], "room"),
        (BOTH, IN, [T, F, F, F, F, F, F], "bytes, and no room"),
        (BOTH, IN | OUT, [T, T, F, F, F, F, F], "both"),
        (BOTH | PRI, PRI, [F, F, F, F, F, F, T], "POSIX: high-priority data may be read"),
        (BOTH | PRI, IN | PRI, [T, F, F, F, F, F, T], "the same behind bytes"),
        (RDHUP, RDHUP, [T, F, F, T, F, F, F], "Linux: only the peer's end was asked for"),
        (IN | RDHUP, IN | RDHUP, [T, F, F, T, F, F, F], "Linux: half closed by the peer"),
        (BOTH, IN | OUT | RDHUP, [T, T, F, T, F, F, F], "Linux: the same, with room"),
        (IN, HUP, [T, T, F, F, T, F, F], "POSIX: a pipe without a writer, read empty"),
        (IN, IN | HUP, [T, T, F, F, T, F, F], "FreeBSD, macOS: the end of what can be read"),
        (OUT, HUP, [T, T, F, F, T, F, F], "POSIX: HUP and OUT exclude each other"),
        (OUT, OUT | HUP, [T, T, F, F, T, F, F], "Linux: a socket that was never connected"),
        (0, HUP, [T, T, F, F, T, F, F], "nothing was asked for"),
        (BOTH, IN | RDHUP | HUP, [T, T, F, T, T, F, F], "Linux: both halves down"),
        (BOTH, IN | OUT | RDHUP | HUP, [T, T, F, T, T, F, F], "Linux: the peer is closed"),
        (BOTH, ERR, [T, T, T, F, F, T, F], "a full pipe without a reader"),
        (OUT, ERR, [T, T, F, F, F, T, F], "the same: nobody asked whether there is something to read"),
        (
            IN | RDHUP,
            ERR,
            [T, T, T, F, F, T, F],
            "the same, or a socket with a queued error, which is writable",
        ),
        (BOTH, OUT | ERR, [T, T, T, F, F, T, F], "the same, room asked for"),
        (OUT, OUT | ERR, [T, T, F, F, F, T, F], "a pipe without a reader, with room"),
        (BOTH, ERR | HUP, [T, T, F, F, T, T, F], "a connection that was refused"),
        (BOTH, IN | OUT | RDHUP | HUP | ERR, [T, T, F, T, T, T, F], "Linux: reset"),
        (IN, NVAL, [T, T, F, F, F, T, F], "POSIX: the number is not open"),
    ];
    for (asked, found, meaning, why) in rows {
        let translated = poll::translate(KEY, asked, found);
        assert_eq!(translated, event(KEY, meaning), "{found:#x} of {asked:#x}: {why}");
    }
}

/// kqueue(2) of FreeBSD 14 ("EVFILT_READ", "EVFILT_WRITE", "EV_EOF", "EV_ERROR"), and the same pages of macOS, NetBSD and
/// OpenBSD. The filters were added with `ADD | CLEAR`; FreeBSD and macOS give it back.
#[test]
fn kqueue_has_a_row_for_each_combination() {
    use kqueue::{EOF, ERROR, READ, WRITE};
    const ADD: u16 = 0x0001;
    const CLEAR: u16 = 0x0020;
    const OTHER: i16 = -11;
    let rows: [(i16, u16, Meaning, &str); 14] = [
        (READ, CLEAR, [T, F, F, F, F, F, F], "sockets: bytes; listeners: a connection"),
        (READ, ADD | CLEAR, [T, F, F, F, F, F, F], "the same, with how it was added"),
        (READ, 0, [T, F, F, F, F, F, F], "the same"),
        (
            READ,
            CLEAR | EOF,
            [T, T, F, T, F, F, F],
            "sockets: the read direction is shut down; pipes: no writer",
        ),
        (READ, EOF, [T, T, F, T, F, F, F], "the same"),
        (WRITE, CLEAR, [F, T, F, F, F, F, F], "room"),
        (WRITE, ADD | CLEAR, [F, T, F, F, F, F, F], "the same, with how it was added"),
        (WRITE, CLEAR | EOF, [F, T, F, F, T, F, F], "the reader disconnects"),
        (WRITE, EOF, [F, T, F, F, T, F, F], "the same"),
        (READ, ERROR, [T, F, T, F, F, T, F], "the filter is in error, and nothing else"),
        (WRITE, ERROR, [F, T, T, F, F, T, F], "the same"),
        (READ, CLEAR | ERROR, [T, F, F, F, F, T, F], "an error beside something else"),
        (READ, CLEAR | EOF | ERROR, [T, T, F, T, F, T, F], "the end and an error"),
        (OTHER, EOF | ERROR, [F, F, F, F, F, F, F], "a filter that was never added"),
    ];
    for (filter, flags, meaning, why) in rows {
        assert_eq!(kqueue::translate(KEY, filter, flags), event(KEY, meaning), "{filter} {flags:#x}: {why}");
    }
}

#[test]
fn a_word_of_64_bits_holds_a_whole_key_and_one_of_32_half_of_it() {
    let last = PollKey { slot: PollKey::MAX_SLOT, fdseq: u32::MAX };
    for key in [KEY, PollKey { slot: 0, fdseq: 0 }, last, PollKey::BREAK] {
        assert_eq!(whole::pack(key).map(whole::unpack), Some(key));
    }
    for slot in [0, 1, 7, 0xfffe] {
        for fdseq in [0, 1, 0xffff] {
            let key = PollKey { slot, fdseq };
            let packed = half::pack(key).unwrap();
            assert!(packed <= u64::from(u32::MAX));
            assert_eq!(half::unpack(packed), key);
        }
    }
    for slot in [0xffff, 0x1_0000, PollKey::MAX_SLOT] {
        assert_eq!(half::pack(PollKey { slot, fdseq: 0 }), None, "no room for slot {slot}");
    }
    assert_eq!((whole::FDSEQ_BITS, half::FDSEQ_BITS), (32, 16));
}
