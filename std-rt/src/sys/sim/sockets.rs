//! The sockets of a simulation by their number: a look-up is one step, and the order is that of their creation.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Index;

use super::world::{Id, Socket};

/// The sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    by_id: HashMap<Id, Box<Socket>, BuildHasherDefault<IdHasher>>,
    ids: BTreeSet<Id>,
}

/// The hash of a number that counts up.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Sockets {
    pub fn get(&self, id: &Id) -> Option<&Socket> {
        self.by_id.get(id).map(|socket| &**socket)
    }

    pub fn get_mut(&mut self, id: &Id) -> Option<&mut Socket> {
        self.by_id.get_mut(id).map(|socket| &mut **socket)
    }

    pub fn contains_key(&self, id: &Id) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn insert(&mut self, id: Id, socket: Socket) {
        self.by_id.insert(id, Box::new(socket));
        self.ids.insert(id);
    }

    pub fn remove(&mut self, id: &Id) -> Option<Box<Socket>> {
        self.ids.remove(id);
        self.by_id.remove(id)
    }

    /// Returns the sockets, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Id, &Socket)> {
        self.ids.iter().map(|id| (id, &self[id]))
    }

    /// Returns the sockets in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.by_id.values_mut().map(|socket| &mut **socket)
    }
}

impl Index<&Id> for Sockets {
    type Output = Socket;

    fn index(&self, id: &Id) -> &Socket {
        &self.by_id[id]
    }
}
