//! A serial line that is read with a deadline: 10,000 bytes come at random moments. Meanwhile another wait is closed again
//! and again while it is parked, and the tick count wraps. The last line is `lost 0`.

#![no_std]
#![no_main]

use core::cell::Cell;
use core::pin::pin;

use netpoll_bare::board::{self, print};
use netpoll_bare::cpu::{self, Masked};
use netpoll_bare::runtime::{Runtime, SLOTS, Source};
use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::{Mode, Modes, PollErr, PollKey};

const BYTES: usize = 10_000;
/// The deadline of a read, in ticks of 1 ms. The host pauses for about as long now and then.
const READ_TICKS: usize = 25;
/// The number of expired deadlines in a row after which the remaining bytes count as lost.
const GIVE_UP: usize = 200;
/// The number of ticks before the tick count wraps.
const BEFORE_WRAP: usize = 700;

static BLOCK: StaticBlock<SLOTS> = StaticBlock::new();
static RUNTIME: Runtime = Runtime::new(0usize.wrapping_sub(BEFORE_WRAP));
/// The descriptor of the serial port.
static LINE: Masked<Option<PollKey>> = Masked::new(None);

#[unsafe(no_mangle)]
extern "C" fn sys_tick() {
    RUNTIME.tick();
}

/// Turns the interrupt off and delivers an event. The port would interrupt for as long as it holds a byte, so the interrupt
/// stays off until the reader has emptied the port. An interrupt is thus an event: it reports a change.
#[unsafe(no_mangle)]
extern "C" fn uart0() {
    board::set_receive_interrupt(false);
    if let Some(line) = LINE.with(|key| *key) {
        RUNTIME.event(line, Modes::READ);
    }
}

/// The state that the tasks share. They run one after the other.
#[derive(Default)]
struct Shared {
    received: Cell<usize>,
    wrong: Cell<usize>,
    deadlines: Cell<usize>,
    lost_wakeups: Cell<usize>,
    closed: Cell<usize>,
    victim: Cell<Option<PollKey>>,
}

fn add_one(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let runtime = &RUNTIME;
    runtime.donate(&BLOCK);
    board::start_serial();
    board::start_timer(board::CYCLES_PER_MS - 1);
    let shared = Shared::default();
    let reader = pin!(read_all(runtime, &shared));
    let victim = pin!(wait_to_be_closed(runtime, &shared));
    let closer = pin!(close_again_and_again(runtime, &shared));
    runtime.run(&mut [reader, victim, closer]);
    let lost = report(runtime, &shared);
    print(format_args!("lost {lost}"));
    cpu::exit(
        lost == 0 && shared.wrong.get() == 0 && shared.closed.get() > 0 && runtime.now() < usize::MAX / 2,
    )
}

fn report(runtime: &Runtime, shared: &Shared) -> usize {
    let received = shared.received.get();
    print(format_args!("bytes {received}, wrong {}", shared.wrong.get()));
    print(format_args!("wakeups {}, spurious {}", runtime.wakeups.get(), runtime.spurious.get()));
    print(format_args!("deadlines fired {}", shared.deadlines.get()));
    print(format_args!("closed while parked {}, stale events {}", shared.closed.get(), runtime.stale.get()));
    print(format_args!(
        "ticks {}, {BEFORE_WRAP} of them before the wrap",
        runtime.now().wrapping_add(BEFORE_WRAP)
    ));
    BYTES - received + shared.lost_wakeups.get()
}

async fn read_all(runtime: &'static Runtime, shared: &Shared) {
    let source = Source::open(runtime).expect("the first descriptor is free");
    LINE.with(|key| *key = Some(source.key()));
    let mut expected = netpoll_bare::Bytes::default();
    let mut silent = 0;
    print(format_args!("reading"));
    while shared.received.get() < BYTES && silent < GIVE_UP {
        match read(&source).await {
            Ok(byte) => {
                silent = 0;
                add_one(&shared.received);
                if expected.next() != Some(byte) {
                    add_one(&shared.wrong);
                }
            }
            Err(PollErr::Timeout) => {
                silent += 1;
                add_one(&shared.deadlines);
                if was_lost(&source).await {
                    add_one(&shared.lost_wakeups);
                }
            }
            Err(refused) => panic!("the line's descriptor refused a read: {refused:?}"),
        }
    }
}

/// Reads a byte, or fails with a timeout.
async fn read(source: &Source) -> Result<u8, PollErr> {
    source.set_deadline(Mode::Read, Some(READ_TICKS))?;
    let mut woken = false;
    loop {
        source.reset(Mode::Read)?;
        if let Some(byte) = board::receive() {
            return Ok(byte);
        }
        if woken {
            source.found_nothing();
        }
        board::set_receive_interrupt(true);
        source.ready(Mode::Read).await?;
        woken = true;
    }
}

/// Returns, after a timeout, whether a wakeup was lost: a byte is available and its interrupt has come, but not its event.
async fn was_lost(source: &Source) -> bool {
    if board::receive_interrupt_is_on() || !board::has_byte() {
        return false;
    }
    !source.has_event(Mode::Read).await
}

/// Parks without a deadline, so that only a close ends the wait, again and again.
async fn wait_to_be_closed(runtime: &'static Runtime, shared: &Shared) {
    loop {
        let source = Source::open(runtime).expect("three tasks use no more than four descriptors");
        shared.victim.set(Some(source.key()));
        let ended = source.ready(Mode::Read).await;
        assert!(ended == Err(PollErr::Closing), "nothing happens to this descriptor but a close: {ended:?}");
        add_one(&shared.closed);
    }
}

async fn sleep(runtime: &'static Runtime, ticks: usize) {
    let source = Source::open(runtime).expect("three tasks use no more than four descriptors");
    let ended = match source.set_deadline(Mode::Read, Some(ticks)) {
        Ok(()) => source.ready(Mode::Read).await,
        Err(refused) => Err(refused),
    };
    assert!(ended == Err(PollErr::Timeout), "nothing happens to this descriptor but its deadline: {ended:?}");
}

async fn close_again_and_again(runtime: &'static Runtime, shared: &Shared) {
    loop {
        sleep(runtime, 7).await;
        let Some(key) = shared.victim.take() else { continue };
        assert!(runtime.close(key), "the victim lives until it is closed");
        sleep(runtime, 1).await;
        // By now the victim waits for its next descriptor. An event for the old one must not wake it.
        runtime.event(key, Modes::READ);
    }
}
