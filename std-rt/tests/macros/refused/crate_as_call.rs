// 2:32: error: `crate` takes the path of netpoll-rt, as a string
#[netpoll_macros::main(crate = "netpoll_rt::new()")]
async fn main() {}
