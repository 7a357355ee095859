//! Enumerates the combinations of a word: pairs of threads with up to two operations each, triples with one
//! each.
//!
//! Two combinations that differ only in the order of their threads are one, so programs are numbered and only
//! ascending tuples are formed. Skipped are those that the word's rules forbid, and those in which a thread
//! touches nothing that another one touches: the rest of such a combination is a smaller one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::word::{Plan, Role, Touch, Word};

/// The number of threads of a combination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Pair,
    Triple,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Pair, Kind::Triple];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Pair => "pair",
            Kind::Triple => "triple",
        }
    }

    fn threads(self) -> usize {
        match self {
            Kind::Pair => 2,
            Kind::Triple => 3,
        }
    }

    /// Returns the largest number of operations of one thread.
    fn longest(self) -> usize {
        match self {
            Kind::Pair => 2,
            Kind::Triple => 1,
        }
    }
}

/// One combination, ready to run.
pub struct Combination {
    /// `desc/parked/Wait,Retract+Evict`: the word, the start, the threads' programs.
    pub name: String,
    pub word: &'static str,
    pub kind: Kind,
    /// One operation in each thread.
    pub short: bool,
    /// One execution.
    pub body: Arc<dyn Fn() + Send + Sync>,
}

impl Combination {
    /// Returns the number of preemptions to explore, or `None` for all.
    pub fn bound(&self) -> Option<usize> {
        match self.kind {
            Kind::Pair if self.short => None,
            Kind::Pair => Some(3),
            Kind::Triple => Some(2),
        }
    }

    /// Returns whether a push explores it: every pair of one operation each, and of the others those that
    /// `seed` draws.
    pub fn is_drawn(&self, seed: u64) -> bool {
        let one_in = match (self.word, self.kind) {
            _ if self.short => 1,
            ("desc", Kind::Pair) => 8,
            (_, Kind::Pair) => 2,
            (_, Kind::Triple) => 40,
        };
        // FNV-1a, from the seed on.
        let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = self
            .name
            .bytes()
            .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash >> 32).is_multiple_of(one_in)
    }
}

/// The combinations of one word.
pub struct Enumerated {
    /// Each role's name and operations.
    pub roles: Vec<String>,
    pub combinations: Vec<Combination>,
    /// The number of tuples that were formed, and by reason the number of those that were skipped.
    pub formed: usize,
    pub skipped: BTreeMap<&'static str, usize>,
}

/// A thread's program with its role.
#[derive(Clone)]
struct Program<Op> {
    role: usize,
    ops: Vec<Op>,
}

/// Enumerates a word, with one of its flaws or none.
pub fn enumerate<W: Word>(flaw: Option<&'static str>) -> Enumerated {
    let mut all = Enumerated {
        roles: W::ROLES.iter().map(|role| format!("{} {:?}", role.name, role.ops)).collect(),
        combinations: Vec::new(),
        formed: 0,
        skipped: BTreeMap::new(),
    };
    for kind in Kind::ALL {
        let programs = programs(W::ROLES, kind.longest());
        for tuple in tuples(programs.len(), kind.threads()) {
            let threads: Vec<&Program<W::Op>> = tuple.iter().map(|&i| &programs[i]).collect();
            for &start in W::STARTS {
                let plan = Plan { start, threads: threads.iter().map(|t| t.ops.clone()).collect(), flaw };
                all.formed += 1;
                match skip::<W>(&threads, &plan) {
                    Some(reason) => *all.skipped.entry(reason).or_default() += 1,
                    None => all.combinations.push(combination::<W>(kind, plan)),
                }
            }
        }
    }
    all
}

/// Returns all programs of one to `longest` operations.
fn programs<Op: Copy>(roles: &[Role<Op>], longest: usize) -> Vec<Program<Op>> {
    let mut programs = Vec::new();
    for (role, Role { ops, .. }) in roles.iter().enumerate() {
        let mut of_role: Vec<Vec<Op>> = ops.iter().map(|&op| vec![op]).collect();
        for length in 2..=longest {
            let shorter: Vec<Vec<Op>> = of_role.iter().filter(|p| p.len() == length - 1).cloned().collect();
            let longer = shorter.iter().flat_map(|p| ops.iter().map(|&op| [&p[..], &[op]].concat()));
            of_role.extend(longer);
        }
        programs.extend(of_role.into_iter().map(|ops| Program { role, ops }));
    }
    programs
}

/// Returns the tuples of `len` numbers below `below` that do not descend.
fn tuples(below: usize, len: usize) -> Vec<Vec<usize>> {
    let mut tuples: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..len {
        tuples = tuples
            .iter()
            .flat_map(|t| (t.last().copied().unwrap_or(0)..below).map(|i| [&t[..], &[i]].concat()))
            .collect();
    }
    tuples
}

fn skip<W: Word>(threads: &[&Program<W::Op>], plan: &Plan<W::Op>) -> Option<&'static str> {
    let of_role = |role| threads.iter().filter(|thread| thread.role == role).count();
    if threads.iter().any(|thread| of_role(thread.role) > W::ROLES[thread.role].threads) {
        return Some("more threads of a role than there can be");
    }
    let touches: Vec<Touch> = threads
        .iter()
        .map(|t| t.ops.iter().map(|&op| W::touches(op)).reduce(Touch::and).expect("a program has operations"))
        .collect();
    let alone = |i: usize| touches.iter().enumerate().all(|(j, t)| i == j || !t.conflicts(touches[i]));
    if (0..touches.len()).any(alone) {
        return Some("a thread touches nothing that another touches");
    }
    W::forbids(plan)
}

fn combination<W: Word>(kind: Kind, plan: Plan<W::Op>) -> Combination {
    let program = |ops: &Vec<W::Op>| ops.iter().map(|op| format!("{op:?}")).collect::<Vec<_>>().join(",");
    let programs: Vec<String> = plan.threads.iter().map(program).collect();
    let name = format!("{}/{}/{}", W::NAME, plan.start, programs.join("+"));
    let short = kind == Kind::Pair && plan.threads.iter().all(|ops| ops.len() == 1);
    let plan = Arc::new(plan);
    Combination { name, word: W::NAME, kind, short, body: Arc::new(move || execute::<W>(&plan)) }
}

/// Runs one execution, with the first thread's program in the main thread.
fn execute<W: Word>(plan: &Arc<Plan<W::Op>>) {
    let world = Arc::new(W::new(plan));
    let spawned: Vec<_> = (1..plan.threads.len())
        .map(|thread| {
            let (world, plan) = (world.clone(), plan.clone());
            loom::thread::spawn(move || world.run(thread, &plan.threads[thread]))
        })
        .collect();
    world.run(0, &plan.threads[0]);
    for thread in spawned {
        thread.join().expect("a panic of the other thread has ended the model");
    }
    world.check(plan);
}
