//! A bell for one waiter on the same thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Remembers one ring until somebody hears it. A fifth of the room of a `Notify` and its future,
/// which counts where there is one per viewer.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Bell {
    /// Wakes the waiter, or lets the next one through.
    pub(crate) fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once per ring. The last task that asked is the one that is woken.
    pub(crate) fn poll_heard(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.replace(false) {
            return Poll::Ready(());
        }
        let waker = match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.waker.set(Some(waker));
        Poll::Pending
    }

    /// Waits for a ring. Cancel safe.
    pub(crate) async fn heard(&self) {
        poll_fn(|cx| self.poll_heard(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_ring_before_anybody_listens_is_heard_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        assert!(bell.heard().now_or_never().is_some());
        assert!(bell.heard().now_or_never().is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_ring_wakes_who_waits() {
        let bell = std::rc::Rc::new(Bell::default());
        let local = tokio::task::LocalSet::new();
        let heard = local.spawn_local({
            let bell = bell.clone();
            async move { bell.heard().await }
        });
        local
            .run_until(async {
                tokio::task::yield_now().await;
                bell.ring();
                assert!(heard.await.is_ok());
            })
            .await;
    }
}
