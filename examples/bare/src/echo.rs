//! The server that the host talks to: one task for each connection sends back its bytes, and cuts the connection off if
//! nothing comes for two seconds. `bin/tcp` runs the tasks on [`Runtime`], `bin/embassy` on embassy-executor.
//!
//! A program of this file has two handlers, which call [`on_tick`] and [`on_frame`].

use core::array;
use core::cell::Cell;
use core::pin::pin;

use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::{Mode, Modes, PollErr, PollKey};
use static_cell::{ConstStaticCell, StaticCell};

use crate::board::{self, print};
use crate::cpu::{self, Masked};
use crate::ethernet;
use crate::net::{Buffers, CONNECTIONS, Connection, EMPTY_BUFFERS, Error, NO_SOCKETS, Sockets, Stack};
use crate::runtime::{self, Runtime, SLOTS, Task};

/// The connections that each task accepts, one after the other.
const ROUNDS: usize = 2;
const PORT: u16 = 7;
/// The deadline of a read and of a write, in ticks of 1 ms.
const IDLE_TICKS: usize = 2_000;
/// The number of ticks before the tick count wraps.
const BEFORE_WRAP: usize = 1_500;

static BLOCK: StaticBlock<SLOTS> = StaticBlock::new();
static RUNTIME: Runtime = Runtime::new(0usize.wrapping_sub(BEFORE_WRAP));
static SOCKETS: StaticCell<Sockets> = StaticCell::new();
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(EMPTY_BUFFERS);
static SERVER: StaticCell<Server> = StaticCell::new();
/// The descriptor of the Ethernet port.
static PORT_KEY: Masked<Option<PollKey>> = Masked::new(None);

/// Advances the clock. The handler of the system timer calls this.
pub fn on_tick() {
    RUNTIME.tick();
}

/// Reports that frames have come. The handler of the Ethernet port calls this.
pub fn on_frame() {
    ethernet::acknowledge();
    if let Some(port) = PORT_KEY.with(|key| *key) {
        RUNTIME.event(port, Modes::READ);
    }
}

/// The stack, and the counts of the tasks, which run one after the other.
#[expect(missing_debug_implementations, reason = "the stack has no such implementation")]
pub struct Server {
    runtime: &'static Runtime,
    stack: Stack,
    listening: Cell<usize>,
    served: Cell<usize>,
    bytes: Cell<usize>,
    cut: Cell<usize>,
    broken: Cell<usize>,
    lost: Cell<usize>,
}

fn add(cell: &Cell<usize>, count: usize) {
    cell.set(cell.get() + count);
}

impl Server {
    /// Starts the clock and the Ethernet port.
    ///
    /// # Panics
    ///
    /// Panics if it is called twice.
    pub fn start() -> &'static Server {
        RUNTIME.donate(&BLOCK);
        let server = SERVER.init_with(|| Server {
            runtime: &RUNTIME,
            stack: Stack::new(&RUNTIME, SOCKETS.init_with(|| NO_SOCKETS), BUFFERS.take()),
            listening: Cell::new(0),
            served: Cell::new(0),
            bytes: Cell::new(0),
            cut: Cell::new(0),
            broken: Cell::new(0),
            lost: Cell::new(0),
        });
        PORT_KEY.with(|key| *key = Some(server.stack.port()));
        board::start_timer(board::CYCLES_PER_MS - 1);
        server
    }

    /// Runs all tasks on the runtime of this package, until all connections have been served.
    pub fn run(&'static self) -> ! {
        let mut drive: Option<Task<'_>> = Some(pin!(self.drive()));
        let sockets: [_; CONNECTIONS] = array::from_fn(|socket| self.serve(socket));
        let sockets = pin!(sockets);
        let mut serve = runtime::pin_each(sockets).into_iter();
        let mut tasks: [Task<'_>; CONNECTIONS + 1] = array::from_fn(|_| match drive.take() {
            Some(drive) => drive,
            None => serve.next().expect("there is one task more than sockets"),
        });
        self.runtime.run(&mut tasks);
        self.finish()
    }

    /// Exchanges frames until all connections have been served.
    pub async fn drive(&self) {
        let served = || self.served.get() == CONNECTIONS * ROUNDS;
        self.stack.drive(served).await.expect("the port's descriptor is not closed");
    }

    /// Serves the connections of one socket. The host opens a round of connections once all sockets listen.
    pub async fn serve(&self, socket: usize) {
        for _ in 0..ROUNDS {
            let connection = self.stack.listen(socket, PORT);
            add(&self.listening, 1);
            if self.listening.get() % CONNECTIONS == 0 {
                print(format_args!("listening"));
            }
            connection.accept().await.expect("the descriptor has no deadline and is not closed");
            match self.echo(&connection).await {
                Ok(()) => {}
                Err(Error::Wait(PollErr::Timeout)) => {
                    add(&self.cut, 1);
                    add(&self.lost, usize::from(connection.lost_read().await));
                }
                Err(_reset_or_closed) => add(&self.broken, 1),
            }
            add(&self.broken, usize::from(!connection.close().await));
            add(&self.served, 1);
        }
    }

    async fn echo(&self, connection: &Connection<'_>) -> Result<(), Error> {
        let mut buffer = [0; 128];
        loop {
            connection.set_deadline(Mode::Read, Some(IDLE_TICKS))?;
            let count = connection.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            connection.set_deadline(Mode::Write, Some(IDLE_TICKS))?;
            connection.write_all(&buffer[..count]).await?;
            add(&self.bytes, count);
        }
    }

    /// Prints the counts and ends the emulation. The last line is `lost 0`.
    pub fn finish(&self) -> ! {
        let Server { runtime, served, bytes, cut, broken, .. } = self;
        let lost = self.lost.get() + self.stack.lost();
        print(format_args!("connections {}, broken {}, bytes {}", served.get(), broken.get(), bytes.get()));
        print(format_args!("cut off by their deadline {}", cut.get()));
        print(format_args!("spurious {}, stale events {}", runtime.spurious.get(), runtime.stale.get()));
        print(format_args!("stack {} bytes", cpu::stack_used()));
        print(format_args!("lost {lost}"));
        cpu::exit(lost == 0 && broken.get() == 0)
    }
}
