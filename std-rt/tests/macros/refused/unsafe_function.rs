// 3:7: error: expected an `async fn` without `unsafe`
#[netpoll_macros::main]
async unsafe fn main() {}
