//! The echo server of [`netpoll_bare::echo`] on the runtime of this package: 16 connections at once, over Ethernet.

#![no_std]
#![no_main]

use netpoll_bare::echo::{self, Server};

#[unsafe(no_mangle)]
extern "C" fn sys_tick() {
    echo::on_tick();
}

#[unsafe(no_mangle)]
extern "C" fn ethernet() {
    echo::on_frame();
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    Server::start().run()
}
