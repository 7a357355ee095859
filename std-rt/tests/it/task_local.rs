//! Values that each task has for itself.

use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;

use crate::common::*;
use netpoll_rt::task::JoinSet;
use netpoll_rt::{spawn, spawn_local, task_local, yield_now};

task_local! {
    static NUMBER: u32;
    static TEXT: RefCell<String>;
}

task_local!(static SHARED: Rc<u32>);

#[test]
fn each_task_keeps_its_own_value() {
    each(async || {
        let mut set = JoinSet::new();
        for n in 0..100 {
            let text = RefCell::new(String::new());
            set.spawn(NUMBER.scope(
                n,
                TEXT.scope(text, async move {
                    for _ in 0..5 {
                        assert_eq!(NUMBER.get(), n);
                        TEXT.with(|text| text.borrow_mut().push('x'));
                        yield_now().await;
                    }
                    assert_eq!(TEXT.with(|text| text.borrow().len()), 5);
                    // A task that is spawned here has none.
                    spawn(async { NUMBER.try_with(|_| ()).is_err() }).await.unwrap()
                }),
            ));
        }
        assert!(set.join_all().await.into_iter().all(|none| none));
        assert!(NUMBER.try_with(|_| ()).is_err());
    });
}

#[test]
fn scopes_are_within_each_other() {
    on(&[1], async || {
        let seen = NUMBER.scope(1, async {
            let inner = NUMBER.scope(2, async {
                yield_now().await;
                NUMBER.sync_scope(3, || NUMBER.get()) * 10 + NUMBER.get()
            });
            inner.await * 10 + NUMBER.get()
        });
        assert_eq!(seen.await, 321);
        let local = spawn_local(SHARED.scope(Rc::new(4), async { SHARED.get() }));
        assert_eq!(*local.await.unwrap(), 4);
    });
}

#[test]
fn a_panic_restores_the_value_around() {
    let _alone = alone();
    NUMBER.sync_scope(1, || {
        let panics = || NUMBER.sync_scope(2, || panic!("on purpose"));
        assert!(catch_unwind(panics).is_err());
        assert_eq!(NUMBER.get(), 1);
        // A scope within `with` of the same key has no room for its value.
        let within = || NUMBER.with(|_| NUMBER.sync_scope(3, || ()));
        assert!(catch_unwind(within).is_err());
        assert_eq!(NUMBER.get(), 1);
    });
    assert!(catch_unwind(|| NUMBER.get()).is_err());
}

/// Tells the value of its scope when it is dropped.
struct Tells(mpsc::Sender<Option<u32>>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(NUMBER.try_with(|number| *number).ok()).unwrap();
    }
}

#[test]
fn a_future_is_dropped_in_its_scope() {
    each(async || {
        let (send, receive) = mpsc::channel();
        let holds = |n: u32, ends: bool| {
            let tells = Tells(send.clone());
            NUMBER.scope(n, async move {
                let _tells = tells;
                if !ends {
                    pending::<()>().await;
                }
            })
        };
        drop(holds(1, true));
        holds(2, true).await;
        let aborted = spawn(holds(3, false));
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        let mut taken = Box::pin(holds(4, true));
        assert_eq!(taken.as_mut().take_value(), Some(4));
        drop(taken);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [Some(1), Some(2), Some(3), None]);
        let mut over = pin!(NUMBER.scope(5, async {}));
        over.as_mut().await;
        let again = catch_unwind(AssertUnwindSafe(|| Probe::new().poll(over.as_mut())));
        assert!(again.is_err(), "polled after it has completed");
        assert_eq!(over.take_value(), Some(5), "the panic has restored it");
    });
}
