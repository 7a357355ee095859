// 2:24: error: `workers` needs a value: `workers = 4`
#[netpoll_macros::main(workers)]
async fn main() {}
