//! What is pushed into an inbox comes out once, in order.

use netpoll_core::inbox::{Inbox, Link};

/// The words of what is in the list, in the order in which it comes out. Word n is that of link n - 1.
fn taken(inbox: &Inbox, links: &[Link]) -> Vec<usize> {
    let mut words = Vec::new();
    let mut word = inbox.take(|word| &links[word - 1]);
    while word != 0 {
        words.push(word);
        word = Inbox::after(&links[word - 1]);
    }
    words
}

fn links(n: usize) -> Vec<Link> {
    (0..n).map(|_| Link::default()).collect()
}

#[test]
fn first_in_first_out() {
    let (inbox, links) = (Inbox::default(), links(3));
    assert!(inbox.is_empty());
    assert!(inbox.push(2, &links[1]), "the list was empty");
    assert!(!inbox.push(1, &links[0]), "the list was not");
    assert!(!inbox.push(3, &links[2]));
    assert!(!inbox.is_empty());
    assert_eq!(taken(&inbox, &links), [2, 1, 3]);
    assert!(inbox.is_empty());
    assert_eq!(taken(&inbox, &links), []);
}

#[test]
fn an_item_may_come_again() {
    let (inbox, links) = (Inbox::new(), links(2));
    for _ in 0..3 {
        assert!(inbox.push(1, &links[0]));
        assert!(!inbox.push(2, &links[1]));
        assert_eq!(taken(&inbox, &links), [1, 2]);
    }
}

#[test]
fn each_producer_keeps_its_order_and_nothing_is_lost() {
    const EACH: usize = 2_000;
    let (inbox, links) = (Inbox::new(), links(4 * EACH));
    let mut out = Vec::new();
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let (inbox, links) = (&inbox, &links);
            scope.spawn(move || {
                for word in producer * EACH + 1..=(producer + 1) * EACH {
                    inbox.push(word, &links[word - 1]);
                }
            });
        }
        while out.len() < 4 * EACH {
            out.extend(taken(&inbox, &links));
        }
    });
    for producer in 0..4 {
        let own: Vec<usize> = out.iter().copied().filter(|word| (word - 1) / EACH == producer).collect();
        assert_eq!(own, (producer * EACH + 1..=(producer + 1) * EACH).collect::<Vec<_>>());
    }
    assert!(inbox.is_empty());
}
