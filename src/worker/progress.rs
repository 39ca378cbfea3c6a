//! The progress of a worker's lanes: a heartbeat says that all of them look for jobs, not just that the process runs.

use tokio::sync::watch;

use crate::jobs::Lane;

/// The state of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It is being prepared, or failed and begins anew.
    #[default]
    Starting,
    /// It is prepared, and has not asked for a job yet.
    Ready,
    /// Its latest statements succeeded.
    Working,
}

/// The states of all lanes of one worker.
#[derive(Clone, Debug, Default)]
pub struct Progress(watch::Sender<[Stage; Lane::ALL.len()]>);

impl Progress {
    /// Records that a lane is prepared.
    pub fn prepared(&self, lane: Lane) {
        self.change(lane, |_| Stage::Ready);
    }

    /// Records a statement of the lane that succeeded. Preparing a lane proves nothing: it needs other rights and tables.
    pub fn succeeded(&self, lane: Lane) {
        self.change(lane, |stage| match stage {
            Stage::Ready => Stage::Working,
            other => other,
        });
    }

    /// Records that a lane ended, and has to begin anew.
    pub fn stopped(&self, lane: Lane) {
        self.change(lane, |_| Stage::Starting);
    }

    /// Waits until every lane works.
    pub async fn all_work(&self) {
        let mut stages = self.0.subscribe();
        let is_met =
            |stages: &[Stage; Lane::ALL.len()]| stages.iter().all(|it| *it == Stage::Working);
        stages
            .wait_for(is_met)
            .await
            .expect("the sender is borrowed meanwhile");
    }

    fn change(&self, lane: Lane, next: impl FnOnce(Stage) -> Stage) {
        self.0.send_if_modified(|stages| {
            let stage = &mut stages[lane as usize];
            let before = std::mem::replace(stage, next(*stage));
            before != *stage
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_worker_works_while_every_lane_does() {
        let progress = Progress::default();
        let all_work = || progress.all_work().now_or_never().is_some();
        for lane in Lane::ALL {
            progress.succeeded(lane);
            assert!(!all_work(), "what prepares a lane proves nothing");
        }
        for lane in Lane::ALL {
            assert!(!all_work());
            progress.prepared(lane);
            assert!(!all_work());
            progress.succeeded(lane);
        }
        assert!(all_work());
        progress.stopped(Lane::Email);
        progress.succeeded(Lane::Email);
        assert!(!all_work());
        progress.prepared(Lane::Email);
        progress.succeeded(Lane::Email);
        assert!(all_work());
    }
}
