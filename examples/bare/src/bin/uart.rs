//! 10,000 bytes come over a serial line at random moments and are read with a deadline, while another wait is closed
//! again and again as it is parked. The tick count wraps on the way. The last line is `lost 0`.

#![no_std]
#![no_main]

use core::cell::Cell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use netpoll_bare::board::{self, print};
use netpoll_bare::place::{Place, Room};
use netpoll_bare::runtime::{Runtime, SLOTS, Source};
use netpoll_core::poll::cache::Block;
use netpoll_core::{PollErr, PollKey};

const BYTES: usize = 10_000;
/// How long a read waits, in ticks of 1 ms. The host pauses about as long now and then.
const READ_TICKS: usize = 25;
/// So many deadlines in a row, and the rest of the bytes is lost.
const GIVE_UP: usize = 200;
/// The tick count wraps after so many ticks.
const BEFORE_WRAP: usize = 700;

static BLOCK: Room<Block<SLOTS>> = Room::new();
static RUNTIME: Place<Runtime> = Place::new();
/// Whom the serial port's interrupt is for.
static LINE: Place<PollKey> = Place::new();

#[unsafe(no_mangle)]
extern "C" fn sys_tick() {
    if let Some(runtime) = RUNTIME.get() {
        runtime.tick();
    }
}

/// The port would interrupt for as long as it holds a byte. It is told to be quiet until the reader has emptied it and
/// asks anew, so that an interrupt is an event: it says that something has changed.
#[unsafe(no_mangle)]
extern "C" fn uart0() {
    board::ask_for_bytes(false);
    if let (Some(runtime), Some(line)) = (RUNTIME.get(), LINE.get()) {
        runtime.event(*line);
    }
}

/// What the tasks share; they run one after another.
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
    let block = BLOCK.take(Block::init);
    let runtime = RUNTIME.init(|| Runtime::new(0usize.wrapping_sub(BEFORE_WRAP), block));
    board::start_serial();
    board::start_timer(board::CYCLES_PER_MS - 1);
    let shared = Shared::default();
    let reader = pin!(read_all(runtime, &shared));
    let victim = pin!(wait_to_be_closed(runtime, &shared));
    let closer = pin!(close_again_and_again(runtime, &shared));
    runtime.run(&mut [reader, victim, closer]);
    let lost = report(runtime, &shared);
    print(format_args!("lost {lost}"));
    board::exit(
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
    let source = Source::open(runtime).expect("nobody else has a descriptor yet");
    LINE.init(|| source.key());
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
    source.set_deadline(READ_TICKS)?;
    let mut woken = false;
    loop {
        source.reset()?;
        if let Some(byte) = board::receive() {
            return Ok(byte);
        }
        if woken {
            source.found_nothing();
        }
        board::ask_for_bytes(true);
        source.ready().await?;
        woken = true;
    }
}

/// After a timeout: a byte is there and its interrupt has come, but the event is not there to be taken.
async fn was_lost(source: &Source) -> bool {
    if board::asks_for_bytes() || !board::has_byte() {
        return false;
    }
    if source.set_deadline(READ_TICKS).is_err() {
        return true;
    }
    let mut ready = pin!(source.ready());
    poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx) != Poll::Ready(Ok(())))).await
}

/// Parks without a deadline; only a close ends that.
async fn wait_to_be_closed(runtime: &'static Runtime, shared: &Shared) {
    loop {
        let source = Source::open(runtime).expect("three tasks use no more than four descriptors");
        shared.victim.set(Some(source.key()));
        let ended = source.ready().await;
        assert!(ended == Err(PollErr::Closing), "nothing happens to this descriptor but a close: {ended:?}");
        add_one(&shared.closed);
    }
}

async fn sleep(runtime: &'static Runtime, ticks: usize) {
    let source = Source::open(runtime).expect("three tasks use no more than four descriptors");
    let ended = match source.set_deadline(ticks) {
        Ok(()) => source.ready().await,
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
        // By now the victim waits on the next descriptor: an event for the old one must leave it alone.
        runtime.event(key);
    }
}
