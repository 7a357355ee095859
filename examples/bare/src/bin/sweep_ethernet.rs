//! A sweep of the Ethernet interrupt over the path of a frame: the task forgets an older event, finds the port's queue empty,
//! parks, sleeps, is woken, and takes the frame. The frame comes after one cycle, after two, and so on to the end of the path.
//! A second one comes some cycles after the first, 50,000 times. In two lives of three a tick, at which the task's deadline
//! is due, comes with one of the frames. The last line is `lost 0`.
//!
//! A frame is the answer of QEMU's network to a request for its hardware address. The request is in the port's memory before the path
//! begins. The timer's handler sends it with one store, and within that store the answer comes and raises the interrupt. So
//! its handler runs at the place where the timer interrupted the task.
//!
//! QEMU must count instructions (`-icount`), because otherwise it takes interrupts only between blocks of code.

#![no_std]
#![no_main]

use core::arch::global_asm;
use core::pin::pin;
use core::task::{Context, Poll};

use netpoll_bare::board::{self, print};
use netpoll_bare::cpu::{self, Masked};
use netpoll_bare::ethernet::{self, MAX_FRAME};
use netpoll_bare::runtime::{Runtime, SLOTS, Source, waker};
use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::sync::{Counter, Flag};
use netpoll_core::{Mode, Modes, PollErr, PollKey};

const LIVES: u32 = 50_000;
/// The frames of a life.
const FRAMES: u32 = 2;
/// The cycles from the end of a poll until the task sleeps, and some more.
const NAP: u32 = 200;
/// The words of the map of interrupted instructions: one bit for two bytes of code, from address 0.
const MAP_WORDS: usize = 512;
/// The deadline of a life that has one, in ticks. Only the interrupt advances the clock.
const DUE: usize = 1;
const ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];

static BLOCK: StaticBlock<SLOTS> = StaticBlock::new();
static WORLD: World = World {
    runtime: Runtime::new(0usize.wrapping_sub(LIVES as usize / 4)),
    port: Masked::new(None),
    woken: Flag::new(),
    order: Masked::new(Order { left: 0, next: 0, gap: 0, tick: 0 }),
    hits: Counter::new(),
    late: Counter::new(),
    addresses: Masked::new([0; MAP_WORDS]),
};

type Frame = [u8; MAX_FRAME];

/// The state that thread mode and the interrupts share.
struct World {
    runtime: Runtime,
    port: Masked<Option<PollKey>>,
    /// The ready bit of the task.
    woken: Flag,
    order: Masked<Order>,
    hits: Counter,
    /// Answers that did not come within the store.
    late: Counter,
    addresses: Masked<[u32; MAP_WORDS]>,
}

/// The work of the next interrupts of the timer.
#[derive(Clone, Copy, Default)]
struct Order {
    /// The requests that are still to be sent.
    left: u32,
    /// The number of the request after the one in the port's memory.
    next: u32,
    /// The cycles until the next request.
    gap: u32,
    /// The number of requests left at which the clock advances by a tick, too.
    tick: u32,
}

// At the entry the chip has pushed eight words: r0 to r3, r12, lr, the interrupted address, the flags.
global_asm!(
    ".section .text.sys_tick, \"ax\"",
    ".global sys_tick",
    ".thumb_func",
    "sys_tick:",
    "  mov r0, sp",
    "  b strike",
);

#[unsafe(no_mangle)]
extern "C" fn strike(pushed: &[u32; 8]) {
    board::stop_timer();
    let world = &WORLD;
    world.hits.inc();
    let place = pushed[6] as usize / 2;
    world.addresses.with(|map| map[place / 32 % MAP_WORDS] |= 1 << (place % 32));
    let order = world.order.with(|order| {
        let next = Order { left: order.left - 1, next: order.next + 1, ..*order };
        core::mem::replace(order, next)
    });
    if order.tick == order.left {
        world.runtime.tick();
    }
    ethernet::send();
    if !ethernet::is_raised() {
        world.late.inc();
    }
    if order.left > 1 {
        ethernet::load(&request(order.next));
        board::start_timer(order.gap);
    }
}

#[unsafe(no_mangle)]
extern "C" fn ethernet() {
    ethernet::acknowledge();
    if let Some(port) = WORLD.port.with(|key| *key) {
        WORLD.runtime.event(port, Modes::READ);
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let (world, runtime) = (&WORLD, &WORLD.runtime);
    runtime.donate(&BLOCK);
    let source = Source::open(runtime).expect("the first descriptor is free");
    world.port.with(|key| *key = Some(source.key()));
    ethernet::start(ADDRESS);
    let mut frame = [0; MAX_FRAME];
    let path = world.measure(&source, &mut frame);
    print(format_args!("the path to a parked task takes {path} cycles"));
    let (mut after, mut sweeps, mut timeouts) = (0, 0, 0);
    for life in 0..LIVES {
        after += 1;
        if after > path + NAP {
            after = 1;
            sweeps += 1;
        }
        // The path of a frame that is there takes longer, so some of the second frames come before the task parks again.
        let gap = 1 + (sweeps * 97 + after * 7) % (2 * path);
        timeouts += world.live(&source, &mut frame, life, after, gap);
    }
    let addresses = world.addresses.with(|map| map.iter().map(|word| word.count_ones()).sum::<u32>());
    print(format_args!("{LIVES} lives in {sweeps} sweeps, {timeouts} deadlines fired"));
    print(format_args!("hits {}, at {addresses} different instructions", world.hits.get()));
    print(format_args!("answers that came late {}, stale events {}", world.late.get(), runtime.stale.get()));
    // A lost wakeup or frame would have ended the run before.
    print(format_args!("lost 0"));
    cpu::exit(world.late.get() == 0 && timeouts > 0)
}

impl World {
    /// Returns the cycles from the begin of a receive to the parked task.
    fn measure(&'static self, source: &Source, frame: &mut Frame) -> u32 {
        const NEVER: u32 = 0xFF_FFFF;
        let waker = waker(&self.woken);
        let mut receiving = pin!(receive(source, frame));
        board::start_timer(NEVER);
        let polled = receiving.as_mut().poll(&mut Context::from_waker(&waker));
        let cycles = NEVER - board::stop_timer();
        assert!(polled.is_pending(), "no request was sent, and a frame has come");
        cycles
    }

    /// Receives the frames of one life, in order. Returns the number of deadlines that fired.
    fn live(&'static self, source: &Source, frame: &mut Frame, life: u32, after: u32, gap: u32) -> u32 {
        // The tick comes with no frame, with the last, or with the first.
        let (first, tick) = (1 + life * FRAMES, life % 3);
        let set = source.set_deadline(Mode::Read, (tick > 0).then_some(DUE));
        assert!(set.is_ok(), "the descriptor is not closed");
        ethernet::load(&request(first));
        self.order.with(|order| *order = Order { left: FRAMES, next: first + 1, gap, tick });
        board::start_timer(after);
        let (mut number, mut timeouts) = (first, 0);
        while number < first + FRAMES {
            match self.block_on(receive(source, frame)) {
                Ok(()) => {
                    assert!(is_answer(frame, number), "frame {number} is another: {:?}", &frame[..42]);
                    number += 1;
                }
                Err(PollErr::Timeout) => {
                    timeouts += 1;
                    assert!(source.set_deadline(Mode::Read, None).is_ok(), "the descriptor is not closed");
                }
                Err(refused) => panic!("the descriptor refused a read: {refused:?}"),
            }
        }
        assert!(!ethernet::has_frame(), "a frame came twice");
        assert!(timeouts <= u32::from(tick > 0), "a deadline fired that was not set");
        timeouts
    }

    fn block_on<R>(&'static self, task: impl Future<Output = R>) -> R {
        let waker = waker(&self.woken);
        let mut task = pin!(task);
        loop {
            if let Poll::Ready(result) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            while !self.woken.clear() {
                self.sleep();
            }
        }
    }

    /// Sleeps until the next interrupt. Fails if no other will come and the task was not woken.
    fn sleep(&self) {
        let mut lost = false;
        cpu::sleep_unless(|| {
            let woken = self.woken.is_set();
            // Interrupts are masked, so one that is raised has not been handled.
            lost = !woken && self.order.with(|order| order.left) == 0 && !ethernet::is_raised();
            woken || lost
        });
        assert!(!lost, "lost: all frames have come and the task is parked");
    }
}

async fn receive(source: &Source, frame: &mut Frame) -> Result<(), PollErr> {
    loop {
        source.reset(Mode::Read)?;
        if ethernet::receive(frame).is_some() {
            return Ok(());
        }
        source.ready(Mode::Read).await?;
    }
}

/// Returns a request for the hardware address of QEMU's network, in whose answer the number stands.
fn request(number: u32) -> [u8; 42] {
    const HEAD: [u8; 8] = [0x00, 0x01, 0x08, 0x00, 6, 4, 0, 1];
    const NETWORK: [u8; 4] = [10, 0, 2, 2];
    let mut frame = [0; 42];
    frame[..6].fill(0xFF);
    frame[6..12].copy_from_slice(&ADDRESS);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame[14..22].copy_from_slice(&HEAD);
    frame[22..28].copy_from_slice(&ADDRESS);
    frame[28..32].copy_from_slice(&number.to_be_bytes());
    frame[38..].copy_from_slice(&NETWORK);
    frame
}

fn is_answer(frame: &Frame, number: u32) -> bool {
    frame[..6] == ADDRESS && frame[20..22] == [0, 2] && frame[38..42] == number.to_be_bytes()
}
