//! The plan in virtual time.

use std::time::Instant;

use netpoll_rt::net::connect::plan::{Attempt, DELAY, Plan, SHARE};

use super::{FOUR, addresses, ms};

#[test]
fn families_take_turns_and_the_first_begins() {
    let order = |texts: &[&str]| Plan::new(addresses(texts), Instant::now(), None).order().to_vec();
    let (a, b, c) = ("127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1");
    let (x, y, z) = ("[::1]:1", "[::2]:1", "[::3]:1");
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &[]),
        (&[a, b, c], &[a, b, c]),
        (&[x, y, z, a, b, c], &[x, a, y, b, z, c]),
        (&[a, b, c, x, y, z], &[a, x, b, y, c, z]),
        (&[a, x, y, z], &[a, x, y, z]),
        (&[x, y, z, a], &[x, a, y, z]),
    ];
    for (given, planned) in cases {
        assert_eq!(order(given), addresses(planned));
    }
}

#[test]
fn the_next_attempt_starts_after_250_ms_or_when_the_last_has_failed() {
    let start = Instant::now();
    let mut plan = Plan::new(addresses(&FOUR), start, None);
    let place = |attempt: Option<Attempt>| attempt.map(|attempt| attempt.place);
    assert_eq!(DELAY, ms(250));
    assert_eq!(plan.next_start(), Some(start));
    assert_eq!(place(plan.start(start)), Some(0));
    assert_eq!(place(plan.start(start)), None, "one at a time");
    assert_eq!(plan.next_start(), Some(start + DELAY));
    assert_eq!(place(plan.start(start + ms(249))), None);
    assert_eq!(place(plan.start(start + ms(251))), Some(1));
    plan.failed(0, start + ms(260));
    assert_eq!(plan.next_start(), Some(start + ms(251) + DELAY), "its turn was over");
    plan.failed(1, start + ms(270));
    assert_eq!(place(plan.start(start + ms(270))), Some(2));
    assert_eq!(plan.next_start(), Some(start + ms(270) + DELAY));
    assert_eq!(place(plan.start(start + ms(9000))), Some(3));
    assert_eq!(plan.next_start(), None, "these were all");
    plan.failed(3, start + ms(9001));
    assert_eq!((plan.start(start + ms(9999)), plan.next_start()), (None, None));
}

#[test]
fn each_address_has_a_share_of_the_time() {
    let start = Instant::now();
    let mut plan = Plan::new(addresses(&FOUR), start, Some(start + ms(20_000)));
    let attempt = plan.start(start).unwrap();
    assert_eq!(attempt.address, addresses(&FOUR)[0]);
    assert_eq!(attempt.until, Some(start + ms(5000)), "a quarter");
    let until = plan.start(start + ms(2000)).unwrap().until;
    assert_eq!(until, Some(start + ms(8000)), "a third of what is left");
    assert_eq!(plan.start(start + ms(17_000)).unwrap().until, Some(start + ms(17_000) + SHARE), "the least");
    let until = plan.start(start + ms(19_000)).unwrap().until;
    assert_eq!(until, Some(start + ms(20_000)), "what is left, at most");
    assert_eq!(SHARE, ms(2000));
}

#[test]
fn nothing_starts_after_the_deadline() {
    let start = Instant::now();
    let mut plan = Plan::new(addresses(&FOUR), start, Some(start + ms(300)));
    assert_eq!(plan.start(start).unwrap().until, Some(start + ms(300)));
    assert_eq!(plan.start(start + DELAY).unwrap().until, Some(start + ms(300)));
    assert_eq!(plan.next_start(), None, "it would be too late");
    plan.failed(1, start + ms(299));
    assert_eq!(plan.next_start(), Some(start + ms(299)));
    assert_eq!(plan.start(start + ms(300)), None);
    assert!(!plan.is_over(start + ms(299)) && plan.is_over(start + ms(300)));
    let mut late = Plan::new(addresses(&FOUR), start, Some(start - ms(1)));
    assert_eq!((late.start(start), late.next_start()), (None, None));
}
