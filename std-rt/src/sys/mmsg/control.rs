//! The control data of UDP messages: segments, addresses of this host, and the traffic class.
//!
//! An item is its length including its header (one word), level and type (32 bits each), and the data. The next item begins at
//! a multiple of a word.
//!
//! | item | data | direction |
//! |---|---|---|
//! | `UDP_SEGMENT` | the length of a segment, 16 bits | sent |
//! | `UDP_GRO` | the length of a segment, 32 bits | received |
//! | `IP_PKTINFO` | interface, local address, address of the header; 32 bits each | both |
//! | `IPV6_PKTINFO` | address, 128 bits; interface, 32 bits | both |
//! | `IP_TOS` | the traffic class; 8 bits received, 32 bits sent | both |
//! | `IPV6_TCLASS` | the traffic class, 32 bits | both |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::c_int;

use crate::sys::udp::{Arrival, Source};

const WORD: usize = size_of::<usize>();
const HEAD: usize = WORD + 8;

/// The space for all items that one message may have, of both families, and for a timestamp that other code may have requested.
const SPACE: usize = 192;

/// The control data of one message.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; SPACE],
    /// The number of bytes that items take.
    length: usize,
}

impl Control {
    pub(super) const NONE: Control = Control { bytes: [0; SPACE], length: 0 };

    /// Returns the address of the data, for the kernel.
    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// Returns the space for data that the kernel writes.
    pub(super) const fn space() -> usize {
        SPACE
    }

    /// Returns the number of bytes that were pushed.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn push(&mut self, level: c_int, kind: c_int, parts: &[&[u8]]) {
        let mut at = self.length;
        let mut put = |bytes: &[u8]| {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let size: usize = HEAD + parts.iter().map(|part| part.len()).sum::<usize>();
        put(&size.to_ne_bytes());
        put(&level.to_ne_bytes());
        put(&kind.to_ne_bytes());
        parts.iter().for_each(|part| put(part));
        self.length += size.next_multiple_of(WORD);
    }

    /// Requests that the bytes be sent as segments of this length.
    pub(super) fn push_segment(&mut self, segment: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &[&segment.to_ne_bytes()]);
    }

    /// Requests a source and a traffic class, for a message to an IPv4 or an IPv6 address.
    pub(super) fn push_source(&mut self, source: &Source, is_v4: bool) {
        if source.address.is_some() || source.interface != 0 {
            let interface = source.interface.to_ne_bytes();
            match (source.address.map(|address| address.to_canonical()), is_v4) {
                (Some(IpAddr::V6(address)), _) => self.push_v6(address, interface),
                (None, false) => self.push_v6(Ipv6Addr::UNSPECIFIED, interface),
                (Some(IpAddr::V4(address)), _) => self.push_v4(address, interface),
                (None, true) => self.push_v4(Ipv4Addr::UNSPECIFIED, interface),
            }
        }
        if let Some(class) = source.class {
            let class = c_int::from(class).to_ne_bytes();
            match is_v4 {
                true => self.push(libc::IPPROTO_IP, libc::IP_TOS, &[&class]),
                false => self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &[&class]),
            }
        }
    }

    fn push_v4(&mut self, address: Ipv4Addr, interface: [u8; 4]) {
        self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[&interface, &address.octets(), &[0; 4]]);
    }

    fn push_v6(&mut self, address: Ipv6Addr, interface: [u8; 4]) {
        self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[&address.octets(), &interface]);
    }

    /// Describes a message by the first `length` bytes, which the kernel has written.
    pub(super) fn describe(&self, length: usize, arrival: &mut Arrival) {
        let mut rest = &self.bytes[..length.min(SPACE)];
        while let Some((level, kind, data, after)) = first_item(rest) {
            describe(level, kind, data, arrival);
            rest = after;
        }
    }
}

/// Returns level, type and data of the first item, and the items after it.
fn first_item(items: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let size = usize::from_ne_bytes(*items.first_chunk()?);
    let item = items.get(..size)?;
    let level = c_int::from_ne_bytes(*item.get(WORD..)?.first_chunk()?);
    let kind = c_int::from_ne_bytes(*item.get(WORD + 4..)?.first_chunk()?);
    let data = item.get(HEAD..)?;
    Some((level, kind, data, items.get(size.next_multiple_of(WORD)..).unwrap_or_default()))
}

fn describe(level: c_int, kind: c_int, data: &[u8], arrival: &mut Arrival) {
    let at = |from: usize| data.get(from..).and_then(|data| data.first_chunk::<4>()).copied();
    match (level, kind) {
        (libc::SOL_UDP, libc::UDP_GRO) => {
            arrival.segment = at(0).and_then(|length| usize::try_from(c_int::from_ne_bytes(length)).ok());
        }
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            arrival.interface = at(0).map(u32::from_ne_bytes);
            arrival.destination = at(8).map(IpAddr::from);
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            arrival.destination = data.first_chunk::<16>().map(|address| IpAddr::from(*address));
            arrival.interface = at(16).map(u32::from_ne_bytes);
        }
        // The class is one byte of IPv4, and the lowest byte of a word of IPv6.
        (libc::IPPROTO_IP, libc::IP_TOS) => arrival.class = data.first().copied(),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            arrival.class = at(0).and_then(|class| u8::try_from(c_int::from_ne_bytes(class)).ok());
        }
        _ => {}
    }
}
